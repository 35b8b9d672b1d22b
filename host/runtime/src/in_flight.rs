//! One request that a deployment works on, and what is told and counted when it is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::context::OpenSpan;
use crate::metrics::count;
use crate::sandbox::Meter;
use crate::{Deployment, Failure};

/// Counts a request while it lasts.
pub(crate) struct InFlight(Arc<Deployment>);

impl InFlight {
    pub(crate) fn new(deployment: Arc<Deployment>) -> Self {
        deployment.in_flight.fetch_add(1, Ordering::Relaxed);
        let metrics = &deployment.host.metrics;
        count(&metrics.requests);
        count(&metrics.in_flight);
        deployment.route.metrics.enter();
        Self(deployment)
    }

    pub(crate) fn deployment(&self) -> &Deployment {
        &self.0
    }

    /// Whoever waits for the answer reports a failure; after the answer nobody does but this.
    pub(crate) fn report<R>(&self, result: &Result<R, Failure>, meter: &Meter) {
        if let Err(failure) = result
            && meter.is_answered()
            && meter.first_report()
        {
            self.0.count_failure(failure);
            let (id, code) = (meter.context().id(), failure.code());
            tracing::warn!(id, code, "a guest failed after its answer: {}", failure.internal());
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.host.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.route.metrics.leave();
    }
}

/// Told how a request ended whose instance works for others as well. One that is told nothing ended with its instance, for
/// another's fault.
pub(crate) struct Over {
    counted: InFlight,
    span: OpenSpan,
    meter: Arc<Meter>,
    is_told: bool,
}

impl Over {
    pub(crate) fn new(counted: InFlight, span: OpenSpan, meter: Arc<Meter>) -> Self {
        Self { counted, span, meter, is_told: false }
    }

    /// A request that met a limit has not ended well, whatever its guest says.
    pub(crate) fn tell(mut self, result: Result<(), Failure>) {
        let verdict = || self.meter.verdict().cloned().map_or(Ok(()), Err);
        let result = result.and_then(|()| verdict());
        self.end(&result);
    }

    fn end(&mut self, result: &Result<(), Failure>) {
        self.is_told = true;
        self.counted.report(result, &self.meter);
        self.span.settle(result);
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        if !self.is_told {
            let lost = self.meter.settle(|| Failure::InstanceLost { route: self.meter.route() });
            self.end(&Err(lost));
        }
    }
}
