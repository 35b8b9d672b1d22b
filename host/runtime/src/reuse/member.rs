//! One instance that answers several requests at a time, and the task that drives it. A request in it goes through three
//! stages: it waits for its answer's head, then for the answer to be taken, then for its guest to be done. Which guest is
//! done cannot be told, only that all of them are; so the last stage ends at once while others wait for answers.
//!
//! The instance takes no more requests once one was given up or failed, and ends with the last of those that it has.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use wasmtime::AsContextMut;
use wasmtime::component::{Accessor, GuestTaskId};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{Prepared, Proxy, ProxyPre};

use super::SETTLE;
use super::load::{Arrival, Load};
use super::shared::Shared;
use crate::Tenant;
use crate::admission::Place;
use crate::drive::{Call, Head, driven};
use crate::persist::Persistent;
use crate::runtime::Host;
use crate::sandbox::{Route, Sandbox, share};

/// For how long an instance may overlook that one of its requests was given up: a guest that waits inside of a call holds up
/// all of its requests, and is stopped.
const OVERLOOKED: Duration = Duration::from_secs(2);

/// An instance, as its own task sees it.
pub(super) struct Member {
    shared: Weak<Shared>,
    host: Arc<Host>,
    route: Arc<Route>,
    tenant: Arc<Tenant>,
    load: Arc<Load>,
    /// Whether it may take a request in this slice of its time.
    may_take: AtomicBool,
    /// Of answers that are not there yet.
    heads: Mutex<Vec<Head>>,
    /// When it takes no more requests.
    until: Instant,
}

/// How many requests are in which stage, and how they are moved on.
#[derive(Default)]
struct Stages {
    heads: AtomicUsize,
    bodies: AtomicUsize,
    /// Nobody takes the rest of an answer any more.
    settled: Notify,
    /// Those that are answered are over.
    finish: Notify,
}

/// What is left of a request that is over.
struct Ended {
    place: Place,
    /// Whether its instance may go on.
    is_fit: bool,
}

/// What an instance holds while nobody waits for an answer.
#[derive(Default)]
struct Rest {
    /// Keeps its room in the pool: the last request's, or one for instances that wait.
    place: Option<Place>,
    idle: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Member {
    pub(super) fn new(
        shared: &Arc<Shared>,
        tenant: Arc<Tenant>,
        load: Arc<Load>,
        until: Instant,
    ) -> Arc<Self> {
        let (host, route) = (shared.host.clone(), shared.route.clone());
        let (shared, may_take, heads) = (Arc::downgrade(shared), AtomicBool::new(false), Mutex::default());
        Arc::new(Self { shared, host, route, tenant, load, may_take, heads, until })
    }

    /// Makes the instance for its first request, and drives it to its end.
    pub(super) async fn work(self: Arc<Self>, pre: Arc<ProxyPre<Sandbox>>, first: Arrival) {
        let own = self.load.own.clone();
        let call = Call { host: self.host.clone(), route: self.route.clone(), meter: own };
        let mut store = call.store();
        share(&mut store);
        let member = self.clone();
        let work = async move { member.run(store, &pre, first).await };
        tokio::select! {
            biased;
            ended = driven(call, self.clone().watched(work)) => {
                if let Err(error) = ended {
                    tracing::error!(route = %self.route.name, "an instance was lost: {error:?}");
                }
            }
            () = self.overlooks() => {
                tracing::warn!(route = %self.route.name, "a guest held up all requests of its instance, and was stopped");
            }
        }
        self.close();
        self.look_after();
    }

    /// Says whether the guest computes, and sees to it that no request waits for that.
    async fn watched<R>(self: Arc<Self>, work: impl Future<Output = R>) -> R {
        let (mut work, persistent, mut gathers) = (pin!(work), Persistent::new(), false);
        poll_fn(|cx| {
            // those who arrive meanwhile are taken in one go with the one that it was called for
            gathers = self.load.was_called() && !gathers;
            if gathers {
                return defer(cx);
            }
            self.load.note(true);
            // a guest that gave way computes still: who came now would wait behind that
            self.may_take.store(!self.load.own.computes_long(), Ordering::Relaxed);
            let polled = persistent.poll(work.as_mut(), || self.load.own.gave_way(), cx);
            self.heads().retain_mut(|head| !head.pass());
            self.load.note(polled.is_ready() || self.load.own.gave_way());
            self.look_after();
            polled
        })
        .await
    }

    /// Fails by the host's doing only.
    async fn run(
        &self,
        mut store: wasmtime::Store<Sandbox>,
        pre: &ProxyPre<Sandbox>,
        first: Arrival,
    ) -> wasmtime::Result<()> {
        // however this ends: a local goes before the store, and after whatever runs in it
        let _last = Last(&self.load);
        let proxy = match first.meter.instantiate(pre.instantiate_async(&mut store)).await {
            Ok(proxy) => proxy,
            Err(error) => {
                if self.load.own.was_refused_memory() {
                    first.meter.refuse_memory();
                }
                first.over.tell(Err(first.meter.judge(&error)));
                return Ok(());
            }
        };
        let run = store.run_concurrent(async |accessor| self.answer_all(accessor, &proxy, first).await);
        let ended = run.await.and_then(|ended| ended);
        // while the store stands: with it go the rests of the answers, whose ends must not look like whole ones'
        if let Err(error) = ended
            && let Some(failure) = store.data_mut().break_off(&error)
        {
            self.host.metrics.failed(&failure);
            self.load.own.count_failure(&failure);
            tracing::warn!(code = failure.code(), "a guest failed after its answer: {}", failure.internal());
        }
        Ok(())
    }

    /// Answers requests until there are none, and none to be expected.
    async fn answer_all(
        &self,
        accessor: &Accessor<Sandbox>,
        proxy: &Proxy,
        first: Arrival,
    ) -> wasmtime::Result<()> {
        let (stages, mut requests, mut rest) = (Stages::default(), FuturesUnordered::new(), Rest::default());
        requests.push(self.answer(accessor, proxy, first, &stages));
        let (mut is_fit, mut begins) = (true, true);
        poll_fn(|cx| {
            // one at a time: the guest begins with it before this is polled again, and may compute for long
            let mut took = std::mem::take(&mut begins);
            loop {
                if let Poll::Ready(Some(ended)) = requests.poll_next_unpin(cx) {
                    let Ended { place, is_fit: fit } = match ended {
                        Ok(ended) => ended,
                        Err(error) => return Poll::Ready(Err(error)),
                    };
                    rest.place = requests.is_empty().then_some(place);
                    if !fit {
                        is_fit = false;
                        self.close();
                    }
                } else if is_fit
                    && !took
                    && let Some(arrival) = self.next(cx)
                {
                    (rest, took) = (Rest::default(), true);
                    requests.push(self.answer(accessor, proxy, arrival, &stages));
                } else if requests.is_empty() {
                    return if is_fit { self.rest(accessor, &mut rest, cx) } else { Poll::Ready(Ok(())) };
                } else {
                    self.move_on(accessor, &stages, &mut rest, &mut is_fit, cx);
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Lets the guest answer one request. Fails when the whole instance does.
    async fn answer(
        &self,
        accessor: &Accessor<Sandbox>,
        proxy: &Proxy,
        arrival: Arrival,
        stages: &Stages,
    ) -> wasmtime::Result<Ended> {
        let Arrival { meter, place, request, answer, taken, over } = arrival;
        let mut running = self.load.begin(meter.clone());
        if meter.given_up_since().is_some() {
            over.tell(Ok(()));
            running.is_over = true;
            return Ok(Ended { place, is_fit: true });
        }
        let stage = Stage::enter(&stages.heads);
        let (answer, head) = Head::new(answer);
        self.heads().push(head);
        let prepared = accessor
            .with(|mut store| Prepared::new(store.as_context_mut(), proxy, request, Sandbox::http, answer));
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                over.tell(Err(meter.judge(&error)));
                running.is_over = true;
                return Ok(Ended { place, is_fit: false });
            }
        };
        let task = task(&prepared);
        let admitted = accessor.with(|mut store| store.get().admit(task, meter.clone(), over));
        let mut is_fit = prepared.run(accessor, meter.given_up()).await?;
        let body = Stage::enter(&stages.bodies);
        drop(stage);
        if is_fit {
            tokio::select! {
                biased;
                taken = taken => is_fit = taken.is_ok(),
                () = meter.given_up() => is_fit = false,
                () = stages.settled.notified() => is_fit = false,
            }
        }
        let finish = stages.finish.notified();
        drop(body);
        tokio::select! {
            biased;
            () = meter.given_up() => is_fit = false,
            () = finish => (),
        }
        accessor.with(|mut store| store.get().release(admitted));
        running.is_over = true;
        Ok(Ended { place, is_fit: is_fit && meter.verdict().is_none() })
    }

    /// Moves requests on that wait for nothing but others.
    fn move_on(
        &self,
        accessor: &Accessor<Sandbox>,
        stages: &Stages,
        rest: &mut Rest,
        is_fit: &mut bool,
        cx: &mut Context<'_>,
    ) {
        let (heads, bodies) = (count(&stages.heads), count(&stages.bodies));
        let quiet = heads == 0 && accessor.poll_no_interesting_tasks(cx).is_ready();
        if heads + bodies > 0 || quiet {
            stages.finish.notify_waiters();
        }
        // nobody writes what is left of the answers, or what is left to do may be that of a request that was given up
        let hangs = heads == 0 && if bodies > 0 { quiet } else { !quiet && !*is_fit };
        if !hangs {
            rest.timer = None;
            return;
        }
        let timer = rest.timer.get_or_insert_with(|| Box::pin(sleep(SETTLE)));
        if timer.as_mut().poll(cx).is_ready() {
            (rest.timer, *is_fit) = (None, false);
            self.close();
            stages.settled.notify_waiters();
            stages.finish.notify_waiters();
        }
    }

    /// All requests are over: waits for another, for so long.
    fn rest(
        &self,
        accessor: &Accessor<Sandbox>,
        rest: &mut Rest,
        cx: &mut Context<'_>,
    ) -> Poll<wasmtime::Result<()>> {
        if self.load.is_closed() {
            return Poll::Ready(Ok(()));
        }
        if !rest.idle {
            if !accessor.with(|mut store| store.get().forget_requests()) {
                return Poll::Ready(Ok(()));
            }
            let Some(place) = self.host.idle_places.try_enter(&self.tenant) else {
                return Poll::Ready(Ok(()));
            };
            let limits = &self.route.limits;
            let until = self.until.min(Instant::now() + limits.reuse_idle);
            let timer = Some(Box::pin(sleep_until(until)));
            *rest = Rest { place: Some(place), idle: true, timer };
        }
        match &mut rest.timer {
            Some(timer) => timer.as_mut().poll(cx).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }

    /// The instance takes no more requests.
    fn close(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.close(&self.load);
        }
        self.load.close();
    }

    /// The next request, unless the guest is known to compute.
    fn next(&self, cx: &Context<'_>) -> Option<Arrival> {
        self.load.register(cx);
        if !self.may_take.load(Ordering::Relaxed) {
            return None;
        }
        self.shared.upgrade()?.take(&self.load)
    }

    fn heads(&self) -> MutexGuard<'_, Vec<Head>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While a request waits, its deployment stands.
    fn look_after(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.look_after(&self.tenant.id);
        }
    }

    /// Ends when the guest holds the instance up so that it overlooks who was given up.
    async fn overlooks(&self) {
        while !self.load.overlooks(OVERLOOKED) {
            sleep(OVERLOOKED / 4).await;
        }
    }
}

/// Lets no answer look whole when its instance is stopped from outside: with the store go the rests of the answers.
struct Last<'a>(&'a Load);

impl Drop for Last<'_> {
    fn drop(&mut self) {
        self.0.lose();
    }
}

/// One request's presence in a stage.
struct Stage<'a>(&'a AtomicUsize);

impl<'a> Stage<'a> {
    fn enter(stage: &'a AtomicUsize) -> Self {
        stage.fetch_add(1, Ordering::Relaxed);
        Self(stage)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn count(stage: &AtomicUsize) -> usize {
    stage.load(Ordering::Relaxed)
}

/// To be polled again when this thread has done what else there was to do.
fn defer<R>(cx: &mut Context<'_>) -> Poll<R> {
    // pending when it is polled first
    let _ = pin!(tokio::task::yield_now()).poll(cx);
    Poll::Pending
}

/// The task in which a request will be handled. wasmtime has no method for it that others than its own handler may call.
fn task(prepared: &Prepared<'_, Sandbox>) -> GuestTaskId {
    match prepared {
        Prepared::P2 { call, .. } => call.task(),
        Prepared::P3 { call, .. } => call.task(),
    }
}
