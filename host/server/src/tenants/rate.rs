//! Requests per second by the generic cell rate algorithm: one moment per tenant is all it remembers. A request moves
//! that moment on by one interval; when it lies further ahead than the burst allows, the request came too early, and how
//! much too early is the time to wait. (ITU-T I.371, the virtual scheduling form.)

use std::time::Duration;

/// What is allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    interval: Duration,
    /// How far the next moment may lie ahead.
    tolerance: Duration,
}

impl Rate {
    pub(crate) fn new(per_second: u64, burst: u64) -> Self {
        let nanos = 1_000_000_000 / per_second.max(1);
        let tolerance = nanos.saturating_mul(burst.max(1) - 1);
        Self { interval: Duration::from_nanos(nanos), tolerance: Duration::from_nanos(tolerance) }
    }

    /// The moment that is remembered after a request at `now`; or how long it must wait.
    pub(crate) fn next(&self, remembered: Duration, now: Duration) -> Result<Duration, Duration> {
        let due = remembered.max(now);
        match (due - now).checked_sub(self.tolerance) {
            Some(early) if !early.is_zero() => Err(early),
            _ => Ok(due + self.interval),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Which of these moments pass.
    fn passes(rate: Rate, moments: &[u64]) -> Vec<bool> {
        let mut remembered = Duration::ZERO;
        let mut pass = |now: &u64| match rate.next(remembered, ms(*now)) {
            Ok(next) => {
                remembered = next;
                true
            }
            Err(_) => false,
        };
        moments.iter().map(&mut pass).collect()
    }

    #[test]
    fn without_a_burst_requests_keep_their_distance() {
        let rate = Rate::new(10, 1);
        assert_eq!(passes(rate, &[1_000, 1_050, 1_099, 1_100, 1_300]), [true, false, false, true, true]);
    }

    #[test]
    fn a_burst_passes_at_once_and_comes_back_with_time() {
        let rate = Rate::new(10, 3);
        assert_eq!(passes(rate, &[0, 0, 0, 0, 100, 100]), [true, true, true, false, true, false]);
        assert_eq!(passes(rate, &[0, 0, 0, 900, 900, 900, 900]), [true, true, true, true, true, true, false]);
    }

    #[test]
    fn whoever_is_early_is_told_by_how_much() {
        let rate = Rate::new(2, 1);
        let next = rate.next(Duration::ZERO, ms(1_000)).unwrap();
        assert_eq!(rate.next(next, ms(1_200)), Err(ms(300)));
    }

    #[test]
    fn over_a_long_time_no_more_pass_than_are_allowed() {
        let moments: Vec<u64> = (0..10_000).collect();
        let passed = passes(Rate::new(7, 2), &moments).into_iter().filter(|passed| *passed).count();
        // ten seconds of 7, and the burst
        assert!((70..=72).contains(&passed), "{passed}");
    }
}
