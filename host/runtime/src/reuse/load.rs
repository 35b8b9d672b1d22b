//! What an instance that answers several requests at a time has to do, as those see it who call one: who is in it, whether it
//! has room, and whether it is free.

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
use crate::in_flight::Over;
use crate::sandbox::Meter;

/// A request on its way into an instance.
pub(crate) struct Arrival {
    pub(crate) meter: Arc<Meter>,
    pub(crate) place: Place,
    pub(crate) request: Request,
    pub(crate) answer: Answer,
    /// Told when the answer was taken to its end.
    pub(crate) taken: oneshot::Receiver<()>,
    pub(crate) over: Over,
}

pub(super) struct Load {
    /// Counts what is no request's own.
    pub(super) own: Arc<Meter>,
    /// Whether the guest computes, as far as anybody knows who is not its thread.
    computes: AtomicBool,
    /// Whether it was called for a request since it last looked.
    called: AtomicBool,
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct State {
    running: Vec<Arc<Meter>>,
    /// Those that left the instance without being over: it ends.
    lost: Vec<Arc<Meter>>,
    closed: bool,
}

impl Load {
    pub(super) fn new(own: Arc<Meter>) -> Arc<Self> {
        let (computes, called) = (AtomicBool::new(true), AtomicBool::new(false));
        Arc::new(Self { own, computes, called, state: Mutex::default(), waker: AtomicWaker::new() })
    }

    /// Whether another request may come in, of so many at a time.
    pub(super) fn has_room(&self, at_a_time: usize) -> bool {
        let state = self.state();
        !state.closed && state.running.len() < at_a_time
    }

    /// Whether it would take another one soon. One that computes would let it wait, and others may be free.
    pub(super) fn is_free(&self, at_a_time: usize) -> bool {
        !self.computes.load(Ordering::Relaxed) && self.has_room(at_a_time)
    }

    /// Calls it for a request that waits. Whoever calls it again before it comes calls in vain.
    pub(super) fn call(&self) {
        if !self.called.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether it was called, once.
    pub(super) fn was_called(&self) -> bool {
        self.called.swap(false, Ordering::AcqRel)
    }

    /// Who is woken when a request waits, or none will come any more.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
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

    /// Ends requests whose time is over. Whether one is still in the instance that was given up so long ago.
    pub(super) fn overlooks(&self, time: Duration) -> bool {
        let overlooked =
            |meter: &Arc<Meter>| meter.given_up_since().is_some_and(|since| since.elapsed() > time);
        let running = self.state().running.clone();
        running.iter().for_each(|meter| meter.end_if_overdue());
        running.iter().any(overlooked)
    }

    /// Notes whether the guest computes.
    pub(super) fn note(&self, computes: bool) {
        self.computes.store(computes, Ordering::Relaxed);
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
