//! What is counted for operators, by every crate that counts: durations by how long they were (`histogram.rs`), counts
//! apart by kind, and counts apart by name, of which there are never many (`labelled.rs`). What this crate itself counts of
//! each model is here. Counting
//! is an atomic addition; names and units of the page that monitoring reads are the server's business.

mod histogram;
mod labelled;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use histogram::Histogram;
pub use labelled::{Labelled, OTHER};

use crate::{Error, Result};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn count(&self) {
        self.add(1);
    }

    /// Counts so many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Time that was spent, summed; wraps after 584 years.
#[derive(Debug, Default)]
pub struct Spent(Counter);

impl Spent {
    /// Adds some.
    pub fn add(&self, more: Duration) {
        self.0.add(u64::try_from(more.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The sum now.
    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.0.get())
    }
}

/// The largest of the numbers that were seen.
#[derive(Debug, Default)]
pub struct Peak(AtomicU64);

impl Peak {
    /// Sees one more.
    pub fn see(&self, number: u64) {
        self.0.fetch_max(number, Ordering::Relaxed);
    }

    /// The largest so far; 0 before the first.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts apart by kind. A kind is a word of the program's own text, so there are never many; meant for what is seldom.
#[derive(Debug, Default)]
pub struct Kinds(Mutex<BTreeMap<&'static str, u64>>);

impl Kinds {
    /// Counts one more of a kind.
    pub fn count(&self, kind: &'static str) {
        *self.counts().entry(kind).or_default() += 1;
    }

    /// Every kind that was ever counted, in the order of their words.
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        self.counts().iter().map(|(kind, count)| (*kind, *count)).collect()
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happened to the jobs of one model since the start.
#[derive(Debug, Default)]
pub struct ModelMetrics {
    /// From a job's submission to its turn, of jobs that got one.
    pub queue_wait: Histogram,
    /// Loading the weights, where it was needed.
    pub load: Histogram,
    /// One denoising step of a whole batch, or one step of a transcription or a reply, those beside it included.
    pub step: Histogram,
    /// From a job's turn to its end, however it ended.
    pub job: Histogram,
    /// Jobs that ended with what was ordered.
    pub completed: Counter,
    /// Jobs that ended with an error.
    pub failed: Counter,
    /// Jobs that were cancelled while they ran.
    pub cancelled: Counter,
}

impl ModelMetrics {
    /// Counts a job's end.
    pub fn ended<T>(&self, result: &Result<T>, took: Duration) {
        self.job.record(took);
        match result {
            Ok(_) => self.completed.count(),
            Err(Error::Cancelled) => self.cancelled.count(),
            Err(_) => self.failed.count(),
        }
    }
}
