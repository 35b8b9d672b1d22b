//! `atelier transcribe`: a model of speech from the hub to a transcript. Its weights are random, so that what it says of noise
//! means nothing; that it is the same each time, and in every format, does. Last, the embedded model, which can listen.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{atelier, run, text, with_manifest};
use crate::hub::{Repository, Standin};

/// A manifest with the embedded model and these.
fn with_models(models: &str) -> TempDir {
    // compiled code is shared by all tests: compiling it takes longer than they do
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let nano = "[[model]]\nid = \"atelier-nano\"\nsource = \"builtin:atelier-nano\"\n";
    with_manifest(&format!("[store]\ncache-dir = {cache:?}\n{nano}{models}"))
}

/// The engine's small Whisper, which knows a few languages.
fn whisper() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/golden/whisper/multilingual")
}

/// A wav file of one channel.
pub(crate) fn wav(rate: u32, samples: impl Iterator<Item = i16>) -> Vec<u8> {
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(rate.to_le_bytes());
    file.extend((2 * rate).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

fn recording(folder: &TempDir, name: &str, samples: impl Iterator<Item = i16>) {
    std::fs::write(folder.path().join(name), wav(16_000, samples)).unwrap();
}

fn noise() -> impl Iterator<Item = i16> {
    let mut state = 1u32;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as i16 / 4
    })
    .take(24_000)
}

fn listening() -> TempDir {
    let model = format!("[[model]]\nid = \"ear\"\nsource = \"path:{}\"\n", whisper().display());
    let folder = with_models(&model);
    recording(&folder, "noise.wav", noise());
    recording(&folder, "silence.wav", std::iter::repeat_n(0, 32_000));
    folder
}

#[track_caller]
fn failed(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    text(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whisper_is_pulled_from_the_hub_and_listens_offline() {
    let mut files = Repository::new();
    for entry in std::fs::read_dir(whisper()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if !name.starts_with("golden") {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    let taken: Vec<String> = files.keys().cloned().collect();
    for decoy in
        ["README.md", "pytorch_model.bin", "flax_model.msgpack", "model.fp32-00001-of-00002.safetensors"]
    {
        files.insert(decoy.into(), b"for other programs".to_vec());
    }
    let (endpoint, _) = Standin::with([("openai/whisper-tiny".to_owned(), files)]).start().await;
    let folder = with_models("[[model]]\nid = \"ear\"\nsource = \"hub:openai/whisper-tiny\"\n");
    recording(&folder, "noise.wav", noise());
    let absent = run(folder.path(), &["transcribe", "noise.wav", "--model", "ear"]);
    assert!(failed(&absent, 1).contains("atelier models pull ear"), "{}", text(&absent.stderr));
    let mut command = atelier(folder.path());
    command.args(["models", "pull", "ear", "--json"]).env("HF_ENDPOINT", endpoint);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let pulled: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found: Vec<String> = std::fs::read_dir(pulled["folder"].as_str().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, taken);
    let answer =
        run(folder.path(), &["transcribe", "noise.wav", "--everything", "--temperature", "0", "--json"]);
    assert!(answer.status.success(), "{}", text(&answer.stderr));
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!((&answer["model"], &answer["seconds"]), (&"ear".into(), &1.5.into()));
}

#[test]
fn noise_is_written_in_every_format_and_the_same_each_time() {
    let folder = listening();
    let ask = |more: &[&str]| {
        let mut arguments = vec!["transcribe", "noise.wav", "--everything", "--temperature", "0"];
        arguments.extend(["--language", "Finnish"]);
        arguments.extend(more);
        let output = run(folder.path(), &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    let verbose: Value = serde_json::from_str(&ask(&["--format", "verbose_json", "--words"])).unwrap();
    assert_eq!((&verbose["language"], &verbose["duration"]), (&"finnish".into(), &1.5.into()));
    let segments = verbose["segments"].as_array().unwrap();
    assert!(!segments.is_empty() && verbose["words"].is_array(), "{verbose}");
    assert_eq!(ask(&[]), ask(&[]));
    let srt = ask(&["--format", "srt"]);
    assert!(srt.starts_with("1\n00:00:00,") && srt.contains(" --> "), "{srt}");
    let told = ask(&["--output", "noise.vtt"]);
    assert!(told.starts_with("noise.vtt"), "{told}");
    let vtt = std::fs::read_to_string(folder.path().join("noise.vtt")).unwrap();
    assert!(vtt.starts_with("WEBVTT\n\n00:00."), "{vtt}");
    assert_eq!(srt.matches("-->").count(), vtt.matches("-->").count());
}

#[test]
fn silence_has_no_text() {
    let folder = listening();
    let output = run(folder.path(), &["transcribe", "silence.wav"]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let json = run(folder.path(), &["transcribe", "silence.wav", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["text"], json["segments"].as_array().map(Vec::len)), (&"".into(), Some(0)));
}

#[test]
fn what_cannot_be_transcribed_says_why() {
    let folder = listening();
    std::fs::write(folder.path().join("notes.txt"), "not a recording").unwrap();
    let refused = |arguments: &[&str], code: i32, named: &str| {
        let output = run(folder.path(), &[&["transcribe"], arguments].concat());
        assert!(failed(&output, code).contains(named), "{}", text(&output.stderr));
    };
    refused(&["notes.txt"], 1, "notes.txt");
    refused(&["nowhere.wav"], 1, "nowhere.wav");
    refused(&["noise.wav", "--language", "klingon"], 1, "language: `klingon`");
    refused(&["noise.wav", "--beam-size", "99"], 1, "beam-size");
    refused(&["noise.wav", "--model", "nobody"], 2, "names no model `nobody`");
    refused(&["noise.wav", "--model", "atelier-nano"], 1, "makes pictures, not text from speech");
    refused(&["noise.wav", "-o", "noise.doc"], 2, "--format");
    let output = run(folder.path(), &["generate", "a boat", "--model", "ear"]);
    assert!(failed(&output, 1).contains("makes text from speech, not pictures"));
    let deaf = with_models("");
    recording(&deaf, "noise.wav", noise());
    let output = run(deaf.path(), &["transcribe", "noise.wav"]);
    assert!(failed(&output, 2).contains("names no model that makes text from speech"));
}

/// The recordings of `examples/voice-loop`, by voices that the embedded model's training never heard.
const SAID: [(&str, &str, &str); 6] = [
    ("en-create.wav", "en", "create a red circle on a blue background"),
    ("en-night.wav", "en", "make it night"),
    ("en-back.wav", "en", "go back to the previous image"),
    ("fi-luo.wav", "fi", "luo punainen ympyrä siniselle taustalle"),
    ("fi-yo.wav", "fi", "tee siitä yö"),
    ("fi-palaa.wav", "fi", "palaa edelliseen kuvaan"),
];

#[test]
fn the_embedded_ear_writes_down_commands_in_two_languages_word_for_word() {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/voice-loop/recordings");
    let folder = with_models("[[model]]\nid = \"ear\"\nsource = \"builtin:atelier-nano-ear\"\n");
    for (file, language, said) in SAID {
        let path = recordings.join(file);
        let output = run(folder.path(), &["transcribe", path.to_str().unwrap(), "--words", "--json"]);
        assert!(output.status.success(), "{file}: {}", text(&output.stderr));
        let heard: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(heard["text"].as_str().map(str::trim), Some(said), "{file}: {heard}");
        assert_eq!(heard["language"]["code"], language, "{file}");
        let words = heard["segments"][0]["words"].as_array().unwrap();
        assert_eq!(words.len(), said.split(' ').count(), "{file}: {words:?}");
        let times: Vec<f64> =
            words.iter().flat_map(|word| [&word["start"], &word["end"]]).filter_map(Value::as_f64).collect();
        let seconds = heard["seconds"].as_f64().unwrap();
        // the first word begins within the first half of the recording, the last one ends within it
        assert!(times.is_sorted() && times[0] < seconds / 2.0, "{file}: {times:?}");
        assert!(times[times.len() - 1] <= seconds, "{file}: {times:?}");
    }
}
