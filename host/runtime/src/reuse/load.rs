//! What an instance that answers several requests at a time has to do, as those see it who choose one: who waits for it, who
//! is in it, and whether it has room.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use futures::channel::oneshot;
use futures::task::AtomicWaker;
use wasmtime_wasi_http::handler::Request;

use crate::Failure;
use crate::admission::Place;
use crate::drive::Answer;
use crate::sandbox::{Meter, Over};

/// A request on its way into an instance.
pub(super) struct Arrival {
    pub(super) meter: Arc<Meter>,
    pub(super) place: Place,
    pub(super) request: Request,
    pub(super) answer: Answer,
    /// Told when the answer was taken to its end.
    pub(super) taken: oneshot::Receiver<()>,
    pub(super) over: Over,
}

pub(super) struct Load {
    /// Counts what is no request's own.
    pub(super) own: Arc<Meter>,
    /// Whether the guest computes, or will in a moment.
    busy: AtomicBool,
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arrival>,
    running: Vec<Arc<Meter>>,
    /// Those that left the instance without being over: it ends.
    lost: Vec<Arc<Meter>>,
    closed: bool,
}

impl Load {
    pub(super) fn new(own: Arc<Meter>) -> Arc<Self> {
        let (busy, state) = (AtomicBool::new(true), Mutex::default());
        Arc::new(Self { own, busy, state, waker: AtomicWaker::new() })
    }

    /// Whether another request may come, of so many at a time. An instance that computes has none: its requests would
    /// take turns, and others may be free.
    pub(super) fn has_room(&self, at_a_time: u32) -> bool {
        let state = self.state();
        let busy = self.busy.load(Ordering::Relaxed);
        !busy && !state.closed && state.waiting.is_empty() && state.running.len() < at_a_time as usize
    }

    pub(super) fn push(&self, arrival: Arrival) {
        self.busy.store(true, Ordering::Relaxed);
        self.state().waiting.push_back(arrival);
        self.waker.wake();
    }

    /// Who waits; wakes the task when somebody comes, or nobody will any more.
    pub(super) fn next(&self, cx: &Context<'_>) -> Option<Arrival> {
        self.waker.register(cx.waker());
        self.state().waiting.pop_front()
    }

    pub(super) fn take_waiting(&self) -> VecDeque<Arrival> {
        std::mem::take(&mut self.state().waiting)
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.waker.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// A request is in the instance until the guard is dropped.
    pub(super) fn begin(&self, meter: Arc<Meter>) -> Running<'_> {
        self.state().running.push(meter.clone());
        Running { load: self, meter, is_over: false }
    }

    /// The instance is about to go: whoever is not over and knows of no other reason ends for this one.
    pub(super) fn lose(&self) {
        let lost = std::mem::take(&mut self.state().lost);
        for meter in lost {
            meter.stop(Failure::InstanceLost { route: meter.route() });
        }
    }

    /// Whether a request is still in the instance that was given up so long ago.
    pub(super) fn overlooks(&self, time: Duration) -> bool {
        let overlooked =
            |meter: &Arc<Meter>| meter.given_up_since().is_some_and(|since| since.elapsed() > time);
        self.state().running.iter().any(overlooked)
    }

    /// Notes whether the instance computes or waits.
    pub(super) async fn watched<R>(self: Arc<Self>, work: impl Future<Output = R>) -> R {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.busy.store(true, Ordering::Relaxed);
            let polled = work.as_mut().poll(cx);
            self.busy.store(polled.is_ready() || self.own.gave_way(), Ordering::Relaxed);
            polled
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is in an instance.
pub(super) struct Running<'a> {
    load: &'a Load,
    meter: Arc<Meter>,
    pub(super) is_over: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.load.state();
        state.running.retain(|meter| !Arc::ptr_eq(meter, &self.meter));
        if !self.is_over {
            state.lost.push(self.meter.clone());
        }
    }
}
