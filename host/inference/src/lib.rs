//! What Atelier does, without how: jobs, models, the queue in front of the one thread that owns the engine, and pictures.
//!
//! The flow, in the order of the files: a [`Request`] is checked against a [`ModelInfo`] and becomes a [`Job`]
//! (`job.rs`); [`Scheduler::submit`] puts it into the bounded queue (`scheduler.rs`, `queue.rs`) and answers with a
//! [`Ticket`]; the worker thread (`worker.rs`) takes it, asks the [`Engine`] (`engine.rs`) for a [`Run`] and steps that
//! run to its end, sending [`Event`]s (`events.rs`); the [`Outcome`] holds [`Picture`]s (`picture.rs`). Dropping the
//! ticket cancels the job before its next step.
//!
//! Nothing here knows wasm, candle or HTTP; no inference happens on an async thread.

mod engine;
mod error;
mod events;
#[cfg(feature = "fake")]
pub mod fake;
mod job;
mod model;
pub mod picture;
mod queue;
mod scheduler;
mod worker;

pub use engine::{Begun, Engine, Finished, Preview, Run, StepState};
pub use error::{Error, Result};
pub use events::{Event, EventReader};
pub use job::{
    Job, JobId, MAX_CLIP_SKIP, MAX_GUIDANCE, MAX_PICTURES, MAX_PROMPT_BYTES, MAX_STEPS, Request, Size, Source,
};
pub use model::{Catalog, Features, ModelId, ModelInfo};
pub use picture::{Parameters, Picture, Pixels};
pub use scheduler::{CancelGuard, Counters, Outcome, QueueConfig, QueueStatus, Scheduler, Ticket, Timings};
