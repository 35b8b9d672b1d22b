//! Transcriptions and translations: every field, every form of the answer, and the stream.

use atelier_kit::host::GenerationError;
use atelier_kit::http::Reply;
use atelier_kit::speech::{Task, Timestamps, Transcript};
use futures::executor::block_on;
use futures::{StreamExt, future};
use serde_json::json;

use crate::fake::{Script, TRANSCRIBE, TRANSLATE, boat, post};

const FILE: (&str, &str) = ("file", "sound");

#[test]
fn a_recording_alone_is_written_down_by_the_routes_first_model() {
    let host = Script::default().host();
    let (status, answer) = host.post_json(TRANSCRIBE, &[FILE]);
    let text = "Punainen vene. Se\n\nkulkee --> pois.";
    let usage = json!({"type": "duration", "seconds": 3_662});
    assert_eq!((status, answer), (200, json!({"text": text, "usage": usage})));
    let order = host.record.borrow().speech[0].clone();
    assert_eq!((order.model.as_str(), order.task), ("ear", Task::Transcribe));
    assert_eq!((order.timestamps, order.temperatures), (Timestamps::Segments, vec![]));
}

#[test]
fn every_field_reaches_the_job() {
    let host = Script::default().host();
    let parts = [
        FILE,
        ("model", "whisper"),
        ("language", "fi"),
        ("prompt", "Vene"),
        ("temperature", "0.5"),
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "word"),
    ];
    assert_eq!(host.post_json(TRANSCRIBE, &parts).0, 200);
    let order = host.record.borrow().speech[0].clone();
    assert_eq!((order.model.as_str(), order.language.as_deref()), ("whisper", Some("fi")));
    assert_eq!((order.initial_prompt.as_deref(), order.temperatures), (Some("Vene"), vec![0.5]));
    assert_eq!(order.timestamps, Timestamps::Words);
}

#[test]
fn what_is_sent_empty_asks_for_nothing_and_temperature_0_tries_others() {
    let host = Script::default().host();
    assert_eq!(
        host.post_json(TRANSCRIBE, &[FILE, ("language", ""), ("prompt", ""), ("temperature", "0")]).0,
        200
    );
    let order = host.record.borrow().speech[0].clone();
    assert_eq!((order.language, order.initial_prompt, order.temperatures), (None, None, vec![]));
}

#[test]
fn a_translation_is_english_whatever_was_spoken() {
    let host = Script::default().host();
    let (status, answer) = host.post_json(TRANSLATE, &[FILE, ("response_format", "verbose_json")]);
    assert_eq!((status, &answer["task"], &answer["language"]), (200, &json!("translate"), &json!("english")));
    assert_eq!(host.record.borrow().speech[0].task, Task::Translate);
    let (status, answer) = host.post_json(TRANSLATE, &[FILE, ("language", "fi")]);
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("language")));
}

#[test]
fn subtitles_have_times_in_their_own_forms_and_no_text_that_would_end_them() {
    let host = Script::default().host();
    assert_eq!(
        host.post_text(TRANSCRIBE, &[FILE, ("response_format", "srt")]),
        "1\n00:00:00,000 --> 00:00:01,500\nPunainen vene.\n\n\
         2\n01:01:01,500 --> 01:01:02,000\nSe\nkulkee -> pois.\n\n"
    );
    assert_eq!(
        host.post_text(TRANSCRIBE, &[FILE, ("response_format", "vtt")]),
        "WEBVTT\n\n00:00.000 --> 00:01.500\nPunainen vene.\n\n\
         01:01:01.500 --> 01:01:02.000\nSe\nkulkee -> pois.\n\n"
    );
    assert_eq!(
        host.post_text(TRANSCRIBE, &[FILE, ("response_format", "text")]),
        "Punainen vene. Se\n\nkulkee --> pois.\n"
    );
}

#[test]
fn verbose_json_has_the_times_that_were_asked_for_and_no_others() {
    let ask = |granularities: &[(&'static str, &'static str)]| {
        let parts = [&[FILE, ("response_format", "verbose_json")], granularities].concat();
        Script::default().host().post_json(TRANSCRIBE, &parts).1
    };
    let (word, segment) = (("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment"));
    let usual = ask(&[]);
    assert_eq!((&usual["language"], &usual["duration"]), (&json!("finnish"), &json!(3_662.0)));
    assert_eq!((&usual["segments"][1]["id"], &usual["segments"][1]["seek"]), (&json!(1), &json!(366_150)));
    assert_eq!(usual["segments"][0]["tokens"], json!([1, 2]));
    assert!(usual.get("words").is_none());
    let words = ask(&[word]);
    assert_eq!(words["words"], json!([{"word": "vene.", "start": 1.0, "end": 1.5}]));
    assert!(words.get("segments").is_none());
    let both = ask(&[word, segment]);
    assert!(both["segments"].is_array() && both["words"].is_array());
}

#[test]
fn nothing_said_is_an_empty_answer_of_its_kind() {
    let ask = |format| {
        let silence = Transcript { seconds: 0.5, ..Transcript::default() };
        let host = Script { heard: Ok(silence), ..Script::default() }.host();
        host.post_text(TRANSCRIBE, &[FILE, ("response_format", format)])
    };
    assert_eq!((ask("text"), ask("srt"), ask("vtt")), ("\n".into(), String::new(), "WEBVTT\n\n".into()));
    assert!(ask("verbose_json").contains(r#""language":"""#));
    assert_eq!(ask("json"), r#"{"text":"","usage":{"type":"duration","seconds":1}}"#);
}

#[test]
fn a_stream_tells_text_as_it_comes_and_then_all_of_it() {
    let told = Script::default().host().stream(post(TRANSCRIBE, &[FILE, ("stream", "true")]));
    let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["transcript.text.delta", "transcript.text.delta", "transcript.text.done"]);
    assert_eq!(told[0].1, json!({"type": "transcript.text.delta", "delta": "Punainen vene."}));
    let deltas: String = told.iter().filter_map(|(_, data)| data["delta"].as_str()).collect();
    assert_eq!(told[2].1, json!({"type": "transcript.text.done", "text": deltas}));
}

#[test]
fn a_stream_that_fails_ends_with_the_error() {
    let host =
        Script { heard: Err(GenerationError::Failed("the weights are damaged".into())), ..Script::default() };
    let told = host.host().stream(post(TRANSCRIBE, &[FILE, ("stream", "true")]));
    assert_eq!(
        (told[0].0.as_str(), &told[0].1["error"]["message"]),
        ("error", &json!("the weights are damaged"))
    );
}

#[test]
fn dropping_the_stream_drops_the_job() {
    let host = Script { never_ends: true, ..Script::default() }.host();
    let Reply::Stream(_, producer) = host.reply(post(TRANSCRIBE, &[FILE, ("stream", "true")])) else {
        panic!("a whole answer")
    };
    let (writer, mut reader) = futures::channel::mpsc::channel(8);
    let client = async {
        for _ in boat().segments {
            reader.next().await;
        }
    };
    match block_on(future::select(producer(writer), Box::pin(client))) {
        future::Either::Right((_, work)) => drop(work),
        future::Either::Left(_) => panic!("the job never ends"),
    }
    assert_eq!(host.record.borrow().jobs_dropped, 1);
}
