//! What handles and the worker share: the queue, the running jobs, what was measured, and which models are in memory.
//! Every waiting job is told from here where it stands, in the order in which the queue will really serve it. What is known of
//! those that run, and who joins them, is in `running.rs`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

use crate::events::{Event, EventWriter};
use crate::ledger::Ledger;
use crate::measured::{Measured, Outlook};
use crate::memory::{Command, Demand, Residency, Resident};
use crate::metrics::{Labelled, ModelMetrics};
use crate::queue::{Full, Place, Queue};
use crate::running::Running;
use crate::ticket::Outcome;
use crate::{Catalog, Error, Job, ModelId, Result, TenantId};

/// Models that are counted apart; a bound on what monitoring has to keep.
const MAX_MODELS: usize = 256;

/// A job in the line, with what ties it to its ticket.
pub(crate) struct Entry {
    pub(crate) job: Job,
    /// Its model's place in the catalog.
    pub(crate) model: usize,
    /// Its refiner's place, if it has one.
    pub(crate) refiner: Option<usize>,
    /// Bytes that its run takes, and its second run as well if there is one.
    pub(crate) memory: u64,
    pub(crate) events: EventWriter,
    pub(crate) outcome: oneshot::Sender<Result<Outcome>>,
    pub(crate) cancel: Arc<AtomicBool>,
    pub(crate) since: Instant,
    pub(crate) submitted: SystemTime,
}

impl Entry {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    pub(crate) fn place(&self) -> Place {
        let Job { tenant, priority, order, .. } = &self.job;
        Place { tenant: tenant.clone(), priority: *priority, model: self.model, work: order.work() }
    }

    /// What it wants of the memory, of the first model first: each is wanted alone, after the one before.
    pub(crate) fn demands(&self) -> impl Iterator<Item = Demand> {
        let refiner = self.job.order.refiner();
        [(&self.job.order.model().id, self.model)]
            .into_iter()
            .chain(refiner.zip(self.refiner))
            .map(|(id, place)| self.demand(id, place))
    }

    /// What it wants for its own model.
    pub(crate) fn own_demand(&self) -> Demand {
        self.demand(&self.job.order.model().id, self.model)
    }

    fn demand(&self, id: &ModelId, model: usize) -> Demand {
        let order = &self.job.order;
        let what = format!("{} with model `{id}`", order.title());
        Demand { model, run: self.memory, what, fix: order.fix() }
    }
}

/// Where a waiting job stands.
pub(crate) struct Standing<'a> {
    pub(crate) entry: &'a Entry,
    /// Jobs ahead of it, those that run included.
    pub(crate) position: u32,
    /// Time until it starts, once enough was measured.
    pub(crate) eta: Option<Duration>,
}

pub(crate) struct State {
    pub(crate) queue: Queue<Entry>,
    pub(crate) measured: Measured,
    pub(crate) residency: Residency,
    /// Loads and unloads that the worker does before the next job; bounded where they come in.
    pub(crate) commands: VecDeque<Command>,
    /// Of these, and the one under way, how many are of the start.
    pub(crate) preloading: usize,
    /// Those of a batch, or one; in the order in which they began.
    pub(crate) running: Vec<Running>,
    /// Most jobs of a batch; at least 1.
    pub(crate) conversations: usize,
    /// False once the worker has ended, or every handle is gone.
    pub(crate) open: bool,
    pub(crate) ledger: Ledger,
}

impl State {
    /// Every waiting job, in the order in which they will be served.
    pub(crate) fn standings(&self) -> Vec<Standing<'_>> {
        let first = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        let is_known = self.measured.is_known();
        let standing = |(position, (entry, start))| {
            let eta = is_known.then(|| Duration::from_nanos(start));
            Standing { entry, position, eta }
        };
        (first..).zip(self.queue.forecast(&self.outlook())).map(standing).collect()
    }

    /// What the queue goes by once the running job has loaded its model; if that fails, it is seen right after.
    pub(crate) fn outlook(&self) -> Outlook {
        let loaded = self.residency.iter().map(Resident::is_loaded);
        let mut outlook = Outlook::new(&self.measured, loaded).with(self.course());
        self.running.iter().for_each(|running| outlook.assume_loaded(running.place));
        outlook
    }

    /// Tells every waiting job where it stands.
    pub(crate) fn tell_positions(&self) {
        for Standing { entry, position, eta } in self.standings() {
            entry.events.send(Event::Queued { position, eta });
        }
    }

    /// Puts an entry into the line, or says why not and when a place is likely to be free. A job that can never have the
    /// memory that it wants is no matter of the queue: it is not counted.
    pub(crate) fn enqueue(&mut self, entry: Entry) -> Result<()> {
        entry.demands().try_for_each(|demand| self.residency.check(&demand))?;
        let models = [Some(entry.model), entry.refiner];
        let place = entry.place();
        let tenant = place.tenant.clone();
        if let Err(full) = self.queue.push(&place, entry) {
            self.ledger.count(&tenant, |counters| counters.refused += 1);
            return Err(self.refusal(full, &tenant));
        }
        self.ledger.count(&tenant, |counters| counters.submitted += 1);
        // a model that somebody waits for is not idle
        models.into_iter().flatten().for_each(|model| self.residency.touch(model, Instant::now()));
        self.tell_positions();
        Ok(())
    }

    /// A place is free as soon as a job starts: any job where the queue is full, one of the tenant where the tenant is.
    fn refusal(&self, full: Full, tenant: &TenantId) -> Error {
        let waiting = self.queue.len();
        let reason = match full {
            Full::Queue => format!("{waiting} jobs wait already (engine.queue-depth)"),
            Full::Tenant(bound) => {
                format!("no more than {bound} of tenant `{tenant}`'s jobs may wait (tenant.max-waiting)")
            }
            Full::Half(bound) => {
                format!(
                    "no more than {bound} of tenant `{tenant}`'s jobs may wait: half of engine.queue-depth"
                )
            }
        };
        let frees = |standing: &Standing<'_>| full == Full::Queue || standing.entry.job.tenant == *tenant;
        let next = self.standings().into_iter().find(frees).and_then(|standing| standing.eta);
        Error::Overloaded { reason, retry_after: next.unwrap_or_default().max(Duration::from_secs(1)) }
    }
}

pub(crate) struct Shared {
    // held for moments only, never over a step or an await
    state: Mutex<State>,
    pub(crate) arrived: Condvar,
    /// What is counted of each model, by its place in the catalog.
    pub(crate) models: Box<[Arc<ModelMetrics>]>,
    /// The same by name, with a bound on the names.
    pub(crate) model_names: Labelled<ModelMetrics>,
}

impl Shared {
    pub(crate) fn new(state: State, catalog: &Catalog) -> Self {
        let model_names = Labelled::new(MAX_MODELS);
        let models = catalog.iter().map(|info| model_names.get(info.id().as_str())).collect();
        Self { state: Mutex::new(state), arrived: Condvar::new(), models, model_names }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to arrive, or at most for `idle`.
    pub(crate) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        idle: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        match idle {
            Some(idle) => {
                let waited = self.arrived.wait_timeout(state, idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Takes cancelled entries out at once, so that a dead client's job holds no place in the line.
    pub(crate) fn sweep(&self) {
        let mut state = self.lock();
        let gone = state.queue.take_if(Entry::is_cancelled);
        if gone.is_empty() {
            return;
        }
        for entry in &gone {
            state.ledger.count(&entry.job.tenant, |counters| counters.cancelled += 1);
        }
        state.tell_positions();
        drop(state);
        // a closed channel would read as WorkerGone to whoever still holds the outcome
        gone.into_iter().for_each(|entry| drop(entry.outcome.send(Err(Error::Cancelled))));
    }
}
