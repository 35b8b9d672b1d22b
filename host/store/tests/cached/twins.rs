//! Jobs of the same work at the same time: one is worked on, the others wait for it, and each ends by itself.

use std::time::Duration;

use atelier_store::{Caching, Error, JobEnd, JobOrder, JobState, Jobs, Owner, Storage, Taken};

use crate::{HOUR, LEASE, ROUTE, completed, fresh, open, order, owner};

async fn submit(jobs: &Jobs, payload: &str) -> String {
    jobs.submit(vec![order(payload, "m", HOUR)], 100).await.unwrap().remove(0).id
}

async fn take(storage: &Storage) -> Option<Taken> {
    storage.job_queue().take(ROUTE, LEASE).await.unwrap()
}

/// Takes the next job, which is this one.
async fn take_this(storage: &Storage, id: &str) -> Taken {
    let taken = take(storage).await.expect("a job is due");
    assert_eq!(taken.id(), id);
    taken
}

async fn state(jobs: &Jobs, id: &str) -> JobState {
    jobs.status(id).await.unwrap().unwrap().state
}

/// Ends a job as the maker `m` does it: with what is known, or with work.
async fn work(mut taken: Taken, otherwise: JobEnd) -> bool {
    let known = taken.known("m").await.unwrap();
    let (is_known, whose) = (known.is_some(), owner(taken.owner()));
    taken.is_made_by("m".into());
    taken.end(whose, known.map_or(otherwise, JobEnd::Cached)).await.unwrap().expect("the lease stands");
    is_known
}

#[tokio::test]
async fn of_the_same_work_one_is_done_and_the_others_are_completed_in_their_turn() {
    let (_dir, storage) = fresh();
    let mine = storage.jobs(owner("a"), ROUTE);
    let [first, second, third] =
        [submit(&mine, "boat").await, submit(&mine, "boat").await, submit(&mine, "boat").await];
    let other = submit(&mine, "ship").await;
    let leader = take_this(&storage, &first).await;
    // the line goes on past those that wait, which keep their places
    let ship = take_this(&storage, &other).await;
    assert!(take(&storage).await.is_none());
    assert_eq!(mine.status(&third).await.unwrap().unwrap().position, Some(1));
    assert!(!work(ship, completed("a ship")).await);
    assert!(take(&storage).await.is_none());
    assert!(!work(leader, completed("a boat")).await);
    for id in [&second, &third] {
        assert!(work(take_this(&storage, id).await, completed("another boat")).await);
        let status = mine.status(id).await.unwrap().unwrap();
        assert_eq!((status.state, status.cached), (JobState::Completed, true));
        assert_eq!((status.result.as_deref(), status.attempts), (Some(&b"a boat"[..]), 1));
    }
    assert!(!mine.status(&first).await.unwrap().unwrap().cached);
}

#[tokio::test]
async fn what_fails_or_pauses_is_done_by_the_next_and_found_by_the_one_before() {
    let (_dir, storage) = fresh();
    let mine = storage.jobs(owner("a"), ROUTE);
    let [first, second, third] =
        [submit(&mine, "boat").await, submit(&mine, "boat").await, submit(&mine, "boat").await];
    assert!(!work(take_this(&storage, &first).await, JobEnd::Failed("no paint".into())).await);
    let again = JobEnd::Again { why: "later".into(), after: Duration::from_millis(50) };
    assert!(!work(take_this(&storage, &second).await, again).await);
    let leader = take_this(&storage, &third).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(take(&storage).await.is_none(), "its pause is over, and it waits as others do");
    assert!(!work(leader, completed("a boat")).await);
    assert!(work(take_this(&storage, &second).await, completed("another")).await);
    assert_eq!(state(&mine, &first).await, JobState::Failed);
    assert_eq!(mine.status(&second).await.unwrap().unwrap().attempts, 2);
    // a result for which there is no room is kept for nobody: the next one does the work
    let few = Owner::new("b", Some(1_500));
    let theirs = storage.jobs(few.clone(), ROUTE);
    let [one, two] = [submit(&theirs, "boat").await, submit(&theirs, "boat").await];
    let mut taken = take_this(&storage, &one).await;
    taken.is_made_by("m".into());
    assert_eq!(taken.end(few, completed("a boat")).await.unwrap(), Some(JobState::Completed));
    assert!(!work(take_this(&storage, &two).await, completed("a boat")).await);
}

#[tokio::test]
async fn calling_one_off_calls_off_no_other() {
    let (_dir, storage) = fresh();
    let mine = storage.jobs(owner("a"), ROUTE);
    let [first, second, third] =
        [submit(&mine, "boat").await, submit(&mine, "boat").await, submit(&mine, "boat").await];
    let mut leader = take_this(&storage, &first).await;
    // one that waits goes; what it waited for goes on
    mine.cancel(&second).await.unwrap();
    assert_eq!(state(&mine, &first).await, JobState::Processing);
    // one that is worked on goes; what it does then counts for nothing
    mine.cancel(&first).await.unwrap();
    let next = take_this(&storage, &third).await;
    leader.is_made_by("m".into());
    assert_eq!(leader.end(owner("a"), completed("too late")).await.unwrap(), None);
    assert!(!work(next, completed("a boat")).await);
    let states = [state(&mine, &first).await, state(&mine, &second).await, state(&mine, &third).await];
    assert_eq!(states, [JobState::Cancelled, JobState::Cancelled, JobState::Completed]);
}

#[tokio::test]
async fn who_asked_for_other_work_other_tools_or_nothing_of_others_waits_for_nobody() {
    let (_dir, storage) = fresh();
    let mine = storage.jobs(owner("a"), ROUTE);
    submit(&mine, "boat").await;
    let leader = take(&storage).await.unwrap();
    let same = order("boat", "m", HOUR);
    let tools = Caching { within: HOUR, tools: vec!["large".into()], made_by: "m".into() };
    let others = [
        JobOrder { cache: None, ..same.clone() },
        JobOrder { cache: Some(tools), ..same.clone() },
        JobOrder { kind: "draw".into(), ..same.clone() },
    ];
    for other in others {
        let id = mine.submit(vec![other], 100).await.unwrap().remove(0).id;
        take_this(&storage, &id).await.end(owner("a"), completed("x")).await.unwrap();
    }
    let theirs = submit(&storage.jobs(owner("b"), ROUTE), "boat").await;
    assert!(!work(take_this(&storage, &theirs).await, completed("theirs")).await);
    let elsewhere = submit(&storage.jobs(owner("a"), "/elsewhere"), "boat").await;
    let taken = storage.job_queue().take("/elsewhere", LEASE).await.unwrap().unwrap();
    assert_eq!(taken.id(), elsewhere);
    assert!(!work(taken, completed("elsewhere")).await);
    assert!(!work(leader, completed("a boat")).await);
}

#[tokio::test]
async fn after_a_crash_all_wait_again_and_one_is_begun() {
    let (dir, storage) = fresh();
    let mine = storage.jobs(owner("a"), ROUTE);
    let [first, second] = [submit(&mine, "boat").await, submit(&mine, "boat").await];
    let leader = take_this(&storage, &first).await;
    // as a kill leaves them: nobody ends the job
    drop((leader, mine, storage));
    let storage = open(dir.path());
    let leader = take_this(&storage, &first).await;
    assert_eq!(leader.attempt(), 2);
    assert!(take(&storage).await.is_none());
    assert!(!work(leader, completed("a boat")).await);
    assert!(work(take_this(&storage, &second).await, completed("another")).await);
}

#[tokio::test]
async fn who_waits_for_the_same_work_is_begun_in_time_with_it() -> Result<(), Error> {
    let (_dir, storage) = fresh();
    let mine = storage.jobs(owner("a"), ROUTE);
    let brief = |payload| JobOrder { start_within: Duration::from_millis(100), ..order(payload, "m", HOUR) };
    let ids = mine.submit(vec![brief("boat"), brief("boat"), brief("ship")], 100).await?;
    let leader = take_this(&storage, &ids[0].id).await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    storage.job_queue().sweep().await?;
    assert_eq!(state(&mine, &ids[1].id).await, JobState::Pending);
    assert_eq!(state(&mine, &ids[2].id).await, JobState::Failed, "nobody did its work");
    assert_eq!(storage.job_queue().waiting().await?, 1);
    // an attempt that failed after its start timeout is followed by the next all the same
    let again = JobEnd::Again { why: "later".into(), after: Duration::from_secs(60) };
    assert!(!work(leader, again).await);
    assert!(!work(take_this(&storage, &ids[1].id).await, completed("a boat")).await);
    Ok(())
}
