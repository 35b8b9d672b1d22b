//! What every test needs: built guests, a runtime on a fake engine, routes, and requests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use atelier_inference::fake::FakeEngine;
use atelier_inference::{ModelId, QueueConfig, Scheduler};
use atelier_runtime::{
    Body, Code, Deployment, Failure, Grants, Limits, Reuse, RouteSpec, Runtime, RuntimeConfig,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};

/// A safety net, not a measurement: nothing that is tested takes nearly so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A guest of `tests/guests/`. The first call builds all of them.
pub(crate) fn guest(name: &str) -> Code {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let path = FOLDER.get_or_init(build).join(format!("{name}.wasm"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Code { name: format!("{name}.wasm"), bytes: bytes.into() }
}

fn build() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = crate_dir.join("../../target/test-guests");
    let status = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .current_dir(crate_dir.join("tests/guests"))
        .args(["build", "--quiet", "--target", "wasm32-wasip2", "--target-dir"])
        .arg(&target)
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .expect("cargo starts");
    assert!(status.success(), "the guests did not build; is the target wasm32-wasip2 installed?");
    target.join("wasm32-wasip2/debug")
}

/// A component out of its text form.
pub(crate) fn text(name: &str, wat: &str) -> Code {
    Code { name: name.into(), bytes: wat::parse_str(wat).expect("the text is a component").into() }
}

/// A scheduler in front of a fake engine whose steps take so long.
pub(crate) fn scheduler(step: Duration) -> Scheduler {
    Scheduler::start(Box::new(FakeEngine { step, ..FakeEngine::default() }), QueueConfig::default()).unwrap()
}

/// A scheduler in front of a fake engine with further models, each of which can refine what another begins.
pub(crate) fn scheduler_of(others: &'static [&'static str]) -> Scheduler {
    let engine = FakeEngine { others, ..FakeEngine::default() };
    Scheduler::start(Box::new(engine), QueueConfig::default()).unwrap()
}

/// A runtime of its own.
pub(crate) fn runtime_with(config: RuntimeConfig, scheduler: Scheduler) -> Runtime {
    Runtime::new(config, scheduler, guest("decoder")).unwrap()
}

/// The runtime that most tests share; its engine takes no time.
pub(crate) fn runtime() -> Runtime {
    static SHARED: OnceLock<Runtime> = OnceLock::new();
    let make = || runtime_with(RuntimeConfig::default(), scheduler(Duration::ZERO));
    SHARED.get_or_init(make).clone()
}

/// A route without plugins and grants.
pub(crate) fn spec(handler: Code) -> RouteSpec {
    RouteSpec {
        route: "/test".into(),
        handler,
        intent: None,
        style: Vec::new(),
        select: None,
        finish: Vec::new(),
        grants: Grants::default(),
        limits: Limits::default(),
        channel_message_bytes: None,
        reuse: Reuse::None,
        config: Vec::new(),
        metrics: Arc::default(),
    }
}

/// The studio with its grants: the fake model, and one server that does not exist.
pub(crate) fn studio() -> RouteSpec {
    let outbound = vec![atelier_runtime::Origin::parse("http://127.0.0.1:9").unwrap()];
    RouteSpec {
        grants: Grants { models: vec![ModelId::new("fake")], outbound, ..Grants::default() },
        ..spec(guest("studio"))
    }
}

pub(crate) async fn deploy(spec: RouteSpec) -> Arc<Deployment> {
    runtime().deploy(spec).await.unwrap()
}

/// Sends a request and returns with the response's head.
pub(crate) async fn send(route: &Arc<Deployment>, path: &str, body: &str) -> Result<Response<Body>, Failure> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    let request = Request::post(format!("http://test.invalid{path}")).body(body).unwrap();
    within(route.handle(request)).await
}

/// Sends a request and waits for the whole body.
pub(crate) async fn ask(route: &Arc<Deployment>, path: &str, body: &str) -> Result<String, Failure> {
    let response = send(route, path, body).await?;
    let body = within(response.into_body().collect()).await?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

/// The failure that a request is expected to end in.
pub(crate) async fn fail(route: &Arc<Deployment>, path: &str, body: &str) -> Failure {
    ask(route, path, body).await.expect_err("the request should have failed")
}

pub(crate) async fn within<R>(work: impl Future<Output = R>) -> R {
    tokio::time::timeout(PATIENCE, work).await.expect("it should have ended long ago")
}

/// Looks again and again until it holds.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let watched = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let ended = tokio::time::timeout(PATIENCE, watched).await;
        assert!(ended.is_ok(), "what {place} waits for never came");
    }
}

/// What the guests of one route print, as the host logs it, and what it says of plugins that failed there.
pub(crate) struct Logs {
    route: &'static str,
}

type Lines = Mutex<Vec<Line>>;

static LINES: Lines = Mutex::new(Vec::new());

impl Logs {
    /// Listens from now on, for the whole process.
    pub(crate) fn of(route: &'static str) -> Self {
        // another test may listen already, which serves as well
        let _ = tracing::subscriber::set_global_default(Listener);
        Self { route }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = LINES.lock().unwrap();
        lines.iter().filter(|line| line.route == self.route).map(|line| line.message.clone()).collect()
    }

    /// Those of one request.
    pub(crate) fn of_request(&self, id: &str) -> Vec<String> {
        let lines = LINES.lock().unwrap();
        let its = lines.iter().filter(|line| line.route == self.route && line.id == id);
        its.map(|line| line.message.clone()).collect()
    }

    /// Those about one plugin, which has its name there as in the manifest.
    pub(crate) fn of_plugin(&self, name: &str) -> Vec<String> {
        let lines = LINES.lock().unwrap();
        let its = lines.iter().filter(|line| line.route == self.route && line.plugin == name);
        its.map(|line| line.message.clone()).collect()
    }
}

/// Keeps the lines that guests print, and those about plugins.
struct Listener;

impl tracing::Subscriber for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        matches!(metadata.target(), "guest" | "atelier_runtime::stage")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        LINES.lock().unwrap().push(line);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[derive(Default)]
struct Line {
    id: String,
    route: String,
    plugin: String,
    message: String,
}

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "id" => self.id = format!("{value:?}").trim_matches('"').to_owned(),
            "route" => self.route = format!("{value:?}"),
            "plugin" => self.plugin = format!("{value:?}"),
            "message" => self.message = format!("{value:?}"),
            _ => {}
        }
    }
}
