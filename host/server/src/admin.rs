//! What operators and their machines ask, on an address of its own: /health, /ready, /version, /status, /tenants and
//! /metrics. Reads counters and tables; changes nothing. Never shows a component's configuration, a key or its hash. With
//! `server.admin-key-hash`, all but the first three want a key.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use atelier_inference::{ModelId, Scheduler, TenantsStatus};
use atelier_runtime::Runtime;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::failure::Refusal;
use crate::http::{Answer, Peers, Phase, Service, Stop, boxed, whole};
use crate::keys::{Key, KeyHash};
use crate::live::{Live, Slot};
use crate::metrics::{Kind, Page, Traffic, escaped};
use crate::reload::Reports;
use crate::tenants::{Denied, Member, Usage, credential};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The admin address's service.
#[derive(Clone)]
pub(crate) struct Admin(pub(crate) Arc<View>);

/// What it looks at.
pub(crate) struct View {
    pub(crate) live: Arc<Live>,
    pub(crate) scheduler: Scheduler,
    pub(crate) runtime: Runtime,
    pub(crate) reports: Reports,
    pub(crate) missing: Arc<[(ModelId, String)]>,
    pub(crate) unrouted: Arc<Traffic>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) manifest: String,
    /// What the operators' key is known by, if there is one.
    pub(crate) key: Option<KeyHash>,
    pub(crate) stop: Stop,
    pub(crate) started: Instant,
}

impl Service for Admin {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Refusal::Method(vec![Method::GET, Method::HEAD]).response().map(boxed);
        }
        let view = &self.0;
        let path = request.uri().path();
        if !matches!(path, "/health" | "/ready" | "/version")
            && let Err(denied) = view.admit(request.headers())
        {
            tracing::info!(%peer, path, "refused on the admin address: {}", denied.internal());
            return Refusal::Unauthorized(denied).response().map(boxed);
        }
        let mut answer = match path {
            "/health" => page(StatusCode::OK, JSON, json!({ "status": "alive" }).to_string()),
            "/ready" => view.ready(),
            "/version" => page(StatusCode::OK, JSON, version().to_string()),
            "/status" => page(StatusCode::OK, JSON, view.status().to_string()),
            "/tenants" => page(StatusCode::OK, JSON, view.tenants().to_string()),
            "/metrics" => page(StatusCode::OK, PROMETHEUS, view.metrics()),
            _ => return Refusal::NoRoute.response().map(boxed),
        };
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }
}

fn page(status: StatusCode, kind: HeaderValue, text: String) -> Answer {
    let mut answer = Response::new(whole(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn version() -> Value {
    json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") })
}

impl View {
    /// Whether these headers carry the operators' key, if one is wanted.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let Some(wanted) = self.key else { return Ok(()) };
        let given = headers.get(AUTHORIZATION).ok_or(Denied::Missing)?;
        let key = Key::parse(credential(given).ok_or(Denied::Form)?).map_err(Denied::from)?;
        if key.hash() == wanted { Ok(()) } else { Err(Denied::Unknown) }
    }

    fn tenants(&self) -> Value {
        let table = self.live.table();
        let tenants: Vec<Value> = table.tenants.members().map(|member| tenant(member)).collect();
        json!({ "tenants": tenants })
    }

    fn ready(&self) -> Answer {
        let reasons: Vec<&str> = [
            (self.stop.phase() != Phase::Running, "draining"),
            (!self.scheduler.status().alive, "the inference worker has stopped"),
            (!self.live.table().is_ready(), "no route is deployed"),
        ]
        .into_iter()
        .filter_map(|(holds, reason)| holds.then_some(reason))
        .collect();
        let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        page(status, JSON, json!({ "ready": reasons.is_empty(), "reasons": reasons }).to_string())
    }

    fn status(&self) -> Value {
        let phase = match self.stop.phase() {
            Phase::Running => "running",
            Phase::Draining => "draining",
            Phase::Closing => "closing",
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "phase": phase,
            "uptime_s": self.started.elapsed().as_secs(),
            "manifest": self.manifest,
            "routes": self.live.table().slots.iter().map(|slot| route(slot)).collect::<Vec<_>>(),
            "models": self.models(),
            "queue": self.queue(),
            "reload": self.reports.now(),
            "runtime": self.runtime.metrics(),
        })
    }

    /// Jobs in the order in which they will be served, and what each tenant had of the engine.
    fn queue(&self) -> Value {
        let mut value = json!(self.scheduler.status());
        value["jobs"] = json!(self.scheduler.jobs(None));
        let TenantsStatus { tenants, others } = self.scheduler.tenants();
        value["tenants"] = json!(tenants);
        value["other_tenants"] = json!(others);
        value
    }

    fn models(&self) -> Vec<Value> {
        let catalog = self.scheduler.catalog();
        let here = catalog.iter().map(|info| {
            let mut value = json!(info);
            value["available"] = true.into();
            value["loaded"] = catalog.is_loaded(&info.id).into();
            value
        });
        let missing =
            self.missing.iter().map(|(id, fix)| json!({ "id": id, "available": false, "fix": fix }));
        here.chain(missing).collect()
    }

    fn metrics(&self) -> String {
        let mut page = Page::default();
        let table = self.live.table();
        let routes = table.slots.iter().map(|slot| (slot.route.name.as_str(), slot.traffic.as_ref()));
        page.traffic(&routes.chain([("-", self.unrouted.as_ref())]).collect::<Vec<_>>());
        let in_flight = |slot: &Arc<Slot>| {
            let deployed = slot.deployment.as_ref()?;
            let labels = format!("{{route=\"{}\"}}", escaped(&slot.route.name));
            Some((labels, deployed.deployment.in_flight() as u64))
        };
        let samples: Vec<(String, u64)> = table.slots.iter().filter_map(in_flight).collect();
        page.metric("atelier_route_in_flight", Kind::Gauge, "requests inside a route's component", &samples);
        tenant_metrics(&mut page, table.tenants.members());
        page.single(
            "atelier_connections_refused_total",
            Kind::Counter,
            "connections beyond server.max-connections-per-ip",
            self.peers.refused(),
        );
        self.queue_metrics(&mut page);
        self.runtime_metrics(&mut page);
        let reload = self.reports.now();
        page.single("atelier_reloads_total", Kind::Counter, "changes taken up", reload.reloads);
        page.single(
            "atelier_reload_failures_total",
            Kind::Counter,
            "changes that did not load",
            reload.failures,
        );
        page.finish()
    }

    fn queue_metrics(&self, page: &mut Page) {
        let queue = self.scheduler.status();
        page.single("atelier_queue_waiting", Kind::Gauge, "jobs that wait", queue.waiting as u64);
        page.single("atelier_queue_running", Kind::Gauge, "jobs that run", queue.running.into());
        page.single(
            "atelier_worker_alive",
            Kind::Gauge,
            "whether the inference worker lives",
            queue.alive.into(),
        );
        let counters = queue.counters;
        let ends = [
            ("completed", counters.completed),
            ("failed", counters.failed),
            ("cancelled", counters.cancelled),
            ("refused", counters.refused),
        ];
        let samples = ends.map(|(end, count)| (format!("{{end=\"{end}\"}}"), count));
        page.metric("atelier_jobs_total", Kind::Counter, "jobs by how they ended", &samples);
        page.single("atelier_steps_total", Kind::Counter, "denoising steps done", counters.steps);
    }

    /// The runtime's counts under their own names; its gauge is the requests that run now.
    fn runtime_metrics(&self, page: &mut Page) {
        let Ok(Value::Object(counts)) = serde_json::to_value(self.runtime.metrics()) else { return };
        for (name, value) in counts {
            let Some(value) = value.as_u64().or(value.as_bool().map(u64::from)) else { continue };
            let (kind, suffix) = match name.as_str() {
                "in_flight" | "pooled" => (Kind::Gauge, ""),
                _ => (Kind::Counter, "_total"),
            };
            page.single(&format!("atelier_runtime_{name}{suffix}"), kind, "see RuntimeMetrics", value);
        }
    }
}

/// A tenant without its hashes.
fn tenant(member: &Member) -> Value {
    let tenant = &member.tenant;
    json!({
        "id": tenant.id,
        "share": tenant.share,
        "priority": tenant.priority,
        "quotas": tenant.quotas,
        "keys": tenant.keys.iter().map(|key| &key.name).collect::<Vec<_>>(),
        "usage": member.usage(),
    })
}

fn tenant_metrics<'a>(page: &mut Page, members: impl Iterator<Item = &'a Arc<Member>>) {
    // ids are plain by their form: they need no escaping
    let usages: Vec<(String, Usage)> =
        members.map(|member| (format!("{{tenant=\"{}\"}}", member.tenant.id), member.usage())).collect();
    let mut metric = |name: &str, kind, help: &str, value: fn(&Usage) -> u64| {
        let samples: Vec<(String, u64)> =
            usages.iter().map(|(labels, usage)| (labels.clone(), value(usage))).collect();
        page.metric(&format!("atelier_tenant_{name}"), kind, help, &samples);
    };
    metric("requests_total", Kind::Counter, "requests that began", |usage| usage.requests);
    metric("over_quota_total", Kind::Counter, "requests and jobs that met a quota", |usage| usage.refused);
    metric("images_today", Kind::Gauge, "pictures since midnight UTC", |usage| usage.images_today);
    metric("pixel_steps_today", Kind::Gauge, "pixels times steps since midnight UTC", |usage| {
        usage.pixel_steps_today
    });
    metric("in_flight", Kind::Gauge, "requests whose answers are not complete", |usage| usage.in_flight);
}

fn route(slot: &Slot) -> Value {
    let route = &slot.route;
    let since =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let deployment = slot.deployment.as_ref().map(|deployed| {
        let deployment = &deployed.deployment;
        json!({
            "generation": deployment.generation(),
            "digest": deployment.code_digest(),
            "http": deployment.http(),
            "in_flight": deployment.in_flight(),
            "since": since(deployed.since),
        })
    });
    json!({
        "name": route.name,
        "host": route.host,
        "path": route.path,
        "tenant": route.tenant,
        "access": route.access,
        "methods": route.methods.iter().map(Method::as_str).collect::<Vec<_>>(),
        "component": route.component.to_string(),
        "deployment": deployment,
        "error": slot.problem.as_ref().map(ToString::to_string),
        "answers": slot.traffic.total(),
    })
}
