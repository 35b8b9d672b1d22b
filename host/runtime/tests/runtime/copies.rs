//! What guests are told of copies: those that their route grants, of their tenant's objects. That copies are made is tested where
//! they are, in `atelier-store`; here their servers are not there at all.

use std::sync::Arc;
use std::time::Duration;

use atelier_inference::TenantId;
use atelier_runtime::{Deployment, Grants, LoadProblem, RouteSpec, Runtime, RuntimeConfig, Tenant};
use atelier_store::{CopyConfig, CopyTarget, Owner, RedisCopy, S3Copy, Secret, Storage, StorageConfig};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tempfile::TempDir;

use crate::kit::{guest, runtime_with, scheduler, spec, within};

/// Nobody listens there: it is no port for servers.
const NOWHERE: &str = "127.0.0.1:1";

fn copies() -> Vec<CopyConfig> {
    let s3 = S3Copy {
        bucket: "pictures".into(),
        region: "us-east-1".into(),
        endpoint: Some(format!("http://{NOWHERE}")),
        access: None,
        session: None,
        key: "{tenant}/{name}".into(),
        containers: vec!["pictures".into()],
        tenant: None,
        read: false,
    };
    let redis = RedisCopy {
        url: Secret(format!("redis://{NOWHERE}")),
        password: None,
        key: "job:{id}".into(),
        channel: None,
        stream: None,
        routes: vec!["work".into()],
    };
    let copy = |id: &str, to| CopyConfig { id: id.into(), to };
    vec![copy("s3", CopyTarget::Objects(s3)), copy("redis", CopyTarget::Jobs(redis))]
}

async fn place() -> (Runtime, Storage, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = StorageConfig { copies: copies(), ..StorageConfig::default() };
    let storage = Storage::open(&folder.path().join("storage"), config).unwrap();
    let runtime = runtime_with(RuntimeConfig::default(), scheduler(Duration::ZERO));
    runtime.store_in(storage.clone());
    for (id, name) in [("anna", "first"), ("ben", "second")] {
        let owner = Owner::new(id, None);
        let pictures = storage.container(owner.clone(), "pictures");
        pictures.create().await.unwrap();
        storage.draft(owner).await.unwrap().finish(&pictures, name.into()).await.unwrap();
    }
    (runtime, storage, folder)
}

fn copyist(granted: &[&str]) -> RouteSpec {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let grants =
        Grants { containers: texts(&["pictures", "archive"]), copies: texts(granted), ..Grants::default() };
    RouteSpec { grants, ..spec(guest("copyist")) }
}

/// The answers to lines, one each.
async fn told(route: &Arc<Deployment>, lines: &[&str]) -> Vec<String> {
    let anna = Arc::new(Tenant { id: TenantId::new("anna").unwrap(), ..Tenant::default() });
    let request =
        Request::post("http://test.invalid/").body(Full::new(Bytes::from(lines.join("\n")))).unwrap();
    let answer = within(route.handle_for(&anna, request)).await.unwrap();
    let text = within(answer.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(text.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_is_told_of_the_copies_that_its_route_grants_and_of_its_tenants_objects() {
    let (runtime, _storage, _folder) = place().await;
    let route = runtime.deploy(copyist(&["s3"])).await.unwrap();
    let lines = [
        "services",
        // degraded by now: nobody waits for it
        "object pictures first 60000",
        "object pictures second 0",
        "object archive first 0",
        "object secrets first 0",
        "object pictures first 60001",
    ];
    let answers = told(&route, &lines).await;
    let url = format!("http://{NOWHERE}/pictures/anna/first false");
    assert_eq!(
        answers[..4],
        ["s3 s3 ServiceState::Degraded 2 no connection", &url, "error: Error::NotFound", "none"]
    );
    assert!(answers[4].contains("AccessDenied") && answers[4].contains("grants.containers"), "{answers:?}");
    assert!(answers[5].contains("Invalid") && answers[5].contains("wait-ms"), "{answers:?}");
    let both = runtime.deploy(copyist(&["redis", "s3"])).await.unwrap();
    let answers = told(&both, &["services"]).await;
    assert_eq!(answers[0].matches("no connection").count(), 2, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_asks_for_copies_without_the_grant_does_not_load() {
    let (runtime, _storage, _folder) = place().await;
    let problems = runtime.deploy(copyist(&[])).await.unwrap_err().problems;
    let is_named = |problem: &LoadProblem| matches!(problem, LoadProblem::NotGranted { key, .. } if *key == "grants.copies");
    assert!(problems.iter().any(is_named), "{problems:?}");
    let elsewhere = runtime_with(RuntimeConfig::default(), scheduler(Duration::ZERO));
    let problems = elsewhere.deploy(copyist(&["s3"])).await.unwrap_err().problems;
    let has_no_place = |problem: &LoadProblem| matches!(problem, LoadProblem::NoStorage { key, .. } if *key == "grants.copies");
    assert!(problems.iter().any(has_no_place), "{problems:?}");
}
