//! How long a guest has computed. Reading a thread's CPU clock takes microseconds on some machines, which is too much
//! for each of a short request's slices. So a guest is first measured by ticks: one that is met by a tick while it
//! computes is charged a whole one, which is right on average. From then on it is known to compute for long, and every
//! slice is measured exactly, so that a busy machine does not eat its budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::RequestContext;
use crate::engine::{TICK, ticks};

/// CPU time of one guest.
#[derive(Default)]
pub(crate) struct Cpu {
    /// Nanoseconds of finished slices.
    used: AtomicU64,
    /// When the running slice began: the thread's CPU clock if measured exactly, else the tick.
    began: AtomicU64,
    exactly: AtomicBool,
    /// Whether a tick met the running slice.
    met: AtomicBool,
    /// Whether the guest is measured by ticks again once it waits: it works for several requests, most of which are short.
    relaxes: bool,
    /// Adds it to what else the request used.
    context: Arc<RequestContext>,
}

impl Cpu {
    pub(crate) fn new(context: Arc<RequestContext>) -> Self {
        Self { context, ..Self::default() }
    }

    /// Of a store that works for several requests.
    pub(crate) fn shared() -> Self {
        Self { relaxes: true, ..Self::default() }
    }

    /// What all finished slices used.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// Begins a slice on this thread.
    pub(crate) fn slice(&self) -> Slice<'_> {
        let exactly = self.exactly.load(Ordering::Relaxed);
        self.met.store(false, Ordering::Relaxed);
        self.began.store(if exactly { thread_nanos() } else { ticks() }, Ordering::Relaxed);
        Slice { cpu: self, exactly }
    }

    /// Whether a tick met the running slice, or the last one.
    pub(crate) fn was_met(&self) -> bool {
        self.met.load(Ordering::Relaxed)
    }

    /// Whether the guest is known to compute for long.
    pub(crate) fn is_long(&self) -> bool {
        self.exactly.load(Ordering::Relaxed)
    }

    /// After a tick: charges what ran since the last one to whom the guest computes for, itself or one of several, and says
    /// what that one has used. `None` when the tick did not meet the running slice.
    pub(crate) fn charge_at_tick(&self, whom: &Cpu) -> Option<Duration> {
        let began = self.began.load(Ordering::Relaxed);
        let ran = if self.exactly.load(Ordering::Relaxed) {
            Duration::from_nanos(thread_nanos().saturating_sub(began))
        } else if ticks() == began {
            // the tick passed while the guest was waiting
            return None;
        } else {
            self.exactly.store(true, Ordering::Relaxed);
            TICK
        };
        self.met.store(true, Ordering::Relaxed);
        // the rest of this slice is counted from here
        self.began.store(thread_nanos(), Ordering::Relaxed);
        whom.add(ran);
        Some(whom.used())
    }

    fn add(&self, ran: Duration) {
        self.used.fetch_add(ran.as_nanos() as u64, Ordering::Relaxed);
        self.context.usage().cpu.add(ran);
    }
}

/// A running slice.
pub(crate) struct Slice<'a> {
    cpu: &'a Cpu,
    exactly: bool,
}

impl Drop for Slice<'_> {
    fn drop(&mut self) {
        if self.exactly {
            let ran = thread_nanos().saturating_sub(self.cpu.began.load(Ordering::Relaxed));
            self.cpu.add(Duration::from_nanos(ran));
            if self.cpu.relaxes && !self.cpu.met.load(Ordering::Relaxed) {
                self.cpu.exactly.store(false, Ordering::Relaxed);
            }
        }
    }
}

/// CPU time of this thread.
fn thread_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes for so long by the thread's own clock.
    fn burn(time: Duration) {
        let end = thread_nanos() + time.as_nanos() as u64;
        while thread_nanos() < end {}
    }

    #[test]
    fn a_slice_that_no_tick_met_costs_nothing() {
        let cpu = Cpu::default();
        let slice = cpu.slice();
        assert_eq!(cpu.charge_at_tick(&cpu), None);
        drop(slice);
        assert_eq!(cpu.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_first_tick_costs_a_whole_one_and_every_slice_after_it_what_it_takes() {
        let cpu = Cpu::default();
        let slice = cpu.slice();
        cpu.began.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(cpu.charge_at_tick(&cpu), Some(TICK));
        drop(slice);
        let slice = cpu.slice();
        burn(Duration::from_millis(3));
        let used = cpu.charge_at_tick(&cpu).unwrap();
        assert!(used >= TICK + Duration::from_millis(3), "{used:?}");
        drop(slice);
        assert!(Duration::from_nanos(cpu.used.load(Ordering::Relaxed)) >= used);
    }

    #[test]
    fn a_tick_charges_whoever_the_guest_computes_for_and_a_slice_without_one_ends_the_exact_measuring() {
        let (store, request) = (Cpu::shared(), Cpu::default());
        let slice = store.slice();
        store.began.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(store.charge_at_tick(&request), Some(TICK));
        drop(slice);
        assert!(store.is_long());
        let slice = store.slice();
        burn(Duration::from_millis(3));
        assert!(store.charge_at_tick(&request).unwrap() >= TICK + Duration::from_millis(3));
        drop(slice);
        drop(store.slice());
        assert!(!store.is_long());
        assert!(store.used() < Duration::from_millis(3), "it was charged to the request: {:?}", store.used());
    }
}
