//! What Atelier does, without how: jobs, models, the queue in front of the one thread that owns the engine, and pictures.
//!
//! The flow, in the order of the files: a [`Request`] is checked against a [`ModelInfo`] and becomes a [`Job`] (`job.rs`):
//! from nothing or from a picture (`task.rs`), steered by others (`control.rs`), sometimes by two models (`refiner.rs`) or
//! faster than whole passes allow (`step_cache.rs`). [`Scheduler::submit`] puts it into the bounded queue
//! (`scheduler.rs`, `queue/`), which is fair between tenants (`tenant.rs`), and answers with a [`Ticket`] (`ticket.rs`);
//! the worker thread (`worker.rs`) takes it, makes room for it and its model (`memory/`), asks the [`Engine`]
//! (`engine.rs`) for a [`Run`] and steps that run to its end, sending [`Event`]s (`events.rs`); the [`Outcome`] holds
//! [`Picture`]s (`picture.rs`). Dropping the ticket cancels the job before its next step. Operators look at the queue
//! through `view.rs`, at the models through `memory/`, and at what was counted through `metrics/`.
//!
//! Nothing here knows wasm, candle or HTTP; no inference happens on an async thread.

mod control;
mod engine;
mod error;
mod events;
#[cfg(feature = "fake")]
pub mod fake;
mod job;
mod ledger;
mod measured;
mod memory;
pub mod metrics;
mod model;
pub mod picture;
mod queue;
mod refiner;
mod scheduler;
mod shared;
mod step_cache;
mod task;
mod tenant;
mod ticket;
mod view;
mod worker;

pub use control::{Control, MAX_CONTROL_SCALE, MAX_CONTROLS};
pub use engine::{Engine, Estimate, Finished, HandOver, Preview, Run, StepState};
pub use error::{Error, Result};
pub use events::{Event, EventReader, MAX_EVENTS};
pub use job::{
    Adapted, Crop, Decoder, Emphasis, Framing, Job, JobId, MAX_ADAPTER_WEIGHT, MAX_ADAPTERS, MAX_CLIP_SKIP,
    MAX_FRAMING_SIDE, MAX_GUIDANCE, MAX_PICTURES, MAX_PROMPT_BYTES, MAX_STEPS, Request, SeedProfile, Size,
};
pub use ledger::Counters;
pub use memory::{Keep, MemoryConfig, MemoryStatus, ModelState, ModelStatus};
pub use model::{Catalog, Features, ModelId, ModelInfo};
pub use picture::{Parameters, Picture, Pixels};
pub use queue::Share;
pub use refiner::{DEFAULT_REFINER_SHARE, DefaultRefiner, Refine, Refiner};
pub use scheduler::{QueueConfig, QueueStatus, Scheduler, SchedulerConfig, StartError};
pub use step_cache::{CacheKind, MAX_CACHE_INTERVAL, StepCache};
pub use task::{Mask, Source, Task};
pub use tenant::{Priority, TenantId};
pub use ticket::{CancelGuard, Outcome, Ticket, Timings};
pub use view::{JobStatus, TenantStatus, TenantsStatus};
