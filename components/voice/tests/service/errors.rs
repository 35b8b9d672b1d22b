//! Every way in which a request can be wrong, in OpenAI's error shape.

use atelier_kit::Request;
use atelier_kit::host::{AbsentModel, GenerationError};
use atelier_kit::http::{BodyError, Reply};
use futures::executor::block_on;
use serde_json::{Value, json};

use atelier_kit::fake::get;

use crate::fake::{Fake, Script, TRANSCRIBE, post};

const FILE: (&str, &str) = ("file", "sound");

/// Status, field and text of what must be an error.
fn error(host: &Fake, parts: &[(&str, &str)]) -> (u16, Value, String) {
    let (status, answer) = host.post_json(TRANSCRIBE, parts);
    let error = answer["error"].as_object().unwrap_or_else(|| panic!("{answer}"));
    let names: Vec<_> = error.keys().map(String::as_str).collect();
    assert_eq!(names, ["message", "type", "param", "code"]);
    (status, error["param"].clone(), error["message"].as_str().unwrap_or_default().to_owned())
}

/// A field of a form, and what it holds.
type Part = (&'static str, &'static str);

#[test]
fn what_fails_validation_is_a_400_that_names_the_field() {
    let host = Script::default().host();
    let cases: [(&[Part], &str, &str); 10] = [
        (&[], "file", "`file` is wanted once"),
        (&[FILE, FILE], "file", "`file` is wanted once"),
        (&[FILE, ("response_format", "doc")], "response_format", "give one of json, text"),
        (&[FILE, ("temperature", "1.5")], "temperature", "give a number from 0 to 1"),
        (&[FILE, ("model", "a"), ("model", "b")], "model", "given twice"),
        (
            &[FILE, ("chunking_strategy", "auto")],
            "chunking_strategy",
            "is not a field; the fields are model, language",
        ),
        (&[FILE, ("include[]", "logprobs")], "include[]", "is not a field"),
        (&[FILE, ("stream", "1"), ("response_format", "srt")], "stream", "made at the end"),
        (&[FILE, ("timestamp_granularities[]", "word")], "timestamp_granularities[]", "verbose_json"),
        (
            &[FILE, ("response_format", "verbose_json"), ("timestamp_granularities[]", "minute")],
            "timestamp_granularities[]",
            "segment or word",
        ),
    ];
    for (parts, field, text) in cases {
        let (status, param, message) = error(&host, parts);
        assert_eq!((status, &param), (400, &json!(field)), "{message}");
        assert!(message.contains(text), "{message}");
    }
    assert!(host.record.borrow().speech.is_empty(), "nothing is heard for a request that is wrong");
}

#[test]
fn a_body_that_is_no_form_is_refused() {
    let host = Script::default().host();
    let json = Request { body: b"{}".to_vec(), ..post(TRANSCRIBE, &[]) };
    let headers = [("content-type", "application/json")].into_iter().collect();
    let response = host.answer(Request { headers, ..json });
    assert_eq!(response.status, 400);
    assert!(String::from_utf8_lossy(&response.body).contains("multipart/form-data"));
}

#[test]
fn a_recording_that_cannot_be_read_or_is_too_long_names_its_field() {
    let host = Script::default().host();
    assert_eq!(
        error(&host, &[("file", "noise")]),
        (400, json!("file"), "`file` cannot be read: this is no recording".into())
    );
    let (status, _, message) = error(&host, &[("file", "long")]);
    assert!(status == 413 && message.contains("limits.audio-seconds"), "{message}");
}

#[test]
fn a_model_that_the_route_does_not_have_is_a_404_that_names_those_it_has() {
    let host = Script::default().host();
    let (status, param, message) = error(&host, &[FILE, ("model", "whisper-1")]);
    assert_eq!((status, param), (404, json!("model")));
    assert!(message.ends_with("give one of ear, whisper"), "{message}");
    let absent = vec![AbsentModel {
        id: "large".into(),
        source: "hub:owner/absent".into(),
        fix: "run `atelier models pull large`".into(),
    }];
    let host = Script { absent, ..Script::default() }.host();
    let (_, _, message) = error(&host, &[FILE, ("model", "large")]);
    assert!(message.contains("atelier models pull large"), "{message}");
    let none = Script { ears: Vec::new(), ..Script::default() }.host();
    let (status, _, message) = error(&none, &[FILE]);
    assert!(status == 502 && message.contains("grants.models"), "{message}");
}

#[test]
fn another_name_of_a_model_is_the_operators_to_give() {
    let host = Script::default().with_config("aliases", "whisper-1 = whisper, other=nobody").host();
    assert_eq!(host.post_json(TRANSCRIBE, &[FILE, ("model", "whisper-1")]).0, 200);
    assert_eq!(host.record.borrow().speech[0].model, "whisper");
    assert_eq!(error(&host, &[FILE, ("model", "other")]).0, 404);
    let wrong = Script::default().with_config("aliases", "whisper-1").host();
    let (status, _, message) = error(&wrong, &[FILE, ("model", "whisper-1")]);
    assert!(status == 502 && message.contains("config.aliases"), "{message}");
}

#[test]
fn a_job_that_is_not_taken_is_said_before_an_answer_begins() {
    let full = GenerationError::Overloaded { reason: "the queue is full".into(), retry_after_ms: 1500 };
    let host = Script { refuse: Some(full), ..Script::default() }.host();
    let response = host.answer(post(TRANSCRIBE, &[FILE, ("stream", "true")]));
    assert_eq!((response.status, response.headers.get("retry-after")), (429, Some("2")));
    let reason = "does not know `xx`; name a language of the model".to_owned();
    let unknown = GenerationError::Invalid { field: "language".into(), reason };
    let host = Script { refuse: Some(unknown), ..Script::default() }.host();
    assert_eq!(error(&host, &[FILE, ("language", "xx")]).1, json!("language"));
    for cause in
        [GenerationError::Failed("damaged".into()), GenerationError::WorkerGone, GenerationError::Cancelled]
    {
        let host = Script { heard: Err(cause), ..Script::default() }.host();
        assert_eq!(error(&host, &[FILE]).0, 502);
    }
}

#[test]
fn unknown_paths_and_methods_are_told_apart() {
    let host = Script::default().host();
    for path in ["/", "/v1", "/v1/audio", "/v1/audio/speech", "/v1/modelsx"] {
        let response = host.answer(get(path));
        let answer: Value = serde_json::from_slice(&response.body).expect("json");
        assert_eq!((response.status, &answer["error"]["code"]), (404, &json!("unknown_url")), "{path}");
    }
    let response = host.answer(get(TRANSCRIBE));
    assert_eq!((response.status, response.headers.get("allow")), (405, Some("POST")));
    let response = host.answer(post("/v1/models", &[]));
    assert_eq!((response.status, response.headers.get("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn a_body_that_is_too_large_or_broke_off_is_refused() {
    for (problem, status) in [(BodyError::TooLarge, 413), (BodyError::Incomplete, 400)] {
        let reply = block_on(voice::api::handle(Script::default().host(), Err(problem)));
        let Reply::Whole(response) = reply else { panic!("a stream") };
        assert_eq!(response.status, status);
    }
}
