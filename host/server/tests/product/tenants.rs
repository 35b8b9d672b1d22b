//! Tenants as strangers to each other: keys, quotas, revocation, shares. (`neighbours.rs` has those that mean harm.)

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use crate::client::{Answer, DEADLINE, send, try_send};
use crate::host::{Host, JSON, atelier, guest};

/// A key of the real binary, with the line for the manifest.
pub(crate) struct Key {
    pub(crate) text: String,
    line: String,
    hash: String,
}

pub(crate) fn key(tenant: &str, name: &str) -> Key {
    let mut command = atelier(&std::env::temp_dir());
    let output = command.args(["tenant", "key", "new", tenant, "--name", name, "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |field: &str| value[field].as_str().unwrap().to_owned();
    Key { text: text("key"), line: text("manifest"), hash: text("hash") }
}

pub(crate) fn tenant(id: &str, keys: &[&Key], more: &str) -> String {
    let keys: Vec<&str> = keys.iter().map(|key| key.line.as_str()).collect();
    format!("[[tenant]]\nid = \"{id}\"\nkeys = [{}]\n{more}\n", keys.join(", "))
}

pub(crate) fn route(name: &str, more: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\npath = \"/{name}\"\ncomponent = \"guest.wasm\"\n{more}\n")
}

pub(crate) async fn host(manifest: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("guest.wasm"), guest("plain2")).unwrap();
    Host::with(folder, Some(manifest)).await
}

pub(crate) fn with_key(path: &str, header: &str, value: &str) -> Request<Full<bytes::Bytes>> {
    Request::get(path).header("host", "test").header(header, value).body(Full::default()).unwrap()
}

pub(crate) async fn ask(host: &Host, path: &str, key: &Key) -> Answer {
    send(host.edge, with_key(path, "authorization", &format!("Bearer {}", key.text))).await
}

/// A request with a JSON body, or with none where it is null; from a stranger without a key.
pub(crate) async fn ask_json(
    host: &Host,
    method: Method,
    path: &str,
    key: Option<&Key>,
    body: Value,
) -> Answer {
    let request = Request::builder().method(method).uri(path).header("host", "test");
    let request = match key {
        Some(key) => request.header("authorization", format!("Bearer {}", key.text)),
        None => request,
    };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    send(host.edge, request.header("content-type", JSON).body(Full::from(body)).unwrap()).await
}

async fn ask_without(host: &Host, path: &str) -> Answer {
    crate::client::get(host.edge, path).await
}

#[tokio::test]
async fn a_key_opens_its_own_tenants_routes_and_is_seen_by_nobody() {
    let (a, b, stranger) = (key("a", "laptop"), key("b", "phone"), key("a", "unused"));
    let manifest = [
        tenant("a", &[&a], ""),
        tenant("b", &[&b], ""),
        route("a", "tenant = \"a\""),
        route("b", "tenant = \"b\""),
        route("any", "access = \"key\""),
        route("open", ""),
    ];
    let host = host(&manifest.concat()).await;
    wrong_keys_are_refused(&host, &a, &stranger).await;
    for path in ["/a", "/any", "/open"] {
        assert_eq!(ask(&host, path, &a).await.status, StatusCode::OK, "{path}");
    }
    let hidden = ask(&host, "/b", &a).await;
    let nowhere = ask(&host, "/nowhere", &a).await;
    assert_eq!((hidden.status, &hidden.body), (StatusCode::NOT_FOUND, &nowhere.body));
    assert_eq!(send(host.edge, with_key("/b", "x-api-key", &b.text)).await.status, StatusCode::OK);
    for path in ["/a/echo", "/any/echo", "/open/echo"] {
        for header in ["authorization", "x-api-key"] {
            let seen = send(host.edge, with_key(path, header, &a.text)).await;
            assert_eq!(seen.status, StatusCode::OK);
            assert!(!seen.text().contains("atl_") && !seen.text().contains(header), "{}", seen.text());
        }
    }
    no_secret_is_shown(&host, &[&a, &b, &stranger]).await;
}

async fn wrong_keys_are_refused(host: &Host, a: &Key, stranger: &Key) {
    let mistyped = Key { text: a.text.replace("atl_a_", "atl_e_"), ..key("a", "mistyped") };
    for answer in [
        ask_without(host, "/a").await,
        ask(host, "/a", stranger).await,
        ask(host, "/a", &mistyped).await,
        send(host.edge, with_key("/any", "x-api-key", "password")).await,
    ] {
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::UNAUTHORIZED, "unauthorized"));
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert_eq!(answer.body, ask_without(host, "/a").await.body, "one text for all");
    }
    until_logged(host, "the key is mistyped").await;
    until_logged(host, "unknown or was revoked").await;
}

/// The log comes through a pipe: it may be a moment late.
pub(crate) async fn until_logged(host: &Host, text: &str) {
    let end = Instant::now() + DEADLINE;
    while !host.log().contains(text) {
        assert!(Instant::now() < end, "never logged: {text}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn no_secret_is_shown(host: &Host, keys: &[&Key]) {
    until_logged(host, "key=\"laptop\"").await;
    let mut pages = vec![("log", host.log())];
    for path in ["/status", "/metrics", "/tenants"] {
        pages.push((path, crate::client::get(host.admin, path).await.text().to_owned()));
    }
    for arguments in [&["config", "--print"][..], &["config", "--print", "--json"], &["config"]] {
        let output = atelier(host.folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success());
        pages.push(("config", String::from_utf8(output.stdout).unwrap()));
    }
    for (page, text) in &pages {
        for key in keys {
            assert!(!text.contains(&key.text), "{page} shows a key:\n{text}");
            // the prefix names the tenant; the secret is in the third part
            assert!(!text.contains(key.text.split('_').nth(2).unwrap()), "{page} shows a secret:\n{text}");
            assert!(*page == "config" || !text.contains(&key.hash), "{page} shows a hash:\n{text}");
        }
    }
    assert!(pages[3].1.contains("laptop"), "keys are shown by name: {}", pages[3].1);
}

#[tokio::test]
async fn requests_beyond_the_rate_are_told_when_to_come_back() {
    let (a, b) = (key("a", "a"), key("b", "b"));
    let quotas = "quotas = { requests-per-second = 1, burst = 3 }";
    let manifest = [tenant("a", &[&a], quotas), tenant("b", &[&b], ""), route("any", "access = \"key\"")];
    let host = host(&manifest.concat()).await;
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(ask(&host, "/any", &a).await);
    }
    assert!(answers[..3].iter().all(|answer| answer.status == StatusCode::OK), "the burst passes");
    let refused: Vec<&Answer> =
        answers.iter().filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS).collect();
    assert!(!refused.is_empty(), "eight at once are more than three");
    for answer in refused {
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(answer.headers["x-should-retry"], "true");
        assert!(answer.text().contains("tenant.quotas.requests-per-second"), "{answer:?}");
    }
    for _ in 0..8 {
        assert_eq!(ask(&host, "/any", &b).await.status, StatusCode::OK, "the neighbour notices nothing");
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(&host, "/any", &a).await.status, StatusCode::OK, "and then one more");
}

#[tokio::test]
async fn a_key_that_leaves_the_manifest_opens_nothing_any_more() {
    let (old, new) = (key("a", "old"), key("a", "new"));
    let manifest = |keys: &[&Key]| tenant("a", keys, "") + &route("a", "tenant = \"a\"");
    let host = host(&manifest(&[&old])).await;
    assert_eq!(ask(&host, "/a", &new).await.status, StatusCode::UNAUTHORIZED);
    host.put("atelier.toml", manifest(&[&old, &new]).as_bytes());
    until(&host, &new, StatusCode::OK).await;
    assert_eq!(ask(&host, "/a", &old).await.status, StatusCode::OK, "both, while they are changed over");
    host.put("atelier.toml", manifest(&[&new]).as_bytes());
    until(&host, &old, StatusCode::UNAUTHORIZED).await;
    assert_eq!(ask(&host, "/a", &new).await.status, StatusCode::OK);
    // with the last key the route closes
    host.put("atelier.toml", manifest(&[]).as_bytes());
    until(&host, &new, StatusCode::UNAUTHORIZED).await;
    until_logged(&host, "closed: it wants a key").await;
}

async fn until(host: &Host, key: &Key, wanted: StatusCode) {
    let end = Instant::now() + DEADLINE;
    while ask(host, "/a", key).await.status != wanted {
        assert!(Instant::now() < end, "never {wanted}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_fills_the_host_with_slow_requests_leaves_room_for_the_other() {
    let (a, b) = (key("a", "a"), key("b", "b"));
    let manifest = [
        "[server]\nmax-instances = 8\nmax-waiting = 2\n".to_owned(),
        tenant("a", &[&a], ""),
        tenant("b", &[&b], ""),
        route("a", "tenant = \"a\"\nlimits = { wall-ms = 60_000 }"),
        route("b", "tenant = \"b\""),
    ];
    let host = host(&manifest.concat()).await;
    let mut slow = JoinSet::new();
    for _ in 0..20 {
        let request = with_key("/a/sleep", "x-api-key", &a.text);
        slow.spawn(try_send(host.edge, request));
    }
    // of 20, six run, since two places are kept; two wait; the others are told to come back
    let mut refused = 0;
    while refused < 12 {
        let answer = slow.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "tenant_share"));
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        assert!(answer.text().contains("server.max-instances") && answer.text().contains("tenant.share"));
        refused += 1;
    }
    host.until("full", |status| status["routes"][0]["deployment"]["in_flight"] == 6).await;
    for _ in 0..20 {
        let answer = ask(&host, "/b", &b).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
}
