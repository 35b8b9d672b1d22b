//! Objects that are read in their copy: on a new disk and on a second host, from servers that are gone, hang and break off.

use std::path::Path;
use std::time::{Duration, Instant};

use atelier_store::{Blob, Container, Error, S3Copy, Secret, Storage, StorageConfig};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::objects::{container, put};
use crate::servers::{Server, fetch, objects, slow_door, to_s3};
use crate::{open, owner, until, until_copied};

fn reading(port: u16) -> S3Copy {
    S3Copy { read: true, ..to_s3(port) }
}

/// A host of its own with the container, which copies what it keeps.
async fn host(dir: &Path, to: S3Copy) -> (Storage, Container) {
    let storage = open(dir, objects(to));
    tokio::spawn(storage.copies().upload());
    let made = container(&storage, "a", "made").await;
    (storage, made)
}

async fn bytes(blob: Blob) -> Vec<u8> {
    let (size, mut bytes) = (blob.size(), Vec::new());
    blob.into_reader().read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes.len() as u64, size);
    bytes
}

async fn text(made: &Container, name: &str) -> String {
    String::from_utf8(bytes(made.read(name, 0, u64::MAX).await.unwrap()).await).unwrap()
}

/// Why nobody knows whether something is there.
fn away<T: std::fmt::Debug>(asked: Result<T, Error>) -> String {
    match asked.unwrap_err() {
        Error::Away { id, why } if id == "s3" => why,
        error => panic!("{error:?}"),
    }
}

fn is_absent<T: std::fmt::Debug>(asked: Result<T, Error>) -> bool {
    matches!(asked.unwrap_err(), Error::NoObject { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_host_reads_what_one_wrote_and_keeps_nothing_of_it() {
    let (server, folders) = (Server::s3(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    let (first, made) = host(folders[0].path(), reading(server.port)).await;
    let large: Vec<u8> = (0..3_000_000_u32).map(|index| (index % 251) as u8).collect();
    put(&first, &made, "large 1.png", &large).await;
    put(&first, &made, "empty", b"").await;
    until_copied(&first, "s3").await;
    let (second, there) = host(folders[1].path(), reading(server.port)).await;
    let info = there.info("large 1.png").await.unwrap().unwrap();
    let written = made.info("large 1.png").await.unwrap().unwrap().created;
    assert!(info.size == 3_000_000 && info.created.abs_diff(written) < 60, "{info:?} {written}");
    let read = async |start, end| there.read("large 1.png", start, end).await;
    assert!(bytes(read(0, u64::MAX).await.unwrap()).await == large);
    assert_eq!(bytes(read(5, 9).await.unwrap()).await, large[5..10]);
    assert_eq!(bytes(read(2_999_998, u64::MAX).await.unwrap()).await, large[2_999_998..]);
    assert_eq!(bytes(read(0, 5_000_000).await.unwrap()).await.len(), large.len());
    for (start, end) in [(3_000_000, u64::MAX), (9, 5)] {
        let beyond = read(start, end).await.unwrap_err();
        assert!(matches!(beyond, Error::Range { size: 3_000_000, .. }), "{beyond:?}");
    }
    assert_eq!(text(&there, "empty").await, "");
    assert_eq!(bytes(there.read("empty", 0, 9).await.unwrap()).await, b"");
    assert!(matches!(there.read("empty", 1, 9).await.unwrap_err(), Error::Range { size: 0, .. }));
    assert_eq!(there.info("none").await.unwrap(), None);
    assert!(is_absent(there.read("none", 0, 9).await));
    // nothing of it is kept: it counts for nobody, and what is replaced elsewhere is read as it is there
    assert_eq!(there.list(None, 10).await.unwrap(), (vec![], true));
    assert_eq!(second.used(&owner("a")).await.unwrap(), 0);
    put(&first, &made, "empty", b"no more").await;
    until_copied(&first, "s3").await;
    assert_eq!(text(&there, "empty").await, "no more");
    // what is here is what counts
    put(&second, &there, "empty", b"its own").await;
    assert_eq!(text(&there, "empty").await, "its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_or_moved_elsewhere_is_gone_there() {
    let (server, folders) = (Server::s3(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    let (first, made) = host(folders[0].path(), reading(server.port)).await;
    for name in ["1", "2", "3", "4"] {
        put(&first, &made, name, name.as_bytes()).await;
    }
    until_copied(&first, "s3").await;
    // nobody copies here for now
    let second = open(folders[1].path(), objects(reading(server.port)));
    let there = container(&second, "a", "made").await;
    there.delete_objects(vec!["1".into(), "none".into()]).await.unwrap();
    assert_eq!(there.info("1").await.unwrap(), None);
    assert!(fetch(server.port, "generations/1").await.0.contains(" 404 "));
    there.copy("2".into(), &there, "two".into(), true).await.unwrap();
    there.copy("3".into(), &there, "three".into(), false).await.unwrap();
    assert_eq!((text(&there, "two").await, text(&there, "three").await), ("2".into(), "3".into()));
    assert_eq!((there.info("2").await.unwrap(), text(&there, "3").await), (None, "3".into()));
    assert!(is_absent(there.copy("2".into(), &there, "again".into(), false).await));
    assert_eq!(there.list(None, 10).await.unwrap().0, ["three", "two"]);
    // a removal that waits counts, though the server has the object still
    put(&second, &there, "4", b"its own").await;
    there.delete_objects(vec!["4".into()]).await.unwrap();
    assert_eq!(fetch(server.port, "generations/4").await.1, b"4");
    assert!(is_absent(there.read("4", 0, 9).await));
    assert_eq!(there.info("4").await.unwrap(), None);
    tokio::spawn(second.copies().upload());
    until_copied(&second, "s3").await;
    assert!(fetch(server.port, "generations/4").await.0.contains(" 404 "));
    assert_eq!(fetch(server.port, "generations/two").await.1, b"2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_objects_other_containers_and_names_that_lead_elsewhere_are_not_read() {
    let (server, folders) = (Server::s3(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    let all = S3Copy { key: "{tenant}/{container}/{name}".into(), tenant: None, ..reading(server.port) };
    let (first, made) = host(folders[0].path(), all.clone()).await;
    put(&first, &made, "1", b"one").await;
    until_copied(&first, "s3").await;
    std::fs::write(server.bucket().join("planted"), "secret").unwrap();
    let (second, there) = host(folders[1].path(), all).await;
    assert_eq!(text(&there, "1").await, "one");
    let theirs = container(&second, "b", "made").await;
    let other = container(&second, "a", "other").await;
    for (container, name) in [
        (&theirs, "1"),
        (&theirs, "../../a/made/1"),
        (&theirs, "./../../a/made/1"),
        (&there, "../../planted"),
        (&other, "1"),
        (&other, "../made/1"),
    ] {
        assert_eq!(container.info(name).await.unwrap(), None, "{name}");
        assert!(is_absent(container.read(name, 0, 9).await), "{name}");
        container.delete_objects(vec![name.into()]).await.unwrap();
    }
    assert_eq!(fetch(server.port, "a/made/1").await.1, b"one");
    // without the option nothing is asked of anybody
    let folder = tempfile::tempdir().unwrap();
    let (_third, blind) = host(folder.path(), to_s3(server.port)).await;
    assert_eq!(blind.info("1").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_or_hangs_is_an_error_of_its_own() {
    let (mut server, folder) = (Server::s3(), tempfile::tempdir().unwrap());
    let (storage, made) = host(folder.path(), reading(server.port)).await;
    std::fs::create_dir_all(server.bucket().join("generations")).unwrap();
    std::fs::write(server.bucket().join("generations/there"), "there").unwrap();
    put(&storage, &made, "here", b"here").await;
    until_copied(&storage, "s3").await;
    server.kill();
    assert_eq!(away(made.info("there").await), "no connection");
    // while it is left alone, at once
    let began = Instant::now();
    assert_eq!(away(made.read("there", 0, 9).await), "no connection");
    assert_eq!(away(made.delete_objects(vec!["there".into()]).await), "no connection");
    assert_eq!(away(made.copy("there".into(), &made, "new".into(), false).await), "no connection");
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(text(&made, "here").await, "here");
    server.restart();
    let back = async || made.info("there").await.ok();
    assert_eq!(until("it is back", back).await.unwrap().size, 5);
    server.signal("STOP");
    assert_eq!(away(made.info("there").await), "no answer within 10 s");
    server.signal("CONT");
    until("it is back", back).await;
    assert_eq!(text(&made, "there").await, "there");
}

/// Reads an object whose server comes to an end after the first bytes, and says why nothing more comes.
async fn broken_off(made: &Container, name: &str, ends: impl FnOnce()) -> String {
    let mut bytes: Box<dyn AsyncRead + Send + Unpin> =
        made.read(name, 0, u64::MAX).await.unwrap().into_reader();
    let mut first = vec![0; 1_000];
    bytes.read_exact(&mut first).await.unwrap();
    ends();
    let error = bytes.read_to_end(&mut Vec::new()).await.unwrap_err();
    away::<()>(Err(error.downcast::<Error>().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_breaks_off_is_told_and_one_that_is_slow_comes() {
    let mut server = Server::s3();
    let folders: [_; 4] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (_storage, made) = host(folders[0].path(), reading(server.port)).await;
    std::fs::create_dir_all(server.bucket().join("generations")).unwrap();
    // more than lies on the way
    std::fs::write(server.bucket().join("generations/large"), vec![7; 96 << 20]).unwrap();
    let hung = broken_off(&made, "large", || server.signal("STOP")).await;
    assert_eq!(hung, "no answer within 10 s");
    server.signal("CONT");
    until("it is back", async || made.info("large").await.ok()).await;
    let gone = broken_off(&made, "large", || server.kill()).await;
    assert_eq!(gone, "the connection broke");
    server.restart();
    until("it is back", async || made.info("large").await.ok()).await;
    // one that is larger than objects are here
    let small = StorageConfig {
        object_bytes: 1_000,
        copies: objects(reading(server.port)),
        ..StorageConfig::default()
    };
    let storage = Storage::open(folders[1].path(), small).unwrap();
    let made = container(&storage, "a", "made").await;
    let refused = made.read("large", 0, 9).await.unwrap_err();
    assert!(matches!(refused, Error::TooLarge { limit: 1_000, .. }), "{refused:?}");
    let door = slow_door(server.port, Duration::from_secs(4)).await;
    let (_storage, made) = host(folders[2].path(), reading(door)).await;
    assert_eq!(bytes(made.read("large", 7, 9).await.unwrap()).await, [7; 3]);
    let wrong = S3Copy { access: Some(("AKIDTEST".into(), Secret("wrong".into()))), ..reading(server.port) };
    let (_storage, made) = host(folders[3].path(), wrong).await;
    assert_eq!(away(made.read("large", 0, 9).await), "it answers 403 SignatureDoesNotMatch");
}
