//! Results of the same work: whose will do for whom, for how long, what they count for, and what becomes of jobs of the same work that
//! are there at the same time (`twins.rs`).

mod twins;

use std::path::Path;
use std::time::Duration;

use atelier_store::{
    Caching, JobEnd, JobOrder, JobPriority, JobState, JobStatus, Jobs, Occasion, Owner, Storage,
    StorageConfig, Webhook,
};
use tempfile::TempDir;

const LEASE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const ROUTE: &str = "/pictures";
/// What a job and a result for others count for, beside what they hold.
const RECORD: u64 = 512;

fn open(dir: &Path) -> Storage {
    Storage::open(&dir.join("storage"), StorageConfig::default()).unwrap()
}

fn fresh() -> (TempDir, Storage) {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    (dir, storage)
}

fn owner(id: &str) -> Owner {
    Owner::new(id, None)
}

/// Work that one maker would do, or has done within so long.
fn order(payload: &str, made_by: &str, within: Duration) -> JobOrder {
    JobOrder {
        kind: "paint".into(),
        payload: payload.into(),
        key: None,
        priority: JobPriority::Normal,
        start_within: Duration::from_secs(60),
        keep: Duration::from_secs(60),
        attempts: 3,
        webhook: None,
        cache: Some(Caching { within, tools: vec!["nano".into()], made_by: made_by.into() }),
    }
}

/// How a job stands that was just submitted.
async fn submitted(jobs: &Jobs, order: JobOrder) -> JobStatus {
    let id = jobs.submit(vec![order], 100).await.unwrap().remove(0).id;
    jobs.status(&id).await.unwrap().unwrap()
}

async fn is_known(jobs: &Jobs, order: JobOrder) -> bool {
    let status = submitted(jobs, order).await;
    if !status.cached {
        jobs.cancel(&status.id).await.unwrap();
    }
    status.cached
}

/// Does the next job as a maker, if one may say who it is.
async fn work_off(storage: &Storage, made_by: Option<&str>, end: JobEnd) {
    let mut taken = storage.job_queue().take(ROUTE, LEASE).await.unwrap().unwrap();
    assert_eq!(taken.tools(), Some(&["nano".to_owned()][..]));
    if let Some(made_by) = made_by {
        taken.is_made_by(made_by.into());
    }
    let whose = owner(taken.owner());
    taken.end(whose, end).await.unwrap();
}

fn completed(result: &str) -> JobEnd {
    JobEnd::Completed(result.as_bytes().to_vec())
}

#[tokio::test]
async fn the_same_work_is_completed_at_once_with_the_result_of_the_last_and_its_webhook_told() {
    let (dir, storage) = fresh();
    let mine = storage.jobs(owner("a"), ROUTE);
    assert!(!submitted(&mine, order("boat", "m", HOUR)).await.cached);
    work_off(&storage, Some("m"), completed("picture")).await;
    let webhook = Webhook {
        url: "https://a.test/".into(),
        receiver: "https://a.test:443".into(),
        occasions: vec![Occasion::Begun, Occasion::Ended],
    };
    let told = JobOrder { webhook: Some(webhook), key: Some("k".into()), ..order("boat", "m", HOUR) };
    let known = submitted(&mine, told.clone()).await;
    assert_eq!((known.state, known.cached, known.progress), (JobState::Completed, true, 100));
    assert_eq!((known.result.as_deref(), known.attempts, known.started_ms), (Some(&b"picture"[..]), 0, None));
    assert!(storage.job_queue().take(ROUTE, LEASE).await.unwrap().is_none(), "there is nothing to do");
    let told_of = storage.outbox().take().await.unwrap();
    assert_eq!((told_of.len(), &told_of[0].job, told_of[0].occasion), (1, &known.id, Occasion::Ended));
    let again = mine.submit(vec![told], 100).await.unwrap().remove(0);
    assert_eq!((again.id, again.is_new), (known.id, false), "a key means the same job here as well");
    drop((told_of, mine, storage));
    let storage = open(dir.path());
    assert!(
        is_known(&storage.jobs(owner("a"), ROUTE), order("boat", "m", HOUR)).await,
        "it outlives a process"
    );
}

#[tokio::test]
async fn other_work_other_makers_other_owners_and_other_routes_know_nothing_of_it() {
    let (_dir, storage) = fresh();
    let mine = storage.jobs(owner("a"), ROUTE);
    submitted(&mine, order("boat", "m", HOUR)).await;
    work_off(&storage, Some("m"), completed("picture")).await;
    assert!(is_known(&mine, order("boat", "m", HOUR)).await);
    assert!(!is_known(&mine, order("boats", "m", HOUR)).await);
    assert!(!is_known(&mine, order("boat", "another model", HOUR)).await);
    assert!(!is_known(&mine, JobOrder { kind: "draw".into(), ..order("boat", "m", HOUR) }).await);
    assert!(!is_known(&mine, JobOrder { cache: None, ..order("boat", "m", HOUR) }).await, "nobody asked");
    for stranger in [storage.jobs(owner("b"), ROUTE), storage.jobs(owner("a"), "/elsewhere")] {
        assert!(!is_known(&stranger, order("boat", "m", HOUR)).await);
    }
}

#[tokio::test]
async fn it_is_kept_under_who_made_it_and_not_under_who_was_asked() {
    let (_dir, storage) = fresh();
    let mine = storage.jobs(owner("a"), ROUTE);
    submitted(&mine, order("boat", "old", HOUR)).await;
    // the component was swapped while the job waited
    work_off(&storage, Some("new"), completed("picture")).await;
    assert!(!is_known(&mine, order("boat", "old", HOUR)).await);
    assert!(is_known(&mine, order("boat", "new", HOUR)).await);
    submitted(&mine, order("ship", "m", HOUR)).await;
    work_off(&storage, None, completed("picture")).await;
    assert!(!is_known(&mine, order("ship", "m", HOUR)).await, "nobody said who made it");
}

#[tokio::test]
async fn what_failed_or_is_too_old_is_done_again() {
    let (_dir, storage) = fresh();
    let mine = storage.jobs(owner("a"), ROUTE);
    submitted(&mine, order("boat", "m", HOUR)).await;
    work_off(&storage, Some("m"), JobEnd::Failed("no".into())).await;
    assert!(!is_known(&mine, order("boat", "m", HOUR)).await);
    submitted(&mine, order("boat", "m", HOUR)).await;
    work_off(&storage, Some("m"), completed("first")).await;
    tokio::time::sleep(Duration::from_millis(350)).await;
    let brief = Duration::from_millis(300);
    assert!(!is_known(&mine, order("boat", "m", brief)).await, "too old for this one");
    assert!(is_known(&mine, order("boat", "m", HOUR)).await);
    submitted(&mine, order("boat", "m", brief)).await;
    work_off(&storage, Some("m"), completed("second")).await;
    assert_eq!(submitted(&mine, order("boat", "m", HOUR)).await.result.unwrap(), b"second");
}

#[tokio::test]
async fn it_counts_for_its_owner_until_its_time_is_over_and_is_left_out_where_there_is_no_room() {
    let (_dir, storage) = fresh();
    let (mine, tools) = (storage.jobs(owner("a"), ROUTE), "nano".len() as u64);
    let job = RECORD + "paint".len() as u64 + tools + "result".len() as u64;
    submitted(&mine, order("boat", "m", Duration::from_millis(50))).await;
    work_off(&storage, Some("m"), completed("result")).await;
    let kept = storage.used(&owner("a")).await.unwrap();
    assert_eq!(kept, job + RECORD + 6);
    tokio::time::sleep(Duration::from_millis(60)).await;
    storage.job_queue().sweep().await.unwrap();
    assert_eq!(storage.used(&owner("a")).await.unwrap(), job);
    // room for the next job and its result, and for nobody else's use of that
    submitted(&mine, order("ship", "m", HOUR)).await;
    let mut taken = storage.job_queue().take(ROUTE, LEASE).await.unwrap().unwrap();
    taken.is_made_by("m".into());
    let end = taken.end(Owner::new("a", Some(2 * job + RECORD)), completed("result")).await.unwrap();
    assert_eq!(end, Some(JobState::Completed));
    assert_eq!(storage.used(&owner("a")).await.unwrap(), 2 * job);
    assert!(!is_known(&mine, order("ship", "m", HOUR)).await);
}

#[tokio::test]
async fn known_results_take_no_place_in_the_line() {
    let (_dir, storage) = fresh();
    let mine = storage.jobs(owner("a"), ROUTE);
    submitted(&mine, order("boat", "m", HOUR)).await;
    work_off(&storage, Some("m"), completed("picture")).await;
    let batch = vec![order("boat", "m", HOUR), order("new", "m", HOUR), order("boat", "m", HOUR)];
    let kept = mine.submit(batch, 1).await.unwrap();
    assert!(mine.status(&kept[2].id).await.unwrap().unwrap().cached);
    assert_eq!(storage.job_queue().waiting().await.unwrap(), 1);
}
