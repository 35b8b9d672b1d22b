//! From a [`RouteSpec`] to a [`Deployment`]: inspect, check grants, compile, link. Every component is looked at even
//! when an earlier one is refused, so that all problems of a route are told at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use atelier_inference::ModelId;
use wasmtime::component::InstancePre;
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::{p2, p3};

use crate::bindings::receiver::ReceiverPre;
use crate::bindings::viewer::ViewerPre;
use crate::bindings::worker::WorkerPre;
use crate::bindings::{finisher, interpreter, selector, styler};
use crate::channels::MESSAGE_BYTES;
use crate::code::{Bounds, Compiled};
use crate::inspect::{Inspection, Kind, grant, inspect_named, interface};
use crate::metrics::ComponentMetrics;
use crate::reuse::{Idle, Shared};
use crate::runtime::Host;
use crate::sandbox::{Route, Sandbox};
use crate::stage::{Plugin, Stages};
use crate::{Code, Deployment, Grants, LoadError, LoadProblem, Reuse, RouteSpec};

/// Makes a route ready to answer.
pub(crate) async fn deploy(host: &Arc<Host>, spec: RouteSpec) -> Result<Arc<Deployment>, LoadError> {
    let began = Instant::now();
    let mut desk = Desk { host, spec: &spec, problems: Vec::new(), code: Vec::new() };
    desk.check_models();
    desk.check_storage();
    let handler = desk.handler().await;
    let stages = desk.stages().await;
    let Desk { problems, code, .. } = desk;
    match handler {
        Some(handler) if problems.is_empty() => {
            host.metrics.loads.deploy.record(began.elapsed());
            Ok(Arc::new(freeze(host, spec, handler, stages, code)))
        }
        _ => Err(LoadError { problems }),
    }
}

fn freeze(
    host: &Arc<Host>,
    spec: RouteSpec,
    handler: Handler,
    stages: Stages,
    code: Vec<Arc<Compiled>>,
) -> Deployment {
    let Handler { pre, worker, viewer, receiver, metrics } = handler;
    let mut digest = blake3::Hasher::new();
    code.iter().for_each(|compiled| {
        digest.update(compiled.digest.as_bytes());
    });
    let code_digest = digest.finalize().to_string();
    digest.update(format!("{:?}", spec.config).as_bytes());
    let limits = Arc::new(spec.limits);
    let route = Route {
        name: spec.route.into(),
        identity: digest.finalize().to_string(),
        limits: limits.clone(),
        grants: spec.grants,
        config: WasiConfigVariables::from_iter(spec.config),
        stages,
        secret: None,
        channel_message_bytes: spec.channel_message_bytes.unwrap_or(MESSAGE_BYTES),
        metrics: spec.metrics,
        plugin_failures: AtomicU64::new(0),
    };
    let (route, pre) = (Arc::new(route), Arc::new(pre));
    let shared = (spec.reuse == Reuse::Concurrent)
        .then(|| Shared::new(host.clone(), route.clone(), pre.clone(), metrics.clone()));
    Deployment {
        host: host.clone(),
        route,
        pre,
        worker,
        viewer,
        receiver,
        shared,
        metrics,
        component: code.first().map_or("", |handler| handler.label()).into(),
        generation: host.generations.fetch_add(1, Ordering::Relaxed) + 1,
        code_digest,
        _code: code,
        in_flight: AtomicUsize::new(0),
        idle: Idle::new(spec.reuse, limits, host.idle_places.clone()),
    }
}

/// A handler, linked.
struct Handler {
    pre: ProxyPre<Sandbox>,
    worker: Option<WorkerPre<Sandbox>>,
    viewer: Option<ViewerPre<Sandbox>>,
    receiver: Option<ReceiverPre<Sandbox>>,
    metrics: Arc<ComponentMetrics>,
}

/// One deployment in the making.
struct Desk<'a> {
    host: &'a Arc<Host>,
    spec: &'a RouteSpec,
    problems: Vec<LoadProblem>,
    code: Vec<Arc<Compiled>>,
}

impl Desk<'_> {
    fn check_models(&mut self) {
        let is_known = |model: &&ModelId| self.host.model(model).is_some();
        let unknown = self.spec.grants.models.iter().filter(|model| !is_known(model));
        let known = || self.host.model_ids().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let route = &self.spec.route;
        self.problems.extend(unknown.map(|model| LoadProblem::UnknownModel {
            route: route.clone(),
            model: model.to_string(),
            known: known(),
        }));
    }

    fn check_storage(&mut self) {
        let Grants { buckets, containers, jobs, copies, .. } = &self.spec.grants;
        if self.host.storage.get().is_some() {
            return;
        }
        let granted = [
            ("grants.buckets", !buckets.is_empty()),
            ("grants.containers", !containers.is_empty()),
            ("grants.jobs", *jobs),
            ("grants.copies", !copies.is_empty()),
        ];
        let route = &self.spec.route;
        self.problems.extend(
            granted
                .into_iter()
                .filter(|(_, is_granted)| *is_granted)
                .map(|(key, _)| LoadProblem::NoStorage { route: route.clone(), key }),
        );
    }

    async fn handler(&mut self) -> Option<Handler> {
        let code = &self.spec.handler;
        let inspection = self.checked(code, &[Kind::HandlerP3, Kind::HandlerP2])?;
        let kind = inspection.kind;
        if kind == Kind::HandlerP2 && self.spec.reuse == Reuse::Concurrent {
            let (name, route) = (code.name.clone(), self.spec.route.clone());
            self.problems.push(LoadProblem::NotConcurrent { name, route });
        }
        let (pre, metrics) = self.linked(code, true).await?;
        let worker = inspection.is_runner().then(|| self.keep(code, WorkerPre::new(pre.clone())));
        let viewer = inspection.is_viewer().then(|| self.keep(code, ViewerPre::new(pre.clone())));
        let receiver = inspection.is_receiver().then(|| self.keep(code, ReceiverPre::new(pre.clone())));
        let pre = match kind {
            Kind::HandlerP3 => p3::bindings::ServicePre::new(pre).map(ProxyPre::P3),
            _ => p2::bindings::ProxyPre::new(pre).map(ProxyPre::P2),
        };
        let pre = self.keep(code, pre)?;
        let (worker, viewer, receiver) = (worker.flatten(), viewer.flatten(), receiver.flatten());
        Some(Handler { pre, worker, viewer, receiver, metrics })
    }

    async fn stages(&mut self) -> Stages {
        let mut stages = Stages::default();
        if let Some(code) = &self.spec.intent {
            stages.intent = self.plugin(code, Kind::Interpreter, interpreter::InterpreterPre::new).await;
        }
        for code in &self.spec.style {
            stages.style.extend(self.plugin(code, Kind::Styler, styler::StylerPre::new).await);
        }
        if let Some(code) = &self.spec.select {
            stages.select = self.plugin(code, Kind::Selector, selector::SelectorPre::new).await;
        }
        for code in &self.spec.finish {
            stages.finish.extend(self.plugin(code, Kind::Finisher, finisher::FinisherPre::new).await);
        }
        stages
    }

    async fn plugin<P>(
        &mut self,
        code: &Code,
        kind: Kind,
        bind: impl FnOnce(InstancePre<Sandbox>) -> wasmtime::Result<P>,
    ) -> Option<Arc<Plugin<P>>> {
        self.checked(code, &[kind])?;
        let (pre, metrics) = self.linked(code, false).await?;
        let pre = self.keep(code, bind(pre))?;
        Some(Plugin::new(&code.name, pre, metrics))
    }

    /// Looks at size, kind and imports; what is wrong is written down.
    fn checked(&mut self, code: &Code, wanted: &[Kind]) -> Option<Inspection> {
        let (name, limit) = (&code.name, self.spec.limits.component_bytes);
        if code.bytes.len() > limit {
            let (route, bytes) = (self.spec.route.clone(), code.bytes.len());
            self.problems.push(LoadProblem::TooLarge { name: name.clone(), route, bytes, limit });
            return None;
        }
        let inspection =
            inspect_named(name, &code.bytes).map_err(|problem| self.problems.push(problem)).ok()?;
        let before = self.problems.len();
        if !wanted.contains(&inspection.kind) {
            self.problems.push(wrong_world(name, &inspection, wanted));
        }
        let is_handler = wanted.contains(&Kind::HandlerP3);
        let others = &inspection.imports;
        let refused = others.iter().filter_map(|import| match is_handler {
            true => refuse(self.spec, name, import),
            false => refuse_plugin(self.spec, name, import, others),
        });
        self.problems.extend(refused);
        if is_handler && inspection.lacks_runner() {
            self.problems.push(LoadProblem::NoRunner { name: name.clone() });
        }
        if is_handler && self.spec.channel_message_bytes.is_some() && !inspection.is_receiver() {
            let (name, route) = (name.clone(), self.spec.route.clone());
            self.problems.push(LoadProblem::NoReceiver { name, route });
        }
        (self.problems.len() == before).then_some(inspection)
    }

    async fn linked(
        &mut self,
        code: &Code,
        is_handler: bool,
    ) -> Option<(InstancePre<Sandbox>, Arc<ComponentMetrics>)> {
        let compiled = self.host.compiler.compile(code, &Bounds::of(self.spec)).await;
        let compiled = compiled.map_err(|problem| self.problems.push(problem)).ok()?;
        let (pre, metrics) = (link(self.host, &compiled, is_handler), compiled.metrics.clone());
        self.code.push(compiled);
        Some((self.keep(code, pre)?, metrics))
    }

    fn keep<T>(&mut self, code: &Code, result: wasmtime::Result<T>) -> Option<T> {
        let broken = |error: wasmtime::Error| LoadProblem::Broken {
            name: code.name.clone(),
            why: format!("{error:#}"),
        };
        result.map_err(|error| self.problems.push(broken(error))).ok()
    }
}

fn link(host: &Host, compiled: &Compiled, is_handler: bool) -> wasmtime::Result<InstancePre<Sandbox>> {
    let linker = if is_handler { &host.handlers } else { &host.plugins };
    linker.instantiate_pre(&compiled.component)
}

/// Why a component is none of those that its place asks for.
pub(crate) fn wrong_world(name: &str, found: &Inspection, wanted: &[Kind]) -> LoadProblem {
    if let Some(version) = found.other_version() {
        let (name, found) = (name.into(), version.into());
        return LoadProblem::OtherVersion { name, found, own: Inspection::HOST_VERSION };
    }
    let first = wanted.first().copied().unwrap_or(Kind::Unknown);
    let export = wanted.iter().map(|kind| kind.export()).collect::<Vec<_>>().join("` or `");
    LoadProblem::WrongWorld {
        name: name.into(),
        found: found.kind.words().into(),
        wanted: first.words().into(),
        export,
    }
}

/// The reason why a handler's import is refused, if it is.
fn refuse(spec: &RouteSpec, name: &str, import: &str) -> Option<LoadProblem> {
    let base = interface(import);
    if base.starts_with("wasi:sockets/") {
        let why = "is never granted: components reach servers through wasi:http and `grants.outbound`";
        return Some(never(name, import, why));
    }
    let Some(grant) = grant(import) else {
        return (!is_known(base)).then(|| never(name, import, "this host does not have"));
    };
    if grant.key == "grants.jobs" {
        let (name, route) = (name.into(), spec.route.clone());
        let missing = || LoadProblem::JobsNotGranted { name, route, import: import.into() };
        return (!spec.grants.jobs).then(missing);
    }
    let granted = match grant.key {
        "grants.models" => !spec.grants.models.is_empty(),
        "grants.buckets" => !spec.grants.buckets.is_empty(),
        "grants.containers" => !spec.grants.containers.is_empty(),
        "grants.machine" => spec.grants.machine,
        "grants.copies" => !spec.grants.copies.is_empty(),
        "grants.channels" => spec.grants.channels,
        _ => !(spec.grants.outbound.is_empty() && spec.grants.outbound_private.is_empty()),
    };
    (!granted).then(|| LoadProblem::NotGranted {
        name: name.into(),
        route: spec.route.clone(),
        import: import.into(),
        what: grant.what,
        key: grant.key,
    })
}

/// The same for a plugin's import, which is refused as well where only handlers have it. `language` brings types of
/// `generation`: what has both names uses these types, and whoever calls more finds no such function when it is linked.
fn refuse_plugin(spec: &RouteSpec, name: &str, import: &str, others: &[String]) -> Option<LoadProblem> {
    let (base, talks) = (interface(import), |other: &String| interface(other) == LANGUAGE);
    if base == "atelier:host/generation" && others.iter().any(talks) {
        return None;
    }
    let is_handlers = is_known(base) && !is_for_plugins(base);
    let why = "is not for plugins: only a route's handler may use it";
    if is_handlers { Some(never(name, import, why)) } else { refuse(spec, name, import) }
}

fn never(name: &str, import: &str, why: &str) -> LoadProblem {
    LoadProblem::NeverGranted { name: name.into(), import: import.into(), why: why.into() }
}

const LANGUAGE: &str = "atelier:host/language";
/// What is kept and logged; each of them by itself, since there are interfaces of these packages that are not here.
const STORAGE: [&str; 7] = [
    "wasi:keyvalue/store",
    "wasi:keyvalue/atomics",
    "wasi:keyvalue/batch",
    "wasi:blobstore/types",
    "wasi:blobstore/container",
    "wasi:blobstore/blobstore",
    "wasi:logging/logging",
];
const WASI: [&str; 5] = ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/"];

fn is_known(interface: &str) -> bool {
    let wasi = ["wasi:http/types", "wasi:http/client", "wasi:http/outgoing-handler", "wasi:config/store"];
    let is_wasi = wasi.contains(&interface) || STORAGE.contains(&interface);
    is_for_plugins(interface) || is_wasi || interface.starts_with("atelier:host/")
}

fn is_for_plugins(interface: &str) -> bool {
    let ours = ["atelier:host/types", "atelier:host/images", LANGUAGE];
    ours.contains(&interface) || is_base(interface)
}

/// What every guest may import: its standard library does.
pub(crate) fn is_base(interface: &str) -> bool {
    WASI.iter().any(|prefix| interface.starts_with(prefix))
}
