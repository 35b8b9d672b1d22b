//! The one thread that owns the engine. It takes a job, steps its run, and looks between steps whether the job is
//! still wanted. Between jobs it loads and unloads what operators asked for, and unloads what was idle for too long. When
//! the thread ends, even by a panic, every waiting caller learns it at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::{Engine, Finished, HandOver, Made, Run, StepState};
use crate::events::Event;
use crate::measured::nanos;
use crate::memory::{Command, Demand, Loader, Ready, Verb};
use crate::metrics::ModelMetrics;
use crate::picture::{Parameters, Picture};
use crate::shared::{Entry, Running, Shared, State};
use crate::ticket::{Outcome, Product, Timings};
use crate::{Catalog, Error, Order, Result};

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
        state.running = None;
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
            if let Some(entry) = take(&mut state) {
                state.tell_positions();
                return Some(Task::Job(Box::new(entry)));
            }
            if !state.open {
                return None;
            }
            state = shared.wait(state, idle);
        }
    }

    fn work(&mut self, entry: Entry) {
        let queue = entry.since.elapsed();
        if let Some(metrics) = self.metrics(entry.model) {
            metrics.queue_wait.record(queue);
        }
        entry.events.send(Event::Started);
        let began = Instant::now();
        let result = self.produce(&entry, began).and_then(|(finished, load)| {
            let run = began.elapsed().saturating_sub(load);
            outcome(&entry.job.order, finished, Timings { queue, load, run })
        });
        [Some(entry.model), entry.refiner].into_iter().flatten().for_each(|model| self.loader.touch(model));
        self.loader.relieve(entry.model, &result);
        self.account(&entry, &result);
        // the caller may be gone by now, which is fine: the work is done or dropped
        let _ = entry.outcome.send(result);
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
                StepState::Step { step, total, previews } => {
                    self.count_step(entry, model, stepped.elapsed());
                    entry.events.send(Event::Step { step, total, elapsed: began.elapsed() });
                    previews.into_iter().for_each(|preview| entry.events.send(Event::Preview(preview)));
                }
                StepState::Heard(delta) => {
                    self.count_step(entry, model, stepped.elapsed());
                    entry.events.send(Event::Heard(delta));
                }
                StepState::Said(text) => {
                    self.count_step(entry, model, stepped.elapsed());
                    if !text.is_empty() {
                        entry.events.send(Event::Said { text });
                    }
                }
            }
        }
    }

    fn count_step(&self, entry: &Entry, model: usize, took: Duration) {
        if let Some(metrics) = self.metrics(model) {
            metrics.step.record(took);
        }
        self.line.0.lock().ledger.count(&entry.job.tenant, |counters| counters.steps += 1);
    }

    /// Charges the job's tenant for the time that the job really took, however it ended.
    fn account(&self, entry: &Entry, result: &Result<Outcome>) {
        let mut state = self.line.0.lock();
        let state = &mut *state;
        let Some(Running { began, charge, .. }) = state.running.take() else { return };
        let took = began.elapsed();
        if let Some(metrics) = self.metrics(entry.model) {
            metrics.ended(result, took);
        }
        state.queue.settle(charge, nanos(took));
        if let Ok(Outcome { timings: Timings { load, run, .. }, .. }) = result {
            state.measured.learn(entry.model, entry.job.order.work(), *load, *run);
        }
        state.ledger.count(&entry.job.tenant, |counters| {
            counters.work += took;
            match result {
                Ok(_) => counters.completed += 1,
                Err(Error::Cancelled) => counters.cancelled += 1,
                Err(_) => counters.failed += 1,
            }
        });
    }
}

/// Takes the next job out of the line; it runs from now on.
fn take(state: &mut State) -> Option<Entry> {
    let outlook = state.outlook();
    let (entry, charge) = state.queue.pop(&outlook)?;
    let Entry { job, model, submitted, cancel, .. } = &entry;
    let estimate = Duration::from_nanos(outlook.cost(*model, job.order.work()));
    state.running = Some(Running {
        id: job.id.clone(),
        tenant: job.tenant.clone(),
        priority: job.priority,
        model: job.order.model().id.clone(),
        place: *model,
        submitted: *submitted,
        began: Instant::now(),
        estimate,
        cancel: cancel.clone(),
        charge,
    });
    Some(entry)
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
