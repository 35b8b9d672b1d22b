//! The log: one line for each request that says where its time went, bounded on disk, in nobody's way, and without secrets.

use std::path::Path;
use std::process::Stdio;

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::client::{DEADLINE, get, send, try_send};
use crate::collector::Collector;
use crate::host::{GENERATIONS, Host, JSON, guest};
use crate::tenants::{key, tenant};

fn route(name: &str, more: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\npath = \"/{name}\"\ncomponent = \"guest.wasm\"\n{more}\n")
}

async fn host(manifest: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("guest.wasm"), guest("plain2")).unwrap();
    Host::with(folder, Some(manifest)).await
}

/// The lines of a log file in JSON.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The first line of which this holds, once there is one.
async fn until_line(path: &Path, holds: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + DEADLINE;
    loop {
        // the last line may be written only half
        if let Some(line) = lines_written(path).into_iter().find(&holds) {
            return line;
        }
        assert!(Instant::now() < end, "not in {:#?}", lines(path));
        sleep(Duration::from_millis(20)).await;
    }
}

fn lines_written(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

const JSON_FILE: &str = "[server]\nlog-format = \"json\"\n[log]\nfile = \"logs/host.log\"\n";

#[tokio::test]
async fn a_request_is_one_line_that_says_whose_it_was_and_where_its_time_went() {
    let a = key("a", "laptop");
    let manifest = [JSON_FILE, &tenant("a", &[&a], ""), &route("r", "tenant = \"a\"")].concat();
    let host = host(&manifest).await;
    let path = host.folder.path().join("logs/host.log");
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request =
        Request::post("/r/hello?token=hidden").header("host", "test").header("x-request-id", "mine-1");
    let request =
        request.header("x-api-key", &a.text).header("traceparent", format!("00-{trace}-b7ad6b7169203331-00"));
    let answer = send(host.edge, request.body(Full::from("four")).unwrap()).await;
    assert_eq!(
        (answer.status, &answer.headers["x-request-id"]),
        (StatusCode::OK, &"mine-1".parse().unwrap())
    );
    let line = until_line(&path, |line| line["id"] == "mine-1").await;
    let status = host.status().await;
    for (field, value) in [
        ("message", json!("answered")),
        ("trace", json!(trace)),
        ("method", json!("POST")),
        ("path", json!("/r/hello")),
        ("route", json!("r")),
        ("component", status["routes"][0]["deployment"]["component"].clone()),
        ("tenant", json!("a")),
        ("key", json!("laptop")),
        ("status", json!(200)),
        ("bytes", json!("hello from 0.2".len())),
    ] {
        assert_eq!(line[field], value, "{field} of {line:#}");
    }
    let [ms, admission, instantiation] =
        ["ms", "admission_ms", "instantiation_ms"].map(|field| line[field].as_f64().unwrap_or(0.0));
    assert!(instantiation > 0.0 && admission + instantiation <= ms, "{line:#}");
    assert!(line["memory_bytes"].as_u64() >= Some(65_536), "{line:#}");
    assert!(host.log().is_empty(), "the file takes the log: {}", host.log());
}

#[tokio::test]
async fn what_a_guest_prints_carries_the_requests_id_and_its_cpu_time_is_told() {
    let host = host(&[JSON_FILE, &route("r", "limits = { cpu-ms = 200 }")].concat()).await;
    let path = host.folder.path().join("logs/host.log");
    let request = Request::get("/r/logs").header("host", "test").header("x-request-id", "flood-1");
    let answer = send(host.edge, request.body(Full::default()).unwrap()).await;
    assert!(answer.status.is_server_error());
    let printed = until_line(&path, |line| line["target"] == "guest").await;
    assert_eq!(
        (&printed["id"], &printed["route"], &printed["stream"]),
        (&json!("flood-1"), &json!("r"), &json!("stdout"))
    );
    let line = until_line(&path, |line| line["message"] == "answered" && line["id"] == "flood-1").await;
    assert!(line["cpu_ms"].as_f64() >= Some(100.0) && line["code"].as_str().is_some(), "{line:#}");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_has_its_line_too() {
    let host = host(&[JSON_FILE, &route("r", "")].concat()).await;
    let path = host.folder.path().join("logs/host.log");
    let request = Request::get("/r/sleep").header("host", "test").header("x-request-id", "left-1");
    let client = tokio::spawn(try_send(host.edge, request.body(Full::default()).unwrap()));
    host.until("asleep", |status| status["routes"][0]["deployment"]["in_flight"] == 1).await;
    client.abort();
    let line = until_line(&path, |line| line["id"] == "left-1").await;
    assert_eq!((&line["message"], &line["status"]), (&json!("left before the answer"), &Value::Null));
}

#[tokio::test]
async fn a_log_is_bounded_on_disk() {
    let log = "max-bytes = 65_536\nkeep = 2\n";
    let host = host(&[JSON_FILE, log, &route("r", "limits = { log-bytes = \"4 MiB\" }")].concat()).await;
    // floods of lines, each far more than all files together
    for _ in 0..2 {
        get(host.edge, "/r/logs").await;
    }
    let folder = host.folder.path().join("logs");
    let newest = folder.join("host.log");
    get(host.edge, "/r/last").await;
    until_line(&newest, |line| line["path"] == "/r/last").await;
    let sizes: Vec<(String, u64)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .collect();
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes.iter().all(|(_, bytes)| *bytes <= 65_536), "{sizes:?}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_no_request_up_and_its_lost_lines_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("guest.wasm"), guest("plain2")).unwrap();
    let manifest = route("r", "limits = { log-bytes = \"4 MiB\", cpu-ms = 2_000, wall-ms = 10_000 }");
    let mut unread = None;
    let host = Host::spawned(folder, Some(&manifest), |command| {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        unread = child.stderr.take();
        child
    })
    .await;
    assert!(unread.is_some(), "the pipe stays open, and fills up");
    for _ in 0..2 {
        get(host.edge, "/r/logs").await;
    }
    for _ in 0..20 {
        assert_eq!(get(host.edge, "/r").await.status, StatusCode::OK);
    }
    assert!(host.until_counted("atelier_log_lines_lost_total{why=\"no_room\"}", 1).await > 0);
}

/// What must be nowhere. Each is planted in a place of its own.
const CANARIES: [&str; 7] = [
    "canary-bearer",
    "canary-cookie",
    "canary-query",
    "canary-prompt",
    "canary-body",
    "canary-config",
    "canary-basic",
];

#[tokio::test]
async fn no_secret_and_no_prompt_is_in_anything_that_the_host_tells() {
    let (collector, a) = (Collector::open().await, key("a", "laptop"));
    let manifest = [
        "[server]\nlog = \"debug\"\nlog-format = \"json\"\n[log]\nfile = \"host.log\"\n",
        &collector.manifest(),
        "[[model]]\nid = \"atelier-nano\"\nsource = \"builtin:atelier-nano\"\n",
        &tenant("a", &[&a], ""),
        &route("mine", "tenant = \"a\"\nconfig = { api-token = \"canary-config\" }"),
        &route("open", ""),
        "[[route]]\nname = \"pictures\"\npath = \"/v1\"\ncomponent = \"builtin:prompt-assist\"\n\
         grants = { models = [\"atelier-nano\"], outbound = [\"http://127.0.0.1:1\"] }\n",
    ];
    let host = host(&manifest.concat()).await;
    ask_with_canaries(&host, &a.text).await;
    collector.trace_of("last").await;
    let path = host.folder.path().join("host.log");
    until_line(&path, |line| line["id"] == "last" && line["message"] == "answered").await;
    let mut told = vec![
        ("log", std::fs::read_to_string(&path).unwrap()),
        ("standard error", host.log()),
        ("traces", collector.messages()),
    ];
    for page in ["/metrics", "/status", "/tenants", "/version"] {
        told.push((page, get(host.admin, page).await.text().to_owned()));
    }
    let secret = a.text.split('_').nth(2).unwrap();
    for (place, text) in &told {
        for canary in CANARIES.iter().copied().chain([a.text.as_str(), secret]) {
            let line = text.lines().find(|line| line.contains(canary)).unwrap_or_default();
            assert!(line.is_empty(), "{place} tells {canary}: {line}");
        }
    }
    assert!(told[0].1.contains("laptop") && told[0].1.contains("/mine/hello"), "the log tells what it may");
}

/// Requests that succeed, that are refused and that fail, each with everything that is nobody's business.
async fn ask_with_canaries(host: &Host, key: &str) {
    let asked = |method: Method, path: &str, id: &str| {
        // the guest takes no query for a trap
        let query = if path.ends_with("trap") { "" } else { "?q=canary-query" };
        let request = Request::builder().method(method).uri(format!("{path}{query}")).header("host", "test");
        request.header("x-request-id", id).header("cookie", "session=canary-cookie")
    };
    for path in ["/mine/hello", "/mine/trap", "/open/trap", "/nowhere"] {
        let request = asked(Method::POST, path, "plain").header("authorization", format!("Bearer {key}"));
        send(host.edge, request.body(Full::from("canary-body")).unwrap()).await;
    }
    for credential in ["Bearer canary-bearer", "Basic canary-basic"] {
        for path in ["/mine", "/open"] {
            let request = asked(Method::GET, path, "refused").header("authorization", credential);
            send(host.edge, request.body(Full::default()).unwrap()).await;
        }
    }
    let prompts = [
        json!({ "prompt": "canary-prompt", "size": "256x256", "steps": 1 }),
        json!({ "prompt": "canary-prompt", "size": "1x1" }),
        json!({ "prompt": "canary-prompt", "model": "none" }),
    ];
    for body in prompts.iter().map(Value::to_string).chain(["{\"prompt\": canary-prompt".into()]) {
        let request = asked(Method::POST, GENERATIONS, "picture").header("content-type", JSON);
        send(host.edge, request.body(Full::from(body)).unwrap()).await;
    }
    let last = asked(Method::GET, "/open", "last").body(Full::default()).unwrap();
    assert_eq!(send(host.edge, last).await.status, StatusCode::OK);
}
