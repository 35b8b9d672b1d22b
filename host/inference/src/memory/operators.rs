//! What operators see of the models and may do with them. Loading and unloading are done by the worker between two jobs,
//! before the next one: so an unload waits for what runs, which nobody joins meanwhile, and no job ever loses its model.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;

use super::MemoryStatus;
use super::residency::Resident;
use crate::{Error, ModelId, Result, Scheduler};

/// Most loads and unloads that wait; more would be a script gone wrong.
pub(crate) const MAX_COMMANDS: usize = 64;

/// Where a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelState {
    /// Only its files are there.
    Unloaded,
    /// It is on its way into memory.
    Loading,
    /// It is in memory.
    Loaded,
}

/// A model as operators see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelStatus {
    /// Its name in requests.
    pub id: ModelId,
    /// Where it is.
    pub state: ModelState,
    /// Whether it stays there, or will once it is loaded.
    pub pinned: bool,
    /// What it takes while it is loaded.
    pub memory_bytes: u64,
    /// Seconds since somebody last asked for it, or used it; `None` before that.
    pub idle_s: Option<u64>,
    /// After how many idle seconds it is unloaded; never when `None`.
    pub idle_unload_s: Option<u64>,
    /// Why it could not be loaded the last time, if so.
    pub problem: Option<String>,
}

impl From<&Resident> for ModelStatus {
    fn from(model: &Resident) -> Self {
        Self {
            id: model.id.clone(),
            state: model.state(),
            pinned: model.pinned,
            memory_bytes: model.bytes,
            idle_s: model.used.map(|used| used.elapsed().as_secs()),
            idle_unload_s: model.idle_unload.map(|idle| idle.as_secs()),
            problem: model.problem.clone(),
        }
    }
}

/// What the worker is asked to do between two jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Load,
    Unload,
}

/// A verb for a model.
pub(crate) struct Command {
    pub(crate) verb: Verb,
    /// The model's place in the catalog.
    pub(crate) model: usize,
    /// Who waits for it; nobody at the start.
    pub(crate) done: Option<oneshot::Sender<Result<()>>>,
}

impl Scheduler {
    /// Every model, in the manifest's order.
    pub fn models(&self) -> Vec<ModelStatus> {
        self.shared.lock().residency.iter().map(ModelStatus::from).collect()
    }

    /// Whether a model is in memory now; false for an unknown one.
    pub fn is_loaded(&self, id: &ModelId) -> bool {
        self.shared.lock().residency.is_loaded(self.catalog().place(id))
    }

    /// The budget and what is taken of it.
    pub fn memory(&self) -> MemoryStatus {
        self.shared.lock().residency.memory()
    }

    /// Models that are still to be loaded at the start, the one under way included.
    pub fn preloading(&self) -> usize {
        self.shared.lock().preloading
    }

    /// Loads and unloads that wait for the worker.
    pub fn pending_commands(&self) -> usize {
        self.shared.lock().commands.len()
    }

    /// Loads a model, unloading others where need be; done at once when it is in memory. Ends when the worker has done
    /// it, which is after the job that runs; dropping the future does not take it back.
    ///
    /// # Errors
    /// [`Error::UnknownModel`]; [`Error::TooLarge`] beside models that are pinned; [`Error::OutOfMemory`] and
    /// [`Error::Failed`] when the engine cannot load it; [`Error::Overloaded`] when too many of these wait already.
    pub async fn load(&self, id: &ModelId) -> Result<()> {
        self.command(Verb::Load, id).await
    }

    /// Unloads a model, after the job that runs; nothing to do when it is not in memory. The next job of the model loads
    /// it again.
    ///
    /// # Errors
    /// [`Error::UnknownModel`]; [`Error::Invalid`] while it is pinned; [`Error::Overloaded`] as for `load`.
    pub async fn unload(&self, id: &ModelId) -> Result<()> {
        self.command(Verb::Unload, id).await
    }

    /// From now on, once it is loaded, the model is never unloaded. Jobs that would need its memory are refused, even before
    /// it is loaded.
    ///
    /// # Errors
    /// [`Error::UnknownModel`]; [`Error::TooLarge`] when another model would not fit beside it any more.
    pub fn pin(&self, id: &ModelId) -> Result<()> {
        self.catalog().get(id)?;
        self.shared.lock().residency.pin(self.catalog().place(id))
    }

    /// Lets a model give way to others again.
    ///
    /// # Errors
    /// [`Error::UnknownModel`].
    pub fn unpin(&self, id: &ModelId) -> Result<()> {
        self.catalog().get(id)?;
        self.shared.lock().residency.unpin(self.catalog().place(id));
        // it may have been idle for long enough
        self.shared.arrived.notify_one();
        Ok(())
    }

    async fn command(&self, verb: Verb, id: &ModelId) -> Result<()> {
        self.catalog().get(id)?;
        let model = self.catalog().place(id);
        let (done, receiver) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if !state.open {
                return Err(Error::WorkerGone);
            }
            if state.commands.len() >= MAX_COMMANDS {
                let reason = format!("{MAX_COMMANDS} loads and unloads of models wait already");
                return Err(Error::Overloaded { reason, retry_after: Duration::from_secs(1) });
            }
            state.commands.push_back(Command { verb, model, done: Some(done) });
        }
        self.shared.arrived.notify_one();
        receiver.await.unwrap_or(Err(Error::WorkerGone))
    }
}
