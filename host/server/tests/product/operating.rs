//! Versions, from outside: uploads while clients ask, uploads that are broken, versions that trap, and what a restart
//! leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::client::{get, raw};
use crate::host::{atelier, example, guest};
use crate::operator::{Operator, live};

const CLIENTS: usize = 4;
const UPLOADS: usize = 10;
const PLAIN: &str = "hello from 0.2";

/// A handler that greets on every path.
fn hello() -> Vec<u8> {
    example("any-component/hello-0.2", "hello_02.wasm")
}

const HELLO: &str = "hello from wasi:http 0.2";

/// The same component, in which the greeting has another last digit.
fn with_digit(component: &[u8], greeting: &str, digit: u8) -> Vec<u8> {
    let mut bytes = component.to_vec();
    let greeting = greeting.as_bytes();
    let places: Vec<usize> =
        (0..bytes.len() - greeting.len()).filter(|at| bytes[*at..].starts_with(greeting)).collect();
    assert!(!places.is_empty(), "the greeting is not in the component");
    places.into_iter().for_each(|at| bytes[at + greeting.len() - 1] = b'0' + digit);
    bytes
}

fn state(id: u64, state: &str) -> (u64, String) {
    (id, state.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn uploading_versions_under_load_loses_no_request() {
    let one = hello();
    let operator = Operator::with(&one, "", &live("")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (edge, stop) = (operator.host.edge, stop.clone());
        clients.spawn(async move {
            let mut answers = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let answer = get(edge, "/").await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
                assert!(answer.text().starts_with("hello from wasi:http 0."), "{}", answer.text());
                answers += 1;
            }
            answers
        });
    }
    for upload in 0..UPLOADS {
        let digit = 3 + (upload % 2) as u8;
        let version = operator.uploaded(&with_digit(&one, HELLO, digit), "").await;
        assert_eq!((&version["state"], &version["by"]), (&"serving".into(), &"admin".into()));
        // from the answer on, every request meets it
        assert_eq!(operator.answer().await, format!("hello from wasi:http 0.{digit}"));
    }
    stop.store(true, Ordering::Relaxed);
    let answers: u64 = clients.join_all().await.into_iter().sum();
    println!("{answers} requests by {CLIENTS} clients over {UPLOADS} uploads, 0 failed");
    assert!(answers > 0);
    // as many as store.versions-per-route says
    assert_eq!(operator.states().await.len(), 8);
}

#[tokio::test]
async fn a_broken_upload_changes_nothing_and_says_why() {
    let operator = Operator::with(&hello(), "", &live("limits = { component-bytes = \"16 MiB\" }")).await;
    let whole = guest("plain2");
    let refused = operator.upload(&whole[..whole.len() / 2], "").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text());
    assert_eq!(refused.code(), "component_refused");
    assert!(refused.text().contains("cut short"), "{}", refused.text());
    // a plugin is no handler, and text is neither
    for wrong in [&guest("styler"), &b"\0asm text"[..]] {
        assert_eq!(operator.upload(wrong, "").await.code(), "component_refused");
    }
    for (query, status, code) in [
        ("?place=style.0", StatusCode::BAD_REQUEST, "no_place"),
        ("?place=styles", StatusCode::BAD_REQUEST, "bad_parameter"),
        ("?promote=maybe", StatusCode::BAD_REQUEST, "bad_parameter"),
        ("?force=true", StatusCode::BAD_REQUEST, "bad_parameter"),
    ] {
        let answer = operator.upload(&whole, query).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{query}");
    }
    let history = operator.history().await;
    let newest = &history[2];
    assert_eq!(newest["state"], "refused");
    assert!(newest["reason"].as_str().unwrap().contains("cut short"), "{history:#}");
    assert_eq!(operator.answer().await, HELLO);
    assert_eq!(operator.post("/v1/routes/live/versions/2/promote").await.code(), "component_refused");
    oversized_uploads_are_refused_before_they_are_read(&operator).await;
}

/// The head of an upload of so many bytes, which do not follow.
fn upload_head(operator: &Operator, bytes: usize) -> String {
    format!(
        "POST /v1/routes/live/versions HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
         content-type: application/wasm\r\ncontent-length: {bytes}\r\n\r\n",
        operator.key
    )
}

async fn oversized_uploads_are_refused_before_they_are_read(operator: &Operator) {
    let head = upload_head(operator, (16 << 20) + 1);
    let answer = raw(operator.host.admin, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("limits.component-bytes"), "{answer}");
}

#[tokio::test]
async fn a_version_that_keeps_trapping_is_rolled_back_by_itself() {
    let operator = Operator::with(&hello(), "", &live("trial = { failures = 3, seconds = 600 }")).await;
    let hostile = guest("plain2");
    let version = operator.uploaded(&hostile, "").await;
    assert_eq!(operator.get("/v1/routes/live").await["deployment"]["on_trial"], true);
    for _ in 0..2 {
        assert_eq!(get(operator.host.edge, "/trap").await.status, StatusCode::BAD_GATEWAY);
    }
    assert_eq!(operator.answer().await, PLAIN, "two failures are not three");
    assert_eq!(get(operator.host.edge, "/trap").await.status, StatusCode::BAD_GATEWAY);
    let route = operator.until("rolled back", |route| route["deployment"]["version"] == 1).await;
    assert!(route["error"].as_str().unwrap().contains("guest_trap"), "{route:#}");
    assert_eq!(operator.answer().await, HELLO);
    let history = operator.history().await;
    assert_eq!(history[0]["id"], version["id"]);
    assert_eq!(history[0]["state"], "rolled-back");
    assert!(history[0]["reason"].as_str().unwrap().starts_with("3 failures"), "{history:#}");
    // the same for a version that comes as a file
    operator.host.put("live.wasm", &hostile);
    operator.until("taken up", |route| route["deployment"]["version"] == 3).await;
    for _ in 0..3 {
        assert_eq!(get(operator.host.edge, "/trap").await.status, StatusCode::BAD_GATEWAY);
    }
    operator.until("rolled back", |route| route["deployment"]["version"] == 1).await;
    assert_eq!(operator.answer().await, HELLO);
}

#[tokio::test]
async fn a_version_that_has_proven_itself_stays_though_it_traps_later() {
    let trial = live("trial = { failures = 1, requests = 5, seconds = 600 }");
    let operator = Operator::with(&hello(), "", &trial).await;
    operator.uploaded(&guest("plain2"), "").await;
    for _ in 0..5 {
        assert_eq!(operator.answer().await, PLAIN);
    }
    operator.until("proven", |route| route["deployment"]["on_trial"] == false).await;
    assert_eq!(get(operator.host.edge, "/trap").await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(operator.answer().await, PLAIN);
}

#[tokio::test]
async fn a_version_that_fails_its_probe_never_serves() {
    let probe = live("probe = { path = \"/trap\", status = 200 }");
    let operator = Operator::with(&hello(), "", &probe).await;
    let refused = operator.upload(&guest("plain2"), "").await;
    assert_eq!(refused.code(), "component_refused");
    assert!(refused.text().contains("the probe GET /trap failed"), "{}", refused.text());
    assert_eq!(operator.answer().await, HELLO);
    operator.uploaded(&with_digit(&hello(), HELLO, 7), "").await;
    assert_eq!(operator.answer().await, "hello from wasi:http 0.7");
}

#[tokio::test]
async fn operators_stage_promote_and_go_back() {
    let one = hello();
    let operator = Operator::with(&one, "", &live("")).await;
    let nowhere = operator.post("/v1/routes/live/rollback").await;
    assert_eq!(nowhere.code(), "nothing_before");
    for way in ["--to VERSION", "--to manifest", "atelier component promote live"] {
        assert!(nowhere.text().contains(way), "{}", nowhere.text());
    }
    let staged = operator.uploaded(&with_digit(&one, HELLO, 5), "?promote=false").await;
    assert_eq!((&staged["id"], &staged["state"]), (&2.into(), &"staged".into()));
    assert_eq!(operator.answer().await, HELLO);
    let again = operator.uploaded(&with_digit(&one, HELLO, 5), "?promote=false").await;
    assert_eq!(again["id"], 2, "asked twice, it is the same version");
    assert_eq!(operator.post("/v1/routes/live/versions/2/promote").await.json()["state"], "serving");
    assert_eq!(operator.answer().await, "hello from wasi:http 0.5");
    operator.uploaded(&with_digit(&one, HELLO, 6), "").await;
    assert_eq!(operator.states().await, [state(3, "serving"), state(2, "retired"), state(1, "retired")]);
    let back = operator.post("/v1/routes/live/rollback").await.json();
    assert_eq!((&back["id"], &back["state"]), (&2.into(), &"serving".into()));
    assert_eq!(operator.answer().await, "hello from wasi:http 0.5");
    assert_eq!(operator.post("/v1/routes/live/rollback?to=3").await.json()["state"], "serving");
    assert_eq!(operator.post("/v1/routes/live/rollback?to=manifest").await.json()["id"], 1);
    assert_eq!(operator.answer().await, HELLO);
    assert_eq!(operator.post("/v1/routes/live/rollback?to=9").await.code(), "no_version");
    assert_eq!(operator.post("/v1/routes/live/rollback?to=back").await.code(), "bad_parameter");
    assert_eq!(operator.post("/v1/routes/dead/rollback").await.code(), "no_route");
}

#[tokio::test]
async fn a_restart_keeps_what_was_promoted_until_the_file_changes() {
    let one = hello();
    let operator = Operator::with(&one, "", &live("")).await;
    operator.uploaded(&with_digit(&one, HELLO, 5), "").await;
    operator.uploaded(&with_digit(&one, HELLO, 6), "?promote=false").await;
    let operator = operator.restarted(|_| {}).await;
    assert_eq!(operator.answer().await, "hello from wasi:http 0.5");
    assert_eq!(operator.states().await, [state(3, "staged"), state(2, "serving"), state(1, "retired")]);
    assert_eq!(operator.post("/v1/routes/live/versions/3/promote").await.json()["state"], "serving");
    // the same bytes, written again, are no change
    operator.host.put("live.wasm", &one);
    let changed = with_digit(&one, HELLO, 8);
    let operator = operator.restarted(|folder| {
        std::fs::write(folder.path().join("live.wasm"), &changed).unwrap();
    });
    let operator = operator.await;
    assert_eq!(operator.answer().await, "hello from wasi:http 0.8");
    let history = operator.history().await;
    assert_eq!(history[0]["source"], "manifest");
    assert!(history[1]["reason"].as_str().unwrap().contains("live.wasm"), "{history:#}");
    assert_eq!(operator.post("/v1/routes/live/versions/1/promote").await.code(), "files_changed");
}

#[tokio::test]
async fn what_somebody_else_wrote_into_the_data_folder_is_not_believed() {
    let one = hello();
    let operator = Operator::with(&one, "", &live("")).await;
    operator.uploaded(&with_digit(&one, HELLO, 5), "").await;
    let component = |folder: &std::path::Path| {
        let entries = std::fs::read_dir(folder.join(".atelier")).unwrap().map(|entry| entry.unwrap().path());
        let uploads: Vec<_> = entries.filter(|path| path.to_string_lossy().contains("component-")).collect();
        assert_eq!(uploads.len(), 1);
        uploads[0].clone()
    };
    // another component in the upload's place: the manifest's own answers, and the log says why
    let operator = operator.restarted(|folder| std::fs::write(component(folder.path()), &one).unwrap()).await;
    assert_eq!(operator.answer().await, HELLO);
    let route = operator.get("/v1/routes/live").await;
    assert!(route["error"].as_str().unwrap().contains("was changed there"), "{route:#}");
    let mut host = operator.host;
    host.signal("TERM");
    host.end().await;
    std::fs::write(host.folder.path().join(".atelier/versions"), "{}").unwrap();
    let output = atelier(host.folder.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("not as this host wrote it"), "{error}");
}

/// The same component with a custom section of so many zeros, which changes nothing but the size.
fn padded(component: &[u8], zeros: usize) -> Vec<u8> {
    let length = u32::try_from(zeros + 2).unwrap();
    let part = |part: u32| (length >> (7 * part)) as u8 & 0x7f | if part < 4 { 0x80 } else { 0 };
    let section = [0].into_iter().chain((0..5).map(part)).chain([1, b'x']);
    component.iter().copied().chain(section).chain(std::iter::repeat_n(0, zeros)).collect()
}

#[tokio::test]
async fn uploads_are_bounded_and_the_oldest_goes() {
    let one = guest("plain2");
    let half = padded(&one, (1 << 20) - one.len());
    // room for two of them
    let operator =
        Operator::with(&one, "", &("[store]\nupload-bytes = \"3 MiB\"\n".to_owned() + &live(""))).await;
    for digit in [3, 4, 5] {
        operator.uploaded(&with_digit(&half, PLAIN, digit), "").await;
    }
    assert_eq!(operator.states().await, [state(4, "serving"), state(3, "retired"), state(1, "retired")]);
    let files = std::fs::read_dir(operator.host.folder.path().join(".atelier")).unwrap();
    let uploads =
        files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains("component"));
    assert_eq!(uploads.count(), 2);
    let refused = operator.upload(&padded(&one, 3 << 20), "").await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::INSUFFICIENT_STORAGE, "upload_limit"));
    assert!(refused.text().contains("store.upload-bytes"), "{}", refused.text());
    assert_eq!(operator.answer().await, "hello from 0.5");
}

#[tokio::test]
async fn uploads_that_stand_still_are_cut_and_only_so_many_come_at_a_time() {
    let operator = Operator::with(&hello(), "body-idle-timeout-ms = 5000", &live("")).await;
    let mut held = JoinSet::new();
    for _ in 0..3 {
        let (admin, head) = (operator.host.admin, upload_head(&operator, 1_000));
        held.spawn(async move { raw(admin, head.as_bytes()).await });
    }
    let answers = held.join_all().await;
    let of = |status: &str, text: &str| {
        answers.iter().filter(|answer| answer.starts_with(status) && answer.contains(text)).count()
    };
    assert_eq!(of("HTTP/1.1 408", "body-idle-timeout-ms"), 2, "{answers:?}");
    assert_eq!(of("HTTP/1.1 429", "retry-after: 5"), 1, "{answers:?}");
    operator.uploaded(&with_digit(&hello(), HELLO, 5), "").await;
}

#[tokio::test]
async fn a_drained_route_takes_no_requests_even_after_a_restart_until_it_is_resumed() {
    let operator = Operator::with(&hello(), "", &live("")).await;
    assert_eq!(operator.post("/v1/routes/live/drain").await.json()["closed"], true);
    let operator = operator.restarted(|_| {}).await;
    let refused = get(operator.host.edge, "/").await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "route_closed"));
    assert_eq!(refused.headers["retry-after"], "30");
    assert_eq!(operator.post("/v1/routes/live/resume").await.json()["closed"], false);
    assert_eq!(operator.answer().await, HELLO);
}

#[tokio::test]
async fn a_plugin_gets_a_new_version_as_a_handler_does() {
    let storybook = example("style-plugin", "style_storybook.wasm");
    let rest = "[[model]]\nid = \"nano\"\nsource = \"builtin:atelier-nano\"\n[[route]]\nname = \"live\"\npath = \"/\"\n\
                component = \"builtin:prompt-assist\"\nstyle = [\"builtin:style-illustrator\"]\n\
                grants = { models = [\"nano\"], outbound = [\"http://127.0.0.1:1\"] }\n";
    let operator = Operator::with(&storybook, "", rest).await;
    operator.uploaded(&storybook, "?place=style.0").await;
    let body = serde_json::json!({ "prompt": "a cat" });
    let answer: Value = operator.host.post("/v1/prompts/enhance", crate::host::JSON, body).await.json();
    assert_eq!(answer["enhanced_prompt"], "a cat, in watercolor");
}

#[tokio::test]
async fn an_upload_stands_until_the_manifest_names_another_component() {
    let one = hello();
    let operator = Operator::with(&one, "", &live("")).await;
    operator.uploaded(&with_digit(&one, HELLO, 5), "").await;
    let manifest = std::fs::read_to_string(operator.host.folder.path().join("atelier.toml")).unwrap();
    let before = operator.get("/v1/routes/live").await["deployment"]["generation"].clone();
    operator.host.put("atelier.toml", format!("{manifest}config = {{ note = \"new\" }}\n").as_bytes());
    let route = operator.until("taken up", |route| route["deployment"]["generation"] != before).await;
    assert_eq!(route["deployment"]["version"], 2, "another configuration is no other version");
    assert_eq!(operator.answer().await, "hello from wasi:http 0.5");
    operator.host.put("other.wasm", &with_digit(&one, HELLO, 7));
    operator.host.put("atelier.toml", manifest.replace("live.wasm", "other.wasm").as_bytes());
    operator.until("taken up", |route| route["deployment"]["version"] == 3).await;
    assert_eq!(operator.answer().await, "hello from wasi:http 0.7");
    let history = operator.history().await;
    assert!(history[1]["reason"].as_str().unwrap().contains("other.wasm"), "{history:#}");
}

#[tokio::test]
async fn a_changed_file_is_taken_back_while_it_is_on_trial_and_not_after_that() {
    let one = hello();
    let operator = Operator::with(&one, "", &live("trial = { requests = 3, seconds = 600 }")).await;
    operator.host.put("live.wasm", &with_digit(&one, HELLO, 5));
    operator.until("taken up", |route| route["deployment"]["version"] == 2).await;
    let back = operator.post("/v1/routes/live/rollback").await;
    assert_eq!((back.status, &back.json()["id"]), (StatusCode::OK, &1.into()), "{}", back.text());
    assert_eq!(operator.answer().await, HELLO);
    operator.host.put("live.wasm", &with_digit(&one, HELLO, 6));
    operator.until("taken up", |route| route["deployment"]["version"] == 3).await;
    for _ in 0..3 {
        assert_eq!(operator.answer().await, "hello from wasi:http 0.6");
    }
    operator.until("proven", |route| route["deployment"]["on_trial"] == false).await;
    assert_eq!(operator.post("/v1/routes/live/rollback").await.code(), "files_changed");
    assert_eq!(operator.answer().await, "hello from wasi:http 0.6");
}

/// The value of a sample of the metrics page.
async fn sample(operator: &Operator, sample: &str) -> Option<String> {
    let page = operator.ask(Method::GET, "/metrics").await;
    page.text().lines().find_map(|line| Some(line.strip_prefix(sample)?.trim().to_owned()))
}

#[tokio::test]
async fn versions_that_come_and_go_are_counted_with_who_took_them_back() {
    let one = hello();
    let operator = Operator::with(&one, "", &live("trial = { failures = 1, seconds = 600 }")).await;
    let promoted = "atelier_route_versions_promoted_total{route=\"live\"}";
    let rolled_back =
        |by: &str| format!("atelier_route_versions_rolled_back_total{{route=\"live\",kind=\"{by}\"}}");
    let trials = "atelier_route_trials{route=\"live\"}";
    assert_eq!(sample(&operator, promoted).await.as_deref(), Some("0"), "the first took nobody's place");
    assert_eq!(sample(&operator, trials).await.as_deref(), Some("0"));
    operator.uploaded(&guest("plain2"), "").await;
    operator.uploaded(&guest("plain2"), "?promote=true").await;
    assert_eq!(sample(&operator, promoted).await.as_deref(), Some("1"), "the same again is no other");
    assert_eq!(sample(&operator, trials).await.as_deref(), Some("1"));
    assert_eq!(get(operator.host.edge, "/trap").await.status, StatusCode::BAD_GATEWAY);
    operator.until("rolled back", |route| route["deployment"]["version"] == 1).await;
    assert_eq!(sample(&operator, &rolled_back("trial")).await.as_deref(), Some("1"));
    assert_eq!(sample(&operator, trials).await.as_deref(), Some("0"));
    operator.uploaded(&with_digit(&one, HELLO, 5), "").await;
    operator.post("/v1/routes/live/rollback").await;
    assert_eq!(sample(&operator, &rolled_back("operator")).await.as_deref(), Some("1"));
    assert_eq!(sample(&operator, promoted).await.as_deref(), Some("2"));
}
