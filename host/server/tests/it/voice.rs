//! The voice component on a whole host, asked as OpenAI's clients ask, where the fake engine hears the seconds going by; and
//! `atelier listen` where it cannot do what it is told. What both do with real models is among the product's tests.

use std::path::Path;

use atelier_inference::fake::FakeEngine;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;
use tempfile::TempDir;

use crate::cli::{run, text, with_manifest};
use crate::client::{Answer, get, send};
use crate::house::{House, folder, manifest};
use crate::transcribe::wav;

const TRANSCRIBE: &str = "/voice/v1/audio/transcriptions";

async fn house() -> House {
    let route = "[[model]]\nid = \"ear\"\nsource = \"model\"\n\
                 [[route]]\nname = \"voice\"\npath = \"/voice\"\ncomponent = \"builtin:voice\"\n\
                 grants = { models = [\"ear\", \"fake\"] }\nconfig = { aliases = \"whisper-1=ear\" }\n";
    let engine = FakeEngine { listeners: &["ear"], ..FakeEngine::default() };
    House::serving(folder(), &manifest("", route), engine, Vec::new()).await
}

/// A form with a file and texts, as curl and OpenAI's clients write it.
fn form(path: &str, file: &[u8], texts: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut body = b"--cut\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
                     Content-Type: audio/wav\r\n\r\n"
        .to_vec();
    body.extend(file);
    for (name, text) in texts {
        let head = format!("\r\n--cut\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}");
        body.extend(head.bytes());
    }
    body.extend(b"\r\n--cut--\r\n");
    let request = Request::builder().method(Method::POST).uri(path).header("host", "test");
    let request = request.header("content-type", "multipart/form-data; boundary=cut");
    request.body(Full::from(body)).unwrap()
}

async fn ask(house: &House, file: &[u8], texts: &[(&str, &str)]) -> Answer {
    send(house.edge, form(TRANSCRIBE, file, texts)).await
}

/// So many seconds without a sound.
fn silence(seconds: usize) -> Vec<u8> {
    wav(16_000, std::iter::repeat_n(0, 16_000 * seconds))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_written_down_in_every_format_and_as_a_stream() {
    let house = house().await;
    let whisper = ("model", "whisper-1");
    let answer = ask(&house, &silence(2), &[whisper]).await;
    let usage = json!({"type": "duration", "seconds": 2});
    assert_eq!(
        (answer.status.as_u16(), answer.json()),
        (200, json!({"text": "second 1. second 2.", "usage": usage}))
    );
    let srt = ask(&house, &silence(2), &[whisper, ("response_format", "srt")]).await;
    assert!(srt.text().ends_with("2\n00:00:01,000 --> 00:00:02,000\nsecond 2.\n\n"), "{}", srt.text());
    let told = ask(&house, &silence(2), &[whisper, ("stream", "true")]).await;
    assert_eq!(told.headers["content-type"], "text/event-stream");
    assert!(
        told.text().starts_with("event: transcript.text.delta\ndata: {\"type\":\"transcript.text.delta\"")
    );
    let done = "event: transcript.text.done\ndata: {\"type\":\"transcript.text.done\",\"text\":\"second 1. second 2.\"}\n\n";
    assert!(told.text().ends_with(done), "{}", told.text());
    let ids = get(house.edge, "/voice/v1/models").await.json();
    assert_eq!((&ids["data"][0]["id"], &ids["data"][1]["id"]), (&json!("ear"), &json!("whisper-1")));
}

/// A second of silence behind so many bytes that mean nothing.
fn padded(bytes: u32) -> Vec<u8> {
    let mut file = silence(1);
    let rest = file.split_off(36);
    let chunk = [&b"JUNK"[..], &bytes.to_le_bytes(), &vec![0; bytes as usize]].concat();
    let length = 36 + 32_000 + chunk.len() as u32;
    file[4..8].copy_from_slice(&length.to_le_bytes());
    [file, chunk, rest].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_file_that_openai_takes_fits_a_request_and_a_larger_one_is_refused() {
    let house = house().await;
    let answer = ask(&house, &padded(24_900_000), &[("response_format", "text")]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "second 1.\n"));
    let answer = ask(&house, &padded(28_000_000), &[]).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (413, &json!("too_large")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_in_openais_shape() {
    let house = house().await;
    let answer = ask(&house, b"no recording", &[]).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["param"]), (400, &json!("file")));
    let answer = ask(&house, &silence(601), &[]).await;
    assert!(answer.text().contains("limits.audio-seconds"), "{}", answer.text());
    assert_eq!(answer.status.as_u16(), 413);
    let answer = ask(&house, &silence(1), &[("model", "fake")]).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (404, &json!("model_not_found")));
    let answer = ask(&house, &silence(1), &[("language", "klingon")]).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["param"]), (400, &json!("language")));
}

#[test]
fn commands_that_nobody_can_follow_say_why() {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let manifest = |component: &str| {
        format!(
            "[store]\ncache-dir = {cache:?}\n[[model]]\nid = \"atelier-nano\"\nsource = \"builtin:atelier-nano\"\n\
             [[route]]\nname = \"pictures\"\npath = \"/\"\ncomponent = \"{component}\"\n\
             grants = {{ models = [\"atelier-nano\"], outbound = [\"http://127.0.0.1:1\"] }}\n"
        )
    };
    let refused = |folder: &TempDir, arguments: &[&str], code: i32, named: &str| {
        let output = run(folder.path(), &[&["listen"], arguments].concat());
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(named), "{told}");
    };
    let folder = with_manifest(&manifest("builtin:voice"));
    refused(&folder, &[], 2, "RECORDING");
    refused(&folder, &["a.wav", "--command", "make it night"], 2, "cannot be used with");
    refused(&folder, &["nowhere.wav"], 1, "nowhere.wav");
    refused(&folder, &["--command", "make it night", "--route", "other"], 2, "names no route `other`");
    refused(&folder, &["--command", "make it night"], 1, "`make it night`: ");
    refused(&folder, &["--command", "make it night"], 1, "intent");
    refused(&folder, &["--command", "make it night", "--picture", "nowhere.png"], 1, "nowhere.png");
    std::fs::write(folder.path().join("silence.wav"), silence(1)).unwrap();
    refused(&folder, &["silence.wav"], 1, "no model of speech is granted");
    let deaf = with_manifest(&manifest("builtin:prompt-assist"));
    refused(&deaf, &["--command", "make it night"], 2, "component = \"builtin:voice\"");
}
