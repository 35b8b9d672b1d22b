//! ChatServer's own requests against the manifest of `examples/chat-server`, with the embedded models. A test that stands for a
//! line of the original's README quotes it; `components/chat-server/README.md` lists them.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{self, Answer, send};
use crate::form::{Part, form};
use crate::host::{Host, atelier};

const SAID: &str = "create a red circle on a blue background";
const PROMPT: &str = "a red boat on the sea at sunset";
/// Few: these tests compare bytes, not beauty.
const STEPS: &str = "3";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

async fn host() -> Host {
    let manifest = std::fs::read_to_string(examples().join("chat-server/atelier.toml")).unwrap();
    assert!(manifest.contains("127.0.0.1:8000"), "README line: the server is on port 8000");
    Host::with(tempfile::tempdir().unwrap(), Some(&manifest)).await
}

/// Posts a form.
async fn post(host: &Host, path: &str, parts: &[Part<'_>]) -> Answer {
    send(host.edge, form(path, &[], parts)).await
}

fn text<'a>(name: &'a str, content: &'a str) -> Part<'a> {
    (name, None, content.as_bytes())
}

/// Every event of a picture's stream, which must end with the picture.
async fn generate(host: &Host, parts: &[Part<'_>]) -> Vec<Value> {
    let answer = post(host, "/image/generate", parts).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let data = answer.text().lines().filter_map(|line| line.strip_prefix("data: "));
    let told: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
    assert_eq!(told.last().unwrap()["type"], "result", "{}", answer.text());
    told
}

fn picture(told: &[Value]) -> Vec<u8> {
    STANDARD.decode(told.last().unwrap()["image"].as_str().unwrap()).unwrap()
}

/// The picture that the command line makes, which has other ways in and the same host.
fn drawn(host: &Host, arguments: &[&str]) -> Vec<u8> {
    let arguments = [&["generate", PROMPT, "--steps", STEPS, "-o", "drawn.png"], arguments].concat();
    let output = atelier(host.folder.path()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(host.folder.path().join("drawn.png")).unwrap()
}

/// README lines: "Converts audio files (e.g., WEBM, M4A, WAV) into text using OpenAI Whisper.", "Supports specifying the audio
/// language for improved accuracy."
#[tokio::test]
async fn recordings_in_webm_m4a_and_wav_become_text() {
    let host = host().await;
    let files = [
        "chat-server/recordings/audio.webm",
        "chat-server/recordings/audio.m4a",
        "voice-loop/recordings/en-create.wav",
    ];
    for name in files {
        let bytes = std::fs::read(examples().join(name)).unwrap();
        let file: Part<'_> = ("file", Some("audio"), &bytes);
        for parts in [vec![file], vec![file, text("language", "english")]] {
            let answer = post(&host, "/audio/decode", &parts).await;
            let found = answer.json();
            assert_eq!((answer.status.as_u16(), &found["text"]), (200, &json!(SAID)), "{name}: {found}");
            assert_eq!(found["language"], "en");
        }
    }
    let finnish = std::fs::read(examples().join("voice-loop/recordings/fi-luo.wav")).unwrap();
    let parts = [("file", Some("audio"), &finnish[..]), text("language", "finnish")];
    let answer = post(&host, "/transcript/decode", &parts).await.json();
    assert_eq!(
        (&answer["text"], &answer["language"]),
        (&json!("luo punainen ympyrä siniselle taustalle"), &json!("fi"))
    );
}

/// README lines: "**Text-to-Image Generation:** Creates images from textual descriptions", "Returns a streaming response of
/// progress events."
#[tokio::test]
async fn a_picture_comes_at_the_end_of_its_progress_and_its_request_gives_it_again() {
    let host = host().await;
    let parts = [text("prompt", PROMPT), text("steps", STEPS), text("seed", "7")];
    let told = generate(&host, &parts).await;
    let steps: Vec<_> = told.iter().filter(|event| event["type"] == "progress").collect();
    assert_eq!(steps.iter().map(|event| &event["percent"]).collect::<Vec<_>>(), [33, 66, 100]);
    assert!(told.iter().any(|event| event["type"] == "preview"));
    assert!(picture(&told) == drawn(&host, &["--seed", "7"]), "another picture than generate's");
    let request = &told.last().unwrap()["request"];
    let fields: Vec<_> = request
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let parts: Vec<_> = fields.iter().map(|(name, value)| text(name, value)).collect();
    assert!(picture(&generate(&host, &parts).await) == picture(&told), "{request}");
}

/// README lines: "**Image-to-Image Transformation:** Modifies existing images based on a text prompt.", "`negative_prompt`",
/// "`strength`", "`image`".
#[tokio::test]
async fn an_image_is_changed_by_as_much_as_its_strength_says() {
    let host = host().await;
    let source = drawn(&host, &["--seed", "7"]);
    std::fs::write(host.folder.path().join("source.png"), &source).unwrap();
    let change = |strength: &'static str| {
        [
            text("prompt", PROMPT),
            text("steps", STEPS),
            text("seed", "8"),
            text("strength", strength),
            text("negative_prompt", "night"),
            ("image", Some("a.png"), source.as_slice()),
        ]
    };
    let little = picture(&generate(&host, &change("0.4")).await);
    let much = picture(&generate(&host, &change("1")).await);
    assert!(little != source && much != little);
    let wishes = ["--seed", "8", "--image", "source.png", "--strength", "0.4", "--negative", "night"];
    assert!(little == drawn(&host, &wishes), "another picture than generate's");
    let answer =
        post(&host, "/image/generate", &[text("prompt", PROMPT), ("image", Some("a"), b"zip")]).await;
    assert_eq!(answer.status.as_u16(), 400, "{}", answer.text());
}

/// README lines: "Lists available image generation models and their loaded status.", "Image generation models are loaded on
/// demand and cached for efficiency."
#[tokio::test]
async fn a_model_is_loaded_by_the_first_request_that_needs_it() {
    let host = host().await;
    let loaded = async || {
        let list = client::get(host.edge, "/image/models").await.json();
        ["sdxl", "lcm"].map(|name| {
            let models = list.as_array().unwrap();
            models.iter().find(|model| model["name"] == name).unwrap()["loaded"].as_bool().unwrap()
        })
    };
    assert_eq!(loaded().await, [false, false]);
    let parts = [text("prompt", PROMPT), text("steps", "1"), text("model_name", "lcm")];
    let told = generate(&host, &parts).await;
    let loading: Vec<_> = told.iter().filter(|event| event["type"] == "started").collect();
    assert_eq!(loading.iter().map(|event| &event["loading"]).collect::<Vec<_>>(), [&json!(true)]);
    // both names stand for one model here
    assert_eq!(loaded().await, [true, true]);
}
