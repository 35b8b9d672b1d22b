//! Runs a guest to its end or to its limit. The deadline is polled beside the guest's store, never by it: a guest that
//! spins, sleeps or hangs in a host call is stopped all the same, by dropping its store.
//!
//! Guests that compute for long move to threads of their own (`compute.rs`) and take turns there: as many at a time as
//! there are threads, tenant by tenant. So a request that computes little meets none of them.

use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::channel::oneshot;
use futures::future::Either;
use wasmtime::AsContextMut;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{Prepared, ProxyPre, Request, Response};

use crate::Failure;
use crate::admission::Place;
use crate::persist::Persistent;
use crate::reuse::Instance;
use crate::runtime::Host;
use crate::sandbox::{Meter, Route, Sandbox};

/// Where the response goes, as soon as its head is known.
pub(crate) type Answer = oneshot::Sender<wasmtime::Result<Response>>;

/// An answer whose head waits until its guest does: what the guest has written of the body by then goes out with it, in one
/// piece and not in two.
pub(crate) struct Head {
    inner: oneshot::Receiver<wasmtime::Result<Response>>,
    answer: Option<Answer>,
}

impl Head {
    /// Where the guest's answer goes, and what passes it on.
    pub(crate) fn new(answer: Answer) -> (Answer, Self) {
        let (outer, inner) = oneshot::channel();
        (outer, Self { inner, answer: Some(answer) })
    }

    /// The guest waits: passes on what there is, or that there will be nothing. Whether that was all.
    pub(crate) fn pass(&mut self) -> bool {
        match self.inner.try_recv() {
            Ok(None) => return false,
            Ok(Some(head)) => {
                if let Some(answer) = self.answer.take() {
                    // whoever waited for it may be gone
                    let _ = answer.send(head);
                }
            }
            Err(oneshot::Canceled) => self.answer = None,
        }
        true
    }

    /// Polls a guest's work, and passes its head on.
    async fn after<R>(mut self, meter: Arc<Meter>, work: impl Future<Output = R>) -> R {
        let (mut work, persistent) = (pin!(work), Persistent::new());
        poll_fn(|cx| {
            let polled = persistent.poll(work.as_mut(), || meter.gave_way(), cx);
            self.pass();
            polled
        })
        .await
    }
}

/// Everything that a request runs with.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) host: Arc<Host>,
    pub(crate) route: Arc<Route>,
    pub(crate) meter: Arc<Meter>,
}

impl Call {
    pub(crate) fn store(&self) -> wasmtime::Store<Sandbox> {
        Sandbox::store(&self.host.engine, self.host.clone(), self.route.clone(), self.meter.clone())
    }
}

/// Lets an instance, a fresh one or one that waited, handle one request and whatever it goes on doing after its response.
/// Returns the instance when its guest is done.
pub(crate) async fn serve(
    call: Call,
    waited: Option<Instance>,
    pre: Arc<ProxyPre<Sandbox>>,
    request: Request,
    answer: Answer,
) -> Result<Instance, Failure> {
    let (meter, judge) = (call.meter.clone(), call.meter.clone());
    let (answer, head) = Head::new(answer);
    let start = match waited {
        Some(mut instance) => {
            instance.turn_to(meter.clone());
            Either::Left(instance)
        }
        None => Either::Right(call.store()),
    };
    let work = async move {
        let mut instance = match start {
            Either::Left(instance) => instance,
            Either::Right(store) => Instance::new(store, &pre).await?,
        };
        let Instance { store, proxy, .. } = &mut instance;
        let run = store.run_concurrent(async |accessor| {
            let prepared = accessor.with(|mut store| {
                Prepared::new(store.as_context_mut(), proxy, request, Sandbox::http, answer)
            })?;
            prepared.run(accessor, pending()).await?;
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            wasmtime::error::Ok(())
        });
        let ended = run.await.and_then(|ended| ended);
        // while the store stands: with it goes the rest of the answer, whose end must not look like a whole one's
        ended.inspect_err(|error| drop(judge.judge(error)))?;
        Ok(instance)
    };
    limited(call, head.after(meter, work)).await
}

/// Polls a guest's work until it ends or its deadline comes. Work that turns out to be long goes on elsewhere.
pub(crate) async fn limited<R: Send + 'static>(
    call: Call,
    work: impl Future<Output = wasmtime::Result<R>> + Send + 'static,
) -> Result<R, Failure> {
    let meter = call.meter.clone();
    tokio::select! {
        biased;
        result = driven(call, work) => result.map_err(|error| meter.judge(&error)),
        failure = meter.deadline() => Err(failure),
    }
}

/// Polls a guest's work until it ends. While it turns out to be long it goes on elsewhere.
pub(crate) async fn driven<R: Send + 'static>(
    call: Call,
    work: impl Future<Output = wasmtime::Result<R>> + Send + 'static,
) -> wasmtime::Result<R> {
    let mut work: Work<R> = Box::pin(work);
    loop {
        if let Some(result) = briefly(&call.meter, &mut work).await {
            return result;
        }
        match call.host.compute_threads.run(at_length(call.clone(), work)).await? {
            Either::Left(result) => return Ok(result),
            Either::Right(brief) => work = brief,
        }
    }
}

type Work<R> = Pin<Box<dyn Future<Output = wasmtime::Result<R>> + Send>>;

/// Polls work in slices that its meter counts; `None` once it is known to be long.
async fn briefly<R>(meter: &Meter, work: &mut Work<R>) -> Option<wasmtime::Result<R>> {
    poll_fn(|cx| {
        if meter.computes_long() {
            return Poll::Ready(None);
        }
        let _slice = meter.slice();
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// The same for long work, which takes turns with other guests'. Gives it back when it is not long any more.
async fn at_length<R>(call: Call, mut work: Work<R>) -> wasmtime::Result<Either<R, Work<R>>> {
    let mut turns = Turns { call: &call, next: None };
    let ended = poll_fn(|cx| {
        if !call.meter.computes_long() {
            return Poll::Ready(None);
        }
        let _turn = ready!(turns.poll(cx));
        let _slice = call.meter.slice();
        work.as_mut().poll(cx).map(Some)
    });
    match ended.await {
        Some(result) => result.map(Either::Left),
        None => Ok(Either::Right(work)),
    }
}

/// The turns of a guest that computes for long. Each lasts for one slice.
struct Turns<'a> {
    call: &'a Call,
    next: Option<Turn>,
}

type Turn = Pin<Box<dyn Future<Output = Result<Place, Failure>> + Send>>;

impl Turns<'_> {
    /// Ready when the guest may go on. Whoever finds the line full goes on without a turn: the line is longer than all
    /// guests that can run.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Place>> {
        let Call { host, meter, .. } = self.call;
        let next = self.next.get_or_insert_with(|| {
            let (door, tenant) = (host.computing.clone(), meter.tenant().clone());
            Box::pin(async move { door.enter(&tenant).await })
        });
        let place = ready!(next.as_mut().poll(cx));
        self.next = None;
        Poll::Ready(place.ok())
    }
}
