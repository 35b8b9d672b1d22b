//! Who failed several times in a row is left alone for a while; then one attempt finds out whether that helped.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts failures in a row.
pub(super) struct Circuit {
    most: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: u32,
    /// Nobody asks before this.
    until: Option<Instant>,
    /// Somebody finds out.
    is_tried: bool,
}

/// An attempt under way. Dropped without a word it counts as nothing: whoever wanted it is gone.
pub(super) struct Attempt<'a> {
    circuit: &'a Circuit,
    finds_out: bool,
}

impl Circuit {
    pub(super) fn new(most: u32, pause: Duration) -> Self {
        Self { most, pause, state: Mutex::default() }
    }

    /// Begins an attempt, or says how long nobody is to ask.
    pub(super) fn begin(&self) -> Result<Attempt<'_>, Duration> {
        let mut state = self.state();
        let Some(until) = state.until else { return Ok(Attempt { circuit: self, finds_out: false }) };
        let left = until.saturating_duration_since(Instant::now());
        if !left.is_zero() || state.is_tried {
            return Err(left.max(Duration::from_secs(1)));
        }
        state.is_tried = true;
        Ok(Attempt { circuit: self, finds_out: true })
    }

    /// Whether nobody asks now.
    pub(super) fn is_open(&self) -> bool {
        self.state().until.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The server answered, whatever it said.
    pub(super) fn answered(self) {
        *self.circuit.state() = State::default();
    }

    /// There was no answer.
    pub(super) fn failed(self) {
        let mut state = self.circuit.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= self.circuit.most {
            state.until = Some(Instant::now() + self.circuit.pause);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.finds_out {
            self.circuit.state().is_tried = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(circuit: &Circuit) {
        circuit.begin().unwrap_or_else(|_| panic!("it should be asked")).failed();
    }

    #[test]
    fn after_so_many_failures_in_a_row_nobody_asks() {
        let circuit = Circuit::new(2, Duration::from_secs(60));
        fail(&circuit);
        circuit.begin().unwrap_or_else(|_| panic!()).answered();
        fail(&circuit);
        assert!(!circuit.is_open(), "an answer between two failures parts them");
        fail(&circuit);
        let left = circuit.begin().err().unwrap();
        assert!(left > Duration::from_secs(50), "{left:?}");
    }

    #[test]
    fn after_the_pause_one_finds_out_for_all() {
        let circuit = Circuit::new(1, Duration::ZERO);
        fail(&circuit);
        let first = circuit.begin().unwrap_or_else(|_| panic!());
        assert!(circuit.begin().is_err(), "one is enough");
        drop(first);
        circuit.begin().unwrap_or_else(|_| panic!("whoever went away decided nothing")).failed();
        circuit.begin().unwrap_or_else(|_| panic!()).answered();
        assert!(!circuit.is_open() && circuit.begin().is_ok());
    }
}
