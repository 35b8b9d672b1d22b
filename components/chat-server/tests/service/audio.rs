//! What becomes of a recording.

use atelier_kit::fake::{Script, form, json as json_of, said};
use atelier_kit::host::GenerationError;
use serde_json::json;

use crate::{DECODE, FILE, fault, post, reply};

/// README lines: "`POST /audio/decode`", "Transcribes an audio file into text.", "`file` (type `File`): The audio file to
/// transcribe.", "`language` (type `Form`, `string`): The language of the audio (e.g., `"english"`, `"fr"`)."
#[test]
fn a_recording_becomes_text_in_the_language_that_was_named() {
    for language in ["english", "fr"] {
        let host = Script::default().host();
        let (status, answer) = post(&host, DECODE, &[FILE, ("language", language)]);
        let expected =
            json!({"text": "A red boat.", "language": "en", "duration": 3.0, "model": "ear", "notes": []});
        assert_eq!((status, answer), (200, expected));
        assert_eq!(host.record.borrow().speech[0].language.as_deref(), Some(language));
    }
}

#[test]
fn a_language_that_is_left_out_or_empty_is_recognised() {
    for parts in [&[FILE][..], &[FILE, ("language", "")]] {
        let host = Script::default().host();
        assert_eq!(post(&host, DECODE, parts).0, 200);
        assert_eq!(host.record.borrow().speech[0].language, None);
    }
}

#[test]
fn silence_has_no_text() {
    let heard = atelier_kit::speech::Transcript { language: None, ..said("") };
    let (status, answer) = post(&Script { heard, ..Script::default() }.host(), DECODE, &[FILE]);
    assert_eq!((status, &answer["text"], &answer["language"]), (200, &json!(""), &json!(null)));
}

/// README line: "The server exposes two main API groups: `/transcript` and `/image`."
#[test]
fn the_groups_other_name_is_served_too() {
    let (status, answer) = post(&Script::default().host(), "/transcript/decode", &[FILE]);
    assert_eq!((status, &answer["text"]), (200, &json!("A red boat.")));
}

/// README line: "The Whisper model (`large-v3-turbo`) is configured in `app/whisper_utils.py`. You can switch to a smaller
/// model".
#[test]
fn the_model_that_listens_is_the_operators_choice() {
    let host = Script { ears: vec!["large", "small"], ..Script::default() };
    let small = host.clone().with_config("listener", "small").host();
    assert_eq!(post(&small, DECODE, &[FILE]).0, 200);
    assert_eq!(small.record.borrow().speech[0].model, "small");
    let first = host.clone().host();
    post(&first, DECODE, &[FILE]);
    assert_eq!(first.record.borrow().speech[0].model, "large");
    let (status, answer) = post(&host.with_config("listener", "huge").host(), DECODE, &[FILE]);
    let text = answer["detail"].as_str().unwrap_or_default();
    assert!(
        status == 502 && text.contains("`config.listener`") && text.contains("`grants.models`"),
        "{text}"
    );
}

#[test]
fn without_a_model_that_listens_the_grant_is_named() {
    let (status, answer) = post(&Script { ears: Vec::new(), ..Script::default() }.host(), DECODE, &[FILE]);
    let expected = "no model of speech is granted to this route: add its id to `grants.models`";
    assert_eq!((status, answer), (502, json!({"detail": expected})));
}

#[test]
fn a_recording_that_cannot_be_heard_says_why() {
    let host = Script::default().host();
    let cases = [
        ("", 400, "`file` is empty; send a recording"),
        ("noise", 400, "`file` cannot be read: this is no recording"),
        ("long", 413, "`file` is too large: 601 seconds; limits.audio-seconds is 600"),
    ];
    for (file, status, text) in cases {
        assert_eq!(post(&host, DECODE, &[("file@", file)]), (status, json!({"detail": text})));
    }
    assert!(host.record.borrow().speech.is_empty());
}

#[test]
fn what_the_form_lacks_or_has_too_often_names_its_field() {
    let host = Script::default().host();
    let (status, answer) = post(&host, DECODE, &[]);
    let missing = json!({"detail": [{
        "type": "missing", "loc": ["body", "file"], "input": null,
        "msg": "`file` is missing; give a recording, as a file of the form",
    }]});
    assert_eq!((status, answer), (422, missing));
    assert_eq!(fault(&host, DECODE, &[FILE, FILE]).0, "file");
    assert_eq!(fault(&host, DECODE, &[FILE, ("model", "large")]).0, "model");
}

#[test]
fn a_recording_under_another_name_is_no_field_and_the_right_one_is_named_as_missing() {
    let mut request = form(DECODE, &[("audio@", "?")]);
    request.body.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xff);
    let (status, answer) = json_of(reply(&Script::default().host(), request));
    let faults = answer["detail"].as_array().expect("a list");
    let kinds: Vec<_> = faults.iter().map(|fault| (&fault["type"], &fault["loc"][1])).collect();
    let (unknown, missing) = (json!("extra_forbidden"), json!("missing"));
    assert_eq!((status, kinds), (422, vec![(&unknown, &json!("audio")), (&missing, &json!("file"))]));
}

#[test]
fn a_language_that_nobody_knows_is_refused_by_its_field() {
    let reason = "`klingon` is no language's name or code".into();
    let refuse = Some(GenerationError::Invalid { field: "language".into(), reason });
    let host = Script { refuse, ..Script::default() }.host();
    let (field, text) = fault(&host, DECODE, &[FILE, ("language", "klingon")]);
    assert!(field == "language" && text.contains("klingon"), "{field}: {text}");
    let (_, answer) = post(&host, DECODE, &[FILE, ("language", "klingon")]);
    assert_eq!(answer["detail"][0]["input"], "klingon");
}
