//! What every capability that starts jobs has in common: the grant for a model, the way into the queue, and the job's end;
//! then what it was charged with (`job/charge.rs`), its events (`job/events.rs`) and the guest's handle (`job/handle.rs`).
//! Dropping the handle, or the whole store, cancels the job.

mod charge;
mod events;
mod handle;

use std::sync::Arc;
use std::time::Duration;

use atelier_inference::{
    CancelGuard, Error as HostError, EventReader, Job, JobId, ModelId, ModelInfo, Order,
    Outcome as HostOutcome, Ticket, Timings as HostTimings,
};

use crate::bindings::generation::{Error, Overload, Queued, Timings};
use crate::context::OpenSpan;
use crate::provider::{Asking, Provided, Wanted};
use crate::sandbox::{HeldJob, Meter};
use crate::stage::Caller;
use crate::{Exceeded, Work};
use charge::Charged;

pub(super) use handle::{Ended, Handle, events, keep, outcome};

/// A job in the queue or in the engine, on a guest's behalf.
pub(super) struct Running {
    id: JobId,
    events: Option<EventReader>,
    outcome: Option<Charged>,
    /// Ends with the outcome, or with the handle when nobody asks for it.
    span: Option<OpenSpan>,
    // both end with the handle: the job is cancelled, its place is free
    guard: Arc<CancelGuard>,
    _held: HeldJob,
}

/// The model, when the route may use it.
pub(super) fn granted(caller: &Caller, model: &str) -> std::result::Result<ModelInfo, Error> {
    let (grants, route) = (&caller.route.grants.models, &caller.route.name);
    let (id, meter) = (ModelId::new(model), &caller.meter);
    if let Some(absent) = caller.route.grants.absent.iter().find(|absent| absent.id == id) {
        meter.deny("model_absent");
        return Err(Error::UnknownModel(format!("model `{model}` is not here: {}", absent.fix)));
    }
    if !grants.contains(&id) {
        meter.deny("model_not_granted");
        let text = format!(
            "route `{route}` has no grant for model `{model}`; add it to `grants.models` of the route"
        );
        return Err(Error::AccessDenied(text));
    }
    caller.host.model(&id).ok_or_else(|| {
        let usable = grants.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ");
        Error::UnknownModel(format!("there is no model `{model}`; route `{route}` may use: {usable}"))
    })
}

/// A place among the request's jobs.
pub(super) fn hold(caller: &Caller) -> std::result::Result<HeldJob, Error> {
    caller.meter.hold_job().map_err(|limit| {
        let reason = format!("this request has {limit} jobs already (limits.jobs)");
        Error::Overloaded(Overload { reason, retry_after_ms: 1_000 })
    })
}

/// Charges the tenant and queues the order.
pub(super) fn submit(
    caller: &Caller,
    order: impl Into<Order>,
    work: Work,
    held: HeldJob,
    span: OpenSpan,
) -> std::result::Result<Running, HostError> {
    let tenant = caller.meter.tenant();
    let job = Job::new(order).for_tenant(tenant.id.clone(), tenant.priority);
    begin(caller, work, held, span, || caller.host.scheduler.submit(job))
}

/// Charges the tenant and begins what another server does.
pub(super) fn ask(
    caller: &Caller,
    model: &Arc<Provided>,
    wanted: Wanted,
    work: Work,
    held: HeldJob,
    span: OpenSpan,
) -> std::result::Result<Running, HostError> {
    let asking = Asking {
        host: caller.host.clone(),
        tenant: caller.meter.tenant().clone(),
        route: caller.route.name.clone(),
        scope: span.scope(),
        wanted,
        work,
    };
    begin(caller, work, held, span, || Ok(asking.begin(model.clone())))
}

/// Charges the tenant and begins a job, whoever does it.
fn begin(
    caller: &Caller,
    work: Work,
    held: HeldJob,
    span: OpenSpan,
    submit: impl FnOnce() -> std::result::Result<Ticket, HostError>,
) -> std::result::Result<Running, HostError> {
    let tenant = caller.meter.tenant();
    let over = |Exceeded { reason, retry_after }| HostError::Overloaded { reason, retry_after };
    tenant.quota.charge(work).inspect_err(|_| caller.meter.deny("quota")).map_err(over)?;
    let submitted = submit().inspect_err(|error| {
        tenant.quota.refund(work);
        if let HostError::Overloaded { .. } = error {
            caller.meter.deny("queue_full");
        }
    });
    let ticket = submitted?;
    let guard = Arc::new(ticket.guard);
    caller.meter.guard(&guard);
    Ok(Running {
        id: ticket.id,
        events: Some(ticket.events),
        outcome: Some(Charged::new(ticket.outcome, tenant.clone(), work)),
        span: Some(span),
        guard,
        _held: held,
    })
}

impl Running {
    /// What there is to wait for; none after the first call.
    fn take_end(&mut self) -> Option<End> {
        Some(End { outcome: self.outcome.take()?, span: self.span.take()? })
    }
}

/// A job's end, which is yet to come.
struct End {
    outcome: Charged,
    span: OpenSpan,
}

impl End {
    /// Waits for it on behalf of a guest.
    async fn come(self, meter: &Arc<Meter>) -> atelier_inference::Result<HostOutcome> {
        let wait = meter.wait();
        let ended = self.outcome.come().await;
        drop(wait);
        note(self.span, meter, &ended);
        ended
    }
}

/// What a guest hears who asks for an end twice.
fn asked_twice() -> Error {
    Error::Other("the outcome of this job was asked for already".into())
}

/// Keeps where a job's time went.
fn note(mut span: OpenSpan, meter: &Meter, ended: &atelier_inference::Result<HostOutcome>) {
    let HostTimings { queue, load, run } = match ended {
        Ok(outcome) => outcome.timings,
        Err(error) => return span.fail(code(error)),
    };
    let usage = meter.context().usage();
    usage.queue.add(queue);
    usage.inference.add(load + run);
    let (scope, Some(began)) = (span.scope(), span.began()) else { return };
    scope.keep("queue", began, Duration::ZERO, queue);
    if !load.is_zero() {
        scope.keep("model.load", began, queue, load);
    }
    scope.keep("inference", began, queue + load, run);
}

fn code(error: &HostError) -> &'static str {
    match error {
        HostError::Cancelled => "cancelled",
        HostError::WorkerGone => "worker_gone",
        HostError::Overloaded { .. } => "overloaded",
        HostError::Unavailable { .. } => "unavailable",
        HostError::TimedOut(_) => "timed_out",
        _ => "failed",
    }
}

impl From<HostTimings> for Timings {
    fn from(timings: HostTimings) -> Self {
        Self {
            queue_ms: timings.queue.as_millis() as u64,
            load_ms: timings.load.as_millis() as u64,
            run_ms: timings.run.as_millis() as u64,
        }
    }
}

/// The guest's form of where a job waits.
pub(super) fn queued(position: u32, eta: Option<Duration>) -> Queued {
    Queued { position, eta_ms: eta.map(|eta| eta.as_millis() as u64) }
}
