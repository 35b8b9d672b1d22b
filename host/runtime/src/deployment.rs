//! A route, frozen: its handler linked and ready to be instantiated, its plugins, grants and limits. A request keeps the
//! deployment it began with; a reload makes another one beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures::channel::oneshot;
use http_body::Body as HttpBody;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::ProxyPre;

use crate::admission::Place;
use crate::bindings::receiver::ReceiverPre;
use crate::bindings::viewer::ViewerPre;
use crate::bindings::worker::WorkerPre;
use crate::body::{self, Guest};
use crate::code::Compiled;
use crate::context::{RequestContext, Scope};
use crate::drive::{self, Call};
use crate::in_flight::{InFlight, Over};
use crate::metrics::{ComponentMetrics, count};
use crate::reuse::{Arrival, Idle, Instance, Shared};
use crate::runtime::Host;
use crate::sandbox::{Meter, Route, Sandbox, is_unset};
use crate::{Body, Failure, Tenant};

/// Which generation of `wasi:http` a handler is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpVersion {
    /// `wasi:http` 0.2.
    P2,
    /// `wasi:http` 0.3.
    P3,
}

/// A route that answers requests. Made by [`crate::Runtime::deploy`]; dropping the last handle frees its code.
pub struct Deployment {
    pub(crate) host: Arc<Host>,
    pub(crate) route: Arc<Route>,
    pub(crate) pre: Arc<ProxyPre<Sandbox>>,
    /// What works its background jobs off, where it does.
    pub(crate) worker: Option<WorkerPre<Sandbox>>,
    /// What says how those read elsewhere, where it does.
    pub(crate) viewer: Option<ViewerPre<Sandbox>>,
    /// What receives the clients that stay connected, where it does.
    pub(crate) receiver: Option<ReceiverPre<Sandbox>>,
    /// The handler's counts.
    pub(crate) metrics: Arc<ComponentMetrics>,
    /// The beginning of the handler's digest.
    pub(crate) component: Arc<str>,
    pub(crate) generation: u64,
    pub(crate) code_digest: String,
    /// Held so that other routes find the code while this one uses it.
    pub(crate) _code: Vec<Arc<Compiled>>,
    pub(crate) in_flight: AtomicUsize,
    /// The handler's instances that wait for another request.
    pub(crate) idle: Arc<Idle>,
    /// Those that answer several requests at a time, where the route has such.
    pub(crate) shared: Option<Arc<Shared>>,
}

impl Deployment {
    /// The route's name.
    pub fn route(&self) -> &str {
        &self.route.name
    }

    /// Grows with every deployment of the process.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Which `wasi:http` the handler speaks.
    pub fn http(&self) -> HttpVersion {
        match *self.pre {
            ProxyPre::P2(_) => HttpVersion::P2,
            ProxyPre::P3(_) => HttpVersion::P3,
        }
    }

    /// Requests that this deployment works on.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The beginning of the handler's digest, by which its metrics and log lines name it.
    pub fn component(&self) -> &Arc<str> {
        &self.component
    }

    /// Calls of its plugins that failed by the plugins' own making: see [`Failure::is_guests_own`]. The handler may have
    /// answered well all the same.
    pub fn plugin_failures(&self) -> u64 {
        self.route.plugin_failures.load(Ordering::Relaxed)
    }

    /// BLAKE3 over the handler's and all plugins' code, in hexadecimal.
    pub fn code_digest(&self) -> &str {
        &self.code_digest
    }

    /// Lets the handler answer a request that belongs to nobody: see [`Deployment::handle_for`].
    pub async fn handle<B>(
        self: &Arc<Self>,
        request: http::Request<B>,
    ) -> Result<http::Response<Body>, Failure>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.handle_for(&Arc::default(), request).await
    }

    /// Lets the handler answer a tenant's request in a sandbox of its own, or in one that answered this tenant before where
    /// the route says so ([`crate::Reuse`]), when it is the tenant's turn. Returns with the response's head; the body
    /// streams. Dropping the future or the response stops the guest and everything it began.
    pub async fn handle_for<B>(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        request: http::Request<B>,
    ) -> Result<http::Response<Body>, Failure>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let answer = self.answer(tenant, request).await;
        if let Err(failure) = &answer {
            self.count_failure(failure);
        }
        answer
    }

    /// Counts a failed request, for its handler too unless the host had no room for one.
    pub(crate) fn count_failure(&self, failure: &Failure) {
        self.host.metrics.failed(failure);
        self.route.metrics.failures.count(failure.code());
        if !matches!(failure, Failure::Saturated { .. } | Failure::Share { .. } | Failure::Internal { .. }) {
            self.metrics.failures.count(failure.code());
        }
    }

    async fn answer<B>(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        request: http::Request<B>,
    ) -> Result<http::Response<Body>, Failure>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let context = request.extensions().get::<Arc<RequestContext>>().cloned().unwrap_or_default();
        let scope = Scope::of(context);
        let place = self.admit(tenant, &scope).await?;
        let mut span = scope.open("guest");
        span.set("atelier.component", || self.component().as_ref());
        let waited = self.idle.take(&tenant.id);
        let meter = Arc::new(self.meter(tenant, waited.as_ref(), span.scope()));
        let request = body::incoming(request, &meter)?;
        let (answer, receiver) = oneshot::channel();
        let counted = InFlight::new(self.clone());
        let guest = match &self.shared {
            Some(shared) => {
                let (guest, taken) = Guest::shared(&meter);
                let over = Over::new(counted, span, meter.clone());
                shared.dispatch(Arrival { meter: meter.clone(), place, request, answer, taken, over });
                guest
            }
            None => {
                let call = Call { host: self.host.clone(), route: self.route.clone(), meter: meter.clone() };
                let pre = self.pre.clone();
                let (taken, end) = self.idle.is_open().then(oneshot::channel).unzip();
                let task = tokio::spawn(async move {
                    let run = call.meter.clone();
                    let result = drive::serve(call, waited, pre, request, answer).await;
                    counted.report(&result, &run);
                    span.settle(&result);
                    drop((span, run));
                    let result = counted.deployment().keep(result, end).await;
                    drop((place, counted));
                    result
                });
                Guest::alone(task, taken)
            }
        };
        self.head(receiver, guest, meter).await
    }

    /// Waits for the answer's head.
    async fn head(
        self: &Arc<Self>,
        receiver: oneshot::Receiver<wasmtime::Result<http::Response<WasiBody>>>,
        mut guest: Guest,
        meter: Arc<Meter>,
    ) -> Result<http::Response<Body>, Failure> {
        let answer = tokio::select! {
            biased;
            answer = receiver => answer,
            failure = guest.stopped() => return Err(failure),
        };
        match answer {
            Ok(Ok(response)) if response.status().is_informational() => {
                // it announces an answer and is none; no server could send it as one
                let detail = format!("the guest answered with status {}", response.status().as_u16());
                Err(meter.settle(|| Failure::NoResponse { route: meter.route(), detail }))
            }
            Ok(Ok(response)) => {
                meter.mark_answered();
                Ok(response.map(|body| Body::new(body, guest, meter, self.clone())))
            }
            Ok(Err(error)) if !is_unset(&error) => Err(meter.judge_answer(&error)),
            // there is no answer that anybody could take
            Ok(Err(_)) | Err(oneshot::Canceled) => Err(guest.silence(&meter).await),
        }
    }

    /// What a request is counted by, in a fresh instance or in one that waited.
    fn meter(&self, tenant: &Arc<Tenant>, waited: Option<&Instance>, scope: Scope) -> Meter {
        match waited {
            Some(instance) => {
                count(&self.host.metrics.reused);
                instance.meter().next(tenant.clone(), scope)
            }
            None => Meter::new(self.route.clone(), tenant.clone(), self.metrics.clone(), scope),
        }
    }

    /// Keeps the instance for another request, where the route allows it and the answer is taken (`taken`).
    async fn keep(
        &self,
        result: Result<Instance, Failure>,
        taken: Option<oneshot::Receiver<()>>,
    ) -> Result<(), Failure> {
        let instance = result?;
        if let Some(taken) = taken {
            self.idle.settle(instance, taken).await;
        }
        Ok(())
    }

    /// Waits for the tenant's turn.
    pub(crate) async fn admit(&self, tenant: &Tenant, scope: &Scope) -> Result<Place, Failure> {
        let (mut span, arrived) = (scope.open("admission"), Instant::now());
        let place = self.host.instances.enter(tenant).await;
        let waited = arrived.elapsed();
        span.settle(&place);
        scope.context().usage().admission.add(waited);
        if place.is_ok() {
            self.route.metrics.admission.record(waited);
        }
        place
    }
}

impl std::fmt::Debug for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deployment")
            .field("route", &self.route.name)
            .field("generation", &self.generation)
            .finish()
    }
}
