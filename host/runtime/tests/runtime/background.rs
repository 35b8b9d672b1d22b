//! Background jobs with a guest that submits and works them off: what a handler sees of them, how runs end, and where their
//! bounds are. What the queue itself promises is tested in `atelier-store`.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use atelier_inference::TenantId;
use atelier_runtime::{
    Deployment, Exceeded, Grants, JOB_LEASE, Limits, LoadProblem, Quota, RouteSpec, Runtime, RuntimeConfig,
    Tenant, Work,
};
use atelier_store::{JobState, Storage, StorageConfig};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tempfile::TempDir;

use crate::kit::{guest, runtime_with, scheduler, spec, within};

/// A runtime that keeps jobs in a folder of its own.
struct Place {
    runtime: Runtime,
    storage: Storage,
    _folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = StorageConfig { value_bytes: 4_096, object_bytes: 4_096, ..StorageConfig::default() };
        let storage = Storage::open(&folder.path().join("storage"), config).unwrap();
        let runtime = runtime_with(RuntimeConfig::default(), scheduler(Duration::ZERO));
        runtime.store_in(storage.clone());
        Self { runtime, storage, _folder: folder }
    }

    async fn route(&self, limits: Limits) -> Arc<Deployment> {
        self.runtime.deploy(RouteSpec { limits, ..runner() }).await.unwrap()
    }

    /// Works the next job off, as the server would, on the account of whoever submitted it.
    async fn work_off(&self, route: &Arc<Deployment>) -> Option<JobState> {
        let taken = self.storage.job_queue().take(route.route(), JOB_LEASE).await.unwrap()?;
        let tenant = tenant(taken.owner(), 1_000);
        within(route.clone().work_off(tenant, taken, pending())).await.unwrap()
    }
}

fn runner() -> RouteSpec {
    RouteSpec { grants: Grants { jobs: true, ..Grants::default() }, ..spec(guest("runner")) }
}

/// So many jobs may wait.
struct Patient(u64);

impl Quota for Patient {
    fn charge(&self, _: Work) -> Result<(), Exceeded> {
        Ok(())
    }

    fn refund(&self, _: Work) {}

    fn waiting_jobs(&self) -> u64 {
        self.0
    }
}

fn tenant(id: &str, waiting: u64) -> Arc<Tenant> {
    let quota = Arc::new(Patient(waiting));
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

async fn tell(route: &Arc<Deployment>, tenant: &Arc<Tenant>, line: &str) -> String {
    told(route, tenant, &[line]).await.join("\n")
}

async fn status(route: &Arc<Deployment>, tenant: &Arc<Tenant>, id: &str) -> String {
    tell(route, tenant, &format!("status {id}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_outlives_its_request_and_its_result_is_there_for_its_tenant_alone() {
    let place = Place::new();
    let (route, anna, bert) = (place.route(Limits::default()).await, tenant("anna", 10), tenant("bert", 10));
    let id = tell(&route, &anna, "submit echo hello key k").await;
    assert_eq!(tell(&route, &anna, "submit echo hello key k").await, id);
    assert!(tell(&route, &anna, "submit echo other key k").await.starts_with("error: key used:"));
    assert_eq!(status(&route, &anna, &id).await, "Pending 0 0 ");
    assert_eq!(place.work_off(&route).await, Some(JobState::Completed));
    assert_eq!(status(&route, &anna, &id).await, "Completed 100 1 hello at attempt 1");
    assert_eq!(status(&route, &bert, &id).await, "error: not found");
    assert_eq!(tell(&route, &bert, &format!("cancel {id}")).await, "error: not found");
    assert_eq!(place.work_off(&route).await, None, "one key, one job");
    assert!(route.works_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_reports_how_far_it_is_and_ends_when_it_is_called_off() {
    let place = Place::new();
    let (route, anna) = (place.route(Limits::default()).await, tenant("anna", 10));
    let id = tell(&route, &anna, "submit report painting").await;
    let taken = place.storage.job_queue().take(route.route(), JOB_LEASE).await.unwrap().unwrap();
    let run = tokio::spawn(route.clone().work_off(anna.clone(), taken, pending()));
    while status(&route, &anna, &id).await != "Processing 40 1 painting 40" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // the last who asked for the status may still be on their way out
    crate::kit::until(|| route.in_flight() == 1).await;
    assert_eq!(tell(&route, &anna, &format!("cancel {id}")).await, "Cancelled 0 1 ");
    assert_eq!(within(run).await.unwrap().unwrap(), None);
    crate::kit::until(|| route.in_flight() == 0).await;
    let outside = tell(&route, &anna, "report").await;
    assert_eq!(outside, "error: not running");
    let id = tell(&route, &anna, "submit bad-report x").await;
    place.work_off(&route).await;
    assert!(status(&route, &anna, &id).await.ends_with("invalid: `progress` is 0 to 100, not 101"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_for_good_is_not_tried_again_and_what_may_work_later_is() {
    let place = Place::new();
    let (route, anna) = (place.route(Limits::default()).await, tenant("anna", 10));
    let (refused, flaky) =
        (tell(&route, &anna, "submit refuse no").await, tell(&route, &anna, "submit flaky busy").await);
    assert_eq!(place.work_off(&route).await, Some(JobState::Failed));
    assert_eq!(status(&route, &anna, &refused).await, "Failed 0 1 no");
    assert_eq!(place.work_off(&route).await, Some(JobState::Pending));
    assert_eq!(status(&route, &anna, &flaky).await, "Pending 0 1 busy");
    assert_eq!(place.work_off(&route).await, None, "not at once");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(place.work_off(&route).await, Some(JobState::Completed));
    assert_eq!(status(&route, &anna, &flaky).await, "Completed 100 2 at last");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_traps_or_meets_a_limit_is_an_attempt() {
    let place = Place::new();
    let limits = Limits {
        job: Duration::from_secs(5),
        wall: Duration::from_millis(100),
        cpu: Duration::from_millis(60),
        ..Limits::default()
    };
    // the same route twice: requests go where they have time, jobs where they have little
    let (route, tight) = (place.route(Limits::default()).await, place.route(limits).await);
    let anna = tenant("anna", 10);
    let cases = [
        ("trap x", "stopped with an error"),
        ("wait 60000", "limits.job-ms"),
        ("spin x", "limits.cpu-ms"),
        ("large 4097", "store.value-bytes"),
    ];
    for (job, why) in cases {
        let id = tell(&route, &anna, &format!("submit {job}")).await;
        assert!(place.work_off(&tight).await.is_some());
        let status = status(&route, &anna, &id).await;
        assert!(status.contains(why) && status.contains(" 0 1 "), "{job}: {status}");
        tell(&route, &anna, &format!("cancel {id}")).await;
    }
    // the time of a request is not the time of a job
    let id = tell(&route, &anna, "submit wait 500").await;
    let state = place.work_off(&tight).await;
    assert_eq!(state, Some(JobState::Completed), "{}", status(&route, &anna, &id).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_ends_gives_its_jobs_back_without_an_attempt() {
    let place = Place::new();
    let (route, anna) = (place.route(Limits::default()).await, tenant("anna", 10));
    let id = tell(&route, &anna, "submit wait 60000").await;
    let taken = place.storage.job_queue().take(route.route(), JOB_LEASE).await.unwrap().unwrap();
    let soon = tokio::time::sleep(Duration::from_millis(20));
    let ended = within(route.clone().work_off(anna.clone(), taken, soon)).await.unwrap();
    assert_eq!(ended, Some(JobState::Pending));
    assert_eq!(status(&route, &anna, &id).await, "Pending 0 0 ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_or_wrong_is_refused_by_name() {
    let place = Place::new();
    let (route, anna) = (place.route(Limits::default()).await, tenant("anna", 3));
    assert_eq!(tell(&route, &anna, "batch 3 echo x").await.split(' ').count(), 3);
    let refused = tell(&route, &anna, "submit echo x").await;
    assert!(
        refused.starts_with("error: full: 3 jobs may wait") && refused.contains("waiting-jobs"),
        "{refused}"
    );
    let cases = [
        ("batch 0 echo x", "a batch has 1 to 100 jobs, not 0"),
        ("batch 101 echo x", "a batch has 1 to 100 jobs, not 101"),
        ("attempts 4", "`attempts` of job 0 is 1 to 3, not 4"),
    ];
    for (line, why) in cases {
        assert_eq!(tell(&route, &anna, line).await, format!("error: invalid: {why}"));
    }
    let large = format!("submit echo {}", "x".repeat(4_097));
    assert!(tell(&route, &anna, &large).await.contains("store.value-bytes"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_nobody_would_work_for_and_a_route_without_the_grant_do_not_load() {
    let place = Place::new();
    let problems = |spec| async { place.runtime.deploy(spec).await.unwrap_err().problems };
    let ungranted = RouteSpec { grants: Grants::default(), ..runner() };
    let found = problems(ungranted).await;
    assert!(matches!(&found[..], [LoadProblem::JobsNotGranted { .. }]), "{found:?}");
    assert!(found[0].to_string().contains("`grants.jobs = true`"));
    let found = problems(RouteSpec { handler: guest("submitter"), ..runner() }).await;
    assert!(matches!(&found[..], [LoadProblem::NoRunner { .. }]), "{found:?}");
    let nowhere = runtime_with(RuntimeConfig::default(), scheduler(Duration::ZERO));
    let found = nowhere.deploy(runner()).await.unwrap_err().problems;
    assert!(matches!(&found[..], [LoadProblem::NoStorage { key: "grants.jobs", .. }]), "{found:?}");
}
