//! The documentation pages.

use atelier_kit::fake::{get, json};

use crate::{answer, flux, reply};

/// README lines: "- **Swagger UI**: `http://localhost:8000/docs`", "- **ReDoc**: `http://localhost:8000/redoc`".
#[test]
fn the_pages_are_served() {
    let host = flux().host();
    for (path, kind) in
        [("/docs", "text/html"), ("/redoc", "text/html"), ("/openapi.json", "application/json")]
    {
        let response = answer(&host, get(path));
        assert_eq!(response.status, 200, "{path}");
        assert!(response.headers.get("content-type").is_some_and(|value| value.starts_with(kind)));
    }
}

#[test]
fn the_document_describes_every_path_and_says_where_it_is() {
    let mut request = get("/openapi.json");
    request.headers = [("x-forwarded-prefix", "/generator")].into_iter().collect();
    let (_, document) = json(reply(&flux().host(), request));
    assert_eq!(document["servers"][0]["url"], "/generator");
    for path in [
        "/api/flux/t2i",
        "/api/flux/i2i",
        "/api/qwen-multi-angle/t2i",
        "/api/qwen-multi-angle/i2i",
        "/api/batch",
    ] {
        assert!(document["paths"][path]["post"]["responses"]["422"].is_object(), "{path}");
    }
    assert!(document["paths"]["/api/{session_id}/status"]["get"].is_object());
    let fields = &document["components"]["schemas"]["TextToImage"]["properties"];
    let defaults = ["width", "height", "num_inference_steps", "guidance_scale"]
        .map(|field| fields[field]["default"].to_string());
    assert_eq!(defaults, ["512", "512", "50", "7.5"]);
    let fields = &document["components"]["schemas"]["MultiAngleImageToImage"];
    assert_eq!(
        (&fields["properties"]["strength"]["default"], &fields["required"][0]),
        (&0.8.into(), &"image".into())
    );
    assert!(fields["properties"]["view"]["enum"].as_array().is_some_and(|views| views.len() == 10));
}
