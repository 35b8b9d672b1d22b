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
    /// Adds it to what else the request used.
    context: Arc<RequestContext>,
}

impl Cpu {
    pub(crate) fn new(context: Arc<RequestContext>) -> Self {
        Self { context, ..Self::default() }
    }

    /// What all finished slices used.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// Begins a slice on this thread.
    pub(crate) fn slice(&self) -> Slice<'_> {
        let exactly = self.exactly.load(Ordering::Relaxed);
        self.began.store(if exactly { thread_nanos() } else { ticks() }, Ordering::Relaxed);
        Slice { cpu: self, exactly }
    }

    /// Whether the guest is known to compute for long.
    pub(crate) fn is_long(&self) -> bool {
        self.exactly.load(Ordering::Relaxed)
    }

    /// What was used up to this tick; `None` when the running slice has not been met by a tick before.
    pub(crate) fn used_at_tick(&self) -> Option<Duration> {
        let (used, began) = (self.used.load(Ordering::Relaxed), self.began.load(Ordering::Relaxed));
        if self.exactly.load(Ordering::Relaxed) {
            return Some(Duration::from_nanos(used + thread_nanos().saturating_sub(began)));
        }
        if ticks() == began {
            // the tick passed while the guest was waiting
            return None;
        }
        // the rest of this slice goes uncounted: the guest gives way now
        self.exactly.store(true, Ordering::Relaxed);
        self.add(TICK);
        self.began.store(thread_nanos(), Ordering::Relaxed);
        Some(Duration::from_nanos(used) + TICK)
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
        assert_eq!(cpu.used_at_tick(), None);
        drop(slice);
        assert_eq!(cpu.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_first_tick_costs_a_whole_one_and_every_slice_after_it_what_it_takes() {
        let cpu = Cpu::default();
        let slice = cpu.slice();
        cpu.began.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(cpu.used_at_tick(), Some(TICK));
        drop(slice);
        let slice = cpu.slice();
        burn(Duration::from_millis(3));
        let used = cpu.used_at_tick().unwrap();
        assert!(used >= TICK + Duration::from_millis(3), "{used:?}");
        drop(slice);
        assert!(Duration::from_nanos(cpu.used.load(Ordering::Relaxed)) >= used);
    }
}
