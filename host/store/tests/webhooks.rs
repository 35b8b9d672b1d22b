//! What is kept to be told to webhooks, without a crash (`crash_jobs.rs` has those): when there is something to tell, whose
//! message is next, and what becomes of it.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atelier_store::{
    Delivery, Error, JobEnd, JobOrder, JobPriority, Jobs, Occasion, Outbox, Owner, Sent, Storage,
    StorageConfig, Webhook,
};
use tempfile::TempDir;

const LEASE: Duration = Duration::from_secs(60);
const ROUTE: &str = "/pictures";

fn open(dir: &Path) -> Storage {
    Storage::open(&dir.join("storage"), StorageConfig { webhooks: 4, ..StorageConfig::default() }).unwrap()
}

fn fresh() -> (TempDir, Storage) {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    (dir, storage)
}

fn jobs(storage: &Storage, id: &str) -> Jobs {
    storage.jobs(Owner::new(id, None), ROUTE)
}

fn order(receiver: &str, occasions: &[Occasion]) -> JobOrder {
    let webhook =
        Webhook { url: format!("{receiver}/told"), receiver: receiver.into(), occasions: occasions.to_vec() };
    JobOrder {
        kind: "paint".into(),
        payload: Vec::new(),
        key: None,
        priority: JobPriority::Normal,
        start_within: Duration::from_secs(60),
        keep: Duration::from_secs(60),
        attempts: 3,
        webhook: Some(webhook),
        cache: None,
    }
}

/// Jobs of an owner that have been called off, so that there is something to tell of each.
async fn ended(storage: &Storage, owner: &str, receivers: &[&str]) -> Vec<String> {
    let (jobs, mut ids) = (jobs(storage, owner), Vec::new());
    for receiver in receivers {
        let id = jobs.submit(vec![order(receiver, &[Occasion::Ended])], 100).await.unwrap().remove(0).id;
        jobs.cancel(&id).await.unwrap();
        ids.push(id);
    }
    ids
}

async fn take(outbox: &Outbox) -> Vec<Delivery> {
    outbox.take().await.unwrap()
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

#[tokio::test]
async fn a_beginning_and_an_end_are_told_to_whom_wants_to_know_and_once_they_have_it_never_again() {
    let (dir, storage) = fresh();
    let mine = jobs(&storage, "a");
    let both = order("https://a.test", &[Occasion::Begun, Occasion::Ended]);
    let id = mine.submit(vec![both], 100).await.unwrap().remove(0).id;
    mine.submit(vec![JobOrder { webhook: None, ..order("", &[]) }], 100).await.unwrap();
    let outbox = storage.outbox();
    assert!(take(&outbox).await.is_empty(), "nothing happened yet");
    let before = now_ms();
    let (first, second) = (
        storage.job_queue().take(ROUTE, LEASE).await.unwrap().unwrap(),
        storage.job_queue().take(ROUTE, LEASE).await.unwrap().unwrap(),
    );
    let begun = take(&outbox).await;
    assert_eq!(begun.len(), 1, "{begun:?}");
    assert_eq!((&begun[0].job, begun[0].occasion, begun[0].attempts), (&id, Occasion::Begun, 0));
    assert_eq!((begun[0].owner.as_str(), begun[0].route.as_str()), ("a", ROUTE));
    assert_eq!(begun[0].url, "https://a.test/told");
    assert!(begun[0].since_ms >= before);
    outbox.settle(&begun[0], Sent::Delivered).await.unwrap();
    drop(begun);
    for taken in [first, second] {
        taken.end(Owner::new("a", None), JobEnd::Completed(Vec::new())).await.unwrap();
    }
    let told = take(&outbox).await;
    assert_eq!((told.len(), told[0].occasion), (1, Occasion::Ended));
    assert!(take(&outbox).await.is_empty(), "it is in hand");
    outbox.settle(&told[0], Sent::Delivered).await.unwrap();
    drop((told, outbox, mine, storage));
    let storage = open(dir.path());
    assert!(take(&storage.outbox()).await.is_empty());
}

#[tokio::test]
async fn what_was_in_hand_is_due_again_when_it_is_let_go_or_the_process_ends() {
    let (dir, storage) = fresh();
    ended(&storage, "a", &["https://a.test"]).await;
    drop(take(&storage.outbox()).await);
    let held = take(&storage.outbox()).await;
    assert_eq!(held.len(), 1);
    drop((held, storage));
    assert_eq!(take(&open(dir.path()).outbox()).await.len(), 1);
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_keeps_no_other_waiting() {
    let (_dir, storage) = fresh();
    let outbox = storage.outbox();
    ended(&storage, "a", &["https://dead.test"; 4]).await;
    let held = take(&outbox).await;
    assert_eq!(held.len(), 2, "a receiver has two at a time");
    assert!(take(&outbox).await.is_empty());
    ended(&storage, "b", &["https://alive.test", "https://dead.test"]).await;
    let others = take(&outbox).await;
    let mut urls: Vec<_> = others.iter().map(|delivery| delivery.url.as_str()).collect();
    urls.sort_unstable();
    assert_eq!(
        urls,
        ["https://alive.test/told", "https://dead.test/told"],
        "another owner's, to the same too"
    );
    outbox.settle(&held[0], Sent::GivenUp).await.unwrap();
    drop(held);
    assert_eq!(take(&outbox).await.len(), 2, "the next one to the receiver, and the one that was let go");
}

#[tokio::test]
async fn an_owner_has_eight_in_hand_whatever_the_receivers() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(&dir.path().join("storage"), StorageConfig::default()).unwrap();
    let receivers: Vec<String> = (0..12).map(|number| format!("https://{number}.test")).collect();
    let receivers: Vec<&str> = receivers.iter().map(String::as_str).collect();
    ended(&storage, "a", &receivers).await;
    let held = take(&storage.outbox()).await;
    assert_eq!(held.len(), 8);
    assert!(take(&storage.outbox()).await.is_empty());
    drop(held);
    let lines = storage.outbox().lines().await.unwrap();
    assert_eq!((lines.len(), lines[0].owner.as_str(), lines[0].waiting), (12, "a", 1));
    assert_eq!(storage.outbox().waiting_lately(), 12);
}

#[tokio::test]
async fn what_was_sent_in_vain_is_sent_again_at_its_time_and_what_was_put_off_has_lost_nothing() {
    let (_dir, storage) = fresh();
    let outbox = storage.outbox();
    ended(&storage, "a", &["https://a.test"]).await;
    let first = take(&outbox).await.remove(0);
    outbox.settle(&first, Sent::Again(now_ms() + 50)).await.unwrap();
    drop(first);
    assert!(take(&outbox).await.is_empty(), "not at once");
    tokio::time::sleep(Duration::from_millis(60)).await;
    let second = take(&outbox).await.remove(0);
    assert_eq!(second.attempts, 1);
    outbox.settle(&second, Sent::PutOff(now_ms())).await.unwrap();
    drop(second);
    assert_eq!(take(&outbox).await.remove(0).attempts, 1);
}

#[tokio::test]
async fn a_job_is_known_until_its_webhook_was_told() {
    let (_dir, storage) = fresh();
    let (mine, outbox) = (jobs(&storage, "a"), storage.outbox());
    let brief = JobOrder { keep: Duration::from_millis(1), ..order("https://a.test", &[Occasion::Ended]) };
    let id = mine.submit(vec![brief], 100).await.unwrap().remove(0).id;
    mine.cancel(&id).await.unwrap();
    let sweep = async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        storage.job_queue().sweep().await.unwrap();
    };
    sweep().await;
    assert!(mine.status(&id).await.unwrap().is_some());
    let told = take(&outbox).await.remove(0);
    outbox.settle(&told, Sent::Delivered).await.unwrap();
    sweep().await;
    assert_eq!(mine.status(&id).await.unwrap(), None);
    assert_eq!(storage.used(&Owner::new("a", None)).await.unwrap(), 0);
}

#[tokio::test]
async fn as_many_messages_as_may_wait_keep_new_ones_out_until_some_are_told() {
    let (_dir, storage) = fresh();
    let (mine, outbox) = (jobs(&storage, "a"), storage.outbox());
    ended(&storage, "a", &["https://a.test"; 4]).await;
    let told = || order("https://a.test", &[Occasion::Ended]);
    let refused = mine.submit(vec![told()], 100).await.unwrap_err();
    assert!(matches!(refused, Error::Untold { limit: 4 }), "{refused}");
    assert!(refused.to_string().contains("store.webhooks"), "{refused}");
    mine.submit(vec![JobOrder { webhook: None, ..told() }], 100).await.unwrap();
    jobs(&storage, "b").submit(vec![told()], 100).await.unwrap();
    outbox.settle(&take(&outbox).await[0], Sent::Delivered).await.unwrap();
    mine.submit(vec![told()], 100).await.unwrap();
}
