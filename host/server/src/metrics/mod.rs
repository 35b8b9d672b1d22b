//! What monitoring reads: counts of the edge, the text form of Prometheus (`page.rs`), and every series that there is
//! (`families.rs`), with the counts of the runtime and the scheduler. Names, units and labels are decided here, once.
//!
//! A label's value comes from the manifest or out of the program's own text, never from a request, and only so many names
//! of a kind have series of their own (`telemetry.metric-labels`); what else there is counts as `other`. The page is
//! written by hand: the counts live in three crates, two of which know nothing of monitoring, and change with every reload.

mod channels;
mod copies;
mod families;
mod jobs;
mod page;
mod process;
mod providers;
mod storage;

use std::sync::Arc;
use std::time::Duration;

use atelier_inference::metrics::{Counter, Histogram, Kinds, Labelled};
use atelier_runtime::{Consumption, RouteMetrics};
use http::StatusCode;

pub(crate) use families::Sources;

/// The label of what no route answered.
const UNROUTED: &str = "-";

/// How answers went, counted when they are over.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// By the status's first digit.
    classes: [Counter; 6],
    /// From a request's head to the end of its answer.
    duration: Histogram,
}

impl Traffic {
    pub(crate) fn count(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).min(self.classes.len() - 1);
        self.classes[class].count();
        self.duration.record(took);
    }
}

/// What is counted of one route, or of all that have no series of their own.
#[derive(Debug, Default)]
pub(crate) struct RouteCounts {
    traffic: Traffic,
    pub(crate) guests: Arc<RouteMetrics>,
    /// Versions that took the place of the one that served before.
    pub(crate) promoted: Counter,
    /// Versions that were taken back, by who or what did it.
    pub(crate) rolled_back: Kinds,
}

/// One route's answers: exactly, for its status, and where its series is.
#[derive(Debug)]
pub(crate) struct RouteTally {
    name: String,
    answers: Counter,
    counts: Arc<RouteCounts>,
}

impl RouteTally {
    pub(crate) fn new(name: &str, routes: &Labelled<RouteCounts>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), answers: Counter::default(), counts: routes.get(name) })
    }

    /// The route's name in logs.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Counts one answer.
    pub(crate) fn count(&self, status: StatusCode, took: Duration) {
        self.answers.count();
        self.counts.traffic.count(status, took);
    }

    /// Answers so far.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.get()
    }
}

/// What is counted of one tenant, or of all that have no series of their own.
#[derive(Debug, Default)]
pub(crate) struct TenantCounts {
    pub(crate) traffic: Traffic,
    pub(crate) over_quota: Counter,
    pub(crate) consumption: Arc<Consumption>,
}

/// Everything that the edge counts.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) routes: Labelled<RouteCounts>,
    /// What no route answers.
    pub(crate) unrouted: Arc<RouteTally>,
    pub(crate) tenants: Labelled<TenantCounts>,
    /// Answers of the host instead of a handler, by their code.
    pub(crate) refusals: Kinds,
}

impl Counts {
    /// Tells so many routes and so many tenants apart.
    pub(crate) fn new(labels: usize) -> Arc<Self> {
        let (routes, tenants) = (Labelled::new(labels), Labelled::new(labels));
        let unrouted = RouteTally::new(UNROUTED, &routes);
        Arc::new(Self { routes, unrouted, tenants, refusals: Kinds::default() })
    }
}
