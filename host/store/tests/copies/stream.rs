//! Those who follow jobs in a stream: a group of readers that is away, hosts that begin anew, servers that hang and lose everything.

use std::time::Duration;

use atelier_store::{JobEnd, JobOrder, JobStream, RedisCopy, Storage};

use crate::jobs::{LEASE, ROUTE, begin, field, order, submit, until_field};
use crate::servers::{Server, cli, jobs, to_redis, until_redis_answers};
use crate::{known, open, owner, until, until_copied, until_degraded};

const STREAM: &str = "turns:a";

/// The jobs of entries and what they say of each, as redis-cli writes them: names and values, a line each.
fn told(entries: &str) -> Vec<(String, String)> {
    let (mut id, mut told) = (String::new(), Vec::new());
    let mut lines = entries.lines();
    while let Some(line) = lines.next() {
        match line {
            "id" => id = lines.next().unwrap().to_owned(),
            "state" => told.push((id.clone(), lines.next().unwrap().to_owned())),
            _ => {}
        }
    }
    told
}

/// What the stream says of a job, from the first to the last.
fn states(port: u16, id: &str) -> Vec<String> {
    let all = told(&cli(port, &["XRANGE", STREAM, "-", "+"])).into_iter();
    all.filter(|(job, _)| job == id).map(|(_, state)| state).collect()
}

/// What a group has not read yet.
fn read(port: u16) -> String {
    cli(port, &["XREADGROUP", "GROUP", "mail", "one", "COUNT", "1000", "STREAMS", STREAM, ">"])
}

/// Begins the next job and ends it so.
async fn work(storage: &Storage, end: JobEnd) {
    let taken = storage.job_queue().take(ROUTE, LEASE).await.unwrap().unwrap();
    taken.end(owner("a"), end).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_was_away_is_told_each_turn_of_a_job_once() {
    let (server, folder) = (Server::redis(), tempfile::tempdir().unwrap());
    let port = server.port;
    until_redis_answers(port).await;
    assert_eq!(cli(port, &["XGROUP", "CREATE", STREAM, "mail", "$", "MKSTREAM"]), "OK");
    let storage = open(folder.path(), jobs(to_redis(port)));
    let (worker, id) = (begin(&storage), submit(&storage, 600).await);
    until_field(port, &id, "state", "Pending").await;
    let taken = storage.job_queue().take(ROUTE, LEASE).await.unwrap().unwrap();
    until_field(port, &id, "state", "Processing").await;
    for progress in [10, 50, 90] {
        assert!(taken.reports().report(progress, String::new()));
        until_field(port, &id, "progress", &progress.to_string()).await;
    }
    taken.end(owner("a"), JobEnd::Completed(b"a picture".to_vec())).await.unwrap();
    until_field(port, &id, "state", "Completed").await;
    // a temporary failure makes another attempt, which is another turn
    let twice = vec![JobOrder { attempts: 2, ..order(600) }];
    let twice = storage.jobs(owner("a"), ROUTE).submit(twice, 10).await.unwrap().remove(0).id;
    until_field(port, &twice, "state", "Pending").await;
    let again = JobEnd::Again { why: "no paint".into(), after: Duration::ZERO };
    work(&storage, again).await;
    until_field(port, &twice, "error", "no paint").await;
    work(&storage, JobEnd::Failed("still none".into())).await;
    until_field(port, &twice, "state", "Failed").await;
    let entries = read(port);
    let of = |id: &str| -> Vec<String> {
        let all = told(&entries).into_iter();
        all.filter(|(job, _)| job == id).map(|(_, state)| state).collect()
    };
    assert_eq!(of(&id), ["pending", "processing", "completed"]);
    let turns = of(&twice);
    assert_eq!((turns.first().unwrap().as_str(), turns.last().unwrap().as_str()), ("pending", "failed"));
    let first: Vec<&str> = entries.lines().skip(2).take(14).collect();
    let key = format!("task:{id}");
    assert_eq!(first[..8], ["id", &id, "tenant", "a", "route", ROUTE, "key", &key]);
    assert_eq!(first[8..], ["state", "pending", "kind", "paint", "attempts", "0"]);
    assert!(entries.lines().filter(|line| *line == "ended").count() == 2);
    assert_eq!(read(port), "", "a group is handed an entry once");
    // another process writes all jobs anew and tells nobody again
    worker.abort();
    let _ = worker.await;
    drop(storage);
    let storage = open(folder.path(), jobs(to_redis(port)));
    begin(&storage);
    until("both are written", async || (known(&storage, "redis").await.copied == 2).then_some(())).await;
    assert_eq!(read(port), "");
    let brief = submit(&storage, 1).await;
    storage.jobs(owner("a"), ROUTE).cancel(&brief).await.unwrap();
    until("it is forgotten", async || {
        storage.job_queue().sweep().await.unwrap();
        (states(port, &brief).last()? == "forgotten").then_some(())
    })
    .await;
    assert_eq!(cli(port, &["EXISTS", &format!("{STREAM}:told:{brief}")]), "0");
    let life: u64 = cli(port, &["TTL", &format!("{STREAM}:told:{id}")]).parse().unwrap();
    assert!((600..=4_200).contains(&life), "{life}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_that_hangs_or_loses_everything_missed_is_told_when_it_is_back() {
    let (mut server, folder) = (Server::redis(), tempfile::tempdir().unwrap());
    let port = server.port;
    until_redis_answers(port).await;
    let storage = open(folder.path(), jobs(to_redis(port)));
    begin(&storage);
    let first = submit(&storage, 600).await;
    until_field(port, &first, "state", "Pending").await;
    server.signal("STOP");
    work(&storage, JobEnd::Completed(b"a picture".to_vec())).await;
    let second = submit(&storage, 600).await;
    until_degraded(&storage, "redis").await;
    server.signal("CONT");
    until_copied(&storage, "redis").await;
    // what the server did before it was given up was done once more, and told once
    assert_eq!(states(port, &first).iter().filter(|state| *state == "completed").count(), 1);
    assert_eq!(states(port, &second), ["pending"]);
    server.kill();
    work(&storage, JobEnd::Failed("no paint".into())).await;
    until_degraded(&storage, "redis").await;
    server.restart();
    until("the second is there", async || (field(port, &second, "state") == "Failed").then_some(())).await;
    assert_eq!(states(port, &second), ["failed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_has_as_many_entries_as_it_may_and_some_more() {
    let (server, folder) = (Server::redis(), tempfile::tempdir().unwrap());
    until_redis_answers(server.port).await;
    let stream = JobStream { name: STREAM.into(), length: 10 };
    let storage = open(folder.path(), jobs(RedisCopy { stream: Some(stream), ..to_redis(server.port) }));
    begin(&storage);
    for _ in 0..4 {
        let batch = (0..100).map(|_| order(600)).collect();
        storage.jobs(owner("a"), ROUTE).submit(batch, 1_000).await.unwrap();
    }
    until("all are written", async || (known(&storage, "redis").await.copied >= 400).then_some(())).await;
    let length: u64 = cli(server.port, &["XLEN", STREAM]).parse().unwrap();
    // Redis lets go of a hundred at a time
    assert!((10..=120).contains(&length), "{length} of 400");
    // a key of another kind is told, and nothing else is lost by it
    cli(server.port, &["DEL", STREAM]);
    cli(server.port, &["SET", STREAM, "a text"]);
    let id = submit(&storage, 600).await;
    let reason = until_degraded(&storage, "redis").await.reason.unwrap();
    assert_eq!(reason, "it answers WRONGTYPE");
    cli(server.port, &["DEL", STREAM]);
    until_copied(&storage, "redis").await;
    assert_eq!(states(server.port, &id), ["pending"]);
}
