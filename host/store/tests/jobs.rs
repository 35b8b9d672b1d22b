//! What the queue of jobs promises, without a crash (`crash_jobs.rs` has those): who goes first, what is refused, how a job
//! ends, and when it is forgotten.

use std::path::Path;
use std::time::Duration;

use atelier_store::{
    Error, JobEnd, JobOrder, JobPriority, JobState, JobStatus, Jobs, Owner, Storage, StorageConfig, Taken,
};
use tempfile::TempDir;

const LEASE: Duration = Duration::from_secs(60);
const ROUTE: &str = "/pictures";

fn open(dir: &Path) -> Storage {
    Storage::open(
        &dir.join("storage"),
        StorageConfig { value_bytes: 1_024, object_bytes: 1_024, ..StorageConfig::default() },
    )
    .unwrap()
}

fn fresh() -> (TempDir, Storage) {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    (dir, storage)
}

fn owner(id: &str) -> Owner {
    Owner::new(id, None)
}

fn jobs(storage: &Storage, id: &str) -> Jobs {
    storage.jobs(owner(id), ROUTE)
}

fn order(payload: &str) -> JobOrder {
    JobOrder {
        kind: "paint".into(),
        payload: payload.into(),
        key: None,
        priority: JobPriority::Normal,
        start_within: Duration::from_secs(60),
        keep: Duration::from_secs(60),
        attempts: 3,
        webhook: None,
        cache: None,
    }
}

fn keyed(payload: &str, key: &str) -> JobOrder {
    JobOrder { key: Some(key.into()), ..order(payload) }
}

async fn submit(jobs: &Jobs, order: JobOrder) -> String {
    jobs.submit(vec![order], 100).await.unwrap().remove(0).id
}

async fn take(storage: &Storage) -> Option<Taken> {
    storage.job_queue().take(ROUTE, LEASE).await.unwrap()
}

/// The payloads of all jobs that are due, in their order.
async fn all(storage: &Storage) -> Vec<String> {
    let mut payloads = Vec::new();
    while let Some(mut taken) = take(storage).await {
        payloads.push(String::from_utf8(taken.payload()).unwrap());
        let whose = owner(taken.owner());
        taken.end(whose, JobEnd::Completed(Vec::new())).await.unwrap();
    }
    payloads
}

async fn status(jobs: &Jobs, id: &str) -> JobStatus {
    jobs.status(id).await.unwrap().expect("the job is known")
}

async fn swept(storage: &Storage) {
    tokio::time::sleep(Duration::from_millis(20)).await;
    storage.job_queue().sweep().await.unwrap();
}

#[tokio::test]
async fn a_job_waits_runs_and_ends_and_its_owner_sees_how_it_stands() {
    let (_dir, storage) = fresh();
    let mine = jobs(&storage, "a");
    let (first, second) = (submit(&mine, order("one")).await, submit(&mine, order("two")).await);
    let waiting = status(&mine, &second).await;
    assert_eq!((waiting.state, waiting.position, waiting.attempts), (JobState::Pending, Some(1), 0));
    let mut taken = take(&storage).await.unwrap();
    assert_eq!((taken.id(), taken.kind(), taken.attempt()), (first.as_str(), "paint", 1));
    assert_eq!((taken.payload(), taken.owner()), (b"one".to_vec(), "a"));
    assert!(taken.reports().report(40, "half-way".into()));
    let running = status(&mine, &first).await;
    assert_eq!(
        (running.state, running.progress, running.message.as_str()),
        (JobState::Processing, 40, "half-way")
    );
    assert_eq!(status(&mine, &second).await.position, Some(0));
    let ended = taken.end(owner("a"), JobEnd::Completed(b"picture".to_vec())).await.unwrap();
    assert_eq!(ended, Some(JobState::Completed));
    let done = status(&mine, &first).await;
    assert_eq!(
        (done.state, done.progress, done.result.as_deref()),
        (JobState::Completed, 100, Some(&b"picture"[..]))
    );
    assert!(done.submitted_ms <= done.started_ms.unwrap() && done.started_ms <= done.ended_ms);
}

#[tokio::test]
async fn others_jobs_are_not_there() {
    let (_dir, storage) = fresh();
    let id = submit(&jobs(&storage, "a"), order("mine")).await;
    for stranger in [jobs(&storage, "b"), storage.jobs(owner("a"), "/elsewhere")] {
        assert_eq!(stranger.status(&id).await.unwrap(), None);
        assert_eq!(stranger.cancel(&id).await.unwrap(), None);
    }
    assert_eq!(status(&jobs(&storage, "a"), &id).await.state, JobState::Pending);
    assert!(storage.job_queue().take("/elsewhere", LEASE).await.unwrap().is_none());
}

#[tokio::test]
async fn a_priority_goes_first_and_tenants_take_turns() {
    let (_dir, storage) = fresh();
    let (a, b) = (jobs(&storage, "a"), jobs(&storage, "b"));
    let of = |payload: &str, priority| JobOrder { priority, ..order(payload) };
    let batch =
        vec![of("low", JobPriority::Low), order("first"), order("second"), of("high", JobPriority::High)];
    a.submit(batch, 100).await.unwrap();
    assert_eq!(all(&storage).await, ["high", "first", "second", "low"]);
    a.submit(["a1", "a2", "a3"].map(order).to_vec(), 100).await.unwrap();
    submit(&b, order("b1")).await;
    let mut order = all(&storage).await;
    assert_eq!(order.iter().position(|payload| payload == "b1").unwrap(), 0, "b never had a turn: {order:?}");
    order.remove(0);
    assert_eq!(order, ["a1", "a2", "a3"]);
}

#[tokio::test]
async fn who_has_fewer_at_work_goes_first() {
    let (_dir, storage) = fresh();
    jobs(&storage, "a").submit(["a1", "a2", "a3"].map(order).to_vec(), 100).await.unwrap();
    let _first = take(&storage).await.unwrap();
    jobs(&storage, "b").submit(["b1", "b2"].map(order).to_vec(), 100).await.unwrap();
    let second = take(&storage).await.unwrap();
    let third = take(&storage).await.unwrap();
    assert_eq!((second.owner(), third.owner()), ("b", "a"));
}

#[tokio::test]
async fn a_key_means_one_job_and_another_job_under_it_is_refused() {
    let (_dir, storage) = fresh();
    let mine = jobs(&storage, "a");
    let first = mine.submit(vec![keyed("one", "k"), keyed("one", "k")], 100).await.unwrap();
    assert_eq!((first[0].is_new, first[1].is_new), (true, false));
    assert_eq!(first[0].id, first[1].id);
    let again = mine.submit(vec![order("new"), keyed("one", "k")], 100).await.unwrap();
    assert_eq!((again[1].is_new, &again[1].id), (false, &first[0].id));
    let refused = mine.submit(vec![order("not kept"), keyed("two", "k")], 100).await.unwrap_err();
    assert!(matches!(&refused, Error::KeyUsed(key) if key == "k"), "{refused}");
    let theirs = jobs(&storage, "b").submit(vec![keyed("two", "k")], 100).await.unwrap();
    assert!(theirs[0].is_new, "a key is its owner's");
    let mut kept = all(&storage).await;
    kept.sort();
    assert_eq!(kept, ["new", "one", "two"], "of a batch that is refused nothing is kept");
}

#[tokio::test]
async fn what_is_too_much_is_refused_by_its_key_and_whole() {
    let (_dir, storage) = fresh();
    let mine = jobs(&storage, "a");
    mine.submit(vec![order("1"), order("2")], 3).await.unwrap();
    let refused = mine.submit(vec![order("3"), order("4")], 3).await.unwrap_err();
    assert!(refused.to_string().contains("tenant.quotas.waiting-jobs"), "{refused}");
    mine.submit(vec![order("3")], 3).await.unwrap();
    let refused = mine.submit(vec![order(&"x".repeat(1_025))], 100).await.unwrap_err();
    assert!(refused.to_string().contains("store.value-bytes"), "{refused}");
    let refused = mine.submit(vec![order("x"); 101], 1_000).await.unwrap_err();
    assert!(matches!(refused, Error::TooMany(_)), "{refused}");
    assert_eq!(all(&storage).await, ["1", "2", "3"]);
    assert_eq!(mine.submit(vec![order("4"); 3], 3).await.unwrap().len(), 3, "who was begun waits no more");
}

#[tokio::test]
async fn jobs_count_among_what_an_owner_keeps_to_the_byte() {
    let (_dir, storage) = fresh();
    let bytes = 512 + "paint".len() as u64 + 10;
    let small = storage.jobs(Owner::new("a", Some(bytes - 1)), ROUTE);
    let refused = small.submit(vec![order("0123456789")], 100).await.unwrap_err();
    assert!(matches!(refused, Error::Full { .. }), "{refused}");
    let limit = Owner::new("a", Some(bytes));
    let id = submit(&storage.jobs(limit.clone(), ROUTE), order("0123456789")).await;
    assert_eq!(storage.used(&limit).await.unwrap(), bytes);
    let taken = take(&storage).await.unwrap();
    let ended = taken.end(limit.clone(), JobEnd::Completed(vec![0; 11])).await.unwrap();
    assert_eq!(ended, Some(JobState::Failed), "the payload still counts when the result comes");
    let error = status(&jobs(&storage, "a"), &id).await.error.unwrap();
    assert!(error.contains("tenant.quotas.stored-bytes"), "{error}");
    assert_eq!(storage.used(&limit).await.unwrap(), bytes - 10, "an ended job has no payload");
}

#[tokio::test]
async fn an_attempt_that_failed_is_followed_by_another_and_the_third_is_the_last() {
    let (_dir, storage) = fresh();
    let mine = jobs(&storage, "a");
    let id = submit(&mine, order("hard")).await;
    let again = || JobEnd::Again { why: "the server is busy".into(), after: Duration::from_millis(200) };
    for attempt in 1..=3 {
        let taken = loop {
            match take(&storage).await {
                Some(taken) => break taken,
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        };
        assert_eq!(taken.attempt(), attempt);
        taken.end(owner("a"), again()).await.unwrap();
        assert!(take(&storage).await.is_none(), "not at once");
    }
    let ended = status(&mine, &id).await;
    assert_eq!((ended.state, ended.error.as_deref()), (JobState::Failed, Some("the server is busy")));
}

#[tokio::test]
async fn a_job_that_is_given_back_has_lost_no_attempt() {
    let (_dir, storage) = fresh();
    let id = submit(&jobs(&storage, "a"), order("later")).await;
    for _ in 0..5 {
        take(&storage).await.unwrap().end(owner("a"), JobEnd::GivenBack).await.unwrap();
    }
    assert_eq!(status(&jobs(&storage, "a"), &id).await.attempts, 0);
    assert_eq!(take(&storage).await.unwrap().attempt(), 1);
}

#[tokio::test]
async fn a_lease_that_nobody_renews_ends_and_what_its_holder_does_later_counts_for_nothing() {
    let (_dir, storage) = fresh();
    let mine = jobs(&storage, "a");
    let id = submit(&mine, order("hung")).await;
    let short = Duration::from_millis(10);
    let late = storage.job_queue().take(ROUTE, short).await.unwrap().unwrap();
    assert!(late.renew(LEASE));
    swept(&storage).await;
    assert!(take(&storage).await.is_none(), "a renewed lease stands");
    assert!(late.renew(short));
    swept(&storage).await;
    late.stopped().await;
    let next = take(&storage).await.unwrap();
    assert_eq!(next.attempt(), 2);
    assert!(!late.reports().report(90, "nearly".into()) && !late.renew(LEASE));
    let ended = late.end(owner("a"), JobEnd::Completed(b"twice".to_vec())).await.unwrap();
    assert_eq!(ended, None);
    next.end(owner("a"), JobEnd::Completed(b"once".to_vec())).await.unwrap();
    assert_eq!(status(&mine, &id).await.result.unwrap(), b"once");
}

#[tokio::test]
async fn what_is_called_off_ends_at_once_wherever_it_is() {
    let (_dir, storage) = fresh();
    let mine = jobs(&storage, "a");
    let (running, waiting) = (submit(&mine, order("running")).await, submit(&mine, order("waiting")).await);
    let taken = take(&storage).await.unwrap();
    for id in [&running, &waiting] {
        assert_eq!(mine.cancel(id).await.unwrap().unwrap().state, JobState::Cancelled);
    }
    taken.stopped().await;
    assert_eq!(taken.end(owner("a"), JobEnd::Completed(vec![1])).await.unwrap(), None);
    assert!(take(&storage).await.is_none());
    let ended = mine.cancel(&running).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.result), (JobState::Cancelled, None));
}

#[tokio::test]
async fn a_job_that_nobody_begins_in_time_fails_and_an_old_one_is_forgotten_with_its_key() {
    let (_dir, storage) = fresh();
    let mine = jobs(&storage, "a");
    let short = Duration::from_millis(5);
    let late = submit(&mine, JobOrder { start_within: short, ..order("late") }).await;
    let brief = submit(&mine, JobOrder { keep: short, ..keyed("brief", "k") }).await;
    swept(&storage).await;
    let ended = status(&mine, &late).await;
    assert_eq!(ended.state, JobState::Failed);
    assert!(ended.error.unwrap().contains("start timeout"));
    assert_eq!(all(&storage).await, ["brief"]);
    swept(&storage).await;
    assert_eq!(mine.status(&brief).await.unwrap(), None);
    assert!(mine.submit(vec![keyed("another", "k")], 100).await.unwrap()[0].is_new);
}

#[tokio::test]
async fn a_job_that_was_begun_in_time_is_tried_again_however_late_that_is() {
    let (_dir, storage) = fresh();
    let mine = jobs(&storage, "a");
    for end in [JobEnd::Again { why: "later".into(), after: Duration::ZERO }, JobEnd::GivenBack] {
        let brief = JobOrder { start_within: Duration::from_millis(200), ..order("brief") };
        let id = submit(&mine, brief).await;
        let taken = take(&storage).await.expect("it is begun in time");
        tokio::time::sleep(Duration::from_millis(220)).await;
        swept(&storage).await;
        taken.end(owner("a"), end).await.unwrap();
        swept(&storage).await;
        assert_eq!(all(&storage).await, ["brief"]);
        assert_eq!(status(&mine, &id).await.state, JobState::Completed);
    }
}

#[tokio::test]
async fn what_was_being_worked_on_waits_again_after_a_restart_as_often_as_its_attempts_allow() {
    let (dir, mut storage) = fresh();
    let id = submit(&jobs(&storage, "a"), order("through")).await;
    for attempt in 1..=3 {
        let taken = take(&storage).await.unwrap();
        assert_eq!(taken.attempt(), attempt);
        drop((taken, storage));
        storage = open(dir.path());
    }
    let ended = status(&jobs(&storage, "a"), &id).await;
    assert_eq!((ended.state, ended.attempts), (JobState::Failed, 3));
    assert!(take(&storage).await.is_none());
}

#[tokio::test]
async fn whoever_works_off_hears_of_new_jobs() {
    let (_dir, storage) = fresh();
    let queue = storage.job_queue();
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.changed().await }
    });
    submit(&jobs(&storage, "a"), order("new")).await;
    waiting.await.unwrap();
    let lines = queue.lines().await.unwrap();
    assert_eq!((lines.len(), lines[0].waiting, lines[0].owner.as_str()), (1, 1, "a"));
    assert_eq!((queue.waiting().await.unwrap(), queue.running(None)), (1, 0));
}

#[tokio::test]
async fn jobs_are_listed_newest_first_a_page_at_a_time_and_to_their_owner_alone() {
    let (dir, mut storage) = fresh();
    let of = |payload: &str, priority| JobOrder { priority, ..order(payload) };
    let batch =
        vec![of("0", JobPriority::High), of("1", JobPriority::Low), order("2"), order("3"), order("4")];
    let ids: Vec<String> =
        jobs(&storage, "a").submit(batch, 100).await.unwrap().into_iter().map(|job| job.id).collect();
    submit(&jobs(&storage, "b"), order("theirs")).await;
    submit(&storage.jobs(owner("a"), "/elsewhere"), order("elsewhere")).await;
    let taken = take(&storage).await.unwrap();
    assert!(taken.reports().report(40, "half-way".into()));
    let first = jobs(&storage, "a").list(None, 2).await.unwrap();
    let named =
        |page: &atelier_store::JobPage| page.jobs.iter().map(|job| job.id.clone()).collect::<Vec<_>>();
    assert_eq!(named(&first), [ids[4].clone(), ids[3].clone()]);
    // what comes meanwhile is newer, and what goes is missed by nobody
    submit(&jobs(&storage, "a"), order("5")).await;
    let second = jobs(&storage, "a").list(first.next, 2).await.unwrap();
    assert_eq!(named(&second), [ids[2].clone(), ids[1].clone()]);
    assert_eq!(second.jobs[0].position, Some(0));
    let third = jobs(&storage, "a").list(second.next, 2).await.unwrap();
    assert_eq!((named(&third), third.next), (vec![ids[0].clone()], None));
    assert_eq!((third.jobs[0].progress, third.jobs[0].message.as_str()), (40, "half-way"));
    taken.end(owner("a"), JobEnd::Completed(b"picture".to_vec())).await.unwrap();
    let all = jobs(&storage, "a").list(None, 100).await.unwrap();
    assert_eq!((all.jobs.len(), &all.jobs[5].state, &all.jobs[5].result), (6, &JobState::Completed, &None));
    for wrong in ["", "x", "0123456789abcdeg", "ä".repeat(16).as_str()] {
        let refused = jobs(&storage, "a").list(Some(wrong.into()), 2).await.unwrap_err();
        assert!(matches!(refused, Error::NoPage(_)), "{refused}");
    }
    drop(storage);
    storage = open(dir.path());
    assert_eq!(jobs(&storage, "a").list(None, 100).await.unwrap().jobs.len(), 6);
    assert_eq!(jobs(&storage, "c").list(None, 100).await.unwrap().jobs.len(), 0);
}

#[tokio::test]
async fn what_is_forgotten_is_listed_no_more() {
    let (_dir, storage) = fresh();
    let mine = jobs(&storage, "a");
    let brief = submit(&mine, JobOrder { keep: Duration::from_millis(1), ..order("brief") }).await;
    mine.cancel(&brief).await.unwrap();
    assert_eq!(mine.list(None, 10).await.unwrap().jobs.len(), 1);
    swept(&storage).await;
    assert_eq!(mine.list(None, 10).await.unwrap().jobs.len(), 0);
}
