//! A whole host for one test: its folder, its manifest, the fake engine and two free ports.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atelier::app::{self, App, Doors};
use atelier::config::{Config, Variables};
use atelier_inference::ModelId;
use atelier_inference::fake::FakeEngine;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::client::{Answer, DEADLINE, get, send};

/// A path that the first-party handler answers without any model.
pub(crate) const PAGE: &str = "/openapi.json";

/// A running host. Dropping it stops it without waiting.
pub(crate) struct House {
    pub(crate) edge: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) folder: TempDir,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

/// The bytes of the first-party handler.
pub(crate) fn handler() -> Vec<u8> {
    app::builtin_component("prompt-assist").expect("the binary carries prompt-assist").to_vec()
}

/// The same handler, other bytes: a custom section named `note` is added, which changes nothing but the digest.
pub(crate) fn handler_with(note: &str) -> Vec<u8> {
    let mut bytes = handler();
    let content = note.as_bytes();
    let (length, name) = (u8::try_from(content.len() + 1).unwrap(), u8::try_from(content.len()).unwrap());
    assert!(length < 0x80, "one byte of LEB128");
    bytes.extend([0, length, name]);
    bytes.extend(content);
    bytes
}

/// A folder with a handler in `a.wasm` and a model's folder, for a manifest to name.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.wasm"), handler()).unwrap();
    std::fs::create_dir(folder.path().join("model")).unwrap();
    folder
}

/// What every manifest of a test begins with; `server` holds more keys of that section.
pub(crate) fn manifest(server: &str, rest: &str) -> String {
    // compiled code is shared by all tests: compiling it takes longer than they do
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{server}\n[store]\ncache-dir = {cache:?}\n\
         [[model]]\nid = \"fake\"\nsource = \"model\"\n{rest}"
    )
}

/// A route to `a.wasm` with everything that the handler imports.
pub(crate) fn route(name: &str, path: &str, more: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\npath = \"{path}\"\ncomponent = \"a.wasm\"\n\
         grants = {{ models = [\"fake\"], outbound = [\"http://127.0.0.1:1\"] }}\n{more}\n"
    )
}

/// An operators' key of the real binary, and the manifest's line.
pub(crate) fn operators_key() -> (String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_atelier"));
    let output = command.args(["admin", "key", "new", "--json"]).output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |field: &str| value[field].as_str().unwrap().to_owned();
    (text("key"), text("manifest"))
}

impl House {
    /// One route at `/`.
    pub(crate) async fn plain() -> House {
        Self::with("", &route("a", "/", "")).await
    }

    pub(crate) async fn with(server: &str, routes: &str) -> House {
        Self::open(folder(), &manifest(server, routes)).await
    }

    pub(crate) async fn open(folder: TempDir, manifest: &str) -> House {
        Self::lacking(folder, manifest, Vec::new()).await
    }

    /// With models that are not here, each with what brings it.
    pub(crate) async fn lacking(folder: TempDir, manifest: &str, missing: Vec<(ModelId, String)>) -> House {
        let engine = FakeEngine { step: Duration::from_millis(50), ..FakeEngine::default() };
        Self::serving(folder, manifest, engine, missing).await
    }

    /// With an engine of the test's own.
    pub(crate) async fn serving(
        folder: TempDir,
        manifest: &str,
        engine: FakeEngine,
        missing: Vec<(ModelId, String)>,
    ) -> House {
        let path = folder.path().join("atelier.toml");
        std::fs::write(&path, manifest).unwrap();
        let variables = Variables::default();
        let config =
            Config::load(Some(&path), &variables, &app::builtins()).unwrap_or_else(|error| panic!("{error}"));
        let app = App::build(config, variables, Box::new(engine), missing).await;
        let app = app.unwrap_or_else(|error| panic!("{error}"));
        let (edge, admin) = (free().await, free().await);
        let (edge_address, admin_address) = (edge.local_addr().unwrap(), admin.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let signal = async {
            let _ = stopped.await;
        };
        let served = tokio::spawn(app.serve(Doors { edge, admin: Some(admin) }, signal));
        House { edge: edge_address, admin: admin_address, folder, stop, served }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file as a careful writer does: whole, by a rename.
    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let beside = self.file("being-written");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(beside, self.file(name)).unwrap();
    }

    /// Asks the admin address, with a key.
    pub(crate) async fn ask_as(&self, key: &str, method: Method, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header("host", "test");
        let request = request.header("authorization", format!("Bearer {key}"));
        send(self.admin, request.body(Full::default()).unwrap()).await
    }

    pub(crate) async fn status(&self) -> Value {
        get(self.admin, "/status").await.json()
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
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Tells the host to stop; answers what ends when it has.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        let _ = self.stop.send(());
        self.served
    }
}

async fn free() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}
