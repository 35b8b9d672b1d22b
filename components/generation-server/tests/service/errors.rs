//! What is wrong with a request as a whole, in FastAPI's words, and what is left for later.

use atelier_kit::Request;
use atelier_kit::fake::{Script, form, get, json};
use atelier_kit::http::BodyError;
use atelier_kit::jobs::JobsError;
use futures::executor::block_on;
use serde_json::json as value;

use crate::{I2I, T2I, answer, fault, faults, flux, post, posted, reply};

#[test]
fn unknown_paths_and_methods_are_told_apart() {
    let host = flux().host();
    for path in ["/api", "/api/", "/api/flux", "/api/sdxl/t2i", "/api/flux/t2i/", "/api/a/b/c", "/status"] {
        let request = Request { method: "POST".into(), ..get(path) };
        let found = json(reply(&host, request));
        // what may be a session is one, for those who call it off
        let expected = if path == "/api/flux" { 405 } else { 404 };
        assert_eq!(found.0, expected, "{path} {}", found.1);
    }
    for (method, path, allow) in [
        ("GET", T2I, "POST"),
        ("GET", I2I, "POST"),
        ("PUT", "/api/batch", "POST"),
        ("POST", "/api/x/status", "GET, HEAD"),
        ("DELETE", "/api/x/image", "GET, HEAD"),
        ("GET", "/api/x", "DELETE"),
        ("POST", "/", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
    ] {
        let response = answer(&host, Request { method: method.into(), ..get(path) });
        assert_eq!((response.status, response.headers.get("allow")), (405, Some(allow)), "{method} {path}");
        assert_eq!(response.body, br#"{"detail":"Method Not Allowed"}"#);
    }
}

/// README lines under "Future Enhancements": "- `/api/{model_name}/t2v` - Text-to-Video generation", "- `/api/{model_name}/i2v` -
/// Image-to-Video generation".
#[test]
fn videos_are_for_later_and_say_so() {
    for path in ["/api/flux/t2v", "/api/flux/i2v", "/api/qwen-multi-angle/i2v"] {
        let (status, answer) = post(&flux().host(), path, &value!({"prompt": "a"}));
        let text = answer["detail"].as_str().unwrap_or_default();
        assert!(status == 501 && text.contains("is not implemented"), "{path} {text}");
    }
}

#[test]
fn a_body_that_is_none_says_what_to_send() {
    let host = flux().host();
    for (path, body, wanted) in [
        (T2I, &b""[..], "the body is empty"),
        (T2I, b"{", "not valid JSON"),
        (T2I, b"[]", "not a JSON object"),
        (I2I, b"{}", "multipart/form-data"),
    ] {
        let request = Request { body: body.into(), ..posted(path, &value!({})) };
        let found = faults(json(reply(&host, request)));
        assert!(found[0].1.contains(wanted), "{found:?}");
    }
}

#[test]
fn a_body_that_is_too_large_or_broke_off_is_refused() {
    for (problem, status) in [(BodyError::TooLarge, 413), (BodyError::Incomplete, 400)] {
        let reply = block_on(generation_server::api::handle(flux().host(), Err(problem)));
        let (found, answer) = json(reply);
        assert!(found == status && answer["detail"].is_string(), "{answer}");
    }
}

#[test]
fn a_key_of_no_use_is_refused() {
    for key in ["", &"k".repeat(256)] {
        let mut request = posted(T2I, &value!({"prompt": "a"}));
        request.headers.add("idempotency-key", key);
        let (status, answer) = json(reply(&flux().host(), request));
        assert!(status == 400 && answer["detail"].to_string().contains("`idempotency-key`"), "{answer}");
    }
}

#[test]
fn jobs_that_are_not_kept_say_whose_matter_it_is() {
    for (error, status) in [
        (JobsError::Full("quota".into()), 429),
        (JobsError::KeyUsed("used".into()), 409),
        (JobsError::Failed("the storage failed".into()), 502),
    ] {
        let host = Script { jobs: Err(error), ..flux() }.host();
        assert_eq!(post(&host, T2I, &value!({"prompt": "a"})).0, status);
    }
}

#[test]
fn what_is_no_field_is_refused_by_name() {
    for field in ["n", "cache", "callback", "image"] {
        assert_eq!(fault(post(&flux().host(), T2I, &value!({"prompt": "a", field: "b"}))), field);
    }
    let parts = [("image@", "128x64"), ("negative_prompt", "b")];
    assert_eq!(fault(json(reply(&flux().host(), form(I2I, &parts)))), "negative_prompt");
}
