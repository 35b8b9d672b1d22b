//! The documentation pages.

use atelier_kit::fake::{Script, get, json, whole};

use crate::{DECODE, GENERATE, reply};

#[test]
fn the_pages_are_served() {
    let host = Script::default().host();
    for (path, kind) in
        [("/docs", "text/html"), ("/redoc", "text/html"), ("/openapi.json", "application/json")]
    {
        let response = whole(reply(&host, get(path)));
        assert_eq!(response.status, 200, "{path}");
        assert!(response.headers.get("content-type").is_some_and(|value| value.starts_with(kind)));
    }
}

#[test]
fn the_document_describes_every_path_and_says_where_it_is() {
    let mut request = get("/openapi.json");
    request.headers = [("x-forwarded-prefix", "/chat")].into_iter().collect();
    let (_, document) = json(reply(&Script::default().host(), request));
    assert_eq!(document["servers"][0]["url"], "/chat");
    for path in [DECODE, "/transcript/decode", GENERATE] {
        assert!(document["paths"][path]["post"]["responses"]["422"].is_object(), "{path}");
    }
    assert!(document["paths"]["/image/models"]["get"].is_object());
}
