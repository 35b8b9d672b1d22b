//! Every condition of the service's error table, and the extensions to it.

use atelier_kit::host::{AbsentModel, GenerationError, StageError};
use atelier_kit::http::{BodyError, Reply};
use futures::executor::block_on;
use serde_json::{Value, json};

use atelier_kit::fake::get;

use crate::fake::{ENHANCE, Fake, GENERATE, Script, nano, post};

fn error(host: &Fake, body: &Value) -> (u16, String) {
    let (status, answer) = host.post_json(GENERATE, body);
    assert_eq!(answer["status_code"], json!(status), "{answer}");
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(2), "{answer}");
    (status, answer["error"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn what_fails_validation_is_a_400_in_the_error_shape() {
    let host = Script::default().host();
    let cases = [
        json!({}),
        json!({"prompt": ""}),
        json!({"prompt": 7}),
        json!({"prompt": "a", "n": 5}),
        json!({"prompt": "a", "n": 0}),
        json!({"prompt": "a", "size": "512x513"}),
        json!({"prompt": "a", "use_enhancer": "maybe"}),
        json!({"prompt": "a", "steps": 151}),
        json!({"prompt": "a", "model": "nobody"}),
        json!({"prompt": "a", "image": "Ym9tYg=="}),
        json!({"prompt": "a", "response_format": "url"}),
    ];
    for body in cases {
        assert_eq!(error(&host, &body).0, 400, "{body}");
    }
    for body in ["", "{", "[]", "\u{0}", r#"{"prompt": "a",}"#] {
        assert_eq!(host.answer(post(GENERATE, body, "*/*")).status, 400, "{body:?}");
        assert_eq!(host.answer(post(ENHANCE, body, "*/*")).status, 400, "{body:?}");
    }
}

#[test]
fn a_picture_that_cannot_be_read_names_its_field() {
    let (_, text) = error(&Script::default().host(), &json!({"prompt": "a", "image": "Ym9tYg=="}));
    assert_eq!(text, "`image` cannot be read: the picture is 65535x65535");
}

#[test]
fn a_full_queue_is_a_429_that_says_when_to_come_back() {
    let full = GenerationError::Overloaded { reason: "the queue is full".into(), retry_after_ms: 1500 };
    let host = Script { refuse: Some(full), ..Script::default() }.host();
    let response = host.answer(post(GENERATE, r#"{"prompt": "a"}"#, "*/*"));
    assert_eq!((response.status, response.headers.get("retry-after")), (429, Some("2")));
    assert_eq!(response.headers.get("x-should-retry"), Some("true"));
}

#[test]
fn a_backend_that_fails_is_a_502() {
    let causes = [
        GenerationError::Failed("the weights are damaged".into()),
        GenerationError::AccessDenied("add it to grants.models".into()),
        GenerationError::WorkerGone,
        GenerationError::Cancelled,
    ];
    for cause in causes {
        let host = Script { refuse: Some(cause.clone()), ..Script::default() }.host();
        assert_eq!(error(&host, &json!({"prompt": "a"})).0, 502, "{cause:?}");
    }
    let finish = Err(StageError::Failed("trapped".into()));
    assert_eq!(error(&Script { finish, ..Script::default() }.host(), &json!({"prompt": "a"})).0, 502);
    let none = Script { models: vec![], ..Script::default() }.host();
    assert!(error(&none, &json!({"prompt": "a"})).1.contains("grants.models"));
}

#[test]
fn a_model_of_another_server_that_is_not_to_be_had_is_a_502_and_a_late_one_a_504() {
    let away = GenerationError::Unavailable { reason: "it is away".into(), retry_after_ms: Some(1500) };
    let host = Script { refuse: Some(away), ..Script::default() }.host();
    let response = host.answer(post(GENERATE, r#"{"prompt": "a"}"#, "*/*"));
    assert_eq!((response.status, response.headers.get("retry-after")), (502, Some("2")));
    let late = GenerationError::TimedOut("no reply within 9 ms".into());
    let host = Script { refuse: Some(late), ..Script::default() }.host();
    assert_eq!(error(&host, &json!({"prompt": "a"})), (504, "no reply within 9 ms".into()));
}

#[test]
fn a_named_model_that_is_not_granted_is_a_502_that_names_the_manifest_keys() {
    let host = Script::default().with_config("TEXT_TO_IMAGE_STABLE_DIFFUSION_MODEL_ID", "some/model").host();
    let (status, text) = error(&host, &json!({"prompt": "a"}));
    assert_eq!(status, 502);
    for part in ["some/model", "[[model]]", "source = \"hub:some/model\"", "grants.models"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_named_model_whose_files_are_missing_is_refused_with_what_brings_them() {
    let absent = vec![AbsentModel {
        id: "sdxl".into(),
        source: "hub:owner/absent".into(),
        fix: "run `atelier models pull sdxl`".into(),
    }];
    let host = Script { absent, ..Script::default() }.host();
    let (status, text) = error(&host, &json!({"prompt": "a", "model": "sdxl"}));
    assert_eq!(status, 400);
    assert!(text.starts_with("`model`: `sdxl` is not here: run `atelier models pull sdxl`;"), "{text}");
    let (_, text) = error(&host, &json!({"prompt": "a", "model": "sd15"}));
    assert!(text.starts_with("`model`: `sd15` is not granted to this route; give one of"), "{text}");
}

#[test]
fn the_operators_model_whose_files_are_missing_is_a_502_with_what_brings_them() {
    for name in ["some/model", "sd15", "hub:some/model@0123"] {
        let (source, fix) = ("hub:some/model@0123".into(), "run `atelier models pull sd15`".into());
        let absent = vec![AbsentModel { id: "sd15".into(), source, fix }];
        let script = Script { absent, ..Script::default() };
        let host = script.with_config("TEXT_TO_IMAGE_STABLE_DIFFUSION_MODEL_ID", name).host();
        let expected = format!(
            "TEXT_TO_IMAGE_STABLE_DIFFUSION_MODEL_ID is \"{name}\", which is not here: run `atelier models pull sd15`"
        );
        assert_eq!(error(&host, &json!({"prompt": "a"})), (502, expected));
    }
}

#[test]
fn a_device_that_the_model_does_not_run_on_is_a_502_that_names_the_key() {
    for (device, status) in [("auto", 200), ("cpu", 200), ("cuda", 502), ("tpu", 502)] {
        let host = Script::default().with_config("TEXT_TO_IMAGE_STABLE_DIFFUSION_DEVICE", device).host();
        assert_eq!(host.post_json(GENERATE, &json!({"prompt": "a"})).0, status, "{device}");
    }
    let host = Script::default().with_config("TEXT_TO_IMAGE_STABLE_DIFFUSION_DEVICE", "cuda").host();
    assert!(error(&host, &json!({"prompt": "a"})).1.contains("`engine.device = \"cuda\"`"));
}

#[test]
fn what_the_model_cannot_do_is_refused_by_the_fields_name() {
    let plain = atelier_kit::host::Model { image_to_image: false, negative_prompt: false, ..nano() };
    let host = Script { models: vec![plain], ..Script::default() }.host();
    assert!(error(&host, &json!({"prompt": "a", "image": "aGk="})).1.starts_with("`image` cannot be given"));
    assert!(error(&host, &json!({"prompt": "a", "negative_prompt": "b"})).1.starts_with("`negative_prompt`"));
}

#[test]
fn an_unknown_path_is_a_404_that_points_to_the_documentation() {
    for path in ["/", "/v1", "/v1/images/generations/", "/docs/../etc/passwd"] {
        let response = Script::default().host().answer(get(path));
        let answer: Value = serde_json::from_slice(&response.body).expect("json");
        assert_eq!((response.status, &answer["status_code"]), (404, &json!(404)), "{path}");
        assert!(answer["error"].as_str().is_some_and(|text| text.contains("/docs")));
    }
}

#[test]
fn a_wrong_method_is_a_405_that_says_which_is_right() {
    let host = Script::default().host();
    let response = host.answer(get(GENERATE));
    assert_eq!((response.status, response.headers.get("allow")), (405, Some("POST")));
    let response = host.answer(post("/docs", "", "*/*"));
    assert_eq!((response.status, response.headers.get("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn a_body_that_is_too_large_or_broke_off_is_refused() {
    for (problem, status) in [(BodyError::TooLarge, 413), (BodyError::Incomplete, 400)] {
        let reply = block_on(prompt_assist::api::handle(Script::default().host(), Err(problem)));
        let Reply::Whole(response) = reply else { panic!("a stream") };
        assert_eq!(response.status, status);
    }
}
