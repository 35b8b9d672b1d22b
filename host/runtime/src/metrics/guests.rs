//! What guests did, told apart by route, by component and by tenant. A store adds what it used up when it goes; whoever
//! refuses or stops a guest counts why.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use atelier_inference::metrics::{Histogram, Kinds, Peak, Spent};

use super::mean;

/// What guests used up.
#[derive(Debug, Default)]
pub struct Consumption {
    cpu: Spent,
    peak_memory_bytes: Peak,
}

impl Consumption {
    /// Time in which guests computed, exact for those that computed for longer than a tick of the runtime's clock and right
    /// on average for the others.
    pub fn cpu(&self) -> Duration {
        self.cpu.get()
    }

    /// The most that one guest held in all its linear memories, in bytes.
    pub fn peak_memory_bytes(&self) -> u64 {
        self.peak_memory_bytes.get()
    }

    pub(crate) fn add(&self, cpu: Duration, memory_bytes: u64) {
        self.cpu.add(cpu);
        self.peak_memory_bytes.see(memory_bytes);
    }
}

/// What happened on one route, plugins included.
#[derive(Debug)]
pub struct RouteMetrics {
    /// Waiting for an instance, of requests that got one.
    pub admission: Histogram,
    /// What its guests used up.
    pub consumption: Consumption,
    /// Requests without an answer and answers that broke off, by [`crate::Failure::code`].
    pub failures: Kinds,
    /// What its guests asked for and did not get, by what that was.
    pub denied: Kinds,
    in_flight: AtomicU64,
    /// Of the background jobs that it completed, the last ones most; 0 before the first.
    job_micros: AtomicU64,
}

impl RouteMetrics {
    /// Requests inside the route's deployments, of old ones too.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How long its last background jobs took; nothing before the first was completed.
    pub fn job_time(&self) -> Option<Duration> {
        let micros = self.job_micros.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    pub(crate) fn job_took(&self, took: Duration) {
        let before = self.job_time().unwrap_or_default();
        let micros = mean(before, took).as_micros().max(1) as u64;
        self.job_micros.store(micros, Ordering::Relaxed);
    }

    pub(crate) fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for RouteMetrics {
    fn default() -> Self {
        Self {
            admission: Histogram::short(),
            consumption: Consumption::default(),
            failures: Kinds::default(),
            denied: Kinds::default(),
            in_flight: AtomicU64::default(),
            job_micros: AtomicU64::default(),
        }
    }
}

/// What happened to the instances of one component, on whatever route.
#[derive(Debug)]
pub struct ComponentMetrics {
    name: OnceLock<String>,
    /// From an empty store to an instance that can be called.
    pub instantiation: Histogram,
    /// What its instances used up.
    pub consumption: Consumption,
    /// Instances that failed, by [`crate::Failure::code`].
    pub failures: Kinds,
}

impl ComponentMetrics {
    /// Digits of a component's digest that tell it apart.
    pub(crate) const LABEL_DIGITS: usize = 12;

    /// As in the manifest where it was named first; none for those that are counted together.
    pub fn name(&self) -> Option<&str> {
        self.name.get().map(String::as_str)
    }

    pub(crate) fn called(&self, name: &str) {
        // the first name stays: one component may be known by several
        let _ = self.name.set(name.to_owned());
    }
}

impl Default for ComponentMetrics {
    fn default() -> Self {
        Self {
            name: OnceLock::new(),
            instantiation: Histogram::short(),
            consumption: Consumption::default(),
            failures: Kinds::default(),
        }
    }
}
