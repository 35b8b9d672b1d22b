//! The servers: real ones, each in a process of its own, and a door before them that can be slow.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use atelier_store::{CopyConfig, CopyTarget, JobStream, RedisCopy, S3Copy, Secret};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::until;

const KEY: &str = "AKIDTEST";
const SECRET: &str = "a secret of tests";
pub(crate) const BUCKET: &str = "pictures";

/// A port that nobody listens at.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server in a process of its own.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    start: fn(u16, &Path) -> Child,
}

impl Server {
    fn new(start: fn(u16, &Path) -> Child) -> Self {
        let (port, folder) = (port(), tempfile::tempdir().unwrap());
        Self { process: start(port, folder.path()), port, folder, start }
    }

    /// One that speaks S3, with a bucket.
    pub(crate) fn s3() -> Self {
        let server = Self::new(s3);
        std::fs::create_dir(server.folder.path().join(BUCKET)).unwrap();
        server
    }

    pub(crate) fn redis() -> Self {
        Self::new(redis)
    }

    pub(crate) fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        assert!(kill.arg(format!("-{name}")).arg(self.process.id().to_string()).status().unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.process = (self.start)(self.port, self.folder.path());
    }

    /// Where the bucket's objects are.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join(BUCKET)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn s3(port: u16, folder: &Path) -> Child {
    let mut server = Command::new("s3s-fs");
    server.args(["--access-key", KEY, "--secret-key", SECRET, "--host", "127.0.0.1", "--port"]);
    server.arg(port.to_string()).arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().expect("s3s-fs starts; `cargo install --locked s3s-fs@0.14.1 --features binary` makes it")
}

fn redis(port: u16, folder: &Path) -> Child {
    let mut server = Command::new("redis-server");
    server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
    server.arg(folder).stdout(Stdio::null());
    server.spawn().expect("redis-server starts; Debian's package of that name has it")
}

/// A copy of the container `made`, under the names that objects have there, to a port.
pub(crate) fn to_s3(port: u16) -> S3Copy {
    S3Copy {
        bucket: BUCKET.into(),
        region: "us-east-1".into(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        access: Some((KEY.into(), Secret(SECRET.into()))),
        session: None,
        key: "generations/{name}".into(),
        containers: vec!["made".into()],
        tenant: Some("a".into()),
        read: false,
    }
}

pub(crate) fn objects(to: S3Copy) -> Vec<CopyConfig> {
    vec![CopyConfig { id: "s3".into(), to: CopyTarget::Objects(to) }]
}

/// A copy of the jobs of `/jobs`.
pub(crate) fn to_redis(port: u16) -> RedisCopy {
    RedisCopy {
        url: Secret(format!("redis://127.0.0.1:{port}/0")),
        password: None,
        key: "task:{id}".into(),
        channel: Some("changes:{key}".into()),
        stream: Some(JobStream { name: "turns:{tenant}".into(), length: 1_000 }),
        routes: vec!["/jobs".into()],
    }
}

pub(crate) fn jobs(to: RedisCopy) -> Vec<CopyConfig> {
    vec![CopyConfig { id: "redis".into(), to: CopyTarget::Jobs(to) }]
}

/// The head and the body of an object's copy, as a client with the key gets them.
pub(crate) async fn fetch(port: u16, key: &str) -> (String, Vec<u8>) {
    let endpoint = format!("http://127.0.0.1:{port}").parse().unwrap();
    let bucket = Bucket::new(endpoint, UrlStyle::Path, BUCKET, "us-east-1").unwrap();
    let url = bucket.get_object(Some(&Credentials::new(KEY, SECRET)), key).sign(Duration::from_secs(60));
    let path = url.as_str().split_once(&format!(":{port}")).unwrap().1;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    (head, answer[end + 4..].to_vec())
}

/// A door to a port, behind which every connection waits so long before anything passes.
pub(crate) async fn slow_door(port: u16, delay: Duration) -> u16 {
    let door = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = door.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut inner, _)) = door.accept().await {
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                if let Ok(mut outer) = TcpStream::connect(("127.0.0.1", port)).await {
                    let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
                }
            });
        }
    });
    own
}

/// What `redis-cli` says.
pub(crate) fn cli(port: u16, words: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(words).output();
    let output = output.expect("redis-cli starts; Debian's package redis-tools has it");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The server takes a moment to start.
pub(crate) async fn until_redis_answers(port: u16) {
    until("redis answers", async || (cli(port, &["PING"]) == "PONG").then_some(())).await;
}
