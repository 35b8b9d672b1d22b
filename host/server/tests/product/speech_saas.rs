//! The speech-to-image backend's own requests against the manifest of `examples/speech-saas`, with the embedded models and real
//! storage. `components/speech-saas/README.md` lists which line of the original's README each test stands for.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::client::{get, send};
use crate::host::Host;
use crate::tenants::{Key, ask_json, key, tenant, until_logged};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// The example's manifest, its log kept where the test sees it, with few steps.
fn manifest() -> String {
    let manifest = std::fs::read_to_string(examples().join("speech-saas/atelier.toml")).unwrap();
    assert!(manifest.contains("127.0.0.1:5000"), "README line: `PORT=5000`");
    let (begin, rest) = manifest.split_once("[log]").unwrap();
    let (_, rest) = rest.split_once("\n\n").unwrap();
    [begin, rest].concat().replace("DEFAULT_INFERENCE_STEPS = \"20\"", "DEFAULT_INFERENCE_STEPS = \"2\"")
}

async fn host() -> Host {
    Host::with(tempfile::tempdir().unwrap(), Some(&manifest())).await
}

async fn generate(host: &Host, key: Option<&Key>, body: Value) -> Value {
    let answer = ask_json(host, Method::POST, "/generate-image", key, body).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn a_recording_becomes_text() {
    let host = host().await;
    let audio = std::fs::read(examples().join("chat-server/recordings/audio.webm")).unwrap();
    let head = b"--cut\r\nContent-Disposition: form-data; name=\"audio\"; filename=\"a.webm\"\r\n\r\n";
    let body = [&head[..], &audio, b"\r\n--cut--\r\n"].concat();
    let request = Request::post("/transcribe-audio").header("host", "test");
    let request = request.header("content-type", "multipart/form-data; boundary=cut");
    let answer = send(host.edge, request.body(Full::new(Bytes::from(body))).unwrap()).await;
    let (status, answer) = (answer.status.as_u16(), answer.json());
    assert_eq!((status, &answer["text"]), (200, &json!("create a red circle on a blue background")));
}

/// README lines: "**Dreamshaper**: Best for artistic, fantasy, and stylized images", "**Realistic Vision**: Best for
/// photorealistic and cinematic images".
#[tokio::test]
async fn the_style_of_a_prompt_chooses_the_model() {
    let host = host().await;
    for (prompt, model) in [
        ("an artistic city", "dreamshaper"),
        ("a fantasy castle", "dreamshaper"),
        ("a stylized fox", "dreamshaper"),
        ("a photorealistic cat", "realistic_vision"),
        ("a cinematic street at night", "realistic_vision"),
    ] {
        let answer = generate(&host, None, json!({"prompt": prompt, "seed": 1})).await;
        assert_eq!(answer["model"], model, "{prompt}: {}", answer["reason"]);
    }
    let body = json!({"prompt": "a fantasy castle", "model": "realistic_vision"});
    assert_eq!(generate(&host, None, body).await["model"], "realistic_vision");
}

#[tokio::test]
async fn the_status_shows_this_machine() {
    let host = host().await;
    generate(&host, None, json!({"prompt": "a fantasy castle"})).await;
    let status = get(host.edge, "/status").await.json();
    assert_eq!(status["status"], "running", "{status}");
    for (part, field) in
        [("memory", "total_bytes"), ("memory", "process_bytes"), ("disk", "free_bytes"), ("cpu", "cores")]
    {
        assert!(status["system"][part][field].as_u64().unwrap() > 0, "{part} {field}: {status}");
    }
    assert!(
        status["system"]["cpu"]["percent"].as_f64().is_some_and(|percent| (0.0..=100.0).contains(&percent))
    );
    assert_eq!(status["generation"], json!({"state": "idle", "running": 0, "waiting": 0}));
    let loaded: Vec<_> =
        status["models"]["image"].as_array().unwrap().iter().map(|model| &model["loaded"]).collect();
    assert_eq!(loaded, [true, false]);
    assert_eq!(status["images"]["count"], 1);
    assert_eq!(get(host.edge, "/health").await.json()["status"], "healthy");
}

/// Both tenants on every id of the other: there is nothing.
#[tokio::test]
async fn pictures_are_a_tenants_own_and_outlive_the_process() {
    let (ann, bob) = (key("ann", "laptop"), key("bob", "phone"));
    let manifest = manifest().replace("path = \"/\"\n", "path = \"/\"\naccess = \"key\"\n");
    let manifest = [manifest, tenant("ann", &[&ann], ""), tenant("bob", &[&bob], "")].concat();
    let mut host = Host::with(tempfile::tempdir().unwrap(), Some(&manifest)).await;
    let made = generate(&host, Some(&ann), json!({"prompt": "a fantasy castle", "seed": 7})).await;
    let url = made["image_url"].as_str().unwrap();
    let picture = ask_json(&host, Method::GET, url, Some(&ann), Value::Null).await;
    assert_eq!(
        (picture.status.as_u16(), picture.headers["content-type"].to_str().unwrap()),
        (200, "image/png")
    );
    assert_eq!(ask_json(&host, Method::GET, url, Some(&bob), Value::Null).await.status.as_u16(), 404);
    for path in ["/images/../images", "/images/..%2f..%2fatelier.toml", "/images/history"] {
        assert_eq!(
            ask_json(&host, Method::GET, path, Some(&ann), Value::Null).await.status.as_u16(),
            404,
            "{path}"
        );
    }
    let total = async |host: &Host, key| {
        ask_json(host, Method::GET, "/images", Some(key), Value::Null).await.json()["total"].clone()
    };
    assert_eq!((total(&host, &ann).await, total(&host, &bob).await), (json!(1), json!(0)));
    host.signal("KILL");
    host.end().await;
    let folder = std::mem::replace(&mut host.folder, tempfile::tempdir().unwrap());
    let host = Host::with(folder, Some(&manifest)).await;
    let again = ask_json(&host, Method::GET, url, Some(&ann), Value::Null).await;
    assert!(again.status.as_u16() == 200 && again.body == picture.body, "the picture is there after a kill");
}

#[tokio::test]
async fn a_grant_that_lacks_is_named_when_the_route_is_loaded() {
    for (line, wanted) in [
        ("machine = true\n", "grants.machine"),
        ("buckets = [\"speech-saas\"]\n", "grants.buckets"),
        ("containers = [\"speech-saas-images\"]\n", "grants.containers"),
    ] {
        let manifest = manifest();
        assert!(manifest.contains(line));
        // another route, so that the host is ready at all
        let fine = "[[route]]\nname = \"fine\"\npath = \"/fine\"\ncomponent = \"builtin:prompt-assist\"\n\
                    grants = { models = [\"dreamshaper-8\"], outbound = [\"http://127.0.0.1:9\"] }\n";
        let manifest = [&manifest.replace(line, ""), fine].concat();
        let host = Host::with(tempfile::tempdir().unwrap(), Some(&manifest)).await;
        until_logged(&host, wanted).await;
        assert_eq!(get(host.edge, "/health").await.status.as_u16(), 503);
    }
}
