//! The handle in front of the worker: takes jobs, refuses when the queue is full, and sets what each tenant may take.
//! Cloning it is cheap. Knows nothing of models; the worker thread (`worker.rs`) is its only counterpart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use tokio::sync::oneshot;

use crate::events;
use crate::ledger::{Counters, Ledger};
use crate::measured::Measured;
use crate::queue::{Queue, Share};
use crate::shared::{Entry, Shared, State};
use crate::ticket::{CancelGuard, Ticket};
use crate::worker::Worker;
use crate::{Catalog, Engine, Error, Job, Result, TenantId};

/// Bounds of the queue.
#[derive(Debug, Clone, Copy)]
pub struct QueueConfig {
    /// Jobs that may wait; `engine.queue-depth` in the manifest.
    pub depth: usize,
    /// How often a job may be passed by one whose model is loaded already, and how far behind it that one may be;
    /// `engine.reorder-window` in the manifest. 0 switches it off.
    pub reorder_window: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { depth: 64, reorder_window: 4 }
    }
}

/// The queue at one moment.
#[derive(Debug, Clone, serde::Serialize)]
pub struct QueueStatus {
    /// Jobs that wait.
    pub waiting: usize,
    /// Whether a job runs.
    pub running: bool,
    /// Whether the worker thread lives.
    pub alive: bool,
    /// The most jobs that may wait.
    pub depth: usize,
    /// How jobs ended.
    pub counters: Counters,
}

/// Takes jobs for one engine.
#[derive(Clone)]
pub struct Scheduler {
    pub(crate) shared: Arc<Shared>,
    catalog: Catalog,
    depth: usize,
    _closer: Arc<Closer>,
}

impl Scheduler {
    /// Starts the worker thread, which owns `engine` from now on and ends when the last handle is dropped.
    pub fn start(engine: Box<dyn Engine>, config: QueueConfig) -> std::io::Result<Scheduler> {
        let catalog = Catalog::new(engine.models());
        let state = State {
            queue: Queue::new(config.depth, config.reorder_window),
            measured: Measured::new(catalog.iter().count()),
            running: None,
            open: true,
            ledger: Ledger::default(),
        };
        let shared = Arc::new(Shared::new(state, &catalog));
        let worker = Worker::new(engine, shared.clone(), catalog.clone());
        std::thread::Builder::new().name("inference".into()).spawn(move || worker.run())?;
        let _closer = Arc::new(Closer(shared.clone()));
        Ok(Scheduler { shared, catalog, depth: config.depth, _closer })
    }

    /// The models.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Queues a job, or refuses it at once.
    pub fn submit(&self, job: Job) -> Result<Ticket> {
        let (events, reader) = events::channel();
        let (outcome, receiver) = oneshot::channel();
        let cancel = Arc::new(AtomicBool::new(false));
        let (id, model) = (job.id.clone(), self.catalog.place(&job.model.id));
        let (since, submitted) = (Instant::now(), SystemTime::now());
        let mut state = self.shared.lock();
        if !state.open {
            return Err(Error::WorkerGone);
        }
        state.enqueue(Entry { job, model, events, outcome, cancel: cancel.clone(), since, submitted })?;
        drop(state);
        self.shared.arrived.notify_one();
        let guard = CancelGuard { cancel, shared: self.shared.clone() };
        Ok(Ticket { id, events: reader, outcome: receiver, guard })
    }

    /// What each tenant may take from now on; a tenant that is not named has [`Share::default`]. Jobs that wait keep
    /// their places in their tenant's line, and a lower bound refuses new ones only.
    pub fn set_shares(&self, shares: BTreeMap<TenantId, Share>) {
        let mut state = self.shared.lock();
        state.queue.set_shares(shares);
        state.tell_positions();
    }

    /// The queue at this moment.
    pub fn status(&self) -> QueueStatus {
        let state = self.shared.lock();
        QueueStatus {
            waiting: state.queue.len(),
            running: state.running.is_some(),
            alive: state.open,
            depth: self.depth,
            counters: state.ledger.total,
        }
    }
}

/// Ends the worker with the last handle.
struct Closer(Arc<Shared>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.lock().open = false;
        self.0.arrived.notify_all();
    }
}
