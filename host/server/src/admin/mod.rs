//! The operators' address: what happens (`status.rs`, `metrics.rs`), and what operators change (`changes.rs`), each change
//! noted (`audit.rs`). `operations.rs` is the table of all of it, from which requests are dispatched and the OpenAPI
//! document is made (`openapi.rs`); `fault.rs` turns every error into an answer.
//!
//! **Who may ask.** Probes answer everybody. With `server.admin-key-hash` or `admin-keys`, everything else wants one of
//! these keys; without any, whoever reaches the address may look, and nobody may change anything: an address that only this machine
//! reaches is no proof of who asks, since other users' processes and browsers' pages reach it too.
//!
//! Never shows a component's configuration, a key that exists or its hash.

mod audit;
mod changes;
mod fault;
mod metrics;
mod openapi;
mod operations;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use atelier_inference::{ModelId, Scheduler};
use atelier_runtime::Runtime;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::channels::Clients;
use crate::config::ApiKey;
use crate::http::{Answer, Pace, Peers, Service, Stop, whole};
use crate::keys::Key;
use crate::live::Live;
use crate::reload::Reports;
use crate::roster::Roster;
use crate::telemetry::SpanQueue;
use crate::tenants::{Denied, credential};
use crate::versions::Versions;
pub(crate) use audit::Audit;
use audit::Entry;
use fault::Fault;
use operations::{Access, Asked, Call};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Entries of the audit log in one answer.
const MAX_ENTRIES: usize = 1_000;

/// The admin address's service.
#[derive(Clone)]
pub(crate) struct Admin(pub(crate) Arc<View>);

/// What it looks at, and what it changes.
pub(crate) struct View {
    pub(crate) live: Arc<Live>,
    pub(crate) scheduler: Scheduler,
    pub(crate) runtime: Runtime,
    pub(crate) reports: Reports,
    pub(crate) versions: Arc<Versions>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) audit: Arc<Audit>,
    /// Places for uploads.
    pub(crate) uploads: Arc<Semaphore>,
    /// How slowly an upload may arrive.
    pub(crate) body_pace: Pace,
    pub(crate) missing: Arc<[(ModelId, String)]>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) channels: Arc<Clients>,
    pub(crate) spans: Option<Arc<SpanQueue>>,
    pub(crate) manifest: String,
    /// What the operators' keys are known by, of the newest manifest that has any (`reload.rs`).
    pub(crate) keys: Arc<ArcSwap<Vec<ApiKey>>>,
    pub(crate) stop: Stop,
    pub(crate) started: Instant,
}

impl Service for Admin {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let path = request.uri().path().to_owned();
        let result = self.dispatch(request, peer).await;
        let mut answer = result.unwrap_or_else(|fault| {
            if let Fault::Denied(denied) = fault {
                tracing::info!(%peer, path, "refused on the admin address: {}", denied.internal());
            }
            fault.answer()
        });
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }
}

impl Admin {
    async fn dispatch(&self, request: Request<Incoming>, peer: SocketAddr) -> Result<Answer, Fault> {
        let view = &self.0;
        // a request to HEAD is answered as one to GET, without what follows the head
        let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
        let asked = Asked::find(method, request.uri().path(), request.uri().query().unwrap_or_default());
        let access = asked.as_ref().map_or(Access::Read, |asked| asked.operation.access);
        // a stranger does not learn what there is
        let by = if access == Access::Open { None } else { view.admit(request.headers())? };
        let asked = asked?;
        if access == Access::Change {
            let by = by.ok_or(Fault::NoAdminKey)?;
            return self.change(asked, request, peer, by).await;
        }
        if !request.body().is_end_stream() {
            return Err(Fault::Body);
        }
        view.look(&asked).await
    }

    /// Does a change to its end, whatever becomes of who asked for it, and notes it.
    async fn change(
        &self,
        asked: Asked,
        request: Request<Incoming>,
        peer: SocketAddr,
        by: String,
    ) -> Result<Answer, Fault> {
        let view = self.0.clone();
        view.audit.claim().await?;
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let entry = Entry::new(&by, peer.to_string(), asked.operation.id, target);
        let body = view.body(&asked, request).await;
        let done = tokio::spawn(async move {
            let result = match body {
                Ok(body) => view.change(&asked, body, &by).await,
                Err(fault) => Err(fault),
            };
            let (status, error) = match &result {
                Ok(_) => (asked.operation.answer.0, None),
                Err(fault) => (fault.status(), Some(fault.to_string())),
            };
            view.audit.note(entry.ended(status.as_u16(), error)).await;
            result.map(|value| page(status, JSON, value.to_string()))
        });
        done.await.unwrap_or(Err(Fault::Internal))
    }
}

impl View {
    /// The name of the operator whose key these headers carry; nobody's when no key is wanted.
    fn admit(&self, headers: &HeaderMap) -> Result<Option<String>, Fault> {
        let keys = self.keys.load();
        if keys.is_empty() {
            return Ok(None);
        }
        let found = || {
            let given = headers.get(AUTHORIZATION).ok_or(Denied::Missing)?;
            let hash = Key::parse(credential(given).ok_or(Denied::Form)?)?.hash();
            let key = keys.iter().find(|key| key.hash == hash);
            key.map(|key| Some(key.name.clone())).ok_or(Denied::Unknown)
        };
        found().map_err(Fault::Denied)
    }

    /// Everything that changes nothing.
    async fn look(&self, asked: &Asked) -> Result<Answer, Fault> {
        let value = match asked.operation.call {
            Call::Health => json!({ "status": "alive" }),
            Call::Ready => {
                let (ready, value) = self.ready();
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                return Ok(page(status, JSON, value.to_string()));
            }
            Call::Metrics => return Ok(page(StatusCode::OK, PROMETHEUS, self.metrics())),
            Call::Version => status::version(),
            Call::Status => self.status(),
            Call::OpenApi => openapi::document(),
            Call::Routes => json!({ "routes": self.routes() }),
            Call::Route => self.route(asked.segment("route"))?,
            Call::Versions => {
                let route = asked.segment("route");
                self.route(route)?;
                json!({ "versions": self.versions.history(route) })
            }
            Call::Tenants => self.tenants(),
            Call::Tenant => self.one_tenant(asked.segment("tenant"))?,
            Call::Models => json!({ "models": self.models(), "memory": self.scheduler.memory() }),
            Call::Model => self.model(asked.segment("model"))?,
            Call::Queue => self.queue(),
            Call::Jobs => self.jobs().await?,
            Call::Audit => {
                let wants = "a number from 1 to 1000";
                let limit: usize = asked.parsed("limit", wants)?;
                if !(1..=MAX_ENTRIES).contains(&limit) {
                    return Err(Fault::Parameter(format!("`limit` wants {wants}, not `{limit}`")));
                }
                json!({ "entries": self.audit.newest(limit).await? })
            }
            Call::Upload
            | Call::Promote
            | Call::Rollback
            | Call::Drain
            | Call::Resume
            | Call::MintKey
            | Call::RevokeKey
            | Call::LoadModel
            | Call::UnloadModel
            | Call::PinModel
            | Call::UnpinModel
            | Call::CancelJob => return Err(Fault::Internal),
        };
        Ok(page(StatusCode::OK, JSON, value.to_string()))
    }

    fn route(&self, name: &str) -> Result<Value, Fault> {
        let slot = self.slot(name).ok_or_else(|| crate::versions::Fault::NoRoute(name.to_owned()))?;
        Ok(status::route(&slot))
    }

    fn one_tenant(&self, id: &str) -> Result<Value, Fault> {
        let table = self.live.table();
        let member = table.tenants.members().find(|member| member.tenant.id.as_str() == id);
        let member = member.ok_or_else(|| Fault::NoTenant(id.to_owned()))?;
        let mut value = self.tenant(member);
        value["keys"] = json!(self.roster.keys(&member.tenant.id));
        Ok(value)
    }
}

fn page(status: StatusCode, kind: HeaderValue, text: String) -> Answer {
    let mut answer = Response::new(whole(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}
