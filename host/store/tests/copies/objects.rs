//! Objects in S3.

use std::time::{Duration, Instant};

use atelier_store::{Container, Error, ObjectCopy, S3Copy, Secret, ServiceState, Storage};

use crate::servers::{BUCKET, Server, fetch, objects, slow_door, to_s3};
use crate::{known, open, owner, until, until_copied, until_degraded};

const NONE: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(60);

pub(crate) async fn put(storage: &Storage, container: &Container, name: &str, bytes: &[u8]) {
    let mut draft = storage.draft(owner("a")).await.unwrap();
    for piece in bytes.chunks(100_000) {
        draft.write(bytes::Bytes::copy_from_slice(piece)).await.unwrap();
    }
    draft.finish(container, name.into()).await.unwrap();
}

/// A container of an owner's, made where it is missing.
pub(crate) async fn container(storage: &Storage, of: &str, name: &str) -> Container {
    let container = storage.container(owner(of), name);
    match container.create().await {
        Ok(()) | Err(Error::ContainerExists(_)) => container,
        Err(error) => panic!("{error}"),
    }
}

/// What becomes known of an object's copy.
async fn copy(storage: &Storage, name: &str, wait: Duration) -> Option<ObjectCopy> {
    storage.copies().object(&owner("a"), "made", name, &["s3".into()], wait).await.unwrap()
}

async fn until_there(port: u16, key: &str, bytes: &[u8]) {
    until(key, async || (fetch(port, key).await.1 == bytes).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_there_under_their_keys_as_they_are_and_gone_when_they_are() {
    let (server, folder) = (Server::s3(), tempfile::tempdir().unwrap());
    let storage = open(folder.path(), objects(to_s3(server.port)));
    tokio::spawn(storage.copies().upload());
    let made = container(&storage, "a", "made").await;
    let large: Vec<u8> = (0..3_000_000_u32).map(|index| (index % 251) as u8).collect();
    put(&storage, &made, "first 1.png", &large).await;
    put(&storage, &made, "empty", b"").await;
    let there = copy(&storage, "first 1.png", LONG).await.unwrap();
    let url = format!("http://127.0.0.1:{}/{BUCKET}/generations/first%201.png", server.port);
    assert_eq!(there, ObjectCopy { url, is_there: true });
    let (head, body) = fetch(server.port, "generations/first 1.png").await;
    assert!(head.contains("content-type: image/png") && body == large, "{head}");
    assert!(copy(&storage, "empty", LONG).await.unwrap().is_there);
    assert_eq!(fetch(server.port, "generations/empty").await.1, b"");
    // what stands in a place of another's is copied as well
    put(&storage, &made, "first 1.png", b"second").await;
    made.copy("first 1.png".into(), &made, "third".into(), false).await.unwrap();
    made.copy("empty".into(), &made, "moved".into(), true).await.unwrap();
    until_copied(&storage, "s3").await;
    until_there(server.port, "generations/first 1.png", b"second").await;
    until_there(server.port, "generations/third", b"second").await;
    until_there(server.port, "generations/moved", b"").await;
    assert!(fetch(server.port, "generations/empty").await.0.contains(" 404 "));
    // others' objects, other containers' and names that lead elsewhere are not
    put(&storage, &container(&storage, "b", "made").await, "theirs", b"x").await;
    put(&storage, &container(&storage, "a", "other").await, "other", b"x").await;
    put(&storage, &made, "../../out", b"x").await;
    assert_eq!(copy(&storage, "../../out", LONG).await, None);
    let copies = storage.copies();
    assert_eq!(copies.object(&owner("b"), "made", "theirs", &["s3".into()], NONE).await.unwrap(), None);
    assert_eq!(copies.object(&owner("a"), "made", "third", &[], NONE).await.unwrap(), None);
    let absent = copies.object(&owner("a"), "made", "none", &["s3".into()], LONG).await;
    assert!(matches!(absent.unwrap_err(), Error::NoObject { .. }));
    made.clear().await.unwrap();
    until_copied(&storage, "s3").await;
    assert!(std::fs::read_dir(server.bucket().join("generations")).map_or(0, Iterator::count) == 0);
    assert!(!server.bucket().join("theirs").exists() && !server.folder.path().join("out").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_holds_nothing_up_and_gets_everything_when_it_is_back() {
    let (mut server, folder) = (Server::s3(), tempfile::tempdir().unwrap());
    let storage = open(folder.path(), objects(to_s3(server.port)));
    tokio::spawn(storage.copies().upload());
    let made = container(&storage, "a", "made").await;
    put(&storage, &made, "before", b"before").await;
    assert!(copy(&storage, "before", LONG).await.unwrap().is_there);
    server.kill();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for index in 0..100 {
        put(&storage, &made, &format!("{index}"), format!("{index}").as_bytes()).await;
    }
    made.delete_objects(vec!["before".into()]).await.unwrap();
    let status = until_degraded(&storage, "s3").await;
    assert_eq!((status.reason.as_deref(), status.waiting), (Some("no connection"), 101));
    let began = Instant::now();
    assert!(!copy(&storage, "7", LONG).await.unwrap().is_there);
    assert!(began.elapsed() < LONG, "nobody waits for a server that is gone");
    let grown = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(grown <= tasks + 8, "{tasks} tasks became {grown}");
    server.restart();
    until_copied(&storage, "s3").await;
    for index in 0..100 {
        let name = format!("{index}");
        assert_eq!(fetch(server.port, &format!("generations/{name}")).await.1, name.as_bytes());
    }
    assert!(fetch(server.port, "generations/before").await.0.contains(" 404 "));
    assert_eq!(known(&storage, "s3").await.copied, 102);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_told_and_one_that_is_slow_is_waited_for() {
    let (server, folder) = (Server::s3(), tempfile::tempdir().unwrap());
    let door = slow_door(server.port, Duration::from_secs(5)).await;
    let mut copies = objects(to_s3(server.port));
    copies.extend(objects(S3Copy { key: "slow/{name}".into(), ..to_s3(door) }));
    copies[1].id = "slow".into();
    let storage = open(folder.path(), copies);
    tokio::spawn(storage.copies().upload());
    let made = container(&storage, "a", "made").await;
    put(&storage, &made, "1", b"one").await;
    until_copied(&storage, "s3").await;
    server.signal("STOP");
    let began = Instant::now();
    put(&storage, &made, "2", b"two").await;
    assert!(began.elapsed() < Duration::from_secs(5), "what is kept waits for no server");
    let status = until_degraded(&storage, "s3").await;
    assert_eq!(status.reason.as_deref(), Some("no answer within 10 s"));
    // whoever asks is told soon, however many ask
    let began = Instant::now();
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let copies = storage.copies();
            tokio::spawn(async move { copies.fare(&["s3".into()]).await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap()[0].state, ServiceState::Degraded);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    server.signal("CONT");
    until_copied(&storage, "s3").await;
    until_there(server.port, "generations/2", b"two").await;
    until_copied(&storage, "slow").await;
    until_there(server.port, "slow/2", b"two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_and_a_bucket_that_is_not_there_are_told_without_secrets() {
    let (server, folder) = (Server::s3(), tempfile::tempdir().unwrap());
    let wrong = S3Copy { access: Some(("AKIDTEST".into(), Secret("wrong".into()))), ..to_s3(server.port) };
    let storage = open(folder.path(), objects(wrong));
    let uploads = tokio::spawn(storage.copies().upload());
    let made = container(&storage, "a", "made").await;
    put(&storage, &made, "1", b"one").await;
    let refusal = Some("it answers 403 SignatureDoesNotMatch".to_owned());
    // a busy machine may take too long for the first connection
    until("refused", async || (known(&storage, "s3").await.reason == refusal).then_some(())).await;
    uploads.abort();
    let _ = uploads.await;
    drop((made, storage));
    // the right key, with the next start: nothing is lost
    let storage = open(folder.path(), objects(to_s3(server.port)));
    tokio::spawn(storage.copies().upload());
    until_copied(&storage, "s3").await;
    assert_eq!(fetch(server.port, "generations/1").await.1, b"one");
    // this server makes a bucket where there is none when an object comes, and says that there is none when it is asked
    let (bucket, away) = (server.bucket(), server.folder.path().join("away"));
    std::fs::rename(&bucket, &away).unwrap();
    let fares = async |state: ServiceState| {
        until(state.name(), async || {
            let status = storage.copies().fare(&["s3".into()]).await.remove(0);
            (status.state == state).then_some(status.reason)
        })
        .await
    };
    assert_eq!(fares(ServiceState::Degraded).await.as_deref(), Some("it answers 404"));
    std::fs::rename(&away, &bucket).unwrap();
    assert_eq!(fares(ServiceState::Connected).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_new_or_goes_elsewhere_gets_what_is_there_already() {
    let (server, folder) = (Server::s3(), tempfile::tempdir().unwrap());
    let storage = open(folder.path(), vec![]);
    let made = container(&storage, "a", "made").await;
    put(&storage, &made, "1", b"one").await;
    drop((made, storage));
    for key in ["first/{name}", "second/{tenant}/{container}/{name}"] {
        let to = S3Copy { key: key.into(), tenant: None, ..to_s3(server.port) };
        let storage = open(folder.path(), objects(to));
        assert!(!copy(&storage, "1", NONE).await.unwrap().is_there);
        let uploads = tokio::spawn(storage.copies().upload());
        assert!(copy(&storage, "1", LONG).await.unwrap().is_there);
        uploads.abort();
        let _ = uploads.await;
    }
    assert_eq!(fetch(server.port, "first/1").await.1, b"one");
    assert_eq!(fetch(server.port, "second/a/made/1").await.1, b"one");
}
