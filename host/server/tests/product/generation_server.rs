//! The generation server's own requests against the manifest of `examples/generation-server`, with the embedded model, real storage,
//! and Redis and S3 as real servers. `components/generation-server/README.md` lists which line of the original's README each test
//! stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Answer, get, send};
use crate::form::{Part, form};
use crate::host::{Host, atelier};
use crate::servers::{self, Server};
use crate::tenants::{Key, ask_json, key, tenant};

const T2I: &str = "/api/flux/t2i";
/// What webhooks are signed with: `whsec_` and 30 bytes in base64.
const SIGNING: &str = "whsec_YSBzZWNyZXQgb2YgdHdlbnR5LWZvdXIgYnl0ZXMh";
const PATIENCE: Duration = Duration::from_secs(90);
/// How many tasks there are while the host is killed, and how often it is.
const TASKS: usize = 50;
const KILLS: u64 = 20;

/// The example's manifest; Redis and S3 are at ports where nobody listens, unless a test says otherwise.
fn manifest() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/generation-server/atelier.toml");
    let manifest = std::fs::read_to_string(path).unwrap();
    assert!(manifest.contains("127.0.0.1:8000"), "README line: the server is on port 8000");
    manifest
}

async fn host_in(folder: TempDir, manifest: &str, redis: u16, s3: u16) -> Host {
    Host::told(folder, Some(manifest), |command| {
        command.env("REDIS_HOST", "127.0.0.1").env("REDIS_PORT", redis.to_string()).env("TASK_TTL", "600");
        command.env("WEBHOOK_SECRET", SIGNING);
        command.env("AWS_ACCESS_KEY_ID", servers::KEY).env("AWS_SECRET_ACCESS_KEY", servers::SECRET);
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{s3}"));
    })
    .await
}

/// A host without Redis and S3, which work goes on without.
async fn alone(manifest: &str) -> Host {
    host_in(tempfile::tempdir().unwrap(), manifest, 9, 9).await
}

/// Another process in the folder of one that has ended.
async fn again(ended: &mut Host, manifest: &str) -> Host {
    let folder = std::mem::replace(&mut ended.folder, tempfile::tempdir().unwrap());
    host_in(folder, manifest, 9, 9).await
}

/// A small picture in few steps: these tests compare bytes, not beauty.
fn small(seed: u64) -> Value {
    json!({"prompt": "a red boat on the sea", "width": 128, "height": 128, "num_inference_steps": 2, "seed": seed})
}

fn id(answer: &Answer) -> String {
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    answer.json()["session_id"].as_str().unwrap().to_owned()
}

async fn submit(host: &Host, body: Value) -> String {
    id(&ask_json(host, Method::POST, T2I, None, body).await)
}

async fn status(host: &Host, key: Option<&Key>, id: &str) -> Value {
    let answer = ask_json(host, Method::GET, &format!("/api/{id}/status"), key, Value::Null).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    answer.json()
}

/// How a task ends.
async fn ended(host: &Host, key: Option<&Key>, id: &str) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = status(host, key, id).await;
        if ["completed", "failed"].iter().any(|word| status["status"] == *word) {
            return status;
        }
        assert!(Instant::now() < end, "{id} never ended: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The picture that the command line makes, which has other ways in and the same host.
fn drawn(host: &Host, arguments: &[&str]) -> Vec<u8> {
    let arguments =
        [&["generate", "a red boat on the sea", "--steps", "2", "-o", "drawn.png"], arguments].concat();
    let output = atelier(host.folder.path()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(host.folder.path().join("drawn.png")).unwrap()
}

/// README lines: "1. **Submit a generation task** → Get `session_id` immediately", "2. **Poll status endpoint** → Check progress using
/// `session_id`", "3. **Get result URL** → When status is `completed`".
#[tokio::test]
async fn a_task_goes_from_its_id_to_its_picture() {
    let host = alone(&manifest()).await;
    let answer = ask_json(&host, Method::POST, T2I, None, small(7)).await;
    let (id, told) = (id(&answer), answer.json());
    let message = "Task submitted. Use /api/{session_id}/status to check progress.";
    assert_eq!((told["status"].as_str(), told["message"].as_str()), (Some("pending"), Some(message)));
    let ended = ended(&host, None, &id).await;
    assert_eq!(
        (&ended["status"], &ended["progress"], &ended["error"]),
        (&json!("completed"), &json!(100), &Value::Null)
    );
    assert_eq!(ended["result_url"], format!("/api/{id}/image"));
    let picture = get(host.edge, &format!("/api/{id}/image")).await;
    assert_eq!(
        (picture.status.as_u16(), picture.headers["content-type"].as_bytes()),
        (200, &b"image/png"[..])
    );
    assert!(
        picture.body == drawn(&host, &["--seed", "7", "--guidance", "7.5"]),
        "another picture than generate's"
    );
    let health = get(host.edge, "/").await.json();
    assert_eq!(
        [&health["status"], &health["redis"], &health["s3"]],
        ["degraded", "disconnected", "disconnected"]
    );
}

/// The original's `.env` has no secret for webhooks.
#[tokio::test]
async fn without_a_secret_for_webhooks_tasks_are_done_and_those_that_name_one_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::told(folder, Some(&manifest()), |command| {
        command.env_remove("WEBHOOK_SECRET");
    })
    .await;
    let id = submit(&host, small(7)).await;
    assert_eq!(ended(&host, None, &id).await["status"], "completed");
    let mut told = small(7);
    told["webhook_url"] = json!("https://example.com/hook");
    let answer = ask_json(&host, Method::POST, T2I, None, told.clone()).await;
    let fault = answer.json()["detail"][0].clone();
    assert_eq!((answer.status.as_u16(), &fault["loc"]), (422, &json!(["body", "webhook_url"])), "{fault}");
    let why = fault["msg"].as_str().unwrap();
    assert!(
        why.starts_with("route `generation-server` tells nobody until") && why.contains("WEBHOOK_SECRET"),
        "{why}"
    );
    told["model"] = json!("flux");
    let mut untold = small(7);
    untold["model"] = json!("flux");
    let batch = json!({ "tasks": [untold, told] });
    let fault = ask_json(&host, Method::POST, "/api/batch", None, batch).await.json()["detail"][0].clone();
    assert_eq!(fault["loc"], json!(["body", "tasks", 1, "webhook_url"]), "{fault}");
}

/// README line: "**Image-to-Image (i2i)**: Transform images using AI models".
#[tokio::test]
async fn an_image_is_changed_by_as_much_as_its_strength_says() {
    let host = alone(&manifest()).await;
    let source = drawn(&host, &["--seed", "7"]);
    std::fs::write(host.folder.path().join("source.png"), &source).unwrap();
    let text = |name: &'static str, text: &'static str| -> Part<'_> { (name, None, text.as_bytes()) };
    let parts = [
        ("image", Some("source.png"), &source[..]),
        text("prompt", "a red boat on the sea"),
        text("strength", "0.5"),
        text("num_inference_steps", "2"),
        text("seed", "8"),
    ];
    let id = id(&send(host.edge, form("/api/flux/i2i", &[], &parts)).await);
    assert_eq!(ended(&host, None, &id).await["status"], "completed");
    let picture = get(host.edge, &format!("/api/{id}/image")).await.body;
    let expected =
        drawn(&host, &["--image", "source.png", "--strength", "0.5", "--seed", "8", "--guidance", "7.5"]);
    assert!(picture == expected && picture != source, "another picture than generate's");
}

/// Both tenants on every id and verb of the other: there is nothing.
#[tokio::test]
async fn sessions_are_a_tenants_own() {
    let (ann, bob) = (key("ann", "laptop"), key("bob", "phone"));
    // two tenants' objects would be one where only their names tell them apart
    let manifest = manifest()
        .replace("path = \"/\"\n", "path = \"/\"\naccess = \"key\"\n")
        .replace("key = \"generations/{name}\"", "key = \"{tenant}/generations/{name}\"");
    let host = alone(&[manifest, tenant("ann", &[&ann], ""), tenant("bob", &[&bob], "")].concat()).await;
    let id = id(&ask_json(&host, Method::POST, T2I, Some(&ann), small(7)).await);
    assert_eq!(ended(&host, Some(&ann), &id).await["status"], "completed");
    for (method, path) in [
        (Method::GET, format!("/api/{id}/status")),
        (Method::GET, format!("/api/{id}/image")),
        (Method::DELETE, format!("/api/{id}")),
    ] {
        let answer = ask_json(&host, method.clone(), &path, Some(&bob), Value::Null).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()),
            (404, json!({"detail": "Session not found"})),
            "{path}"
        );
        assert_eq!(
            ask_json(&host, method, &path, Some(&ann), Value::Null).await.status.as_u16(),
            200,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_task_that_is_called_off_ends_and_the_next_one_goes_on() {
    let host = alone(&manifest().replace("jobs-at-once = 2", "jobs-at-once = 1")).await;
    let mut long = small(1);
    long["num_inference_steps"] = json!(150);
    let (first, second) = (submit(&host, long).await, submit(&host, small(2)).await);
    let answer = ask_json(&host, Method::DELETE, &format!("/api/{first}"), None, Value::Null).await.json();
    assert_eq!((&answer["status"], &answer["error"]), (&json!("failed"), &json!("cancelled")));
    assert_eq!(ended(&host, None, &second).await["status"], "completed");
}

/// Every picture of every container.
fn objects(host: &Host) -> usize {
    let folder = host.folder.path().join(".atelier/storage/objects");
    let below = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    below(folder).map(|folder| below(folder).count()).sum()
}

/// README lines: "**Task Stuck in Processing**", "Batch processing support". Each process is killed after another time, so that kills
/// fall everywhere between a job's beginning and its end. A task that was begun three times for nothing has failed.
#[tokio::test]
async fn every_task_that_was_acknowledged_ends_however_often_the_host_is_killed() {
    let manifest = manifest();
    let mut host = alone(&manifest).await;
    let task = |seed| {
        let mut task = small(seed);
        (task["model"], task["num_inference_steps"]) = (json!("flux"), json!(1));
        task
    };
    let tasks: Vec<_> = (0..TASKS as u64).map(task).collect();
    let answer = ask_json(&host, Method::POST, "/api/batch", None, json!({ "tasks": tasks })).await.json();
    let sessions = answer["tasks"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let ids: BTreeSet<_> =
        sessions.iter().map(|task| task["session_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), TASKS);
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(kill * 37 % 300)).await;
        host.signal("KILL");
        host.end().await;
        host = again(&mut host, &manifest).await;
    }
    let mut completed = 0;
    let mut names = BTreeSet::new();
    for id in &ids {
        let ended = ended(&host, None, id).await;
        if ended["status"] == "completed" {
            completed += 1;
            names.insert(ended["result_url"].to_string());
            assert_eq!(get(host.edge, &format!("/api/{id}/image")).await.status.as_u16(), 200, "{ended}");
        }
    }
    println!("{completed} completed, {} failed, {} pictures", TASKS - completed, objects(&host));
    assert_eq!(names.len(), completed);
    // a task that failed may have left its picture, at the end of its last attempt; none has left two
    assert!((completed..=TASKS).contains(&objects(&host)), "{} pictures of {completed}", objects(&host));
}

/// What a server has, once it is as wanted.
async fn until<T: std::fmt::Debug>(what: &str, look: impl AsyncFn() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = look().await;
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < end, "never {what}: {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until_health(host: &Host, is: &str) -> Value {
    until(is, async || get(host.edge, "/").await.json(), |health| health["status"] == is).await
}

/// The hash of a task as redis-cli shows it.
fn hash(redis: &Server, id: &str) -> BTreeMap<String, String> {
    let shown = redis.cli(&["HGETALL", &format!("task:{id}")]);
    let lines: Vec<_> = shown.lines().map(str::to_owned).collect();
    lines.chunks(2).filter(|pair| pair.len() == 2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// A hash has texts only: null is an empty one.
fn as_hash(status: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    status.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

async fn until_copied(host: &Host, redis: &Server, id: &str) {
    let status = as_hash(&status(host, None, id).await);
    until("copied", async || hash(redis, id), |hash| *hash == status).await;
    let ttl: u32 = redis.cli(&["TTL", &format!("task:{id}")]).trim().parse().unwrap();
    assert!((1..=600).contains(&ttl), "{ttl} s");
}

/// README lines: "**Progress Tracking**: Real-time progress updates stored in Redis", "**S3 Storage**: Generated images/videos
/// automatically uploaded to AWS S3", ".../generations/20250104_120530_550e8400-e29b-41d4-a716-446655440000.png", "TASK_TTL",
/// "### Redis Connection Error", "### S3 Upload Error".
#[tokio::test]
async fn redis_and_s3_have_what_others_read_and_may_be_away_meanwhile() {
    let (mut redis, mut s3) = (Server::redis(), Server::s3());
    let folder = tempfile::tempdir().unwrap();
    let host = host_in(folder, &manifest(), redis.port, s3.port).await;
    until_health(&host, "healthy").await;
    let id = submit(&host, small(7)).await;
    let done = ended(&host, None, &id).await;
    let (url, folder) = (done["result_url"].as_str().unwrap(), s3.bucket().join("generations"));
    let name = url.strip_prefix(&format!("http://127.0.0.1:{}/{}/generations/", s3.port, servers::BUCKET));
    let name = name.unwrap_or_else(|| panic!("{url}"));
    assert!(name.ends_with(&format!("_{id}.png")), "{name}");
    let picture = get(host.edge, &format!("/api/{id}/image")).await.body;
    assert!(std::fs::read(folder.join(name)).unwrap() == picture, "another picture in S3");
    until_copied(&host, &redis, &id).await;

    redis.kill();
    s3.kill();
    let id = submit(&host, small(8)).await;
    let done = ended(&host, None, &id).await;
    assert_eq!(
        (&done["status"], &done["result_url"]),
        (&json!("completed"), &json!(format!("/api/{id}/image")))
    );
    assert!(done["message"].to_string().contains("the upload to S3 waits"), "{done}");
    let health = until_health(&host, "degraded").await;
    assert_eq!([&health["redis"], &health["s3"]], ["disconnected", "disconnected"], "{health}");

    redis.restart();
    s3.restart();
    until_health(&host, "healthy").await;
    until_copied(&host, &redis, &id).await;
    let count = async || std::fs::read_dir(&folder).unwrap().count();
    until("uploaded", count, |count| *count == 2).await;
}
