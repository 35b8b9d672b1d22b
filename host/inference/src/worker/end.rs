//! How a job ends: what was made is handed over, what it took is charged to its tenant, and whoever asked learns of it.
//! The same for a job that ran alone and for one that ran beside others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Worker;
use crate::engine::{Finished, Made};
use crate::measured::nanos;
use crate::picture::{Parameters, Picture};
use crate::shared::Entry;
use crate::ticket::{Outcome, Product, Timings};
use crate::{Error, Order, Result};

/// Where the time of a job went.
#[derive(Clone, Copy)]
pub(super) struct Took {
    /// When it was its turn.
    pub(super) began: Instant,
    /// Loading its models.
    pub(super) load: Duration,
    /// What it had of the worker, loading included: where it ran beside others, its part.
    pub(super) work: Duration,
}

impl Worker {
    /// Ends a job, whose run is gone and has given its memory back.
    pub(super) fn conclude(&mut self, entry: Entry, took: Took, result: Result<Finished>) {
        let Took { began, load, .. } = took;
        let (queue, whole) = (began.saturating_duration_since(entry.since), began.elapsed());
        let timings = Timings { queue, load, run: whole.saturating_sub(load) };
        let result = result.and_then(|finished| outcome(&entry.job.order, finished, timings));
        [Some(entry.model), entry.refiner].into_iter().flatten().for_each(|model| self.loader.touch(model));
        self.loader.relieve(entry.model, &result);
        if let Some(metrics) = self.metrics(entry.model) {
            metrics.ended(&result, whole);
        }
        self.account(&entry, took, &result);
        // the caller may be gone by now, which is fine: the work is done or dropped
        let _ = entry.outcome.send(result);
    }

    /// Charges the job's tenant for the time that the job really took, however it ended.
    fn account(&self, entry: &Entry, took: Took, result: &Result<Outcome>) {
        let Took { load, work, .. } = took;
        let mut state = self.line.0.lock();
        let state = &mut *state;
        let Some(place) = state.running.iter().position(|running| running.id == entry.job.id) else { return };
        state.queue.settle(state.running.remove(place).charge, nanos(work));
        if result.is_ok() {
            state.measured.learn(entry.model, entry.job.order.work(), load, work.saturating_sub(load));
        }
        state.ledger.count(&entry.job.tenant, |counters| {
            counters.work += work;
            match result {
                Ok(_) => counters.completed += 1,
                Err(Error::Cancelled) => counters.cancelled += 1,
                Err(_) => counters.failed += 1,
            }
        });
    }
}

/// What an engine made, if it is what was ordered.
fn outcome(order: &Order, Finished { made, notes }: Finished, timings: Timings) -> Result<Outcome> {
    let product = match (order, made) {
        (Order::Image(order), Made::Pictures(pictures)) => {
            let picture = |(index, pixels)| {
                let parameters = Parameters::of(order, index, &notes);
                Picture { pixels, parameters: Some(Arc::new(parameters)) }
            };
            Product::Pictures(pictures.into_iter().enumerate().map(picture).collect())
        }
        (Order::Speech(_), Made::Transcript(transcript)) => Product::Transcript(transcript),
        (Order::Chat(_), Made::Reply(reply)) => Product::Reply(reply),
        _ => return Err(Error::Failed("the engine made something else than was ordered".into())),
    };
    Ok(Outcome { model: order.model().id.clone(), product, notes, timings })
}
