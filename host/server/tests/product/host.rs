//! The real binary as a child process, with a folder of its own.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use crate::client::{self, Answer, DEADLINE};

pub(crate) const GENERATIONS: &str = "/v1/images/generations";
pub(crate) const PNG: &str = "image/png";
pub(crate) const JSON: &str = "application/json";
pub(crate) const STREAM: &str = "text/event-stream";

/// A running `atelier serve`; killed when dropped.
pub(crate) struct Host {
    pub(crate) edge: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) folder: TempDir,
    log: Arc<Mutex<String>>,
    process: Child,
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The command, away from any manifest of the developer's, with one cache of compiled code for all tests.
pub(crate) fn atelier(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atelier"));
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    command.current_dir(folder).env("ATELIER__STORE__CACHE_DIR", cache).env("NO_COLOR", "1");
    command
}

impl Host {
    /// With the manifest that is built in.
    pub(crate) async fn start() -> Host {
        Self::with(tempfile::tempdir().unwrap(), None).await
    }

    /// With `folder/atelier.toml`, whose addresses are replaced by free ones.
    pub(crate) async fn with(folder: TempDir, manifest: Option<&str>) -> Host {
        Self::told(folder, manifest, |_| {}).await
    }

    /// The same, with more said to the process.
    pub(crate) async fn told(
        folder: TempDir,
        manifest: Option<&str>,
        tell: impl FnOnce(&mut Command),
    ) -> Host {
        let spawn = |command: &mut Command| {
            tell(command);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        Self::spawned(folder, manifest, spawn).await
    }

    /// The same, started by the test itself; what its standard error gives is kept when the test leaves it.
    pub(crate) async fn spawned(
        folder: TempDir,
        manifest: Option<&str>,
        spawn: impl FnOnce(&mut Command) -> Child,
    ) -> Host {
        let (edge, admin) = (free(), free());
        let mut command = atelier(folder.path());
        if let Some(text) = manifest {
            std::fs::write(folder.path().join("atelier.toml"), text).unwrap();
        }
        command.args(["serve", "--listen", &edge.to_string(), "--admin", &admin.to_string()]);
        let process = spawn(&mut command);
        let mut host = Host { edge, admin, folder, log: Arc::default(), process };
        host.pass_on_log();
        host.until_ready().await;
        host
    }

    /// The log goes to the test's output, which is shown when the test fails.
    fn pass_on_log(&mut self) {
        let Some(log) = self.process.stderr.take().map(BufReader::new) else { return };
        let kept = self.log.clone();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                println!("{line}");
                kept.lock().unwrap().extend([line.as_str(), "\n"]);
            }
        });
    }

    /// What was logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    async fn until_ready(&mut self) {
        let end = Instant::now() + 2 * DEADLINE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the host ended: {status}");
            }
            let request =
                Request::builder().uri("/ready").header("host", "test").body(Full::default()).unwrap();
            match client::try_send(self.admin, request).await {
                Ok(answer) if answer.status == StatusCode::OK => return,
                _ => assert!(Instant::now() < end, "never ready"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn post(&self, path: &str, accept: &str, body: Value) -> Answer {
        client::send(self.edge, request(path, accept, &body)).await
    }

    /// A picture as PNG bytes.
    pub(crate) async fn picture(&self, body: Value) -> Bytes {
        let answer = self.post(GENERATIONS, PNG, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
        answer.body
    }

    pub(crate) async fn status(&self) -> Value {
        client::get(self.admin, "/status").await.json()
    }

    /// The status, once it is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < end, "never {what}: {status:#}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the process holds in memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.proc_status("VmRSS:")
    }

    /// The most that it held at any moment since the last `forget_peak`.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.proc_status("VmHWM:")
    }

    /// Measures the peak anew from here on.
    pub(crate) fn forget_peak(&self) {
        // 5 resets the peak of the resident set: proc(5)
        std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").unwrap();
    }

    fn proc_status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The metrics page.
    pub(crate) async fn metrics(&self) -> String {
        client::get(self.admin, "/metrics").await.text().to_owned()
    }

    /// The value of a sample of the metrics page, once it is at least so large.
    pub(crate) async fn until_counted(&self, sample: &str, least: u64) -> u64 {
        let end = Instant::now() + DEADLINE;
        loop {
            let page = self.metrics().await;
            let value = page.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse::<u64>().ok());
            if let Some(value) = value.filter(|value| *value >= least) {
                return value;
            }
            assert!(Instant::now() < end, "{sample} is {value:?}, never {least}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends the process a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.process.id().to_string()).status();
        assert!(status.unwrap().success(), "no signal was sent");
    }

    /// How the process ends.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the process does not end");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Replaces a file of the host's folder whole, as a careful writer does.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let beside = self.folder.path().join("being-written");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(beside, self.folder.path().join(name)).unwrap();
    }
}

pub(crate) fn request(path: &str, accept: &str, body: &Value) -> Request<Full<Bytes>> {
    let request = Request::post(path).header("host", "test").header("accept", accept);
    request.header("content-type", JSON).body(body.to_string().into()).unwrap()
}

/// A free address that nobody takes before the process does: each is given out once, and they lie below those that the system
/// gives to whoever connects.
fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], NEXT.fetch_add(1, Ordering::Relaxed)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A guest of the runtime's tests, built with stock cargo.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/guests");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(&root).args(["build", "--quiet", "--target", "wasm32-wasip2", "--package", name]);
    let status = cargo.env("CARGO_TARGET_DIR", &target).status().unwrap();
    assert!(status.success(), "{name} does not build");
    std::fs::read(target.join(format!("wasm32-wasip2/debug/{name}.wasm"))).unwrap()
}

/// A project of examples/, built with stock cargo as its README says; the file that the build leaves.
pub(crate) fn example(project: &str, file: &str) -> Vec<u8> {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(project);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(&root).args(["build", "--release", "--quiet", "--target", "wasm32-wasip2"]);
    let status = cargo.env("CARGO_TARGET_DIR", &target).status().unwrap();
    assert!(status.success(), "{project} does not build");
    std::fs::read(target.join("wasm32-wasip2/release").join(file)).unwrap()
}

/// The same code with another text of the same length in it: another build that is as valid.
pub(crate) fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to));
    bytes
}
