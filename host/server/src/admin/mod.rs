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
use crate::metrics::Sources;
use crate::reload::Reports;
use crate::telemetry::SpanQueue;
use crate::tenants::{Denied, Member, credential};

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
    pub(crate) peers: Arc<Peers>,
    pub(crate) spans: Option<Arc<SpanQueue>>,
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
            (self.scheduler.preloading() > 0, "models are being loaded"),
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
            "memory": self.scheduler.memory(),
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
        let states = self.scheduler.models();
        let here = self.scheduler.catalog().iter().zip(states).map(|(info, state)| {
            let mut value = json!(info);
            value["available"] = true.into();
            value["loaded"] = state.loaded.into();
            value["pinned"] = state.pinned.into();
            value["idle_unload_s"] = state.idle_unload_s.into();
            value["problem"] = state.problem.into();
            value
        });
        let missing =
            self.missing.iter().map(|(id, fix)| json!({ "id": id, "available": false, "fix": fix }));
        here.chain(missing).collect()
    }

    fn metrics(&self) -> String {
        let sources = Sources {
            counts: &self.live.counts,
            table: &self.live.table(),
            scheduler: &self.scheduler,
            runtime: &self.runtime,
            reports: &self.reports,
            peers: &self.peers,
            spans: self.spans.as_deref(),
            uptime: self.started.elapsed(),
        };
        sources.page()
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

fn route(slot: &Slot) -> Value {
    let route = &slot.route;
    let since =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let deployment = slot.deployment.as_ref().map(|deployed| {
        let deployment = &deployed.deployment;
        json!({
            "generation": deployment.generation(),
            "digest": deployment.code_digest(),
            "component": deployment.component().as_ref(),
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
        "answers": slot.tally.answers(),
    })
}
