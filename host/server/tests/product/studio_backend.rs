//! The studio's backend at its own door, and a studio whose work it does: two instances of the real binary with the manifests of
//! `examples/voice-studio`. `components/voice-studio/README.md` lists which line of the original's README each test stands for.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::client::{Answer, send};
use crate::form::{Part, form};
use crate::host::{Host, JSON, STREAM};
use crate::tenants::{ask_json, key, tenant};

const PATIENCE: Duration = Duration::from_secs(120);
const CREATE: &str = "create a red circle on a blue background";
const PROMPT: &str = "a red circle on a blue background";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn manifest(name: &str) -> String {
    let file = examples().join("voice-studio").join(name).with_extension("toml");
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn recording(name: &str) -> Vec<u8> {
    std::fs::read(examples().join("voice-loop/recordings").join(name).with_extension("wav")).unwrap()
}

async fn started(manifest: &str) -> Host {
    Host::with(tempfile::tempdir().unwrap(), Some(manifest)).await
}

/// One of the example's studios, which knows where the backend is.
async fn studio(name: &str, backend: &str) -> Host {
    let address = "http://127.0.0.1:8000";
    let manifest = manifest(name).replace(address, backend);
    let tell = |command: &mut std::process::Command| {
        command.env("BACKEND_URL", backend);
    };
    Host::told(tempfile::tempdir().unwrap(), Some(&manifest), tell).await
}

async fn queued(host: &Host, path: &str, body: Value) -> Value {
    let answer = ask_json(host, Method::POST, path, None, body).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    answer.json()
}

async fn standing(host: &Host, task: &Value, query: &str) -> Value {
    let path = format!("/task_status/{}{query}", task["task_id"].as_str().unwrap());
    ask_json(host, Method::GET, &path, None, Value::Null).await.json()
}

/// Everything that is told of a task until it has ended.
async fn followed(host: &Host, task: &Value) -> Vec<Value> {
    let (mut told, end) = (vec![task.clone()], Instant::now() + PATIENCE);
    while !["completed", "failed", "cancelled"].map(Value::from).contains(&told[told.len() - 1]["status"]) {
        assert!(Instant::now() < end, "it never ended: {:?}", told.last());
        tokio::time::sleep(Duration::from_millis(10)).await;
        told.push(standing(host, task, "").await);
    }
    told
}

fn is_webp(address: &Value) -> bool {
    // "RIFF" in base64
    address.as_str().is_some_and(|address| address.starts_with("data:image/webp;base64,UklGR"))
}

/// README lines: `GET /health`, `POST /transcribe`, `POST /llm`.
#[tokio::test]
async fn the_backend_is_well_hears_and_understands() {
    let host = started(&manifest("backend")).await;
    let health = ask_json(&host, Method::GET, "/health", None, Value::Null).await.json();
    assert_eq!(
        (&health["status"], &health["modes"]["local_quality"]),
        (&json!("healthy"), &json!({"available": true}))
    );
    for (name, language, text) in
        [("en-create", "auto", CREATE), ("fi-palaa", "fi", "palaa edelliseen kuvaan")]
    {
        let audio = recording(name);
        let parts: [Part<'_>; 2] =
            [("audio", Some("a.wav"), &audio), ("language", None, language.as_bytes())];
        let heard = send(host.edge, form("/transcribe", &[], &parts)).await.json();
        assert_eq!((&heard["text"], &heard["model"]), (&json!(text), &json!("atelier-nano-ear")), "{heard}");
        assert_eq!(heard["language"], name[..2]);
    }
    let understood = queued(&host, "/llm", json!({"text": CREATE})).await;
    assert_eq!(understood, json!({"action": "create", "target": "", "prompt": PROMPT}));
    let studio = ask_json(&host, Method::GET, "/kuvagen/", None, Value::Null).await;
    assert_eq!(studio.status.as_u16(), 404, "a backend has no page");
}

/// README lines: `POST /generate_image`, `POST /edit_image`, `GET /task_status/{task_id}`, "Single image generation/editing task
/// processed at a time", "Queue position", "partial image previews", "`queued` → `processing` → `completed`".
#[tokio::test]
async fn pictures_are_queued_drawn_one_at_a_time_and_shown_while_they_are_drawn() {
    let host = started(&manifest("backend")).await;
    let wanted = json!({"prompt": PROMPT, "mode": "local_quality", "seed": 7});
    let first = queued(&host, "/generate_image", wanted.clone()).await;
    assert_eq!((&first["status"], &first["position"]), (&json!("queued"), &json!(0)), "{first}");
    let second = queued(&host, "/generate_image", json!({"prompt": "a green star"})).await;
    let third = queued(&host, "/generate_image", wanted).await;
    assert_eq!((&third["status"], second["position"].is_u64()), (&json!("queued"), true), "{second} {third}");
    assert!(third["position"].as_u64() > second["position"].as_u64(), "{second} {third}");
    let told = followed(&host, &first).await;
    let words = |status: &str| told.iter().filter(|told| told["status"] == status).count();
    assert!(words("processing") > 0 && words("completed") == 1, "{told:?}");
    assert!(told.iter().any(|told| told["step"].as_u64() > Some(0) && told["steps"] == 40));
    let previews = told.iter().filter_map(|told| told["preview"].as_str());
    assert!(previews.clone().all(|preview| preview.starts_with("data:image/png;base64,iVBORw0KGgo")));
    assert!(
        previews.count() > 0,
        "{:?}",
        told.iter().map(|told| told["message"].clone()).collect::<Vec<_>>()
    );
    let done = &told[told.len() - 1]["result"];
    assert!(is_webp(&done["image"]), "{done}");
    assert_eq!(
        (&done["seed"], &done["prompt"], &done["mode"]),
        (&json!(7), &json!(PROMPT), &json!("local_quality"))
    );
    // the same seed gives the same picture; the last waits for all before it
    let again = followed(&host, &third).await;
    assert_eq!(again[again.len() - 1]["result"]["image"], done["image"]);
    let waited = standing(&host, &third, "?wait_ms=20000").await;
    assert_eq!(waited["status"], "completed", "there is nothing more to wait for");
    let edit = queued(
        &host,
        "/edit_image",
        json!({"image": done["image"], "prompt": "make it night", "mode": "local_fast"}),
    )
    .await;
    let changed = followed(&host, &edit).await;
    let changed = &changed[changed.len() - 1]["result"];
    assert_eq!(changed["model"], "atelier-nano-edit");
    assert!(is_webp(&changed["image"]) && changed["image"] != done["image"]);
    let unknown =
        ask_json(&host, Method::GET, "/task_status/00000000-0000-4000-8000-000000000000", None, Value::Null)
            .await;
    assert_eq!((unknown.status.as_u16(), &unknown.json()["code"]), (404, &json!("not_found")));
}

/// README line: "No mixing of data between users"; what was taken is drawn, whatever happens to the host.
#[tokio::test]
async fn a_task_is_its_tenants_alone_and_outlives_a_host_that_is_killed() {
    let (a, b) = (key("a", "laptop"), key("b", "phone"));
    let manifest = manifest("backend").replace("component =", "access = \"key\"\ncomponent =");
    let manifest = format!("{manifest}\n{}{}", tenant("a", &[&a], ""), tenant("b", &[&b], ""));
    let mut host = started(&manifest).await;
    let body = json!({"prompt": PROMPT, "mode": "local_quality"});
    let task = ask_json(&host, Method::POST, "/generate_image", Some(&a), body).await.json();
    let path = format!("/task_status/{}", task["task_id"].as_str().unwrap());
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(ask_json(&host, method, &path, Some(&b), Value::Null).await.status.as_u16(), 404);
    }
    host.signal("KILL");
    host.end().await;
    let folder = std::mem::replace(&mut host.folder, tempfile::tempdir().unwrap());
    let host = Host::with(folder, Some(&manifest)).await;
    let end = Instant::now() + PATIENCE;
    loop {
        let standing = ask_json(&host, Method::GET, &path, Some(&a), Value::Null).await.json();
        if standing["status"] == "completed" {
            assert!(is_webp(&standing["result"]["image"]));
            return;
        }
        assert!(Instant::now() < end, "it was never drawn: {standing}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One who keeps a cookie at a studio.
struct Visitor<'a> {
    host: &'a Host,
    cookie: std::cell::RefCell<String>,
}

impl Visitor<'_> {
    fn at(host: &Host) -> Visitor<'_> {
        Visitor { host, cookie: std::cell::RefCell::default() }
    }

    async fn send(&self, mut request: Request<Full<Bytes>>) -> Answer {
        let cookie = self.cookie.borrow().clone();
        if !cookie.is_empty() {
            request.headers_mut().insert("cookie", cookie.parse().unwrap());
        }
        let answer = send(self.host.edge, request).await;
        if let Some(set) = answer.headers.get("set-cookie") {
            self.cookie.replace(set.to_str().unwrap().split(';').next().unwrap().to_owned());
        }
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        let request = Request::get(format!("/kuvagen/{path}")).header("host", "test");
        self.send(request.body(Full::default()).unwrap()).await
    }

    async fn command(&self, accept: &str, what: Part<'_>) -> Answer {
        let parts = [what, ("mode", None, &b"local_quality"[..])];
        self.send(form("/kuvagen/process_command", &[("accept", accept)], &parts)).await
    }

    async fn say(&self, name: &str) -> Vec<(String, Value)> {
        let answer = self.command(STREAM, ("audio", Some("command.wav"), &recording(name))).await;
        let frames = answer.text().split_terminator("\n\n").filter_map(|frame| frame.split_once('\n'));
        frames.map(|(name, data)| (name[7..].to_owned(), serde_json::from_str(&data[6..]).unwrap())).collect()
    }

    async fn write(&self, text: &str) -> (u16, Value) {
        let answer = self.command(JSON, ("text", None, text.as_bytes())).await;
        (answer.status.as_u16(), answer.json())
    }
}

/// README lines: "Routes requests to either local backend or cloud services", `BACKEND_URL`, "Minimal resources needed".
#[tokio::test]
async fn a_studio_without_models_has_its_work_done_by_the_backend() {
    let backend = started(&manifest("backend")).await;
    let front = studio("front", &format!("http://{}", backend.edge)).await;
    let visitor = Visitor::at(&front);
    let check = visitor.get("api/check_backend").await.json();
    assert_eq!(
        (&check["backend"], &check["default_mode"]),
        (&json!({"available": true}), &json!("local_fast")),
        "{check}"
    );
    let events = visitor.say("en-create").await;
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        (names[0], names[1], *names.last().unwrap()),
        ("transcript", "understood", "done"),
        "{names:?}"
    );
    assert!(names.contains(&"progress") && names.contains(&"preview"), "{names:?}");
    assert_eq!(events[1].1["prompt"], PROMPT);
    let first = &events[events.len() - 1].1["image"];
    assert_eq!((&first["model"], &first["mode"]), (&json!("atelier-nano"), &json!("local_quality")));
    let changed = visitor.say("en-night").await;
    let second = &changed[changed.len() - 1].1["image"];
    assert_eq!((&second["parent"], &second["model"]), (&first["name"], &json!("atelier-nano-edit")));
    let back = visitor.say("en-back").await;
    assert_eq!(back[back.len() - 1].1["current"], first["name"]);
    let file = visitor.get(second["url"].as_str().unwrap()).await;
    assert!(file.body.starts_with(b"RIFF") && file.body[8..].starts_with(b"WEBP"));
    backend.until_counted("atelier_background_jobs_total{operation=\"complete\"}", 2).await;
    // what it keeps of tasks is nobody's gallery
    assert_eq!(visitor.get("gallery").await.json()["images"].as_array().unwrap().len(), 2);
}

/// README lines: "System automatically falls back …", "Ensure backend server is running and accessible".
#[tokio::test]
async fn without_the_backend_the_studio_works_alone_or_says_what_is_missing() {
    let mut backend = started(&manifest("backend")).await;
    let address = format!("http://{}", backend.edge);
    let (alone, front) = (studio("atelier", &address).await, studio("front", &address).await);
    let visitor = Visitor::at(&alone);
    let (_, there) = visitor.write(CREATE).await;
    assert_eq!(there["notes"], json!([]), "{there}");
    backend.signal("KILL");
    backend.end().await;
    let (status, here) = visitor.write(CREATE).await;
    let note = here["notes"][0].as_str().unwrap_or_default().to_owned();
    assert_eq!((status, &here["image"]["model"]), (200, &json!("atelier-nano")), "{here}");
    assert!(note.contains("the backend is not to be had") && note.contains("refused"), "{note}");
    let (status, refused) = Visitor::at(&front).write(CREATE).await;
    assert_eq!((status, &refused["error"]["code"]), (502, &json!("no_backend")), "{refused}");
    let check = Visitor::at(&front).get("api/check_backend").await.json();
    assert_eq!((&check["available"], &check["backend"]["available"]), (&json!(false), &json!(false)));
}

/// A server that takes connections and says nothing is none.
#[tokio::test]
async fn a_backend_that_hangs_is_noticed_in_two_seconds() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let front = studio("atelier", &format!("http://{}", silent.local_addr().unwrap())).await;
    let began = Instant::now();
    let check = Visitor::at(&front).get("api/check_backend").await.json();
    assert_eq!(check["backend"]["available"], false, "{check}");
    assert!(check["backend"]["reason"].as_str().unwrap().contains("2000 ms"), "{check}");
    assert!(began.elapsed() >= Duration::from_secs(2) && began.elapsed() < Duration::from_secs(20));
}
