//! Jobs in Redis.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atelier_store::{
    JobCopy, JobEnd, JobOrder, JobPriority, JobQueue, JobTurn, JobView, RedisCopy, Secret, ServiceState,
    Storage,
};

use crate::servers::{Server, cli, jobs, slow_door, to_redis, until_redis_answers};
use crate::{known, open, owner, until, until_copied, until_degraded};

pub(crate) const ROUTE: &str = "/jobs";
pub(crate) const LEASE: Duration = Duration::from_secs(60);

pub(crate) fn order(keep: u64) -> JobOrder {
    JobOrder {
        kind: "paint".into(),
        payload: b"a boat".to_vec(),
        key: None,
        priority: JobPriority::Normal,
        start_within: Duration::from_secs(600),
        keep: Duration::from_secs(keep),
        attempts: 1,
        webhook: None,
        cache: None,
    }
}

pub(crate) async fn submit(storage: &Storage, keep: u64) -> String {
    let submitted = storage.jobs(owner("a"), ROUTE).submit(vec![order(keep)], 1_000).await.unwrap();
    submitted[0].id.clone()
}

/// Works copies off as the host does, with the plainest of views.
async fn work_off(copy: JobCopy, queue: JobQueue) {
    loop {
        let mut views = Vec::new();
        for place in copy.next().await {
            let seen = queue.look(&place.id).await.unwrap();
            let view = seen.map(|seen| {
                let (turn, status) = (JobTurn::from(&seen.status), seen.status);
                let fields = [
                    ("state", format!("{:?}", status.state)),
                    ("progress", status.progress.to_string()),
                    ("error", status.error.unwrap_or_default()),
                ];
                let fields = fields.map(|(name, value)| (name.to_owned(), value)).to_vec();
                JobView { fields, turn, ttl: seen.keep }
            });
            views.push((place, view));
        }
        copy.write(views).await;
    }
}

pub(crate) fn begin(storage: &Storage) -> tokio::task::JoinHandle<()> {
    let copy = storage.copies().of_jobs().pop().unwrap();
    tokio::spawn(work_off(copy, storage.job_queue()))
}

pub(crate) fn field(port: u16, id: &str, name: &str) -> String {
    cli(port, &["HGET", &format!("task:{id}"), name])
}

pub(crate) async fn until_field(port: u16, id: &str, name: &str, value: &str) {
    until(value, async || (field(port, id, name) == value).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_a_hash_that_follows_it_and_goes_with_it() {
    let (server, folder) = (Server::redis(), tempfile::tempdir().unwrap());
    until_redis_answers(server.port).await;
    let storage = open(folder.path(), jobs(to_redis(server.port)));
    let (queue, early) = (storage.job_queue(), submit(&storage, 100).await);
    // nobody worked copies off when this one was submitted
    begin(&storage);
    until_field(server.port, &early, "state", "Pending").await;
    let mut taken = queue.take(ROUTE, LEASE).await.unwrap().unwrap();
    assert_eq!(taken.payload(), b"a boat");
    until_field(server.port, &early, "state", "Processing").await;
    let before = known(&storage, "redis").await.copied;
    let reports = taken.reports();
    for progress in 1..=100 {
        assert!(reports.report(progress, String::new()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until_field(server.port, &early, "progress", "100").await;
    let copied = known(&storage, "redis").await.copied - before;
    assert!(copied <= 25, "{copied} copies of one job in a second or two");
    taken.end(owner("a"), JobEnd::Completed(b"a picture".to_vec())).await.unwrap();
    until_field(server.port, &early, "state", "Completed").await;
    let key = format!("task:{early}");
    let ttl: u64 = cli(server.port, &["TTL", &key]).parse().unwrap();
    assert!((50..=100).contains(&ttl), "{ttl}");
    assert_eq!(cli(server.port, &["HLEN", &key]), "3");
    // a job of another route is nobody's affair
    let other = storage.jobs(owner("a"), "/other").submit(vec![order(100)], 10).await.unwrap();
    let brief = submit(&storage, 1).await;
    let called_off = storage.jobs(owner("a"), ROUTE).cancel(&brief).await.unwrap().unwrap();
    until_field(server.port, &brief, "state", "Cancelled").await;
    assert_eq!(cli(server.port, &["EXISTS", &format!("task:{}", other[0].id)]), "0");
    let ended = called_off.ended_ms.unwrap();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    until("the job is forgotten", async || (now() > ended + 1_000).then_some(())).await;
    queue.sweep().await.unwrap();
    until("the hash is gone", async || {
        (cli(server.port, &["EXISTS", &format!("task:{brief}")]) == "0").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_or_hangs_holds_no_job_up_and_learns_of_all_of_them() {
    let (mut server, folder) = (Server::redis(), tempfile::tempdir().unwrap());
    until_redis_answers(server.port).await;
    let storage = open(folder.path(), jobs(to_redis(server.port)));
    begin(&storage);
    let first = submit(&storage, 600).await;
    until_field(server.port, &first, "state", "Pending").await;
    server.kill();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let ids = [submit(&storage, 600).await, submit(&storage, 600).await];
    let status = until_degraded(&storage, "redis").await;
    assert_eq!(status.reason.as_deref(), Some("no connection"));
    let taken = storage.job_queue().take(ROUTE, LEASE).await.unwrap().unwrap();
    taken.end(owner("a"), JobEnd::Failed("no paint".into())).await.unwrap();
    server.restart();
    until_copied(&storage, "redis").await;
    // it came back empty: what changed meanwhile is there, and the first one since it ended
    until_field(server.port, &first, "error", "no paint").await;
    for id in &ids {
        until_field(server.port, id, "state", "Pending").await;
    }
    server.signal("STOP");
    let late = submit(&storage, 600).await;
    let status = until_degraded(&storage, "redis").await;
    assert!(status.reason.as_deref().unwrap().starts_with("no answer within"), "{status:?}");
    let fare = storage.copies().fare(&["redis".into()]).await;
    assert_eq!(fare[0].state, ServiceState::Degraded);
    let grown = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(grown <= tasks + 8, "{tasks} tasks became {grown}");
    server.signal("CONT");
    until_copied(&storage, "redis").await;
    until_field(server.port, &late, "state", "Pending").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_and_a_slow_server_is_waited_for() {
    let (server, folder) = (Server::redis(), tempfile::tempdir().unwrap());
    until_redis_answers(server.port).await;
    cli(server.port, &["CONFIG", "SET", "requirepass", "right"]);
    let cli = |words: &[&str]| cli(server.port, &[&["-a", "right", "--no-auth-warning"], words].concat());
    let with = |password: &str, port| RedisCopy { password: Some(Secret(password.into())), ..to_redis(port) };
    let storage = open(folder.path(), jobs(with("hunter2", server.port)));
    let worker = begin(&storage);
    let id = submit(&storage, 600).await;
    let status = until_degraded(&storage, "redis").await;
    let reason = status.reason.unwrap();
    assert!(!reason.contains("hunter2") && !reason.contains("127.0.0.1"), "{reason}");
    assert!(reason.contains("WRONGPASS") || reason.contains("authentication"), "{reason}");
    worker.abort();
    let _ = worker.await;
    drop(storage);
    // after a start all jobs are written: nothing had to be remembered for that
    let door = slow_door(server.port, Duration::from_millis(1_500)).await;
    let storage = open(folder.path(), jobs(with("right", door)));
    begin(&storage);
    until("the hash is there", async || {
        (cli(&["HGET", &format!("task:{id}"), "state"]) == "Pending").then_some(())
    })
    .await;
    assert_eq!(known(&storage, "redis").await.state, ServiceState::Connected);
}
