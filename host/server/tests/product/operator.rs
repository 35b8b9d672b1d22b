//! An operator of a real host: its key, its requests, its verbs.

use std::process::{Command, Output};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use crate::client::{Answer, DEADLINE, get, send};
use crate::host::{Host, atelier};

/// A host with an operators' key, and who has the key.
pub(crate) struct Operator {
    pub(crate) host: Host,
    pub(crate) key: String,
}

/// The operators' key of the real binary, and the manifest's line.
pub(crate) fn admin_key() -> (String, String) {
    let output = atelier(&std::env::temp_dir()).args(["admin", "key", "new", "--json"]).output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |field: &str| value[field].as_str().unwrap().to_owned();
    (text("key"), text("manifest"))
}

/// One route `live` at `/` to `live.wasm`, with more keys.
pub(crate) fn live(more: &str) -> String {
    format!("[[route]]\nname = \"live\"\npath = \"/\"\ncomponent = \"live.wasm\"\n{more}\n")
}

impl Operator {
    /// A host that serves `component` as `live.wasm`; `server` goes into that section.
    pub(crate) async fn with(component: &[u8], server: &str, rest: &str) -> Operator {
        let (key, line) = admin_key();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("live.wasm"), component).unwrap();
        let manifest = format!("[server]\n{line}\n{server}\n{rest}");
        Operator { host: Host::with(folder, Some(&manifest)).await, key }
    }

    /// The same folder, another process.
    pub(crate) async fn restarted(self, between: impl FnOnce(&TempDir)) -> Operator {
        let Operator { mut host, key } = self;
        host.signal("TERM");
        assert_eq!(host.end().await.code(), Some(0));
        let folder = std::mem::replace(&mut host.folder, tempfile::tempdir().unwrap());
        between(&folder);
        Operator { host: Host::with(folder, None).await, key }
    }

    pub(crate) async fn ask(&self, method: Method, path: &str) -> Answer {
        send(self.host.admin, self.request(method, path).body(Full::default()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.ask(Method::GET, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        answer.json()
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.ask(Method::POST, path).await
    }

    /// Uploads to the route `live`; `query` begins with `?` or is empty.
    pub(crate) async fn upload(&self, component: &[u8], query: &str) -> Answer {
        let request = self.request(Method::POST, &format!("/v1/routes/live/versions{query}"));
        let request = request.header("content-type", "application/wasm");
        send(self.host.admin, request.body(Bytes::copy_from_slice(component).into()).unwrap()).await
    }

    /// The same, with what is said to be its signature in base64.
    pub(crate) async fn upload_signed(&self, component: &[u8], signature: &str) -> Answer {
        let request = self.request(Method::POST, "/v1/routes/live/versions");
        let request = request.header("content-type", "application/wasm");
        let request = request.header("component-signature", signature);
        send(self.host.admin, request.body(Bytes::copy_from_slice(component).into()).unwrap()).await
    }

    /// Uploads what must be taken; the version that it became.
    pub(crate) async fn uploaded(&self, component: &[u8], query: &str) -> Value {
        let answer = self.upload(component, query).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.json()
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let bearer = format!("Bearer {}", self.key);
        Request::builder().method(method).uri(path).header("host", "test").header("authorization", bearer)
    }

    /// The versions of `live`, the newest first, once none is draining.
    pub(crate) async fn history(&self) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let versions = self.get("/v1/routes/live/versions").await["versions"].take();
            if versions.as_array().unwrap().iter().all(|version| version["state"] != "draining") {
                return versions;
            }
            assert!(Instant::now() < end, "never drained: {versions:#}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Each version's number and state.
    pub(crate) async fn states(&self) -> Vec<(u64, String)> {
        let history = self.history().await;
        let state = |version: &Value| {
            (version["id"].as_u64().unwrap(), version["state"].as_str().unwrap().to_owned())
        };
        history.as_array().unwrap().iter().map(state).collect()
    }

    /// The route `live`, once it is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let route = self.get("/v1/routes/live").await;
            if wanted(&route) {
                return route;
            }
            assert!(Instant::now() < end, "never {what}: {route:#}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What `/` answers to clients.
    pub(crate) async fn answer(&self) -> String {
        let answer = get(self.host.edge, "/").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.text().trim().to_owned()
    }

    /// A verb of the real binary, against this host.
    pub(crate) async fn verb(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.env("ATELIER_ADMIN_KEY", &self.key);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// What a verb prints that must go well.
    pub(crate) async fn printed(&self, arguments: &[&str]) -> String {
        let output = self.verb(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = atelier(self.host.folder.path());
        command.args(arguments).env("ATELIER_ADMIN", format!("http://{}", self.host.admin));
        command
    }
}
