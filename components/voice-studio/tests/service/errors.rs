//! What is wrong with requests, and what is said about it.

use atelier_kit::host::GenerationError;
use atelier_kit::http::BodyError;
use futures::executor::block_on;
use serde_json::{Value, json};

use atelier_kit::fake::get;

use crate::fake::{Script, form, post};

fn refused(parts: &[(&str, &str)]) -> (u16, Value) {
    let host = Script::default().host();
    let response = host.browser().answer(form(parts));
    (response.status, serde_json::from_slice(&response.body).expect("json"))
}

#[test]
fn a_form_is_refused_by_field() {
    for (parts, field) in [
        (&[][..], "audio"),
        (&[("text", "create a"), ("audio", "create a")], "audio"),
        (&[("text", "create a"), ("language", "sv")], "language"),
        (&[("text", "create a"), ("mode", "slow")], "mode"),
        (&[("text", "create a"), ("seed", "1")], "seed"),
        (&[("audio", "noise")], "audio"),
        (&[("text", &"a".repeat(1_001))], "text"),
    ] {
        let (status, answer) = refused(parts);
        assert_eq!((status, &answer["error"]["field"]), (422, &json!(field)), "{answer}");
    }
    assert_eq!(refused(&[("audio", "long")]).0, 413);
}

#[test]
fn what_cannot_be_done_has_a_code_of_its_own() {
    for (parts, status, code) in [
        (&[("audio", "--")][..], 422, "nothing_heard"),
        (&[("text", "nonsense")], 422, "not_understood"),
        (&[("text", "make it night")], 422, "nothing_to_edit"),
        (&[("text", "back")], 422, "nothing_to_undo"),
        (&[("text", "make it night"), ("image", "nobodys.webp")], 404, "not_found"),
    ] {
        let (found, answer) = refused(parts);
        assert_eq!((found, &answer["error"]["code"]), (status, &json!(code)), "{parts:?}: {answer}");
    }
}

#[test]
fn a_full_queue_says_when_to_come_back() {
    let refuse = GenerationError::Overloaded { reason: "the queue is full".into(), retry_after_ms: 2_100 };
    let host = Script { refuse: Some(refuse), ..Script::default() }.host();
    let response = host.browser().answer(form(&[("text", "create a boat")]));
    assert_eq!((response.status, response.headers.get("retry-after")), (429, Some("3")));
    assert_eq!(host.browser().get("/kuvagen/api/session_info").1["image_count"], 0);
}

#[test]
fn paths_and_methods_are_told() {
    let host = Script::default().host();
    let browser = host.browser();
    for path in ["/nowhere", "/kuvagenx", "/kuvagen/nowhere", "/kuvagen/page/secret", "/kuvagen/images/a/b"] {
        assert_eq!(browser.get(path).0, 404, "{path}");
    }
    let response = browser.answer(post("/kuvagen/gallery", &json!({})));
    assert_eq!((response.status, response.headers.get("allow")), (405, Some("GET, HEAD")));
    let response = browser.answer(get("/kuvagen/process_command"));
    assert_eq!((response.status, response.headers.get("allow")), (405, Some("POST")));
    let atelier_kit::Reply::Whole(response) =
        block_on(voice_studio::api::handle(host.clone(), Err(BodyError::TooLarge)))
    else {
        panic!("a stream")
    };
    assert_eq!(response.status, 413);
}

#[test]
fn a_wrong_configuration_is_named_by_its_key() {
    for (key, value) in
        [("MAX_IMAGES_WITHOUT_LOGIN", "ten"), ("local-fast", "nano"), ("secure-cookies", "yes")]
    {
        let host = Script::default().with_config(key, value).host();
        let (status, answer) = host.browser().get("/kuvagen/api/session_info");
        assert_eq!(status, 500);
        assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains(key)), "{answer}");
    }
}
