//! The handle in front of the worker: takes jobs, refuses when the queue is full, and tells where a job stands. Cloning
//! it is cheap. Knows nothing of models; the worker thread (`worker.rs`) is its only counterpart.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::events::{self, Event, EventReader, EventWriter};
use crate::queue::Queue;
use crate::worker::Worker;
use crate::{Catalog, Engine, Error, Job, JobId, Picture, Result};

/// Bounds of the queue.
#[derive(Debug, Clone, Copy)]
pub struct QueueConfig {
    /// Jobs that may wait; `engine.queue-depth` in the manifest.
    pub depth: usize,
}

/// Where the time of a job went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Waiting.
    pub queue: Duration,
    /// Loading the model.
    pub load: Duration,
    /// Encoding the prompt, denoising and decoding.
    pub run: Duration,
}

/// A finished job.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// In the order of the job's seeds; each carries its parameters.
    pub pictures: Vec<Picture>,
    /// What a user should know.
    pub notes: Vec<String>,
    /// Where the time went.
    pub timings: Timings,
}

/// How many jobs ended in which way since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// With pictures.
    pub completed: u64,
    /// With an error.
    pub failed: u64,
    /// Before their end, waiting or running.
    pub cancelled: u64,
    /// Not taken, since the queue was full.
    pub refused: u64,
    /// Denoising steps done, of all jobs.
    pub steps: u64,
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

/// A submitted job. Dropping it, or its [`CancelGuard`], cancels the job before its next step.
pub struct Ticket {
    /// The job's id.
    pub id: JobId,
    /// What happens to the job.
    pub events: EventReader,
    /// The end of the job; a closed channel means [`Error::WorkerGone`].
    pub outcome: oneshot::Receiver<Result<Outcome>>,
    /// Keep it for as long as the job is wanted.
    pub guard: CancelGuard,
}

impl Ticket {
    /// Waits for the end.
    pub async fn finish(self) -> Result<Outcome> {
        let Ticket { outcome, guard: _guard, .. } = self;
        outcome.await.unwrap_or(Err(Error::WorkerGone))
    }
}

/// Cancels its job when dropped.
pub struct CancelGuard {
    cancel: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl CancelGuard {
    /// Cancels the job before its next step. Repeating it, or doing it after the end, is harmless.
    pub fn cancel(&self) {
        if !self.cancel.swap(true, Ordering::Relaxed) {
            self.shared.sweep();
        }
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// A job in the line, with what ties it to its ticket.
pub(crate) struct Entry {
    pub(crate) job: Job,
    pub(crate) events: EventWriter,
    pub(crate) outcome: oneshot::Sender<Result<Outcome>>,
    pub(crate) cancel: Arc<AtomicBool>,
    pub(crate) since: Instant,
}

impl Entry {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

pub(crate) struct State {
    pub(crate) queue: Queue<Entry>,
    /// Work and start of the running job.
    pub(crate) running: Option<(u64, Instant)>,
    /// False once the worker has ended, or every handle is gone.
    pub(crate) open: bool,
    pub(crate) counters: Counters,
}

/// What handles and the worker share.
pub(crate) struct Shared {
    // held for moments only, never over a step or an await
    state: Mutex<State>,
    pub(crate) arrived: Condvar,
    /// Nanoseconds per 1,000 units of work (pixels × steps × pictures), measured; 0 before the first job.
    pub(crate) pace: AtomicU64,
    depth: usize,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes cancelled entries out at once, so that a dead client's job holds no place in the line.
    fn sweep(&self) {
        let mut state = self.lock();
        let gone = state.queue.take_if(Entry::is_cancelled);
        if gone.is_empty() {
            return;
        }
        state.counters.cancelled += gone.len() as u64;
        self.tell_positions(&state);
        drop(state);
        // a closed channel would read as WorkerGone to whoever still holds the outcome
        gone.into_iter().for_each(|entry| drop(entry.outcome.send(Err(Error::Cancelled))));
    }

    /// Tells every waiting job where it stands.
    pub(crate) fn tell_positions(&self, state: &State) {
        let mut ahead = state.running.map_or(0, |(work, _)| work);
        let already = state.running.map_or(Duration::ZERO, |(_, since)| since.elapsed());
        let first = u32::from(state.running.is_some());
        for (position, entry) in (first..).zip(state.queue.iter()) {
            let eta = self.estimate(ahead).map(|whole| whole.saturating_sub(already));
            entry.events.send(Event::Queued { position, eta });
            ahead += entry.job.work();
        }
    }

    fn estimate(&self, work: u64) -> Option<Duration> {
        match self.pace.load(Ordering::Relaxed) {
            0 => None,
            pace => Some(Duration::from_nanos((work / 1_000).saturating_mul(pace))),
        }
    }

    /// When a refused caller should come back: after the running job, at least a second.
    fn retry_after(&self, state: &State) -> Duration {
        let running = state.running.map_or(0, |(work, _)| work);
        self.estimate(running).unwrap_or_default().max(Duration::from_secs(1))
    }
}

/// Takes jobs for one engine.
#[derive(Clone)]
pub struct Scheduler {
    shared: Arc<Shared>,
    catalog: Catalog,
    _closer: Arc<Closer>,
}

impl Scheduler {
    /// Starts the worker thread, which owns `engine` from now on and ends when the last handle is dropped.
    pub fn start(engine: Box<dyn Engine>, config: QueueConfig) -> std::io::Result<Scheduler> {
        let catalog = Catalog::new(engine.models());
        let state = State {
            queue: Queue::new(config.depth),
            running: None,
            open: true,
            counters: Counters::default(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            pace: AtomicU64::new(0),
            depth: config.depth,
        });
        let worker = Worker::new(engine, shared.clone(), catalog.clone());
        std::thread::Builder::new().name("inference".into()).spawn(move || worker.run())?;
        let _closer = Arc::new(Closer(shared.clone()));
        Ok(Scheduler { shared, catalog, _closer })
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
        let id = job.id.clone();
        self.enqueue(Entry { job, events, outcome, cancel: cancel.clone(), since: Instant::now() })?;
        let guard = CancelGuard { cancel, shared: self.shared.clone() };
        Ok(Ticket { id, events: reader, outcome: receiver, guard })
    }

    fn enqueue(&self, entry: Entry) -> Result<()> {
        let mut state = self.shared.lock();
        if !state.open {
            return Err(Error::WorkerGone);
        }
        if state.queue.push(entry).is_err() {
            state.counters.refused += 1;
            let reason = format!("{} jobs wait already (engine.queue-depth)", self.shared.depth);
            return Err(Error::Overloaded { reason, retry_after: self.shared.retry_after(&state) });
        }
        self.shared.tell_positions(&state);
        self.shared.arrived.notify_one();
        Ok(())
    }

    /// The queue at this moment.
    pub fn status(&self) -> QueueStatus {
        let state = self.shared.lock();
        QueueStatus {
            waiting: state.queue.len(),
            running: state.running.is_some(),
            alive: state.open,
            depth: self.shared.depth,
            counters: state.counters,
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
