//! What Atelier does, without how: jobs, models, the queue in front of the one thread that owns the engine, and pictures.
//!
//! The flow, in the order of the files: a request is checked against a [`ModelInfo`] (`model.rs`) and becomes an [`Order`]:
//! of pictures (`image/`), of text from speech (`speech/`), or of a reply (`chat/`). On somebody's account it is a [`Job`] (`job.rs`).
//! [`Scheduler::submit`] puts it into the bounded queue (`scheduler.rs`, `queue/`), which is fair between tenants
//! (`tenant.rs`), and answers with a [`Ticket`] (`ticket.rs`);
//! the worker thread (`worker.rs`) takes it, makes room for it and its model (`memory/`), asks the [`Engine`]
//! (`engine.rs`) for a [`Run`] and steps that run to its end, beside others where it may (`running.rs`), sending [`Event`]s
//! (`events.rs`); the [`Outcome`] holds
//! what was made, such as [`Picture`]s (`picture.rs`). What is made elsewhere has a ticket of the same kind, and an [`Errand`] (`errand.rs`) for
//! whoever sees to it. Dropping the ticket cancels the job before its next step. Operators look at the queue
//! through `view.rs`, at the models through `memory/`, and at what was counted through `metrics/`.
//!
//! Nothing here knows wasm, candle or HTTP; no inference happens on an async thread.

pub mod chat;
mod engine;
mod errand;
mod error;
mod events;
#[cfg(feature = "fake")]
pub mod fake;
mod image;
mod job;
mod ledger;
mod measured;
mod memory;
pub mod metrics;
mod model;
pub mod picture;
mod queue;
mod running;
mod scheduler;
mod shared;
pub mod speech;
mod tenant;
mod ticket;
mod view;
mod worker;

pub use chat::{ChatOptions, ChatOrder, ChatRequest, Circle, LanguageModel, ProvidedOrder, Reply, Turn};
pub use engine::{Engine, Estimate, Finished, HandOver, Made, Preview, Run, StepState};
pub use errand::Errand;
pub use error::{Error, Result};
pub use events::{Event, EventReader, MAX_EVENTS};
pub use image::{
    Adapted, CacheKind, Control, Crop, DEFAULT_REFINER_SHARE, Decoder, DefaultRefiner, Emphasis, Features,
    Framing, ImageModel, ImageOrder, ImageRequest, MAX_ADAPTER_WEIGHT, MAX_ADAPTERS, MAX_CACHE_INTERVAL,
    MAX_CLIP_SKIP, MAX_CONTROL_SCALE, MAX_CONTROLS, MAX_FRAMING_SIDE, MAX_GUIDANCE, MAX_PICTURES,
    MAX_PROMPT_BYTES, MAX_STEPS, Mask, ProvidedImageOptions, ProvidedImageOrder, Refine, Refiner,
    SeedProfile, Size, Source, StepCache, Task, no_steps_left, steps_run,
};
pub use job::{Job, JobId, Order};
pub use ledger::Counters;
pub use memory::{Keep, MemoryConfig, MemoryStatus, ModelState, ModelStatus};
pub use model::{Catalog, ModelCard, ModelId, ModelInfo, Precision};
pub use picture::{Parameters, Picture, Pixels};
pub use queue::Share;
pub use scheduler::{QueueConfig, QueueStatus, Scheduler, SchedulerConfig, StartError};
pub use speech::{ProvidedSpeechOrder, SpeechDelta, SpeechModel, SpeechOptions, SpeechOrder, Transcript};
pub use tenant::{Priority, TenantId};
pub use ticket::{CancelGuard, Outcome, Product, Ticket, Timings};
pub use view::{JobStatus, TenantStatus, TenantsStatus};
