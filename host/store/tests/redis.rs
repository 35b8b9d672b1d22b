//! Values in a real Redis, which this test starts and, here and there, stops. What is promised of values in the index is
//! promised of these as well; and that a server which is gone or hangs is an error, soon, until it is back.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use atelier_store::{Bucket, Container, Error, MAX_PAGE, Owner, Storage, StorageConfig, Version};
use tempfile::TempDir;

/// A safety net, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        Self { process: serve(port, folder.path()), port, folder }
    }

    fn storage(&self) -> Storage {
        let redis = Some(format!("redis://127.0.0.1:{}/0", self.port));
        let config = StorageConfig { value_bytes: 4_096, redis, ..StorageConfig::default() };
        Storage::open(&self.folder.path().join("storage"), config).unwrap()
    }

    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        assert!(kill.arg(format!("-{name}")).arg(self.process.id().to_string()).status().unwrap().success());
    }

    fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = serve(self.port, self.folder.path());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(port: u16, folder: &Path) -> Child {
    let port = port.to_string();
    let mut server = Command::new("redis-server");
    server.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
    server.args(["--appendfsync", "always", "--dir"]).arg(folder).stdout(Stdio::null());
    server.spawn().expect("redis-server starts; Debian's package of that name has it")
}

fn owner(limit: Option<u64>) -> Owner {
    Owner::new("a", limit)
}

/// The server takes a moment to start.
async fn until_set(bucket: &Bucket, key: &str) {
    let end = Instant::now() + PATIENCE;
    while let Err(error) = bucket.set(key.into(), b"value".to_vec()).await {
        assert!(error.is_operators() && Instant::now() < end, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn put(storage: &Storage, container: &Container, name: &str, bytes: usize) -> Result<(), Error> {
    let mut draft = storage.draft(owner(Some(1_000))).await?;
    draft.write(vec![7; bytes].into()).await?;
    draft.finish(container, name.into()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_their_owners_in_their_bucket_whole_batches_at_a_time() {
    let server = Server::start();
    let storage = server.storage();
    let bucket = storage.bucket(owner(None), "b");
    until_set(&bucket, "key").await;
    // names that look like others' keys
    storage.bucket(Owner::new("b", None), "b").set("key".into(), b"theirs".to_vec()).await.unwrap();
    storage.bucket(owner(None), "b:1").set("key".into(), b"other".to_vec()).await.unwrap();
    bucket.set("1:key".into(), b"\xff\0binary".to_vec()).await.unwrap();
    assert_eq!(bucket.get("key").await.unwrap().unwrap(), b"value");
    assert_eq!(bucket.get("1:key").await.unwrap().unwrap(), b"\xff\0binary");
    let pairs =
        vec![("x".to_owned(), vec![1; 8]), ("x".to_owned(), vec![2; 4]), ("y".to_owned(), vec![3; 4])];
    bucket.set_many(pairs).await.unwrap();
    let keys = || ["y", "none", "x"].map(String::from).to_vec();
    let found = bucket.get_many(keys(), 8).await.unwrap();
    assert_eq!(found, [Some(("y".into(), vec![3; 4])), None, Some(("x".into(), vec![2; 4]))]);
    assert!(matches!(bucket.get_many(keys(), 7).await.unwrap_err(), Error::TooMany(_)));
    assert_eq!(bucket.keys(None).await.unwrap().keys, ["1:key", "key", "x", "y"]);
    bucket.delete_many(keys()).await.unwrap();
    bucket.delete("1:key".into()).await.unwrap();
    assert_eq!((bucket.exists("key").await.unwrap(), bucket.exists("x").await.unwrap()), (true, false));
    assert_eq!(bucket.keys(None).await.unwrap().keys, ["key"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_in_pages_and_counting_and_swapping_lose_nothing() {
    let server = Server::start();
    let storage = server.storage();
    let bucket = storage.bucket(owner(None), "b");
    until_set(&bucket, "zzz").await;
    let key = |index: usize| format!("{index:05}");
    for from in [0, MAX_PAGE] {
        let pairs = (from..from + MAX_PAGE).map(|index| (key(index), vec![1])).collect();
        bucket.set_many(pairs).await.unwrap();
    }
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = bucket.keys(after).await.unwrap();
        listed.extend(page.keys);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, (0..2 * MAX_PAGE).map(key).chain(["zzz".into()]).collect::<Vec<_>>());
    let count = |bucket: Bucket| async move {
        for _ in 0..25 {
            bucket.increment("n".into(), 2).await.unwrap();
        }
    };
    let counting: Vec<_> = (0..8).map(|_| tokio::spawn(count(bucket.clone()))).collect();
    for task in counting {
        task.await.unwrap();
    }
    // beyond what a number of Lua can say
    assert_eq!(bucket.increment("n".into(), 1 << 60).await.unwrap(), (1 << 60) + 400);
    assert_eq!(bucket.increment("n".into(), -(1 << 60) - 401).await.unwrap(), -1);
    assert!(matches!(bucket.increment("zzz".into(), 1).await.unwrap_err(), Error::NoNumber(_)));
    let absent = Version::of(None);
    bucket.swap("s".into(), absent, b"first".to_vec()).await.unwrap().unwrap();
    let newer = bucket.swap("s".into(), absent, b"second".to_vec()).await.unwrap().unwrap_err();
    bucket.swap("s".into(), newer, b"".to_vec()).await.unwrap().unwrap();
    assert!(
        bucket.swap("s".into(), absent, b"third".to_vec()).await.unwrap().is_err(),
        "empty is not absent"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_there_and_objects_here_are_one_sum_to_the_byte() {
    let server = Server::start();
    let storage = server.storage();
    let limited = || owner(Some(1_000));
    let (bucket, container) = (storage.bucket(limited(), "b"), storage.container(limited(), "c"));
    until_set(&bucket, "key").await;
    container.create().await.unwrap();
    bucket.set("key".into(), vec![0; 497]).await.unwrap();
    assert!(matches!(put(&storage, &container, "name", 497).await.unwrap_err(), Error::Full { .. }));
    put(&storage, &container, "name", 496).await.unwrap();
    assert_eq!(storage.used(&limited()).await.unwrap(), 1_000);
    let error = bucket.set("k".into(), vec![]).await.unwrap_err();
    assert!(matches!(error, Error::Full { limit: 1_000, used: 1_000 }), "{error}");
    assert!(matches!(bucket.increment("k".into(), 1).await.unwrap_err(), Error::Full { .. }));
    assert_eq!(bucket.get("k").await.unwrap(), None, "what was refused is not there");
    let copied = container.copy("name".into(), &container, "copy".into(), false).await;
    assert!(matches!(copied.unwrap_err(), Error::Full { .. }));
    bucket.set("key".into(), vec![1; 497]).await.unwrap();
    bucket.delete("key".into()).await.unwrap();
    container.copy("name".into(), &container, "copy".into(), false).await.unwrap();
    assert_eq!(storage.used(&limited()).await.unwrap(), 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_or_is_gone_is_an_error_soon_until_it_is_back() {
    let mut server = Server::start();
    let storage = server.storage();
    let bucket = storage.bucket(owner(None), "b");
    until_set(&bucket, "key").await;
    server.signal("STOP");
    let began = Instant::now();
    let error = bucket.get("key").await.unwrap_err();
    assert!(matches!(error, Error::Remote(_)) && began.elapsed() < PATIENCE, "{error}");
    server.signal("CONT");
    until_set(&bucket, "after").await;
    server.restart();
    until_set(&bucket, "again").await;
    assert_eq!(bucket.keys(None).await.unwrap().keys, ["after", "again", "key"]);
    // objects need no server where nothing is bounded
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    assert!(bucket.set("key".into(), vec![]).await.unwrap_err().is_operators());
    storage.container(owner(None), "c").create().await.unwrap();
    let _ = storage.draft(owner(None)).await.unwrap();
}
