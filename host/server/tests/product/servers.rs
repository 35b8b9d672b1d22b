//! Redis and S3 as real servers, each in a process and a folder of its own, to be stopped and started again.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The access key of S3.
pub(crate) const KEY: &str = "AKIDTEST";
pub(crate) const SECRET: &str = "a secret of tests";
pub(crate) const BUCKET: &str = "image-generation-outputs";

/// A server.
pub(crate) struct Server {
    pub(crate) port: u16,
    folder: TempDir,
    process: Child,
    start: fn(u16, &Path) -> Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// One that speaks Redis.
    pub(crate) fn redis() -> Self {
        Self::new(redis)
    }

    /// One that speaks S3, with a bucket.
    pub(crate) fn s3() -> Self {
        let server = Self::new(s3);
        std::fs::create_dir(server.folder.path().join(BUCKET)).unwrap();
        server
    }

    fn new(start: fn(u16, &Path) -> Child) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let process = start(port, folder.path());
        let server = Self { port, folder, process, start };
        server.until_ready();
        server
    }

    fn until_ready(&self) {
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < end, "nobody answers at port {}", self.port);
            sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub(crate) fn restart(&mut self) {
        self.process = (self.start)(self.port, self.folder.path());
        self.until_ready();
    }

    /// Where the bucket's objects are.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join(BUCKET)
    }

    /// What redis-cli is told.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]).args(arguments);
        let output = command.output().expect("redis-cli runs; Debian's package redis-tools has it");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn redis(port: u16, folder: &Path) -> Child {
    let mut server = Command::new("redis-server");
    server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    server.arg("--dir").arg(folder).stdout(Stdio::null());
    server.spawn().expect("redis-server starts; Debian's package of that name has it")
}

fn s3(port: u16, folder: &Path) -> Child {
    let mut server = Command::new("s3s-fs");
    server.args(["--access-key", KEY, "--secret-key", SECRET, "--host", "127.0.0.1", "--port"]);
    server.arg(port.to_string()).arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().expect("s3s-fs starts; `cargo install s3s-fs --features binary` brings it")
}
