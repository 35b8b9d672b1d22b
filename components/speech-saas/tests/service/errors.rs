//! What is wrong with a request as a whole.

use atelier_kit::fake::{get, json, whole};
use atelier_kit::http::BodyError;
use futures::executor::block_on;

use crate::{CLEANUP, GENERATE, both, generate, post, read, reply, text};

/// README line: "**Input Validation**: Comprehensive prompt and file validation".
#[test]
fn every_fault_of_a_body_is_told_at_once() {
    let (status, answer) = generate(&both().host(), r#"{"steps": 0, "style": "oil", "width": 64}"#);
    assert_eq!(status, 400);
    for part in ["`prompt` is missing", "`steps` is 0", "`style` is not a field", "give both or neither"] {
        assert!(text(&answer).contains(part), "{part}: {answer}");
    }
    assert_eq!(generate(&both().host(), "prompt=a").0, 400);
}

#[test]
fn unknown_paths_and_methods_are_told_apart() {
    let host = both().host();
    for path in ["/", "/image", "/statusx", "/images/nobody.png"] {
        let (status, answer) = read(&host, path);
        assert!(status == 404 && text(&answer).contains(path), "{path}: {answer}");
    }
    for (request, allow) in [
        (get(GENERATE), "POST"),
        (get(CLEANUP), "POST"),
        (get("/transcribe-audio"), "POST"),
        (post("/images", ""), "GET, HEAD"),
        (post("/status", ""), "GET, HEAD"),
    ] {
        let response = whole(reply(&host, request));
        assert_eq!((response.status, response.headers.get("allow")), (405, Some(allow)));
    }
}

#[test]
fn a_body_that_is_too_large_or_broke_off_is_refused() {
    for (problem, status) in [(BodyError::TooLarge, 413), (BodyError::Incomplete, 400)] {
        let reply = block_on(speech_saas::api::handle(both().host(), Err(problem)));
        assert_eq!(json(reply).0, status);
    }
}

#[test]
fn the_pages_are_served() {
    let host = both().host();
    for path in ["/docs", "/redoc", "/openapi.json"] {
        assert_eq!(whole(reply(&host, get(path))).status, 200, "{path}");
    }
}
