//! What components keep: buckets of keys (`values/`), containers of objects (`blobs.rs`, `draft.rs`) and jobs to be done
//! later (`jobs/`), in one folder of one process; `copies/` is what other programs read of it. An index in one file (`index.rs`) knows every name, size and owner; small
//! values lie in it, the bytes of objects in files beside it (`files.rs`), under numbers: no name of anybody's ever becomes
//! part of a path. The values may be in Redis instead, which several hosts share; jobs never are.
//!
//! What was acknowledged is on the disk. A write that a crash cut short is either whole or never was: the index changes last,
//! in one transaction, together with what the owner is charged (`charge.rs`).

mod afar;
mod blobs;
mod charge;
mod copies;
mod counts;
mod draft;
mod files;
mod index;
mod jobs;
mod sweep;
mod values;

use std::path::Path;
use std::sync::Arc;

use crate::Error;

pub use blobs::{Blob, Container, ObjectInfo};
pub use copies::{
    Copies, CopyConfig, CopyTarget, JobCopy, JobPlace, JobStream, JobTurn, JobView, ObjectCopy, RedisCopy,
    S3Copy, Secret, ServiceState, ServiceStatus,
};
pub use counts::Counts;
pub use draft::Draft;
pub use jobs::{
    Caching, Delivery, JobEnd, JobLine, JobOrder, JobPage, JobPriority, JobQueue, JobSeen, JobState,
    JobStatus, Jobs, MAX_ATTEMPTS, MAX_BATCH, Occasion, Outbox, OutboxLine, Reports, Sent, Submitted, Taken,
    Webhook,
};
use values::Redis;
pub use values::{Bucket, Keys, Version};

use charge::Drafted;
use copies::Registry;
use files::Files;
use index::Index;
use jobs::{Leases, Post};
use sweep::Sweep;

/// Longest key, and longest name of an object, in bytes.
pub const MAX_NAME_BYTES: usize = 1_024;
/// Most names of one page of a list, and most keys of one batch.
pub const MAX_PAGE: usize = 1_000;

/// How much one thing may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// A value (`store.value-bytes`).
    pub value_bytes: u64,
    /// An object (`store.object-bytes`).
    pub object_bytes: u64,
    /// Messages to webhooks that an owner may have waiting (`store.webhooks`).
    pub webhooks: u64,
    /// The address of the Redis server that has the values (`store.values`); they are in the folder when `None`.
    pub redis: Option<String>,
    /// What is written to servers that other programs read (`store.copy`).
    pub copies: Vec<CopyConfig>,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            value_bytes: 1 << 20,
            object_bytes: 1 << 30,
            webhooks: 10_000,
            redis: None,
            copies: Vec::new(),
        }
    }
}

/// To whom things belong: names of one owner mean nothing to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    id: Arc<str>,
    limit: Option<u64>,
}

impl Owner {
    /// An owner who may keep so many bytes, without limit when `None`. What counts are keys and values, objects with their
    /// names, and jobs with what they work on and make.
    pub fn new(id: impl Into<Arc<str>>, limit: Option<u64>) -> Self {
        Self { id: id.into(), limit }
    }
}

/// What there is of a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What it holds in all.
    pub total: u64,
    /// What a process without privileges may still write.
    pub free: u64,
}

/// Everything that is kept in one folder. Cloning is cheap; the folder is free for another process when the last clone, and
/// whatever was made by one, is gone.
#[derive(Clone)]
pub struct Storage(Arc<Shared>);

struct Shared {
    _sweep: Sweep,
    index: Index,
    files: Files,
    drafted: Drafted,
    /// Where the values are, unless they are in the index.
    redis: Option<Redis>,
    copies: Arc<Registry>,
    config: StorageConfig,
    values: Counts,
    blobs: Counts,
    jobs: Counts,
    leases: Arc<Leases>,
    post: Arc<Post>,
}

impl Storage {
    /// Opens the folder, making it where it is missing, and removes what was never finished; jobs that were being worked on
    /// wait again. Blocks; after a crash the index is checked, which takes time by its size. Wants to be called within tokio
    /// where values are in Redis.
    pub fn open(dir: &Path, config: StorageConfig) -> Result<Storage, Error> {
        let redis = config.redis.as_deref().map(Redis::open).transpose()?;
        let copies = Arc::new(Registry::open(&config.copies)?);
        files::private_folder(dir)?;
        let index = Index::open(dir)?;
        let recover = |index: &redb::WriteTransaction| {
            jobs::recover(index)?;
            copies.recover(index)
        };
        let files = Files::open(dir, index.next_generation(recover)?)?;
        Ok(Storage(Arc::new(Shared {
            _sweep: Sweep::start(&index, &files),
            index,
            files,
            drafted: Drafted::default(),
            redis,
            copies,
            config,
            values: Counts::default(),
            blobs: Counts::default(),
            jobs: Counts::default(),
            leases: Arc::default(),
            post: Arc::default(),
        })))
    }

    /// A bucket of keys. There is one as soon as a key is set.
    pub fn bucket(&self, owner: Owner, name: impl Into<Arc<str>>) -> Bucket {
        Bucket::new(self.0.clone(), owner, name.into())
    }

    /// A container of objects, which is there or not.
    pub fn container(&self, owner: Owner, name: impl Into<Arc<str>>) -> Container {
        Container::new(self.0.clone(), owner, name.into())
    }

    /// A new object, which belongs nowhere yet.
    pub async fn draft(&self, owner: Owner) -> Result<Draft, Error> {
        Draft::begin(self.0.clone(), owner).await
    }

    /// The jobs of an owner at a route.
    pub fn jobs(&self, owner: Owner, route: impl Into<Arc<str>>) -> Jobs {
        Jobs::new(self.0.clone(), owner, route.into())
    }

    /// All jobs, for whoever works them off.
    pub fn job_queue(&self) -> JobQueue {
        JobQueue(self.0.clone())
    }

    /// All messages to webhooks, for whoever sends them.
    pub fn outbox(&self) -> Outbox {
        self.job_queue().outbox()
    }

    /// What other programs read of it.
    pub fn copies(&self) -> Copies {
        Copies(self.0.clone())
    }

    /// What an owner keeps, in bytes.
    pub async fn used(&self, owner: &Owner) -> Result<u64, Error> {
        let id = owner.id.clone();
        let used = self.0.index.read(move |index| charge::used(index, &id)).await?;
        let remote = match &self.0.redis {
            Some(redis) => redis.used(owner).await?,
            None => 0,
        };
        Ok(used.saturating_add(remote))
    }

    /// What there is of the disk that the folder is on.
    pub async fn space(&self) -> Result<Space, Error> {
        let files = self.0.files.clone();
        tokio::task::spawn_blocking(move || files.space()).await.map_err(|_| Error::Closed)?
    }

    /// What was done with buckets.
    pub fn values(&self) -> &Counts {
        &self.0.values
    }

    /// What was done with containers.
    pub fn blobs(&self) -> &Counts {
        &self.0.blobs
    }
}

impl Shared {
    /// A job has begun, ended or gone back into its line: whoever works jobs off and whoever tells of them looks again.
    fn moved(&self) {
        self.leases.changed.notify_one();
        self.post.changed.notify_one();
    }

    /// What an owner with a limit keeps that the index does not know.
    async fn remote(&self, owner: &Owner) -> Result<u64, Error> {
        match &self.redis {
            Some(redis) if owner.limit.is_some() => redis.used(owner).await,
            _ => Ok(0),
        }
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// A name within its bounds.
fn checked(what: &'static str, name: &str) -> Result<(), Error> {
    if (1..=MAX_NAME_BYTES).contains(&name.len()) {
        return Ok(());
    }
    Err(Error::NameLength { what, bytes: name.len(), limit: MAX_NAME_BYTES })
}
