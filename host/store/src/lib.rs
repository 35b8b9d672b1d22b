//! The crate that owns Atelier's bytes at rest: private files that are authenticated when read ([`SealedFiles`]), lines that
//! are only ever added to ([`Journal`]), and what components keep from one request to the next ([`Storage`]): buckets of keys,
//! containers of objects and jobs to be done later, each under its owner; and the copies of these that other programs read.
//!
//! It must never know what the bytes mean, who the owners are, or which component asks: callers name them and decide.

mod error;
mod journal;
mod sealed;
mod storage;

pub use error::Error;
pub use journal::Journal;
pub use sealed::SealedFiles;
pub use storage::{
    Blob, Bucket, Caching, Container, Copies, CopyConfig, CopyTarget, Counts, Delivery, Draft, JobCopy,
    JobEnd, JobLine, JobOrder, JobPage, JobPlace, JobPriority, JobQueue, JobSeen, JobState, JobStatus,
    JobStream, JobTurn, JobView, Jobs, Keys, MAX_ATTEMPTS, MAX_BATCH, MAX_NAME_BYTES, MAX_PAGE, ObjectCopy,
    ObjectInfo, Occasion, Outbox, OutboxLine, Owner, RedisCopy, Reports, S3Copy, Secret, Sent, ServiceState,
    ServiceStatus, Space, Storage, StorageConfig, Submitted, Taken, Version, Webhook,
};
