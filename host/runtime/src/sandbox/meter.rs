//! What one request has used up, shared by everyone who adds to it or stops it: the epoch callback inside the guest, the
//! deadline outside of it, the capabilities that make it wait, the bodies that count bytes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use atelier_inference::CancelGuard;
use atelier_inference::speech::SAMPLE_RATE;
use atelier_store::{Owner, Reports};
use tokio::sync::Notify;

use super::Route;
use super::cpu::{Cpu, Slice};
use super::held::{Held, Holdings};
use super::orders::{HeldJob, Orders};
use crate::context::Scope;
use crate::metrics::ComponentMetrics;
use crate::{Failure, Limits, RequestContext, Tenant};

/// The deadline looks again at least this late while a guest waits in a capability.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Objects that a guest reads and writes at a time: each is an open file.
const MAX_OBJECTS: u64 = 16;

/// Counts for one store.
pub(crate) struct Meter {
    route: Arc<Route>,
    tenant: Arc<Tenant>,
    component: Arc<ComponentMetrics>,
    scope: Scope,
    is_handler: bool,
    wall: Duration,
    capability_wait: Duration,
    started: Instant,
    cpu: Cpu,
    waits: Mutex<Waits>,
    memory_bytes: AtomicU64,
    memory_refused: AtomicBool,
    request_body_cut: AtomicBool,
    request_body_held: AtomicBool,
    /// What the store holds, whichever request made it.
    holdings: OnceLock<Arc<Holdings>>,
    /// What the request may still order, shared with its plugins.
    orders: Arc<Orders>,
    /// Of the background job that the guest works on, if it does.
    reports: Option<Reports>,
    verdict: OnceLock<Failure>,
    given_up: OnceLock<Instant>,
    /// Told when there is a verdict, and when the request is given up.
    ending: Notify,
    /// Of the request's jobs.
    guards: Mutex<Vec<Weak<CancelGuard>>>,
    answered: AtomicBool,
    reported: AtomicBool,
    /// Whether the operator knows that the request's storage failed.
    storage_failed: AtomicBool,
}

#[derive(Default)]
struct Waits {
    active: u32,
    since: Option<Instant>,
    total: Duration,
}

impl Waits {
    fn so_far(&self) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// What a guest does after a tick.
pub(crate) enum Tick {
    /// Goes on: it has only begun.
    GoOn,
    /// Goes on when others had their turn.
    GiveWay,
    /// Ends: its CPU time is over.
    Stop,
}

impl Meter {
    /// A meter for a guest that runs in `scope`.
    pub(crate) fn new(
        route: Arc<Route>,
        tenant: Arc<Tenant>,
        component: Arc<ComponentMetrics>,
        scope: Scope,
    ) -> Self {
        Self {
            cpu: Cpu::new(scope.context().clone()),
            scope,
            is_handler: true,
            wall: route.limits.wall,
            capability_wait: route.limits.capability_wait,
            route,
            tenant,
            component,
            started: Instant::now(),
            waits: Mutex::default(),
            memory_bytes: AtomicU64::new(0),
            memory_refused: AtomicBool::new(false),
            request_body_cut: AtomicBool::new(false),
            request_body_held: AtomicBool::new(false),
            holdings: OnceLock::new(),
            orders: Arc::default(),
            reports: None,
            verdict: OnceLock::new(),
            given_up: OnceLock::new(),
            ending: Notify::new(),
            guards: Mutex::default(),
            answered: AtomicBool::new(false),
            reported: AtomicBool::new(false),
            storage_failed: AtomicBool::new(false),
        }
    }

    /// A meter for a plugin called on behalf of this one's guest: its own counts, but for what it orders, and no more time than
    /// is left here.
    pub(crate) fn child(&self, component: Arc<ComponentMetrics>, scope: Scope) -> Self {
        let left = self.capability_wait.saturating_sub(self.waits().so_far());
        let mut child = Self::new(self.route.clone(), self.tenant.clone(), component, scope);
        child.is_handler = false;
        child.wall = child.wall.min(left);
        child.capability_wait = left;
        child.orders = self.orders.clone();
        child
    }

    /// A meter for a guest that works on a background job, whose time is all its own: whoever runs it ends it (`limits.job-ms`).
    pub(crate) fn of_job(
        route: Arc<Route>,
        tenant: Arc<Tenant>,
        component: Arc<ComponentMetrics>,
        scope: Scope,
        reports: Reports,
    ) -> Self {
        let time = route.limits.job.saturating_mul(2);
        let mut meter = Self::new(route, tenant, component, scope);
        (meter.wall, meter.capability_wait, meter.reports) = (time, time, Some(reports));
        meter
    }

    /// A meter for another request to the same store: its own counts, but for what the store still holds.
    pub(crate) fn next(&self, tenant: Arc<Tenant>, scope: Scope) -> Self {
        let mut next = Self::new(self.route.clone(), tenant, self.component.clone(), scope);
        next.hold_memory(self.memory_bytes.load(Ordering::Relaxed) as usize);
        next.holdings = self.holdings().clone().into();
        next
    }

    /// A meter for what no request of a store is to be charged with that works for several.
    pub(crate) fn shared(route: Arc<Route>, tenant: Arc<Tenant>, component: Arc<ComponentMetrics>) -> Self {
        let mut meter = Self::new(route, tenant, component, Scope::default());
        meter.cpu = Cpu::shared();
        meter
    }

    /// The request is served in a store that holds so much already, by this meter of its own.
    pub(crate) fn join(&self, store: &Meter, memory_bytes: usize) {
        // nothing was held before
        let _ = self.holdings.set(store.holdings().clone());
        self.hold_memory(memory_bytes);
    }

    fn holdings(&self) -> &Arc<Holdings> {
        self.holdings.get_or_init(Arc::default)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.route.limits
    }

    /// Where in which request the guest runs.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn context(&self) -> &RequestContext {
        self.scope.context()
    }

    /// On whose account the guest runs.
    pub(crate) fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// As whose what it keeps is kept.
    pub(crate) fn owner(&self) -> Owner {
        Owner::new(self.tenant.id.as_str(), self.tenant.quota.stored_bytes())
    }

    /// Says how far the background job is that the guest works on, if it does.
    pub(crate) fn reports(&self) -> Option<&Reports> {
        self.reports.as_ref()
    }

    /// Whether the guest computes for long, and takes turns with others that do.
    pub(crate) fn computes_long(&self) -> bool {
        self.cpu.is_long()
    }

    /// Whether the guest would have gone on computing in its last slice.
    pub(crate) fn gave_way(&self) -> bool {
        self.cpu.was_met()
    }

    /// Begins a time slice of the guest on this thread; ends with the guard.
    pub(crate) fn slice(&self) -> Slice<'_> {
        self.cpu.slice()
    }

    /// Called inside the guest, when a tick has passed since it was last called: whether it may go on. The guest computes for
    /// `request`: the one that this meter counts for, or one of those in a shared store.
    pub(crate) fn tick_for(&self, request: &Meter) -> Tick {
        match self.cpu.charge_at_tick(&request.cpu) {
            None => Tick::GoOn,
            Some(used) if used <= self.limits().cpu => Tick::GiveWay,
            Some(_) => {
                request.stop(Failure::Cpu { route: self.route(), limit: self.limits().cpu });
                Tick::Stop
            }
        }
    }

    /// The time until the guard is dropped is waiting in a capability, not the guest's own.
    pub(crate) fn wait(self: &Arc<Self>) -> Wait {
        let mut waits = self.waits();
        waits.active += 1;
        waits.since.get_or_insert_with(Instant::now);
        drop(waits);
        Wait(self.clone())
    }

    /// Ends when the guest must be stopped, however busy or asleep it is.
    pub(crate) async fn deadline(&self) -> Failure {
        loop {
            match self.time_left() {
                Ok(left) => tokio::time::sleep(left).await,
                Err(failure) => {
                    self.stop(failure.clone());
                    return failure;
                }
            }
        }
    }

    fn time_left(&self) -> Result<Duration, Failure> {
        let waits = self.waits();
        let (waited, waiting) = (waits.so_far(), waits.active > 0);
        drop(waits);
        let wall = self.wall.saturating_sub(self.started.elapsed().saturating_sub(waited));
        let wait = self.capability_wait.saturating_sub(waited);
        if wall.is_zero() {
            return Err(Failure::Wall { route: self.route(), limit: self.limits().wall });
        }
        if wait.is_zero() {
            return Err(Failure::CapabilityWait {
                route: self.route(),
                limit: self.limits().capability_wait,
            });
        }
        // only one of the two runs down now; which one may change at any moment
        Ok(if waiting { wait.min(wall.max(LOOK_AGAIN)) } else { wall.min(wait.max(LOOK_AGAIN)) })
    }

    /// All linear memories have so many bytes now; they never shrink.
    pub(crate) fn hold_memory(&self, bytes: usize) {
        self.memory_bytes.store(bytes as u64, Ordering::Relaxed);
        self.context().usage().memory_bytes.see(bytes as u64);
    }

    pub(crate) fn refuse_memory(&self) {
        self.memory_refused.store(true, Ordering::Relaxed);
    }

    pub(crate) fn cut_request_body(&self) {
        self.request_body_cut.store(true, Ordering::Relaxed);
    }

    /// Reserves room for a picture, or says how much there may be.
    pub(crate) fn hold_picture(&self, bytes: u64) -> Result<Held, u64> {
        let limit = self.limits().picture_bytes;
        self.holdings()
            .pixel_bytes
            .hold(bytes, limit)
            .ok_or(limit)
            .inspect_err(|_| self.deny("picture_bytes"))
    }

    /// Reserves room for samples of sound, or says how many seconds there may be.
    pub(crate) fn hold_sound(&self, samples: u64) -> Result<Held, u64> {
        let limit = self.limits().audio_seconds;
        let most = limit.saturating_mul(SAMPLE_RATE as u64);
        self.holdings().samples.hold(samples, most).ok_or(limit).inspect_err(|_| self.deny("audio_seconds"))
    }

    /// Reserves an object that is read or written, or says how many there may be at a time.
    pub(crate) fn hold_object(&self) -> Result<Held, u64> {
        let held = self.holdings().objects.hold(1, MAX_OBJECTS);
        held.ok_or(MAX_OBJECTS).inspect_err(|_| self.deny("objects"))
    }

    /// Reserves a job of the request, or says how many there may be.
    pub(crate) fn hold_job(&self) -> Result<HeldJob, u32> {
        let limit = self.limits().jobs;
        self.orders.hold_job(limit).ok_or(limit).inspect_err(|_| self.deny("jobs"))
    }

    /// Takes tokens that are to be written off the request's allowance, or says how many there may be in all. A reply that is
    /// shorter gives none back: what a request can make the engine write is bounded by what it asks for.
    pub(crate) fn take_tokens(&self, count: u64) -> Result<(), u64> {
        let limit = self.limits().tokens;
        self.orders.take_tokens(count, limit).then_some(()).ok_or(limit).inspect_err(|_| self.deny("tokens"))
    }

    /// Gives back tokens that nobody will write: their job was not taken.
    pub(crate) fn give_back_tokens(&self, count: u64) {
        self.orders.give_back_tokens(count);
    }

    /// The request's body is in the guest's hands, or no more.
    pub(crate) fn hold_request_body(&self, held: bool) {
        self.request_body_held.store(held, Ordering::Relaxed);
    }

    /// Whether the guest kept nothing that belongs to its request, and the request did not fail.
    pub(crate) fn is_clean(&self) -> bool {
        let holds = self.orders.has_jobs() || self.request_body_held.load(Ordering::Relaxed);
        self.verdict.get().is_none() && !holds && self.waits().active == 0
    }

    /// Counts something that the guest asked for and does not get.
    pub(crate) fn deny(&self, what: &'static str) {
        self.route.metrics.denied.count(what);
    }

    /// Counts why the guest ended, for its route and its component.
    pub(crate) fn count_failure(&self, failure: &Failure) {
        self.route.metrics.failures.count(failure.code());
        self.component.failures.count(failure.code());
    }

    /// Makes an instance, and counts how long it took.
    pub(crate) async fn instantiate<R>(
        &self,
        work: impl Future<Output = wasmtime::Result<R>>,
    ) -> wasmtime::Result<R> {
        let (_span, began) = (self.scope.open("instantiate"), Instant::now());
        let instance = work.await?;
        let took = began.elapsed();
        self.component.instantiation.record(took);
        if self.is_handler {
            self.context().usage().instantiation.add(took);
        }
        Ok(instance)
    }

    /// Records why the guest ends. The first reason stays.
    pub(crate) fn stop(&self, failure: Failure) {
        // a later reason is a consequence of the first
        let _ = self.verdict.set(failure);
        self.ending.notify_waiters();
    }

    /// Ends when there is a reason why the guest ends.
    async fn stopped(&self) -> Failure {
        loop {
            let change = self.ending.notified();
            if let Some(failure) = self.verdict.get() {
                return failure.clone();
            }
            change.await;
        }
    }

    /// Ends when the request must: there is a reason already, or its time is over.
    pub(crate) async fn must_end(self: Arc<Self>) -> Failure {
        tokio::select! {
            biased;
            failure = self.stopped() => failure,
            failure = self.deadline() => failure,
        }
    }

    /// Ends the request if its time is over and nobody saw it: the answer was taken, or its client takes none.
    pub(crate) fn end_if_overdue(&self) {
        if let Err(failure) = self.time_left() {
            self.stop(failure);
            self.give_up();
        }
    }

    /// Nobody waits for the request any more, but its guest cannot be stopped: it works for others as well. The request's jobs
    /// end now.
    pub(crate) fn give_up(&self) {
        let _ = self.given_up.set(Instant::now());
        self.ending.notify_waiters();
        let jobs = std::mem::take(&mut *lock(&self.guards));
        jobs.iter().filter_map(Weak::upgrade).for_each(|guard| guard.cancel());
    }

    pub(crate) fn given_up_since(&self) -> Option<Instant> {
        self.given_up.get().copied()
    }

    /// Ends when the request is given up.
    pub(crate) async fn given_up(&self) {
        loop {
            let change = self.ending.notified();
            if self.given_up.get().is_some() {
                return;
            }
            change.await;
        }
    }

    /// Work for the request; it is dropped when the request is given up, and its guest waits for it in vain.
    pub(crate) async fn while_wanted<R>(&self, work: impl Future<Output = R>) -> R {
        tokio::select! {
            biased;
            () = self.given_up() => std::future::pending().await,
            done = work => done,
        }
    }

    /// A job of the request ends when the request is given up.
    pub(crate) fn guard(&self, guard: &Arc<CancelGuard>) {
        let mut guards = lock(&self.guards);
        guards.retain(|guard| guard.strong_count() > 0);
        guards.push(Arc::downgrade(guard));
        drop(guards);
        if self.given_up.get().is_some() {
            guard.cancel();
        }
    }

    pub(crate) fn mark_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whether the caller is the first to tell of this guest's failure: it is counted once.
    pub(crate) fn first_report(&self) -> bool {
        !self.reported.swap(true, Ordering::Relaxed)
    }

    /// Whether the host's storage fails the guest for the first time: a guest that tries again and again fills no log.
    pub(crate) fn is_first_storage_failure(&self) -> bool {
        !self.storage_failed.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn was_refused_memory(&self) -> bool {
        self.memory_refused.load(Ordering::Relaxed)
    }

    pub(crate) fn was_request_body_cut(&self) -> bool {
        self.request_body_cut.load(Ordering::Relaxed)
    }

    /// The reason why the guest ends: the first that was recorded, or this one.
    pub(crate) fn settle(&self, failure: impl FnOnce() -> Failure) -> Failure {
        let failure = self.verdict.get_or_init(failure).clone();
        self.ending.notify_waiters();
        failure
    }

    pub(crate) fn verdict(&self) -> Option<&Failure> {
        self.verdict.get()
    }

    pub(crate) fn route(&self) -> String {
        self.route.name.to_string()
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        lock(&self.waits)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Meter {
    /// The store and everybody who counted for it is gone: what it used up is counted where it belongs.
    fn drop(&mut self) {
        let (cpu, memory_bytes) = (self.cpu.used(), *self.memory_bytes.get_mut());
        for consumption in
            [&self.route.metrics.consumption, &self.component.consumption, &self.tenant.consumption]
        {
            consumption.add(cpu, memory_bytes);
        }
    }
}

/// Waiting in a capability.
pub(crate) struct Wait(Arc<Meter>);

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waits = self.0.waits();
        waits.active -= 1;
        if waits.active == 0
            && let Some(since) = waits.since.take()
        {
            let waited = since.elapsed();
            waits.total += waited;
            if self.0.is_handler {
                self.0.context().usage().waiting.add(waited);
            }
        }
    }
}
