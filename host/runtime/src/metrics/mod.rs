//! Counts of what the runtime did since its start: written with relaxed atomics on every path, read as one snapshot. What
//! is told apart by route, component and tenant is in `guests.rs`.

mod guests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use atelier_inference::metrics::Histogram;

use crate::Failure;
pub use guests::{ComponentMetrics, Consumption, RouteMetrics};

/// A snapshot of the runtime's counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct RuntimeMetrics {
    /// Requests that were admitted.
    pub requests: u64,
    /// Those of them that were answered by an instance which had answered before.
    pub reused: u64,
    /// Requests that run now.
    pub in_flight: u64,
    /// Requests refused since too many ran.
    pub saturated: u64,
    /// Guests that trapped.
    pub traps: u64,
    /// Guests stopped at their CPU time.
    pub cpu_limits: u64,
    /// Guests stopped at their wall-clock time.
    pub wall_limits: u64,
    /// Guests stopped after waiting too long in capabilities.
    pub capability_wait_limits: u64,
    /// Guests that failed after memory was refused.
    pub memory_limits: u64,
    /// Requests that failed in any other way.
    pub other_failures: u64,
    /// Calls of plugins.
    pub plugin_calls: u64,
    /// Calls of plugins that ended in a failure.
    pub plugin_failures: u64,
    /// Pictures and recordings decoded in the sandbox.
    pub decodes: u64,
    /// Requests that guests sent, or wanted to send.
    pub outbound_requests: u64,
    /// Those of them that were refused.
    pub outbound_refused: u64,
    /// Components compiled from scratch.
    pub cold_compiles: u64,
    /// Components that were not compiled: refused by the compiler, or over a limit.
    pub refused_compiles: u64,
    /// Components taken from the cache on disk.
    pub cache_hits: u64,
    /// Whether instances come from a pool (faster) or are allocated on demand.
    pub pooled: bool,
}

/// How long the work took that comes before requests.
#[derive(Debug, Default)]
pub struct LoadTimes {
    /// Compiling a component from scratch.
    pub compile: Histogram,
    /// Taking a compiled component from the cache on disk.
    pub cached: Histogram,
    /// Making a deployment, compiling included.
    pub deploy: Histogram,
}

/// One of the doors in front of what is scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorStatus {
    /// What is behind it, in one word.
    pub name: &'static str,
    /// Who may be inside at a time.
    pub places: u32,
    /// Who is.
    pub held: u32,
    /// Who waits.
    pub waiting: u32,
}

#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) loads: LoadTimes,
    pub(crate) requests: AtomicU64,
    pub(crate) reused: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) saturated: AtomicU64,
    pub(crate) plugin_calls: AtomicU64,
    pub(crate) plugin_failures: AtomicU64,
    pub(crate) decodes: AtomicU64,
    pub(crate) outbound_requests: AtomicU64,
    pub(crate) outbound_refused: AtomicU64,
    pub(crate) cold_compiles: AtomicU64,
    pub(crate) refused_compiles: AtomicU64,
    pub(crate) cache_hits: AtomicU64,
    traps: AtomicU64,
    cpu_limits: AtomicU64,
    wall_limits: AtomicU64,
    capability_wait_limits: AtomicU64,
    memory_limits: AtomicU64,
    other_failures: AtomicU64,
}

/// A mean that forgets: the newest value counts an eighth.
pub(crate) fn mean(mean: Duration, newest: Duration) -> Duration {
    if mean.is_zero() { newest } else { (mean * 7 + newest) / 8 }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Metrics {
    /// Counts a failed request by its kind.
    pub(crate) fn failed(&self, failure: &Failure) {
        count(match failure {
            Failure::Trap { .. } => &self.traps,
            Failure::Cpu { .. } => &self.cpu_limits,
            Failure::Wall { .. } => &self.wall_limits,
            Failure::CapabilityWait { .. } => &self.capability_wait_limits,
            Failure::Memory { .. } => &self.memory_limits,
            Failure::Saturated { .. } | Failure::Share { .. } => &self.saturated,
            _ => &self.other_failures,
        });
    }

    pub(crate) fn snapshot(&self, pooled: bool) -> RuntimeMetrics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RuntimeMetrics {
            requests: get(&self.requests),
            reused: get(&self.reused),
            in_flight: get(&self.in_flight),
            saturated: get(&self.saturated),
            traps: get(&self.traps),
            cpu_limits: get(&self.cpu_limits),
            wall_limits: get(&self.wall_limits),
            capability_wait_limits: get(&self.capability_wait_limits),
            memory_limits: get(&self.memory_limits),
            other_failures: get(&self.other_failures),
            plugin_calls: get(&self.plugin_calls),
            plugin_failures: get(&self.plugin_failures),
            decodes: get(&self.decodes),
            outbound_requests: get(&self.outbound_requests),
            outbound_refused: get(&self.outbound_refused),
            cold_compiles: get(&self.cold_compiles),
            refused_compiles: get(&self.refused_compiles),
            cache_hits: get(&self.cache_hits),
            pooled,
        }
    }
}
