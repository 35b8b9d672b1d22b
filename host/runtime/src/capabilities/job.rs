//! What every capability that starts jobs has in common: the grant for a model, the way into the queue, the job behind a
//! guest's handle, its events and its end. Dropping the handle, or the whole store, cancels the job.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use atelier_inference::{
    CancelGuard, Error as HostError, Event as HostEvent, EventReader, Job, JobId, ModelId, ModelInfo, Order,
    Outcome as HostOutcome, Timings as HostTimings,
};
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::{Destination, Lower, StreamProducer, StreamResult};
use wasmtime::{Result, StoreContextMut};

use crate::bindings::generation::{Error, Overload, Queued, Timings};
use crate::context::OpenSpan;
use crate::sandbox::{HeldJob, Meter, Sandbox, Wait};
use crate::stage::Caller;
use crate::{Exceeded, Work};

/// A job in the queue or in the engine, on a guest's behalf.
pub(super) struct Running {
    pub(super) id: JobId,
    pub(super) events: Option<EventReader>,
    outcome: Option<oneshot::Receiver<atelier_inference::Result<HostOutcome>>>,
    /// Ends with the outcome, or with the handle when nobody asks for it.
    span: Option<OpenSpan>,
    // both end with the handle: the job is cancelled, its place is free
    pub(super) guard: Arc<CancelGuard>,
    _held: HeldJob,
}

/// The model, when the route may use it.
pub(super) fn granted(caller: &Caller, model: &str) -> std::result::Result<ModelInfo, Error> {
    let (grants, route) = (&caller.route.grants.models, &caller.route.name);
    let (id, meter) = (ModelId::new(model), &caller.meter);
    if let Some((_, fix)) = caller.route.grants.absent.iter().find(|(absent, _)| *absent == id) {
        meter.deny("model_absent");
        return Err(Error::UnknownModel(format!("model `{model}` is not here: {fix}")));
    }
    if !grants.contains(&id) {
        meter.deny("model_not_granted");
        let text = format!(
            "route `{route}` has no grant for model `{model}`; add it to `grants.models` of the route"
        );
        return Err(Error::AccessDenied(text));
    }
    caller.host.scheduler.catalog().get(&id).cloned().map_err(|_| {
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
    let over = |Exceeded { reason, retry_after }| HostError::Overloaded { reason, retry_after };
    tenant.quota.charge(work).inspect_err(|_| caller.meter.deny("quota")).map_err(over)?;
    let job = Job::new(order).for_tenant(tenant.id.clone(), tenant.priority);
    let submitted = caller.host.scheduler.submit(job).inspect_err(|error| {
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
        outcome: Some(ticket.outcome),
        span: Some(span),
        guard,
        _held: held,
    })
}

impl Running {
    /// What there is to wait for; none after the first call.
    pub(super) fn take_end(&mut self) -> Option<End> {
        Some(End { receiver: self.outcome.take()?, span: self.span.take()? })
    }
}

/// A job's end, which is yet to come.
pub(super) struct End {
    receiver: oneshot::Receiver<atelier_inference::Result<HostOutcome>>,
    span: OpenSpan,
}

impl End {
    /// Waits for it on behalf of a guest.
    pub(super) async fn come(self, meter: &Arc<Meter>) -> atelier_inference::Result<HostOutcome> {
        let wait = meter.wait();
        let ended = self.receiver.await.unwrap_or(Err(HostError::WorkerGone));
        drop(wait);
        note(self.span, meter, &ended);
        ended
    }
}

/// What a guest hears who asks for an end twice.
pub(super) fn asked_twice() -> Error {
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

/// A job's events on their way into a guest, in a form of its capability's own. A task of its own translates them, one event
/// ahead of the guest at most, so a slow guest loses detail in the reader's bounded buffer and nothing piles up here.
pub(super) struct Events<T> {
    receiver: mpsc::Receiver<T>,
    meter: Arc<Meter>,
    waiting: Option<Wait>,
}

impl<T: Send + 'static> Events<T> {
    /// `translate` gives nothing for what the guest is not told.
    pub(super) fn follow<F>(
        reader: EventReader,
        meter: Arc<Meter>,
        translate: impl Fn(HostEvent) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Option<T>> + Send,
    {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move { forward(reader, sender, translate).await });
        Self { receiver, meter, waiting: None }
    }
}

/// Ends with the job, or when nobody reads any more.
async fn forward<T, F: Future<Output = Option<T>>>(
    mut reader: EventReader,
    sender: mpsc::Sender<T>,
    translate: impl Fn(HostEvent) -> F,
) {
    loop {
        let event = tokio::select! {
            event = reader.next() => event,
            () = sender.closed() => None,
        };
        let Some(event) = event else { return };
        let Some(event) = translate(event).await else { continue };
        if sender.send(event).await.is_err() {
            return;
        }
    }
}

impl<T: Lower + Send + Sync + 'static> StreamProducer<Sandbox> for Events<T> {
    type Item = T;
    type Buffer = Option<T>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Sandbox>,
        mut destination: Destination<'a, T, Option<T>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        if destination.remaining(&mut store) == Some(0) {
            // the guest asks whether something is there; it will learn that by reading
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let polled = self.receiver.poll_recv(cx);
        self.waiting = match &polled {
            Poll::Pending if !finish => self.waiting.take().or_else(|| Some(self.meter.wait())),
            _ => None,
        };
        match polled {
            Poll::Ready(Some(event)) => {
                destination.set_buffer(Some(event));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(None) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}
