//! The handle in front of the worker: takes jobs, refuses when the queue is full, and sets what each tenant may take.
//! Cloning it is cheap. Knows nothing of models; the worker thread (`worker.rs`) is its only counterpart.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use tokio::sync::oneshot;

use crate::chat::Role;
use crate::engine::{Engine, Estimate};
use crate::events;
use crate::ledger::{Counters, Ledger};
use crate::measured::Measured;
use crate::memory::{Command, MemoryConfig, Residency, Verb};
use crate::metrics::ModelMetrics;
use crate::queue::{Queue, Share};
use crate::shared::{Entry, Shared, State};
use crate::speech::SAMPLE_RATE;
use crate::ticket::{CancelGuard, Ticket, Works};
use crate::worker::Worker;
use crate::{
    Catalog, ChatOrder, ChatRequest, Error, ImageOrder, ImageRequest, Job, ModelId, ModelInfo, Order, Refine,
    Result, SpeechOptions, SpeechOrder, TenantId, Turn,
};

/// Bounds of the queue.
#[derive(Debug, Clone, Copy)]
pub struct QueueConfig {
    /// Jobs that may wait; `engine.queue-depth` in the manifest.
    pub depth: usize,
    /// How often a job may be passed by one whose model is loaded already, and how far behind it that one may be;
    /// `engine.reorder-window` in the manifest. 0 switches it off.
    pub reorder_window: usize,
    /// Conversations of one language model that are answered side by side; `engine.conversations` in the manifest. With 1, one
    /// is answered after the other.
    pub conversations: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { depth: 64, reorder_window: 4, conversations: 4 }
    }
}

/// Everything that a scheduler is told. A [`QueueConfig`] alone will do.
#[derive(Debug, Clone, Default)]
pub struct SchedulerConfig {
    /// Bounds of the queue.
    pub queue: QueueConfig,
    /// What may be taken of the memory, and how models are kept.
    pub memory: MemoryConfig,
}

impl From<QueueConfig> for SchedulerConfig {
    fn from(queue: QueueConfig) -> Self {
        Self { queue, memory: MemoryConfig::default() }
    }
}

/// Why a scheduler does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The worker thread cannot be started.
    #[error("the inference worker does not start: {0}")]
    Worker(#[from] std::io::Error),
    /// A model does not fit the memory: [`Error::TooLarge`].
    #[error(transparent)]
    Memory(#[from] Error),
}

/// The queue at one moment.
#[derive(Debug, Clone, serde::Serialize)]
pub struct QueueStatus {
    /// Jobs that wait.
    pub waiting: usize,
    /// Whether a job runs.
    pub running: bool,
    /// How many do: of conversations side by side there are several.
    pub running_jobs: usize,
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
    estimate: Estimate,
    depth: usize,
    _closer: Arc<Closer>,
}

impl Scheduler {
    /// Starts the worker thread, which owns `engine` from now on and ends when the last handle is dropped. It begins by
    /// loading the models that are to be loaded at the start; jobs may be submitted meanwhile.
    pub fn start(
        engine: Box<dyn Engine>,
        config: impl Into<SchedulerConfig>,
    ) -> std::result::Result<Scheduler, StartError> {
        let SchedulerConfig { queue, memory } = config.into();
        let (catalog, estimate) = (Catalog::new(engine.models()), engine.estimate());
        let budget = budget(&memory, engine.memory_bytes());
        let models = catalog.iter().map(|info| (info.clone(), typical(info, &estimate))).collect();
        let commands = preloads(&catalog, &memory);
        let state = State {
            queue: Queue::new(queue.depth, queue.reorder_window),
            measured: Measured::new(catalog.iter().map(ModelInfo::kind)),
            residency: Residency::new(budget, models, &memory)?,
            preloading: commands.len(),
            commands,
            running: Vec::new(),
            conversations: queue.conversations.max(1),
            open: true,
            ledger: Ledger::default(),
        };
        let shared = Arc::new(Shared::new(state, &catalog));
        let worker = Worker::new(engine, shared.clone(), catalog.clone());
        std::thread::Builder::new().name("inference".into()).spawn(move || worker.run())?;
        let _closer = Arc::new(Closer(shared.clone()));
        Ok(Scheduler { shared, catalog, estimate, depth: queue.depth, _closer })
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
        let (id, model) = (job.id.clone(), self.catalog.place(&job.order.model().id));
        let refiner = job.order.refiner().map(|id| self.catalog.place(id));
        let memory = (self.estimate)(&job.order);
        let (since, submitted) = (Instant::now(), SystemTime::now());
        let mut state = self.shared.lock();
        if !state.open {
            return Err(Error::WorkerGone);
        }
        state.enqueue(Entry {
            job,
            model,
            refiner,
            memory,
            events,
            outcome,
            cancel: cancel.clone(),
            since,
            submitted,
        })?;
        drop(state);
        self.shared.arrived.notify_one();
        let guard = CancelGuard { cancel, works: Works::Worker(self.shared.clone()) };
        Ok(Ticket { id, events: reader, outcome: receiver, guard })
    }

    /// What is counted of a model by its name, of one that is served elsewhere as well.
    pub fn metrics_of(&self, model: &ModelId) -> Arc<ModelMetrics> {
        self.shared.model_names.get(model.as_str())
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
            running: !state.running.is_empty(),
            running_jobs: state.running.len(),
            alive: state.open,
            depth: self.depth,
            counters: state.ledger.total,
        }
    }
}

/// What was configured, or else what the engine proposes; said in the log, since much depends on it.
fn budget(memory: &MemoryConfig, proposed: u64) -> u64 {
    let budget = memory.bytes.unwrap_or(proposed);
    tracing::info!(
        "models and runs may take {budget} bytes of memory (engine.memory-bytes; proposed: {proposed})"
    );
    budget
}

/// What an order of the model's own size takes, with the model's defaults: a picture, a window of speech, or a reply.
fn typical(info: &ModelInfo, estimate: &Estimate) -> u64 {
    let order: Result<Order> = match info {
        // a model that needs a picture to start from has no order without one; its own size is checked with its first
        // nor does it count its refiner, which has one of its own
        ModelInfo::Image(model) => {
            let request = ImageRequest { refine: Refine::Never, ..ImageRequest::default() };
            ImageOrder::with(request, model).map(Into::into)
        }
        ModelInfo::Speech(model) => {
            let silence = vec![0.0; (model.window_seconds * SAMPLE_RATE as f64) as usize];
            SpeechOrder::new(silence.into(), SpeechOptions::default(), info).map(Into::into)
        }
        ModelInfo::Language(_) => {
            let turns = vec![Turn { role: Role::User, text: String::new() }];
            ChatOrder::new(ChatRequest { turns, ..ChatRequest::default() }, info).map(Into::into)
        }
    };
    order.map_or(0, |order| estimate(&order))
}

fn preloads(catalog: &Catalog, memory: &MemoryConfig) -> VecDeque<Command> {
    let is_preloaded = |info: &ModelInfo| memory.models.get(info.id()).is_some_and(|keep| keep.preload);
    let places = catalog.iter().enumerate().filter(|(_, info)| is_preloaded(info));
    places.map(|(model, _)| Command { verb: Verb::Load, model, done: None }).collect()
}

/// Ends the worker with the last handle.
struct Closer(Arc<Shared>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.lock().open = false;
        self.0.arrived.notify_all();
    }
}
