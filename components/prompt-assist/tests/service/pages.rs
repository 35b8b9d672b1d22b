//! The documentation pages.

use serde_json::Value;

use atelier_kit::fake::get;

use crate::fake::{ENHANCE, GENERATE, Script};

#[test]
fn the_three_pages_are_served() {
    let host = Script::default().host();
    for (path, kind) in
        [("/docs", "text/html"), ("/redoc", "text/html"), ("/openapi.json", "application/json")]
    {
        let response = host.answer(get(path));
        assert_eq!(response.status, 200, "{path}");
        assert!(response.headers.get("content-type").is_some_and(|value| value.starts_with(kind)));
        assert_eq!(response.headers.get("x-content-type-options"), Some("nosniff"));
    }
}

#[test]
fn the_document_describes_both_endpoints() {
    let document: Value =
        serde_json::from_slice(&Script::default().host().answer(get("/openapi.json")).body).expect("json");
    for path in [ENHANCE, GENERATE] {
        assert!(document["paths"][path]["post"]["responses"]["502"].is_object(), "{path}");
    }
}

#[test]
fn below_a_path_the_document_says_where() {
    let mut request = get("/openapi.json");
    request.headers = [("x-forwarded-prefix", "/pictures")].into_iter().collect();
    let document: Value =
        serde_json::from_slice(&Script::default().host().answer(request).body).expect("json");
    assert_eq!(document["servers"][0]["url"], "/pictures");
}
