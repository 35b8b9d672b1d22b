//! What a caller holds of a job: its events, its end, and the guard that keeps it wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::events::EventReader;
use crate::shared::Shared;
use crate::{Error, JobId, ModelId, Picture, Reply, Result, Transcript};

/// Where the time of a job went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Waiting.
    pub queue: Duration,
    /// Loading the model.
    pub load: Duration,
    /// Everything else: for pictures encoding the prompt, denoising and decoding.
    pub run: Duration,
}

/// What a job made.
#[derive(Debug, Clone)]
pub enum Product {
    /// In the sequence of the order's seeds; each carries its parameters.
    Pictures(Vec<Picture>),
    /// All that was said.
    Transcript(Transcript),
    /// The whole reply.
    Reply(Reply),
}

/// A finished job.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What made it: another model than was ordered where that one was not to be had, which the notes say as well.
    pub model: ModelId,
    /// Of the kind that was ordered.
    pub product: Product,
    /// What a user should know.
    pub notes: Vec<String>,
    /// Where the time went.
    pub timings: Timings,
}

impl Outcome {
    /// The pictures; none where something else was ordered.
    pub fn pictures(&self) -> &[Picture] {
        match &self.product {
            Product::Pictures(pictures) => pictures,
            Product::Transcript(_) | Product::Reply(_) => &[],
        }
    }
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
    pub(crate) cancel: Arc<AtomicBool>,
    pub(crate) works: Works,
}

/// Who works on a job, and is told when it is not wanted any more.
pub(crate) enum Works {
    /// The worker thread, with its queue.
    Worker(Arc<Shared>),
    /// Somebody else, who waits for this.
    Errand(Arc<Notify>),
}

impl CancelGuard {
    /// Cancels the job before its next step. Repeating it, or doing it after the end, is harmless.
    pub fn cancel(&self) {
        if self.cancel.swap(true, Ordering::Relaxed) {
            return;
        }
        match &self.works {
            Works::Worker(shared) => shared.sweep(),
            Works::Errand(unwanted) => unwanted.notify_one(),
        }
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.cancel();
    }
}
