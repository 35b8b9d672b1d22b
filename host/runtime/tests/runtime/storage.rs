//! What guests keep: the standard interfaces in both generations of handlers, whose things they reach, and where their bounds
//! are. What the storage itself promises is tested in `atelier-store`.

use std::sync::Arc;
use std::time::Duration;

use atelier_inference::TenantId;
use atelier_runtime::{
    Deployment, Exceeded, Grants, Limits, LoadProblem, Quota, Reuse, RouteSpec, Runtime, RuntimeConfig,
    Tenant, Work,
};
use atelier_store::{Storage, StorageConfig};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tempfile::TempDir;

use crate::kit::{Logs, guest, runtime_with, scheduler, spec, within};

/// A runtime that keeps things in a folder of its own.
struct Place {
    runtime: Runtime,
    storage: Storage,
    _folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config =
            StorageConfig { value_bytes: 4 << 20, object_bytes: 200_000, ..StorageConfig::default() };
        let storage = Storage::open(&folder.path().join("storage"), config).unwrap();
        let runtime = runtime_with(RuntimeConfig::default(), scheduler(Duration::ZERO));
        runtime.store_in(storage.clone());
        Self { runtime, storage, _folder: folder }
    }

    async fn keeper(&self, generation: u8) -> Arc<Deployment> {
        self.runtime.deploy(keeper(generation)).await.unwrap()
    }
}

fn keeper(generation: u8) -> RouteSpec {
    let granted = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    RouteSpec {
        grants: Grants {
            buckets: granted(&["notes", "others"]),
            containers: granted(&["pictures", "archive"]),
            ..Grants::default()
        },
        ..spec(guest(&format!("keeper{generation}")))
    }
}

/// Keeps so many bytes, and as much of everything else as it likes.
struct Bytewise(u64);

impl Quota for Bytewise {
    fn charge(&self, _: Work) -> Result<(), Exceeded> {
        Ok(())
    }

    fn refund(&self, _: Work) {}

    fn stored_bytes(&self) -> Option<u64> {
        Some(self.0)
    }
}

fn tenant(id: &str, limit: u64) -> Arc<Tenant> {
    let quota = Arc::new(Bytewise(limit));
    Arc::new(Tenant { id: TenantId::new(id).unwrap(), quota, ..Tenant::default() })
}

/// The answers to lines, one each.
async fn told(route: &Arc<Deployment>, tenant: &Arc<Tenant>, lines: &[&str]) -> Vec<String> {
    let body = Full::new(Bytes::from(lines.join("\n")));
    let request = Request::post("http://test.invalid/").body(body).unwrap();
    let answer = within(route.handle_for(tenant, request)).await.unwrap();
    let text = within(answer.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(text.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

async fn tells(route: &Arc<Deployment>, tenant: &Arc<Tenant>, dialogue: &[(&str, &str)]) {
    let lines: Vec<&str> = dialogue.iter().map(|(line, _)| *line).collect();
    let answers = told(route, tenant, &lines).await;
    for ((line, wanted), answer) in dialogue.iter().zip(&answers) {
        assert!(
            answer == wanted || wanted.strip_suffix('…').is_some_and(|start| answer.starts_with(start)),
            "`{line}`: {answer}"
        );
    }
    assert_eq!(answers.len(), dialogue.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_of_both_generations_keep_values_for_the_next_request() {
    let place = Place::new();
    let anna = tenant("anna", u64::MAX);
    for generation in [2, 3] {
        let route = place.keeper(generation).await;
        let dialogue = [
            ("b:get notes key", "none"),
            ("b:set notes key value", "set"),
            ("b:exists notes key", "true"),
            ("b:get others key", "none"),
            ("b:add others count 5", "5"),
            ("b:add others count -7", "-2"),
            ("b:set-many notes a 1 b 2", "set"),
            ("b:get-many notes b none a", r#"[Some("b"), None, Some("a")]"#),
            ("b:list notes", r#"["a", "b", "key"] None"#),
            ("b:delete-many notes a none", "deleted"),
            ("b:delete notes b", "deleted"),
            ("b:swap notes s first", "swapped none"),
            ("b:late-swap notes s third second", "not first but second, then true"),
            ("b:add notes key 1", "error: the value of key `key` is not a whole number…"),
        ];
        tells(&route, &anna, &dialogue).await;
        let later = [
            ("b:get notes key", "value"),
            ("b:get others count", "-2"),
            ("b:get notes s", "third"),
            ("b:delete-many notes key s", "deleted"),
            ("b:delete others count", "deleted"),
        ];
        tells(&route, &anna, &later).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_of_both_generations_keep_objects_for_the_next_request() {
    let place = Place::new();
    let anna = tenant("anna", u64::MAX);
    for generation in [2, 3] {
        let route = place.keeper(generation).await;
        let dialogue = [
            ("is pictures", "false"),
            ("put pictures cat bytes", "error: there is no container `pictures`; create it first"),
            ("create pictures", "created"),
            ("create pictures", "error: there is a container `pictures` already"),
            ("create archive", "created"),
            ("is pictures", "true"),
            ("name pictures", "pictures"),
            ("info pictures", "pictures true"),
            ("put pictures cat purring", "put"),
            ("fill pictures large 150000", "put"),
            ("size pictures large", "pictures/large 150000 true"),
            ("size pictures none", "error: there is no object `none` in container `pictures`"),
            ("read pictures cat 1 3", "urr"),
            ("read pictures large 10 140009", "140000 bytes"),
            ("whole pictures large", "150000 bytes"),
            ("read pictures cat 7 9", "error: bytes 7 to 9 are no part of an object of 7"),
            ("has pictures cat", "true"),
            ("list pictures", r#"(0, false) (["cat", "large"], true) ([], true)"#),
            ("one-by-one pictures", r#"(["cat"], false) (1, true)"#),
            ("copy pictures cat archive kitten", "copied"),
            ("move pictures large archive large", "moved"),
            ("copy pictures cat nowhere cat", "error: route `/test` has no grant for container `nowhere`…"),
            ("last pictures cat", "purring"),
            ("nowhere pictures", "error: this value is for no object; call write-data before finish"),
            ("leave pictures", "left"),
        ];
        tells(&route, &anna, &dialogue).await;
        let later = [
            ("list pictures", "(0, false) ([], true) ([], true)"),
            ("whole archive kitten", "purring"),
            ("delete archive large none", "deleted"),
            ("list archive", r#"(0, false) (["kitten"], true) ([], true)"#),
            ("clear archive", "cleared"),
            ("is archive", "true"),
            ("remove archive", "removed"),
            ("remove pictures", "removed"),
            ("is pictures", "false"),
        ];
        tells(&route, &anna, &later).await;
    }
    assert_eq!(place.storage.used(&atelier_store::Owner::new("anna", None)).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_with_buckets_of_the_same_name_see_nothing_of_each_other() {
    let place = Place::new();
    let route = place.keeper(3).await;
    let (anna, ben) = (tenant("anna", u64::MAX), tenant("ben", u64::MAX));
    tells(&route, &anna, &[("b:set notes key mine", "set"), ("create pictures", "created")]).await;
    tells(&route, &anna, &[("put pictures cat mine", "put")]).await;
    let nothing = [
        ("b:get notes key", "none"),
        ("b:exists notes key", "false"),
        ("b:list notes", "[] None"),
        ("b:get-many notes key", "[None]"),
        ("b:delete notes key", "deleted"),
        ("is pictures", "false"),
        ("whole pictures cat", "error: there is no container `pictures`; create it first"),
        ("create pictures", "created"),
        ("whole pictures cat", "error: there is no object `cat` in container `pictures`"),
        ("move pictures cat pictures dog", "error: there is no object `cat` in container `pictures`"),
        ("list pictures", "(0, false) ([], true) ([], true)"),
        ("remove pictures", "removed"),
    ];
    tells(&route, &ben, &nothing).await;
    tells(&route, &anna, &[("b:get notes key", "mine"), ("whole pictures cat", "mine")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_route_does_not_grant_is_refused_by_name() {
    let place = Place::new();
    let bare = RouteSpec { grants: Grants::default(), ..keeper(3) };
    let problems = place.runtime.deploy(bare.clone()).await.unwrap_err().problems;
    let keys: Vec<&str> = problems
        .iter()
        .filter_map(|problem| match problem {
            LoadProblem::NotGranted { key, .. } => Some(*key),
            _ => None,
        })
        .collect();
    assert_eq!(keys, ["grants.buckets", "grants.containers"], "{problems:?}");
    let logs = Logs::of("/asks-for-more");
    let spec = RouteSpec { route: "/asks-for-more".into(), ..keeper(3) };
    let route = place.runtime.deploy(spec).await.unwrap();
    let anna = tenant("anna", u64::MAX);
    let dialogue = [
        // the operator reads which key to add, among the guest's own lines
        ("b:open secrets", "error: Error::AccessDenied"),
        (
            "create secrets",
            "error: route `/asks-for-more` has no grant for container `secrets`; add it to `grants.containers` of the route",
        ),
        ("is secrets", "error: route `/asks-for-more` has no grant…"),
    ];
    tells(&route, &anna, &dialogue).await;
    assert!(
        logs.lines().iter().any(|line| line.contains("add it to `grants.buckets`")),
        "{:?}",
        logs.lines()
    );
    let nowhere = runtime_with(RuntimeConfig::default(), scheduler(Duration::ZERO));
    let error = nowhere.deploy(keeper(2)).await.unwrap_err().to_string();
    assert!(error.contains("grants.buckets") && error.contains("store.data-dir"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_instance_keep_things_beside_each_other() {
    let place = Place::new();
    let spec = RouteSpec { reuse: Reuse::Concurrent, ..keeper(3) };
    let route = place.runtime.deploy(spec).await.unwrap();
    let anna = tenant("anna", u64::MAX);
    told(&route, &anna, &["create pictures"]).await;
    let mut asking = tokio::task::JoinSet::new();
    for index in 0..40 {
        let (route, anna) = (route.clone(), anna.clone());
        asking.spawn(async move {
            let put = format!("put pictures cat{index} purring");
            let answers = told(&route, &anna, &["b:add notes count 1", &put]).await;
            assert_eq!(answers[1], "put");
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked.unwrap();
    }
    tells(&route, &anna, &[("b:get notes count", "40"), ("whole pictures cat39", "purring")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_keeps_so_many_bytes_and_no_byte_more() {
    let place = Place::new();
    let route = place.keeper(2).await;
    let anna = tenant("anna", 20_000);
    let full = "error: there is no room: of the 20000 bytes that may be kept (tenant.quotas.stored-bytes)…";
    let dialogue = [
        ("create pictures", "created"),
        ("b:fill notes k 9999", "set"),
        ("fill pictures o 10000", full),
        // in the middle of a stream, whose error is a text without the host's own stack
        ("fill pictures o 15000", full),
        ("has pictures o", "false"),
        ("fill pictures o 9999", "put"),
        ("b:fill notes k 10000", full),
        ("b:set notes l ", full),
        ("copy pictures o pictures p", full),
        ("delete pictures o", "deleted"),
        ("b:fill notes k 19999", "set"),
    ];
    tells(&route, &anna, &dialogue).await;
    tells(&route, &tenant("ben", 20_000), &[("b:fill notes k 19999", "set")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_have_their_bounds_to_the_byte() {
    let place = Place::new();
    let limits = Limits { hostcall_bytes: 300_000, ..Limits::default() };
    let route = place.runtime.deploy(RouteSpec { limits, ..keeper(2) }).await.unwrap();
    let anna = tenant("anna", u64::MAX);
    let long = |length: usize| format!("b:set notes {} v", "k".repeat(length));
    let (longest, too_long) = (long(1_024), long(1_025));
    let dialogue = [
        (longest.as_str(), "set"),
        (too_long.as_str(), "error: a key has 1025 bytes; it must have 1 to 1024"),
        ("create pictures", "created"),
        ("fill pictures o 200000", "put"),
        (
            "fill pictures p 200001",
            "error: an object of more than 200000 bytes is not kept (store.object-bytes)",
        ),
        ("b:number others 0 1000", "set"),
        ("b:number others 1000 2000", "set"),
        (
            "b:number others 0 1001",
            "error: 1001 keys are more than the 1000 of a batch; ask for fewer at a time",
        ),
        ("b:pages others", "1000 1000"),
        (
            "hoard pictures o",
            "16 and then: this guest reads and writes 16 objects already; no more at a time",
        ),
    ];
    tells(&route, &anna, &dialogue).await;
    let tight = Limits { hostcall_bytes: 150_000, ..Limits::default() };
    let tight = place.runtime.deploy(RouteSpec { limits: tight, ..keeper(2) }).await.unwrap();
    let dialogue = [
        (
            "whole pictures o",
            "error: 200000 bytes are more than the 150000 of one call (limits.hostcall-bytes)…",
        ),
        ("read pictures o 0 199999", "200000 bytes"),
        ("b:fill notes one 80000", "set"),
        ("b:fill notes two 80000", "set"),
        ("b:get-many notes one", r#"[Some("one")]"#),
        (
            "b:get-many notes one two",
            "error: these values have more than 150000 bytes; ask for fewer at a time",
        ),
    ];
    tells(&tight, &anna, &dialogue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_finished_while_its_stream_is_held_is_a_trap_and_leaves_nothing() {
    let place = Place::new();
    let route = place.keeper(2).await;
    let anna = tenant("anna", u64::MAX);
    let body = Full::new(Bytes::from("early pictures"));
    let request = Request::post("http://test.invalid/").body(body).unwrap();
    let failure = within(route.handle_for(&anna, request)).await.unwrap_err();
    assert_eq!(failure.code(), "guest_trap");
    tells(&route, &anna, &[("create pictures", "created")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_to_the_log_within_the_limit_of_what_is_printed() {
    let logs = Logs::of("/keeps-a-diary");
    let place = Place::new();
    let limits = Limits { log_bytes: 40, ..Limits::default() };
    let spec = RouteSpec { route: "/keeps-a-diary".into(), limits, ..keeper(3) };
    let route = place.runtime.deploy(spec).await.unwrap();
    let lines = [
        "log warn shelf hello",
        "log critical shelf \u{1b}[31m",
        &format!("log info shelf {}", "x".repeat(100)),
    ];
    told(&route, &tenant("anna", 0), &lines).await;
    let seen = logs.lines();
    assert_eq!(seen[..2], ["hello", "\\u{1b}[31m"]);
    // "shelf" twice, "hello" and the escape before it
    let left = "x".repeat(40 - 5 - 5 - 5 - 5);
    assert!(
        seen[2..].contains(&left) && seen.iter().any(|line| line.contains("limits.log-bytes")),
        "{seen:?}"
    );
}
