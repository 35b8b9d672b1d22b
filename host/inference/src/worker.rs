//! The one thread that owns the engine. It takes a job, steps its run, and looks between steps whether the job is
//! still wanted; conversations of one model run side by side (`batch.rs`). How a job ends is in `end.rs`. Between jobs it loads and unloads what operators asked for, and unloads what was idle for too long. When
//! the thread ends, even by a panic, every waiting caller learns it at once.

mod batch;
mod end;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::{Engine, Finished, HandOver, Run, StepState};
use crate::events::Event;
use crate::memory::{Command, Demand, Loader, Ready, Verb};
use crate::metrics::ModelMetrics;
use crate::shared::{Entry, Shared};
use crate::{Catalog, Error, Order, Result};
use end::Took;

pub(crate) struct Worker {
    loader: Loader,
    // dropped last: its drop tells the callers that nothing will run any more
    line: Line,
}

/// What the worker does next.
enum Task {
    Job(Box<Entry>),
    Command(Command),
    /// Some model was idle for long enough.
    Unload,
}

/// How a run came to its end.
enum End {
    Done(Finished),
    HandOver(HandOver),
}

/// Closes the queue when the worker ends, by whatever way.
struct Line(Arc<Shared>);

impl Drop for Line {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.open = false;
        state.running.clear();
        state.preloading = 0;
        // dropping an entry closes its ticket's channel, which reads as WorkerGone; a command's likewise
        drop(state.queue.take_if(|_| true));
        state.commands.clear();
    }
}

impl Worker {
    pub(crate) fn new(engine: Box<dyn Engine>, shared: Arc<Shared>, catalog: Catalog) -> Self {
        Self { loader: Loader::new(engine, catalog, shared.clone()), line: Line(shared) }
    }

    /// Works until every handle is dropped.
    pub(crate) fn run(mut self) {
        while let Some(task) = self.next() {
            match task {
                Task::Job(entry) if matches!(entry.job.order, Order::Chat(_)) => self.converse(*entry),
                Task::Job(entry) => self.work(*entry),
                Task::Command(command) => self.obey(command),
                Task::Unload => self.loader.unload_idle(),
            }
        }
    }

    fn next(&self) -> Option<Task> {
        let shared = &self.line.0;
        let mut state = shared.lock();
        loop {
            if let Some(command) = state.commands.pop_front() {
                return Some(Task::Command(command));
            }
            let idle = state.residency.next_idle(Instant::now());
            if idle.is_some_and(|left| left.is_zero()) {
                return Some(Task::Unload);
            }
            if let Some(entry) = state.take() {
                return Some(Task::Job(Box::new(entry)));
            }
            if !state.open {
                return None;
            }
            state = shared.wait(state, idle);
        }
    }

    fn work(&mut self, entry: Entry) {
        let began = self.announce(&entry);
        let (result, load) = match self.produce(&entry, began) {
            Ok((finished, load)) => (Ok(finished), load),
            Err(error) => (Err(error), Duration::ZERO),
        };
        self.conclude(entry, Took { began, load, work: began.elapsed() }, result);
    }

    /// It is a job's turn, from now on.
    fn announce(&self, entry: &Entry) -> Instant {
        if let Some(metrics) = self.metrics(entry.model) {
            metrics.queue_wait.record(entry.since.elapsed());
        }
        entry.events.send(Event::Started);
        Instant::now()
    }

    fn produce(&mut self, entry: &Entry, began: Instant) -> Result<(Finished, Duration)> {
        let (mut left, mut load) = (None, Duration::ZERO);
        for demand in entry.demands() {
            match self.run_part(entry, &demand, left.take(), began)? {
                (End::Done(finished), took) => return Ok((finished, load + took)),
                (End::HandOver(handed), took) => (left, load) = (Some(handed), load + took),
            }
        }
        Err(Error::Failed("the job was handed over and there was nobody to take it".into()))
    }

    /// Runs a job's part for one model, and says how long loading that took. A model that handed its part over has no run
    /// any more, so that it may give way to the refiner where both do not fit.
    fn run_part(
        &mut self,
        entry: &Entry,
        demand: &Demand,
        left: Option<HandOver>,
        began: Instant,
    ) -> Result<(End, Duration)> {
        if entry.is_cancelled() {
            return Err(Error::Cancelled);
        }
        self.line.0.lock().running.iter_mut().for_each(|running| running.place = demand.model);
        // made before the run, so dropped after it: the lease outlives what it stands for
        let Ready { lease: _lease, load } = self.loader.ready(demand)?;
        let run = match left {
            None => self.loader.begin(&entry.job.order)?,
            Some(left) => self.loader.take_over(&entry.job.order, left)?,
        };
        Ok((self.step_through(entry, demand.model, run, began)?, load))
    }

    /// None for a model that the catalog does not have.
    fn metrics(&self, model: usize) -> Option<&ModelMetrics> {
        self.line.0.models.get(model).map(Arc::as_ref)
    }

    fn obey(&mut self, Command { verb, model, done }: Command) {
        let result = match verb {
            Verb::Load => self.loader.preload(model),
            Verb::Unload => self.loader.unload_unpinned(model),
        };
        match done {
            // whoever asked may be gone by now, which is fine
            Some(done) => drop(done.send(result)),
            None => {
                self.line.0.lock().preloading -= 1;
                if let Err(error) = result {
                    tracing::error!("a model could not be loaded at the start: {error}");
                }
            }
        }
    }

    fn step_through(
        &self,
        entry: &Entry,
        model: usize,
        mut run: Box<dyn Run>,
        began: Instant,
    ) -> Result<End> {
        loop {
            if entry.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let stepped = Instant::now();
            match run.next_step()? {
                StepState::Done(finished) => return Ok(End::Done(finished)),
                StepState::HandOver => return run.hand_over().map(End::HandOver),
                state => self.tell(entry, model, state, (stepped.elapsed(), began)),
            }
        }
    }

    /// Tells what a step did that took so long, of a job that began then.
    fn tell(&self, entry: &Entry, model: usize, state: StepState, (took, began): (Duration, Instant)) {
        self.count_step(entry, model, took);
        match state {
            StepState::Step { step, total, previews } => {
                entry.events.send(Event::Step { step, total, elapsed: began.elapsed() });
                previews.into_iter().for_each(|preview| entry.events.send(Event::Preview(preview)));
            }
            StepState::Heard(delta) => entry.events.send(Event::Heard(delta)),
            StepState::Said(text) if !text.is_empty() => entry.events.send(Event::Said { text }),
            // the ends are the callers'
            StepState::Said(_) | StepState::HandOver | StepState::Done(_) => {}
        }
    }

    fn count_step(&self, entry: &Entry, model: usize, took: Duration) {
        if let Some(metrics) = self.metrics(model) {
            metrics.step.record(took);
        }
        self.line.0.lock().ledger.count(&entry.job.tenant, |counters| counters.steps += 1);
    }
}
