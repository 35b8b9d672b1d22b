//! Copies for other programs, from outside: a Redis and an S3 that other programs read, which come and go beside a host that is
//! killed. The guests do what the request's body says, a line each.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use http::{Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use crate::client::send;
use crate::host::{Host, guest};

/// Longer than the longest pause between two tries.
const PATIENCE: Duration = Duration::from_secs(150);

/// A server beside the host.
struct Server {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn new(start: fn(u16, &Path) -> Child) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        Self { process: start(port, folder.path()), port, folder }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn s3(port: u16, folder: &Path) -> Child {
    std::fs::create_dir_all(folder.join("made-here")).unwrap();
    let mut server = Command::new("s3s-fs");
    server.args(["--access-key", "AKIDTEST", "--secret-key", "planted secret", "--host", "127.0.0.1"]);
    server.arg("--port").arg(port.to_string()).arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().expect("s3s-fs starts; `cargo install --locked s3s-fs@0.14.1 --features binary` makes it")
}

fn redis(port: u16, folder: &Path) -> Child {
    let mut server = Command::new("redis-server");
    server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--requirepass"]);
    server.args(["planted password", "--dir"]).arg(folder).stdout(Stdio::null());
    server.spawn().expect("redis-server starts; Debian's package of that name has it")
}

fn cli(port: u16, words: &[&str]) -> String {
    let mut cli = Command::new("redis-cli");
    cli.args(["-p", &port.to_string(), "-a", "planted password", "--no-auth-warning"]).args(words);
    let output = cli.output().expect("redis-cli starts; Debian's package redis-tools has it");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

const MANIFEST: &str = r#"
[[store.copy]]
id = "redis"
jobs = ["runner"]
to = "redis://${CACHE_HOST:-127.0.0.1}:${CACHE_PORT}/0"
password-env = "CACHE_PASSWORD"
key = "task:{id}"
stream = "turns"

[[store.copy]]
id = "s3"
containers = ["pictures"]
to = "s3://made-here"
endpoint = "http://127.0.0.1:${PICTURES_PORT}"
secret-access-key-env = "PICTURES_SECRET"
key = "generations/{name}"
read = true

[[route]]
name = "runner"
path = "/runner"
component = "runner.wasm"
grants = { jobs = true }

[[route]]
name = "keeper"
path = "/keeper"
component = "keeper2.wasm"
grants = { buckets = ["notes", "others"], containers = ["pictures"] }

[[route]]
name = "copyist"
path = "/copyist"
component = "copyist.wasm"
grants = { containers = ["pictures"], copies = ["s3", "redis"] }
"#;

async fn start(folder: TempDir, redis: &Server, s3: &Server) -> Host {
    let (redis, s3) = (redis.port.to_string(), s3.port.to_string());
    let tell = |command: &mut Command| {
        command.env("CACHE_PORT", redis).env("CACHE_PASSWORD", "planted password");
        command.env("PICTURES_PORT", s3).env("PICTURES_SECRET", "planted secret");
        command.env("AWS_ACCESS_KEY_ID", "AKIDTEST");
    };
    Host::told(folder, Some(MANIFEST), tell).await
}

async fn tell(host: &Host, path: &str, line: &str) -> String {
    let request = Request::post(path).header("host", "test").body(line.to_owned().into()).unwrap();
    let answer = send(host.edge, request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.text().trim_end().to_owned()
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What the operator sees of a copy, once it is in a state.
async fn until_fares(host: &Host, id: &str, state: &str) -> Value {
    until(&format!("{id} {state}"), async || {
        let status = host.status().await;
        let copies = status["copies"].as_array().unwrap();
        copies.iter().find(|copy| copy["id"] == id && copy["state"] == state).cloned()
    })
    .await
}

/// A folder with the components and nothing else.
fn components() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["runner", "keeper2", "copyist"] {
        std::fs::write(folder.path().join(format!("{name}.wasm")), guest(name)).unwrap();
    }
    folder
}

#[tokio::test]
async fn others_read_jobs_and_objects_whatever_is_killed() {
    let (mut redis_server, mut s3_server) = (Server::new(redis), Server::new(s3));
    let host = start(components(), &redis_server, &s3_server).await;
    let id = tell(&host, "/runner", "submit echo hello").await;
    let hash = |port: u16, id: &str| cli(port, &["HGETALL", &format!("task:{id}")]);
    until("the job is a hash", async || {
        hash(redis_server.port, &id).contains("reads\nCompleted 100 1 hello").then_some(())
    })
    .await;
    let ttl: u64 = cli(redis_server.port, &["TTL", &format!("task:{id}")]).parse().unwrap();
    assert!((3_000..=3_600).contains(&ttl), "{ttl}");
    assert_eq!(tell(&host, "/keeper", "create pictures\nput pictures 1.png one").await, "created\nput");
    let there = tell(&host, "/copyist", "object pictures 1.png 60000").await;
    assert_eq!(there, format!("http://127.0.0.1:{}/made-here/generations/1.png true", s3_server.port));
    let object = |server: &Server, name: &str| {
        std::fs::read(server.folder.path().join("made-here/generations").join(name)).ok()
    };
    assert_eq!(object(&s3_server, "1.png").unwrap(), b"one");
    // both servers are lost: jobs are done and objects kept, and everybody is told
    redis_server.kill();
    s3_server.kill();
    let late = tell(&host, "/runner", "submit echo late").await;
    until("the job is done", async || {
        tell(&host, "/runner", &format!("status {late}")).await.starts_with("Completed").then_some(())
    })
    .await;
    assert_eq!(tell(&host, "/keeper", "put pictures 2.png two").await, "put");
    for id in ["redis", "s3"] {
        let copy = until_fares(&host, id, "degraded").await;
        assert_eq!(copy["reason"], "no connection", "{copy}");
        host.until_counted(&format!("atelier_copies_waiting{{copy=\"{id}\",kind=\"{id}\"}}"), 1).await;
    }
    let services = tell(&host, "/copyist", "services").await;
    assert_eq!(services.matches("Degraded 1 no connection").count(), 2, "{services}");
    // and so is the host, before anything was copied
    let mut host = host;
    host.signal("KILL");
    host.end().await;
    let log = host.log();
    assert!(log.contains("copies wait for their server"), "{log}");
    assert!(!log.contains("planted"), "{log}");
    let folder = std::mem::replace(&mut host.folder, tempfile::tempdir().unwrap());
    redis_server.process = redis(redis_server.port, redis_server.folder.path());
    s3_server.process = s3(s3_server.port, s3_server.folder.path());
    let host = start(folder, &redis_server, &s3_server).await;
    until("the object is copied", async || (object(&s3_server, "2.png")? == b"two").then_some(())).await;
    for id in [&id, &late] {
        until("the job is a hash again", async || {
            hash(redis_server.port, id).contains("reads\nCompleted").then_some(())
        })
        .await;
    }
    let turns = cli(redis_server.port, &["XRANGE", "turns", "-", "+"]);
    let ends = turns.lines().filter(|line| *line == "completed").count();
    assert_eq!(ends, 2, "a stream that was lost has every job: {turns}");
    for id in ["redis", "s3"] {
        until_fares(&host, id, "connected").await;
    }
    // a host with a disk of its own reads what this one wrote, and is told when it cannot
    let other = start(components(), &redis_server, &s3_server).await;
    let read = async || tell(&other, "/keeper", "whole pictures 2.png\nhas pictures none").await;
    assert_eq!(tell(&other, "/keeper", "create pictures").await, "created");
    assert_eq!(read().await, "two\nfalse");
    s3_server.kill();
    let away =
        "the object is not here, and the copy `s3` cannot be asked for it: no connection; try again later";
    assert_eq!(read().await, format!("error: {away}\nerror: {away}"));
    assert!(!host.status().await.to_string().contains("planted"));
}
