//! The memory of the engine's device, in bytes: how much there is (`budget.rs`), which models are in it and which gives
//! way to another (`residency.rs`), how they get in and out (`loader.rs`), and what operators may say about it
//! (`operators.rs`). Policy alone: how much a model or a job takes is the engine's word.
//!
//! Two things are counted: a model while it is loaded, and a job's run while it runs. Both hold a lease, which gives its
//! bytes back when it is dropped, however the job ended. A job takes its lease before anything is loaded for it, so that
//! what loading needs for a moment has room as well. Who is to run beside others takes its lease before it begins, out of what
//! is free; nothing is unloaded for it.

mod budget;
mod loader;
mod operators;
mod residency;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ModelId;

pub(crate) use budget::Lease;
pub(crate) use loader::{Loader, Ready};
pub(crate) use operators::{Command, Verb};
pub(crate) use residency::{Demand, Residency, Resident};

pub use budget::MemoryStatus;
pub use operators::{ModelState, ModelStatus};

/// What may be taken, and how models are kept.
#[derive(Debug, Clone, Default)]
pub struct MemoryConfig {
    /// Bytes for models and runs together, `engine.memory-bytes` in the manifest; the engine's own proposal when `None`.
    pub bytes: Option<u64>,
    /// Models that are kept otherwise than by default. A model that the engine lacks is passed over.
    pub models: BTreeMap<ModelId, Keep>,
}

/// How a model is kept. By default it is loaded for its first job and stays until another needs the memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Once loaded, it is never unloaded; `pin` in the manifest.
    pub pinned: bool,
    /// It is loaded at the start, before the first job; `preload` in the manifest.
    pub preload: bool,
    /// It is unloaded when it was not used for so long; `idle-unload-s` in the manifest.
    pub idle_unload: Option<Duration>,
}
