//! What is wrong with a request as a whole, in FastAPI's words.

use atelier_kit::Request;
use atelier_kit::fake::{Script, form, get, json, whole};
use atelier_kit::http::BodyError;
use futures::executor::block_on;
use serde_json::json as value;

use crate::{DECODE, GENERATE, MODELS, reply};

#[test]
fn unknown_paths_and_methods_are_told_apart() {
    let host = Script::default().host();
    for path in ["/", "/audio", "/image", "/audio/decode/", "/image/modelsx"] {
        assert_eq!(json(reply(&host, get(path))), (404, value!({"detail": "Not Found"})), "{path}");
    }
    for (request, allow) in [(get(DECODE), "POST"), (get(GENERATE), "POST"), (form(MODELS, &[]), "GET, HEAD")]
    {
        let response = whole(reply(&host, request));
        assert_eq!((response.status, response.headers.get("allow")), (405, Some(allow)));
        assert_eq!(response.body, br#"{"detail":"Method Not Allowed"}"#);
    }
}

#[test]
fn a_body_that_is_no_form_says_what_to_send() {
    let host = Script::default().host();
    for path in [DECODE, GENERATE] {
        let headers = [("content-type", "application/json")].into_iter().collect();
        let request = Request { headers, body: b"{}".to_vec(), ..form(path, &[]) };
        let (status, answer) = json(reply(&host, request));
        let fault = &answer["detail"][0];
        assert_eq!((status, &fault["loc"]), (422, &value!(["body"])));
        assert!(fault["msg"].to_string().contains("multipart/form-data"), "{fault}");
    }
}

#[test]
fn a_body_that_is_too_large_or_broke_off_is_refused() {
    for (problem, status) in [(BodyError::TooLarge, 413), (BodyError::Incomplete, 400)] {
        let reply = block_on(chat_server::api::handle(Script::default().host(), Err(problem)));
        let (found, answer) = json(reply);
        assert!(found == status && answer["detail"].is_string(), "{answer}");
    }
}
