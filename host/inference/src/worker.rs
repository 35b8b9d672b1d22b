//! The one thread that owns the engine. It takes a job, steps its run, and looks between steps whether the job is
//! still wanted. When the thread ends, even by a panic, every waiting caller learns it at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::engine::{Begun, Engine, Finished, Run, StepState};
use crate::events::Event;
use crate::picture::{Parameters, Picture};
use crate::scheduler::{Entry, Outcome, Shared, Timings};
use crate::{Catalog, Error, Job, Result};

pub(crate) struct Worker {
    engine: Box<dyn Engine>,
    catalog: Catalog,
    // dropped last: its drop tells the callers that nothing will run any more
    line: Line,
}

/// Closes the queue when the worker ends, by whatever way.
struct Line(Arc<Shared>);

impl Drop for Line {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.open = false;
        state.running = None;
        // dropping an entry closes its ticket's channel, which reads as WorkerGone
        drop(state.queue.take_if(|_| true));
    }
}

impl Worker {
    pub(crate) fn new(engine: Box<dyn Engine>, shared: Arc<Shared>, catalog: Catalog) -> Self {
        Self { engine, catalog, line: Line(shared) }
    }

    /// Works until every handle is dropped.
    pub(crate) fn run(mut self) {
        while let Some(entry) = self.next() {
            self.work(entry);
        }
    }

    fn next(&self) -> Option<Entry> {
        let shared = &self.line.0;
        let mut state = shared.lock();
        loop {
            if let Some(entry) = state.queue.pop() {
                state.running = Some((entry.job.work(), Instant::now()));
                shared.tell_positions(&state);
                return Some(entry);
            }
            if !state.open {
                return None;
            }
            state = shared.arrived.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    fn work(&mut self, entry: Entry) {
        let queue = entry.since.elapsed();
        entry.events.send(Event::Started);
        let began = Instant::now();
        let result = self.produce(&entry, began).map(|(finished, load)| {
            let run = began.elapsed().saturating_sub(load);
            self.learn_pace(&entry.job, run);
            outcome(&entry.job, finished, Timings { queue, load, run })
        });
        self.count(&result);
        // the caller may be gone by now, which is fine: the work is done or dropped
        let _ = entry.outcome.send(result);
    }

    fn produce(&mut self, entry: &Entry, began: Instant) -> Result<(Finished, Duration)> {
        if entry.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let begun = self.engine.begin(&entry.job);
        let engine = &self.engine;
        self.catalog.mark(|id| engine.is_loaded(id));
        let Begun { mut run, load } = begun?;
        Ok((self.step_through(entry, run.as_mut(), began)?, load))
    }

    fn step_through(&self, entry: &Entry, run: &mut dyn Run, began: Instant) -> Result<Finished> {
        loop {
            if entry.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match run.next_step()? {
                StepState::Done(finished) => return Ok(finished),
                StepState::Step { step, total, previews } => {
                    self.line.0.lock().counters.steps += 1;
                    entry.events.send(Event::Step { step, total, elapsed: began.elapsed() });
                    previews.into_iter().for_each(|preview| entry.events.send(Event::Preview(preview)));
                }
            }
        }
    }

    /// An average that forgets: each job counts a third.
    fn learn_pace(&self, job: &Job, run: Duration) {
        let pace = &self.line.0.pace;
        let now = (run.as_nanos() as u64) / (job.work() / 1_000).max(1);
        let old = pace.load(Ordering::Relaxed);
        let new = if old == 0 { now } else { (old * 2 + now) / 3 };
        pace.store(new.max(1), Ordering::Relaxed);
    }

    fn count(&self, result: &Result<Outcome>) {
        let mut state = self.line.0.lock();
        state.running = None;
        match result {
            Ok(_) => state.counters.completed += 1,
            Err(Error::Cancelled) => state.counters.cancelled += 1,
            Err(_) => state.counters.failed += 1,
        }
    }
}

fn outcome(job: &Job, finished: Finished, timings: Timings) -> Outcome {
    let picture = |(index, pixels)| {
        let parameters = Parameters::of(job, index, &finished.notes);
        Picture { pixels, parameters: Some(Arc::new(parameters)) }
    };
    let pictures = finished.pictures.into_iter().enumerate().map(picture).collect();
    Outcome { pictures, notes: finished.notes, timings }
}
