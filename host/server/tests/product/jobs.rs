//! Background jobs from outside: they outlive their request, a host that stops and one that is killed; tenants and their quotas;
//! what operators see. The guest does what the request's body says, a line each.

use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use tempfile::TempDir;

use crate::client::send;
use crate::host::{Host, guest};
use crate::tenants::{Key, key, route, tenant};

const GRANTS: &str = "grants = { jobs = true }";
const PATIENCE: Duration = Duration::from_secs(60);

async fn host(manifest: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("guest.wasm"), guest("runner")).unwrap();
    Host::with(folder, Some(manifest)).await
}

/// Another host in the folder of one that has ended.
async fn again(mut ended: Host, manifest: &str) -> Host {
    let folder: TempDir = std::mem::replace(&mut ended.folder, tempfile::tempdir().unwrap());
    Host::with(folder, Some(manifest)).await
}

pub(crate) async fn tell(host: &Host, path: &str, key: Option<&Key>, line: &str) -> String {
    let request = Request::post(path).header("host", "test");
    let request = match key {
        Some(key) => request.header("authorization", format!("Bearer {}", key.text)),
        None => request,
    };
    let answer = send(host.edge, request.body(line.to_owned().into()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.text().to_owned()
}

/// Waits until a job's status begins so.
pub(crate) async fn until(host: &Host, path: &str, key: Option<&Key>, id: &str, wanted: &str) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = tell(host, path, key, &format!("status {id}")).await;
        if status.starts_with(wanted) {
            return status;
        }
        assert!(Instant::now() < end, "{id} never was {wanted}: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_job_is_done_after_its_request_and_is_its_tenants_alone() {
    let (a, b) = (key("a", "laptop"), key("b", "phone"));
    let manifest = [
        tenant("a", &[&a], "quotas = { waiting-jobs = 2 }"),
        tenant("b", &[&b], ""),
        route("any", &format!("access = \"key\"\n{GRANTS}\nlimits = {{ jobs-at-once = 1 }}")),
    ];
    let host = host(&manifest.concat()).await;
    let id = tell(&host, "/any", Some(&a), "submit echo hello").await;
    let done = until(&host, "/any", Some(&a), &id, "Completed").await;
    assert_eq!(done, "Completed 100 1 hello at attempt 1");
    assert_eq!(tell(&host, "/any", Some(&b), &format!("status {id}")).await, "error: not found");
    let long = tell(&host, "/any", Some(&a), "submit wait 600000").await;
    until(&host, "/any", Some(&a), &long, "Processing").await;
    let batch = tell(&host, "/any", Some(&a), "batch 2 echo x").await;
    let refused = tell(&host, "/any", Some(&a), "submit echo one-too-many").await;
    assert!(refused.contains("tenant.quotas.waiting-jobs"), "{refused}");
    let jobs = crate::client::get(host.admin, "/v1/jobs").await.json();
    assert_eq!((&jobs["running"], &jobs["waiting"][0]["jobs"]), (&1.into(), &2.into()), "{jobs}");
    // another tenant waits for the place as well, and gets it before the second of the batch
    let theirs = tell(&host, "/any", Some(&b), "submit echo theirs").await;
    assert_eq!(tell(&host, "/any", Some(&a), &format!("cancel {long}")).await, "Cancelled 0 1 ");
    until(&host, "/any", Some(&b), &theirs, "Completed").await;
    for id in batch.split(' ') {
        until(&host, "/any", Some(&a), id, "Completed").await;
    }
    host.until_counted("atelier_background_jobs_total{operation=\"complete\"}", 4).await;
    host.until_counted("atelier_background_job_errors_total{kind=\"quota\"}", 1).await;
}

#[tokio::test]
async fn a_job_outlives_a_host_that_is_killed_and_one_that_is_stopped() {
    let manifest = format!(
        "[server]\ndrain-delay-ms = 0\ndrain-ms = 300\n{}",
        route("jobs", &format!("{GRANTS}\nlimits = {{ jobs-at-once = 2 }}"))
    );
    let mut host = host(&manifest).await;
    let killed = tell(&host, "/jobs", None, "submit wait 600000 key killed").await;
    until(&host, "/jobs", None, &killed, "Processing 0 1").await;
    host.signal("KILL");
    host.end().await;
    let mut host = again(host, &manifest).await;
    // what the killed host had begun counts
    until(&host, "/jobs", None, &killed, "Processing 0 2").await;
    assert_eq!(tell(&host, "/jobs", None, "submit wait 600000 key killed").await, killed);
    let brief = tell(&host, "/jobs", None, "submit wait 200").await;
    until(&host, "/jobs", None, &brief, "Processing").await;
    host.signal("TERM");
    host.end().await;
    let host = again(host, &manifest).await;
    // given back: no attempt more than before
    until(&host, "/jobs", None, &killed, "Processing 0 2").await;
    let status = until(&host, "/jobs", None, &brief, "Completed").await;
    assert!(status.starts_with("Completed 100 1") || status.starts_with("Completed 100 2"), "{status}");
    assert_eq!(tell(&host, "/jobs", None, &format!("cancel {killed}")).await, "Cancelled 0 2 ");
}

#[tokio::test]
async fn a_running_job_keeps_its_version_and_the_next_one_gets_the_new_one() {
    let host = host(&route("jobs", &format!("{GRANTS}\nlimits = {{ jobs-at-once = 1 }}"))).await;
    let long = tell(&host, "/jobs", None, "submit wait 1500").await;
    let next = tell(&host, "/jobs", None, "submit echo next").await;
    until(&host, "/jobs", None, &long, "Processing").await;
    let before = host.status().await["routes"][0]["deployment"]["generation"].as_u64().unwrap();
    let manifest = route("jobs", &format!("{GRANTS}\nlimits = {{ jobs-at-once = 1, jobs = 9 }}"));
    std::fs::write(host.folder.path().join("atelier.toml"), manifest).unwrap();
    let end = Instant::now() + PATIENCE;
    while host.status().await["routes"][0]["deployment"]["generation"].as_u64() == Some(before) {
        assert!(Instant::now() < end, "the route was never deployed anew");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(until(&host, "/jobs", None, &long, "Completed").await, "Completed 100 1 ");
    until(&host, "/jobs", None, &next, "Completed").await;
}
