//! What components keep, from outside: strangers with buckets of the same name, quotas, a host that is killed, and one that
//! finds its folder taken. The guest does what the request's body says, a line each.

use http::{Request, StatusCode};
use tempfile::TempDir;

use crate::client::{Answer, send};
use crate::host::{Host, atelier, guest};
use crate::tenants::{Key, key, route, tenant};

const GRANTS: &str = "grants = { buckets = [\"notes\", \"others\"], containers = [\"pictures\"] }";

async fn host(manifest: &str) -> Host {
    Host::with(folder(), Some(manifest)).await
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("guest.wasm"), guest("keeper2")).unwrap();
    folder
}

async fn ask(host: &Host, path: &str, key: Option<&Key>, lines: &[&str]) -> Answer {
    let request = Request::post(path).header("host", "test");
    let request = match key {
        Some(key) => request.header("authorization", format!("Bearer {}", key.text)),
        None => request,
    };
    send(host.edge, request.body(lines.join("\n").into()).unwrap()).await
}

async fn told(host: &Host, path: &str, key: Option<&Key>, lines: &[&str]) -> Vec<String> {
    let answer = ask(host, path, key, lines).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.text().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn two_tenants_with_a_bucket_of_the_same_name_see_nothing_of_each_other() {
    let (a, b) = (key("a", "laptop"), key("b", "phone"));
    let quotas = "quotas = { stored-bytes = 1_000 }";
    let manifest = [
        tenant("a", &[&a], quotas),
        tenant("b", &[&b], quotas),
        route("any", &format!("access = \"key\"\n{GRANTS}")),
        route("own", &format!("tenant = \"b\"\n{GRANTS}")),
    ];
    let host = host(&manifest.concat()).await;
    let lines = ["b:fill notes key 997", "create pictures", "b:add others count 1"];
    let full = "error: there is no room: of the 1000 bytes that may be kept (tenant.quotas.stored-bytes) 1000 are in use";
    assert_eq!(told(&host, "/any", Some(&a), &lines).await, ["set", "created", full]);
    let lines = ["b:get notes key", "b:list notes", "is pictures", "b:fill notes key 997"];
    assert_eq!(told(&host, "/any", Some(&b), &lines).await, ["none", "[] None", "false", "set"]);
    // another route of the same tenant keeps its things in the same places
    assert_eq!(told(&host, "/own", Some(&b), &["b:get notes key"]).await, ["997 bytes"]);
    assert_eq!(ask(&host, "/own", Some(&a), &["b:get notes key"]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(told(&host, "/any", Some(&b), &["b:delete notes key"]).await, ["deleted"]);
    assert_eq!(told(&host, "/any", Some(&a), &["b:get notes key"]).await, ["997 bytes"]);
    host.until_counted("atelier_storage_errors_total{of=\"values\",kind=\"quota\"}", 1).await;
    host.until_counted("atelier_storage_operations_total{of=\"values\",operation=\"set\"}", 2).await;
    host.until_counted("atelier_storage_bytes_total{of=\"values\",direction=\"written\"}", 1_994).await;
}

#[tokio::test]
async fn what_was_answered_outlives_a_host_that_is_killed() {
    let manifest = route("keeper", GRANTS);
    let mut host = host(&manifest).await;
    for round in 1..=5 {
        let number = round.to_string();
        let lines = [
            "b:add notes rounds 1",
            "is pictures",
            "create pictures",
            "put pictures newest kept",
            "b:get others key",
            "b:set others key value",
        ];
        let first = round == 1;
        let created = if first { "created" } else { "error: there is a container `pictures` already" };
        let (there, value) = if first { ("false", "none") } else { ("true", "value") };
        let wanted = [number.as_str(), there, created, "put", value, "set"];
        assert_eq!(told(&host, "/keeper", None, &lines).await, wanted);
        host.signal("KILL");
        host.end().await;
        let folder = std::mem::replace(&mut host.folder, tempfile::tempdir().unwrap());
        host = Host::with(folder, Some(&manifest)).await;
        assert_eq!(told(&host, "/keeper", None, &["whole pictures newest"]).await, ["kept"]);
    }
}

#[tokio::test]
async fn a_second_host_in_the_same_folder_serves_what_keeps_nothing_and_says_why() {
    let first = host(&route("keeper", GRANTS)).await;
    let taken = first.folder.path().join(".atelier");
    let second = folder();
    std::fs::write(second.path().join("plain.wasm"), guest("plain2")).unwrap();
    let plain = "[[route]]\nname = \"plain\"\npath = \"/plain\"\ncomponent = \"plain.wasm\"\n";
    let manifest = format!("[store]\ndata-dir = {taken:?}\n{}{plain}", route("keeper", GRANTS));
    let second = Host::with(second, Some(&manifest)).await;
    assert_eq!(crate::client::get(second.edge, "/plain").await.status, StatusCode::OK);
    assert_eq!(ask(&second, "/keeper", None, &["is pictures"]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let status = second.status().await.to_string();
    assert!(status.contains("another process keeps") && status.contains("store.data-dir"), "{status}");
    assert_eq!(told(&first, "/keeper", None, &["is pictures"]).await, ["false"]);
}

#[tokio::test]
async fn a_host_whose_routes_keep_nothing_makes_no_folder_and_one_without_a_folder_refuses_the_grant() {
    let plain = folder();
    std::fs::write(plain.path().join("guest.wasm"), guest("plain2")).unwrap();
    let host = Host::with(plain, Some(&route("plain", ""))).await;
    assert!(!host.folder.path().join(".atelier").exists());
    let folder = folder();
    let manifest = format!("[store]\ndata-dir = \"off\"\n{}", route("keeper", GRANTS));
    std::fs::write(folder.path().join("atelier.toml"), manifest).unwrap();
    let output = atelier(folder.path()).args(["config"]).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(!output.status.success() && text.contains("route.keeper.grants.buckets"), "{text}");
    assert!(text.contains("store.data-dir is \"off\""), "{text}");
}
