//! Background jobs with a guest that submits and works them off: what a handler sees of them, how runs end, and where their
//! bounds are. What the queue itself promises is tested in `atelier-store`.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use atelier_inference::{ModelId, TenantId};
use atelier_runtime::{
    Deployment, Exceeded, Grants, JOB_LEASE, Limits, LoadProblem, Quota, RouteSpec, Runtime, RuntimeConfig,
    Tenant, Webhooks, Work,
};
use atelier_store::{JobState, Owner, Storage, StorageConfig};
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

fn anna_owner() -> Owner {
    Owner::new("anna", None)
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
async fn a_tenants_jobs_are_listed_a_page_at_a_time() {
    let place = Place::new();
    let (route, anna, bert) = (place.route(Limits::default()).await, tenant("anna", 10), tenant("bert", 10));
    let ids = tell(&route, &anna, "batch 3 echo x").await;
    let ids: Vec<&str> = ids.split(' ').collect();
    let page = tell(&route, &anna, "list 2").await;
    let (listed, next) = page.split_once(" then ").unwrap();
    assert_eq!(listed, format!("{} {}", ids[2], ids[1]));
    assert_eq!(tell(&route, &anna, &format!("list 2 {next}")).await, format!("{} then ", ids[0]));
    assert_eq!(tell(&route, &bert, "list 100").await, " then ");
    for (line, why) in [
        ("list 0", "`count` is 1 to 100, not 0"),
        ("list 101", "`count` is 1 to 100, not 101"),
        ("list 1 nowhere", "`nowhere` is not where a page ends; begin without it"),
    ] {
        assert_eq!(tell(&route, &anna, line).await, format!("error: invalid: {why}"));
    }
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
async fn a_job_reads_elsewhere_as_its_component_says_or_else_as_the_host_does() {
    let place = Place::new();
    let (route, anna) = (place.route(Limits::default()).await, tenant("anna", 10));
    let read = async |id: &str| {
        let status = place.storage.jobs(anna_owner(), route.route()).status(id).await.unwrap().unwrap();
        let text = within(route.describe(&anna, status)).await;
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let id = tell(&route, &anna, "submit echo hello").await;
    assert_eq!(read(&id).await["reads"], "Pending 0 0 ");
    place.work_off(&route).await;
    let said = read(&id).await;
    assert_eq!((&said["id"], &said["reads"]), (&id.into(), &"Completed 100 1 hello at attempt 1".into()));
    // no object, too long, a trap, an error: the host says what there is
    for job in ["flaky x", "large 2", "trap x", "refuse no"] {
        let id = tell(&route, &anna, &format!("submit {job}")).await;
        place.work_off(&route).await;
        let said = read(&id).await;
        assert_eq!((&said["id"], &said["attempts"]), (&id.into(), &1.into()), "{job}: {said}");
        assert!(said.get("reads").is_none() && said["submitted"].is_u64(), "{job}: {said}");
    }
    crate::kit::until(|| route.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_work_is_done_once_by_the_same_code_configuration_and_models() {
    let (place, files) = (Place::new(), Arc::new(AtomicU32::new(0)));
    let standing = files.clone();
    place.runtime.know_files_by(move |id| format!("{id} {}", standing.load(Ordering::Relaxed)));
    let grants = Grants { jobs: true, models: vec![ModelId::new("fake")], ..Grants::default() };
    let spec = RouteSpec { grants, ..runner() };
    let route = place.runtime.deploy(spec.clone()).await.unwrap();
    let (anna, bert) = (tenant("anna", 100), tenant("bert", 100));
    let work = "cached 60 echo hello fake";
    let known = async |route: &Arc<Deployment>, tenant: &Arc<Tenant>, work: &str| {
        let id = tell(route, tenant, work).await;
        let status = status(route, tenant, &id).await;
        tell(route, tenant, &format!("cancel {id}")).await;
        status
    };
    assert_eq!(known(&route, &anna, work).await, "Pending 0 0 ");
    tell(&route, &anna, work).await;
    assert_eq!(place.work_off(&route).await, Some(JobState::Completed));
    assert_eq!(known(&route, &anna, work).await, "Completed 100 0 hello at attempt 1");
    assert_eq!(known(&route, &bert, work).await, "Pending 0 0 ");
    assert_eq!(known(&route, &anna, "cached 60 echo hello").await, "Pending 0 0 ");
    let config = vec![("style".to_owned(), "bold".to_owned())];
    let bold = place.runtime.deploy(RouteSpec { config, ..spec.clone() }).await.unwrap();
    assert_eq!(known(&bold, &anna, work).await, "Pending 0 0 ");
    let styled = RouteSpec { style: vec![guest("styler")], ..spec.clone() };
    let styled = place.runtime.deploy(styled).await.unwrap();
    assert_eq!(known(&styled, &anna, work).await, "Pending 0 0 ");
    files.store(1, Ordering::Relaxed);
    assert_eq!(known(&route, &anna, work).await, "Pending 0 0 ", "the model's files are others");
    files.store(0, Ordering::Relaxed);
    let same = place.runtime.deploy(spec).await.unwrap();
    assert_eq!(known(&same, &anna, work).await, "Completed 100 0 hello at attempt 1");
    // what fails is done again
    tell(&route, &anna, "cached 60 refuse no fake").await;
    assert_eq!(place.work_off(&route).await, Some(JobState::Failed));
    assert_eq!(known(&route, &anna, "cached 60 refuse no fake").await, "Pending 0 0 ");
    for (line, why) in [
        ("cached 0 echo x", "`cache.seconds` of job 0 is 1 to 604800, not 0"),
        ("cached 604801 echo x", "`cache.seconds` of job 0 is 1 to 604800, not 604801"),
        (
            "cached 60 echo x other",
            "`cache.models` of job 0: there is no model `other` among `grants.models` of the route",
        ),
    ] {
        assert_eq!(tell(&route, &anna, line).await, format!("error: invalid: {why}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_same_work_at_the_same_time_one_is_done() {
    let place = Place::new();
    let grants = Grants { jobs: true, models: vec![ModelId::new("fake")], ..Grants::default() };
    let route = place.runtime.deploy(RouteSpec { grants, ..runner() }).await.unwrap();
    let anna = tenant("anna", 100);
    let ids = told(&route, &anna, &["cached 60 wait 300 fake"; 3]).await;
    let meanwhile = async {
        while !status(&route, &anna, &ids[0]).await.starts_with("Processing") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        place.storage.job_queue().take(route.route(), JOB_LEASE).await.unwrap().is_none()
    };
    let (done, is_nothing_due) = tokio::join!(place.work_off(&route), meanwhile);
    assert_eq!((done, is_nothing_due), (Some(JobState::Completed), true));
    let jobs = place.storage.jobs(anna_owner(), route.route());
    for (id, cached) in ids.iter().zip([false, true, true]) {
        if cached {
            assert_eq!(place.work_off(&route).await, Some(JobState::Completed));
        }
        assert_eq!(jobs.status(id).await.unwrap().unwrap().cached, cached);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_job_those_are_told_whom_the_route_may_tell() {
    let (place, anna) = (Place::new(), tenant("anna", 10));
    let route = place.route(Limits::default()).await;
    let refused = tell(&route, &anna, "tell https://a.test/ ended echo x").await;
    assert!(
        refused.starts_with("error: invalid: `webhook` of job 0: route `/test` tells nobody"),
        "{refused}"
    );
    let grants = Grants { jobs: true, webhooks: Some(Webhooks::default()), ..Grants::default() };
    let route = place.runtime.deploy(RouteSpec { grants, ..runner() }).await.unwrap();
    let id = tell(&route, &anna, "tell https://a.test/ both echo x").await;
    place.work_off(&route).await;
    let told = place.storage.outbox().take().await.unwrap();
    let told: Vec<_> = told.iter().map(|message| (message.job.as_str(), message.url.as_str())).collect();
    assert_eq!(told, [(id.as_str(), "https://a.test/"); 2], "of its beginning and of its end");
    let refused = tell(&route, &anna, "tell http://127.0.0.1:9000/ ended echo x").await;
    assert!(refused.contains("`webhooks.private` of the route"), "{refused}");
    let unset = Webhooks { unset: Some("THE_SECRET".into()), ..Webhooks::default() };
    let grants = Grants { jobs: true, webhooks: Some(unset), ..Grants::default() };
    let route = place.runtime.deploy(RouteSpec { grants, ..runner() }).await.unwrap();
    let refused = tell(&route, &anna, "tell https://a.test/ ended echo x").await;
    assert!(refused.contains("`webhook` of job 0: ") && refused.contains("THE_SECRET"), "{refused}");
    assert!(
        !tell(&route, &anna, "submit echo x").await.starts_with("error"),
        "jobs of which nobody is told are kept"
    );
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
