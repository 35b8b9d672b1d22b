//! Durations by how long they were, in the cumulative form that Prometheus reads. The bounds are fixed: histograms of one
//! kind must be comparable across routes, models and hosts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const fn micros<const N: usize>(bounds: [u64; N]) -> [Duration; N] {
    let mut durations = [Duration::ZERO; N];
    let mut index = 0;
    while index < N {
        durations[index] = Duration::from_micros(bounds[index]);
        index += 1;
    }
    durations
}

/// From an instance out of a warm pool to a second's patience at a door.
static SHORT: [Duration; 11] =
    micros([50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 1_000_000]);

/// From a hello to a slow picture on a processor.
static LONG: [Duration; 12] = micros([
    1_000,
    5_000,
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
]);

/// Counts of durations.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [Duration],
    /// One more than the bounds: the last takes the rest.
    buckets: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

impl Histogram {
    /// For what takes 50 microseconds to a second.
    pub fn short() -> Self {
        Self::new(&SHORT)
    }

    /// For what takes a millisecond to five minutes.
    pub fn long() -> Self {
        Self::new(&LONG)
    }

    fn new(bounds: &'static [Duration]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, nanos: AtomicU64::new(0) }
    }

    /// Counts one duration.
    pub fn record(&self, took: Duration) {
        let bucket = self.bounds.iter().position(|bound| took <= *bound).unwrap_or(self.bounds.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Durations so far, by upper bound: each count holds those of the smaller bounds, the last one, without a bound,
    /// holds all.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        let counts = self.buckets.iter().scan(0, |sum, bucket| {
            *sum += bucket.load(Ordering::Relaxed);
            Some(*sum)
        });
        bounds.zip(counts)
    }

    /// All durations together; wraps after 584 years.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    /// How many durations there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::long()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_under_every_bound_that_holds_it() {
        let histogram = Histogram::long();
        for took in [Duration::from_millis(1), Duration::from_millis(3), Duration::from_secs(600)] {
            histogram.record(took);
        }
        let counts: Vec<(Option<Duration>, u64)> = histogram.cumulative().collect();
        assert_eq!(counts[0], (Some(Duration::from_millis(1)), 1), "a bound belongs to its bucket");
        assert_eq!(counts[1], (Some(Duration::from_millis(5)), 2));
        assert_eq!(counts[LONG.len() - 1], (Some(Duration::from_secs(300)), 2));
        assert_eq!(counts[LONG.len()], (None, 3));
        assert_eq!((histogram.count(), histogram.sum()), (3, Duration::from_millis(600_004)));
    }

    #[test]
    fn the_bounds_ascend() {
        assert!(SHORT.is_sorted() && LONG.is_sorted());
    }
}
