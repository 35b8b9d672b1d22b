//! What can be read: the models and the documentation pages.

use serde_json::{Value, json};

use atelier_kit::fake::get;

use crate::fake::{Fake, LISTEN, Script, TRANSCRIBE, TRANSLATE};

fn read(host: &Fake, path: &str) -> (u16, Value) {
    let response = host.answer(get(path));
    (response.status, serde_json::from_slice(&response.body).expect("json"))
}

#[test]
fn models_are_listed_in_openais_shape_with_their_other_names() {
    let host = Script::default().with_config("aliases", "whisper-1=whisper").host();
    let (status, list) = read(&host, "/v1/models");
    assert_eq!((status, &list["object"]), (200, &json!("list")));
    let ids: Vec<_> = list["data"].as_array().into_iter().flatten().map(|model| &model["id"]).collect();
    assert_eq!(ids, ["ear", "whisper", "whisper-1"]);
    let (_, model) = read(&host, "/v1/models/whisper-1");
    assert_eq!(model, json!({"id": "whisper-1", "object": "model", "created": 0, "owned_by": "atelier"}));
    assert_eq!(read(&host, "/v1/models/nobody").0, 404);
}

#[test]
fn the_pages_are_served() {
    let host = Script::default().host();
    for (path, kind) in
        [("/docs", "text/html"), ("/redoc", "text/html"), ("/openapi.json", "application/json")]
    {
        let response = host.answer(get(path));
        assert_eq!(response.status, 200, "{path}");
        assert!(response.headers.get("content-type").is_some_and(|value| value.starts_with(kind)));
    }
}

#[test]
fn the_document_describes_every_path_and_says_where_it_is() {
    let mut request = get("/openapi.json");
    request.headers = [("x-forwarded-prefix", "/voice")].into_iter().collect();
    let body = Script::default().host().answer(request).body;
    let document: Value = serde_json::from_slice(&body).expect("json");
    assert_eq!(document["servers"][0]["url"], "/voice");
    for path in [TRANSCRIBE, TRANSLATE, LISTEN] {
        assert!(document["paths"][path]["post"]["responses"]["413"].is_object(), "{path}");
    }
}
