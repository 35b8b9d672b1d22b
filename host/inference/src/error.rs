//! The domain's errors: each a thing that a caller can act on. The engine's own errors arrive here as `Failed` with a
//! text that is safe to show; the runtime translates these once into the WIT variant of the same name.

use std::time::Duration;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a job was not taken or gave no picture.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A queue is full; nothing was started.
    #[error("{reason}; retry in {} ms", retry_after.as_millis())]
    Overloaded {
        /// What is full, with its configuration key.
        reason: String,
        /// When another attempt is sensible.
        retry_after: Duration,
    },
    /// No such model.
    #[error("there is no model `{id}`; known: {}", known.join(", "))]
    UnknownModel {
        /// As it was asked for.
        id: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// A value of the request is wrong for this model.
    #[error("{field}: {reason}")]
    Invalid {
        /// The request's field.
        field: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// More memory is needed than there can be, whatever is unloaded for it; nothing was started.
    #[error("no memory for {what}: {needed} bytes are needed, and engine.memory-bytes is {budget}; {fix}")]
    TooLarge {
        /// What needs it, and for which parts.
        what: String,
        /// Bytes in all.
        needed: u64,
        /// Bytes of the budget.
        budget: u64,
        /// What would help.
        fix: &'static str,
    },
    /// Memory ran out while a model was loaded or run, although the budget had room. What the job held is free again, and
    /// models that nobody used were unloaded.
    #[error("memory ran out: {0}")]
    OutOfMemory(String),
    /// The job was cancelled or its ticket dropped.
    #[error("the job was cancelled")]
    Cancelled,
    /// The worker thread has ended; nothing will run until the process is restarted.
    #[error("the inference worker has stopped; restart the host and see its log")]
    WorkerGone,
    /// The model could not be loaded or run.
    #[error("{0}")]
    Failed(String),
    /// A model that is served elsewhere is not to be had now.
    #[error("{reason}")]
    Unavailable {
        /// Whose it is and what happened; safe to show.
        reason: String,
        /// When another attempt is sensible, where that is known.
        retry_after: Option<Duration>,
    },
    /// A model that is served elsewhere did not answer in time.
    #[error("{0}")]
    TimedOut(String),
}

impl Error {
    /// Shorthand for [`Error::Invalid`].
    pub fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Error::Invalid { field, reason: reason.into() }
    }
}
