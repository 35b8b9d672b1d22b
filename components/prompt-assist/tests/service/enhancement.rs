//! Better prompts from the style stage and from a language model server.

use atelier_kit::host::{CallError, StageError};
use serde_json::json;

use crate::fake::{ENHANCE, Fake, Script};

const BASE_URL: &str = "TEXT_TO_IMAGE_LANGUAGE_MODEL_SERVER_BASE_URL";

fn with_server(answer: Result<(u16, &str), CallError>) -> Fake {
    let answer = answer.map(|(status, body)| (status, body.to_owned()));
    Script { answer, ..Script::default() }.with_config(BASE_URL, "http://127.0.0.1:8080/v1/").host()
}

#[test]
fn the_style_stage_enhances_when_no_server_is_configured() {
    let (status, answer) = Script::default().host().post_json(ENHANCE, &json!({"prompt": "a cat"}));
    assert_eq!((status, answer), (200, json!({"enhanced_prompt": "a cat for atelier-nano"})));
}

#[test]
fn the_server_is_asked_in_the_openai_form_and_its_text_is_cleaned() {
    let host = with_server(Ok((200, r#"{"choices":[{"message":{"content":"\"A fluffy\n cat\""}}]}"#)));
    let (status, answer) = host.post_json(ENHANCE, &json!({"prompt": "a cat"}));
    assert_eq!((status, answer), (200, json!({"enhanced_prompt": "A fluffy cat"})));
    let record = host.record.borrow();
    let (url, body) = &record.calls[0];
    assert_eq!(url, "http://127.0.0.1:8080/v1/chat/completions");
    assert_eq!(body["messages"][1], json!({"role": "user", "content": "a cat"}));
    assert_eq!((&body["stream"], &body["max_tokens"]), (&json!(false), &json!(300)));
}

#[test]
fn every_way_in_which_the_server_fails_is_a_502() {
    let cases = [
        Err(CallError("the connection was refused: is the server running?".into())),
        Ok((500, "oops")),
        Ok((200, "no json")),
        Ok((200, r#"{"choices":[]}"#)),
        Ok((200, r#"{"choices":[{"message":{"content":" \"\" "}}]}"#)),
    ];
    for case in cases {
        let (status, answer) = with_server(case.clone()).post_json(ENHANCE, &json!({"prompt": "a"}));
        assert_eq!((status, &answer["status_code"]), (502, &json!(502)), "{case:?}");
        assert!(
            answer["error"].as_str().is_some_and(|text| text.contains("language model server")),
            "{answer}"
        );
        assert!(!answer.to_string().contains("oops"), "a backend's own text is not passed on");
    }
}

#[test]
fn a_variable_that_cannot_be_used_is_named() {
    let script = Script::default().with_config(BASE_URL, "127.0.0.1:8080");
    let (status, answer) = script.host().post_json(ENHANCE, &json!({"prompt": "a"}));
    assert_eq!(status, 502);
    assert!(answer["error"].as_str().is_some_and(|text| text.contains(BASE_URL)));
}

#[test]
fn a_missing_style_stage_is_a_502_that_names_the_manifest_key() {
    let style = Err(StageError::NotConfigured("add `style` to route \"a\"".into()));
    let host = Script { style, ..Script::default() }.host();
    let (status, answer) = host.post_json(ENHANCE, &json!({"prompt": "a"}));
    assert_eq!((status, &answer["error"]), (502, &json!("add `style` to route \"a\"")));
}

#[test]
fn only_the_prompt_is_a_field() {
    let (status, answer) = Script::default().host().post_json(ENHANCE, &json!({"prompt": "a", "n": 1}));
    assert_eq!((status, &answer["error"]), (400, &json!("`n` is not a field; the fields are prompt")));
}
