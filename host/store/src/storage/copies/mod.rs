//! Copies for other programs: what is kept here is written to servers that they read, objects to S3 (`upload.rs`, `s3.rs`) and
//! jobs to Redis (`jobs.rs`, `redis.rs`, `stream.rs`). What is kept stays what is true: nothing waits for a copy, and nothing
//! fails with one. Only where that is wanted, objects that are not here are read in their copy (`read.rs`, `download.rs`).
//!
//! Which objects are behind is in the index (`behind.rs`) and changes with them, so that no crash loses a copy. Which jobs are is
//! known in memory (`dirty.rs`): after a start all of them are written once more. How a server fares is in `service.rs`. Who
//! works the copies off is for the caller to say ([`Copies::upload`], [`JobCopy`]); nothing runs by itself.

mod behind;
mod config;
mod dirty;
mod download;
mod jobs;
mod read;
mod redis;
mod s3;
mod service;
mod stream;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use redb::WriteTransaction;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::{Owner, Shared};
use crate::Error;

pub(super) use behind::make_tables;
pub use config::{CopyConfig, CopyTarget, JobStream, RedisCopy, S3Copy, Secret};
pub use jobs::{JobCopy, JobPlace, JobView};
use service::Service;
pub use service::{ServiceState, ServiceStatus};
pub use stream::JobTurn;

use jobs::Jobs;
use upload::Uploads;

/// How long a state is believed by who asks how the servers fare.
const BELIEVED: Duration = Duration::from_secs(5);
/// How long they are asked then.
const ASKED: Duration = Duration::from_secs(2);

/// Every copy of one folder, in the order of the configuration.
pub(super) struct Registry {
    copies: Vec<Kept>,
    /// Told when a server fares otherwise than before.
    turns: watch::Sender<u64>,
}

enum Kept {
    Objects(Arc<Uploads>),
    Jobs(Arc<Jobs>),
}

impl Registry {
    /// Reads the configuration; asks no server anything.
    pub(super) fn open(configs: &[CopyConfig]) -> Result<Self, Error> {
        let turns = watch::Sender::new(0);
        let open = |config: &CopyConfig| {
            let service = |kind| Service::new(&config.id, kind, turns.clone());
            let opened = match &config.to {
                CopyTarget::Objects(to) => Uploads::open(service("s3"), to).map(Arc::new).map(Kept::Objects),
                CopyTarget::Jobs(to) => Jobs::open(service("redis"), to).map(Arc::new).map(Kept::Jobs),
            };
            opened.map_err(|why| Error::Copy { id: config.id.clone(), why })
        };
        let copies = configs.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { copies, turns })
    }

    /// Finds what is behind because a copy is new, or goes elsewhere than when the folder was last used.
    pub(super) fn recover(&self, index: &WriteTransaction) -> Result<(), Error> {
        behind::recover(index, &self.uploads().map(Arc::as_ref).collect::<Vec<_>>())
    }

    /// Notes within the change itself that an object is another one than before, or none.
    pub(super) fn changed(
        &self,
        index: &WriteTransaction,
        owner: &str,
        container: &str,
        name: &str,
    ) -> Result<(), Error> {
        for uploads in self.uploads().filter(|uploads| uploads.takes(owner, container, name)) {
            behind::note(index, uploads.id(), (owner, container, name))?;
        }
        Ok(())
    }

    /// Tells those who copy objects that something is behind, once it is on the disk.
    pub(super) fn wake(&self) {
        self.uploads().for_each(|uploads| uploads.wake());
    }

    /// Notes that a job stands otherwise than before, once that is on the disk.
    pub(super) fn job_changed(&self, owner: &str, route: &str, id: &str) {
        self.jobs().for_each(|jobs| jobs.note(owner, route, id));
    }

    /// Notes that a job says how far it is, which it may do often.
    pub(super) fn job_reported(&self, owner: &str, route: &str, id: &str) {
        self.jobs().for_each(|jobs| jobs.note_report(owner, route, id));
    }

    /// The copy in which an object is read that is not here, if there is one.
    pub(super) fn reader(&self, owner: &str, container: &str, name: &str) -> Option<&Arc<Uploads>> {
        self.uploads().find(|uploads| uploads.reads() && uploads.takes(owner, container, name))
    }

    fn uploads(&self) -> impl Iterator<Item = &Arc<Uploads>> {
        self.copies.iter().filter_map(|kept| match kept {
            Kept::Objects(uploads) => Some(uploads),
            Kept::Jobs(_) => None,
        })
    }

    fn jobs(&self) -> impl Iterator<Item = &Arc<Jobs>> {
        self.copies.iter().filter_map(|kept| match kept {
            Kept::Jobs(jobs) => Some(jobs),
            Kept::Objects(_) => None,
        })
    }
}

impl Kept {
    fn service(&self) -> &Service {
        match self {
            Self::Objects(uploads) => uploads.service(),
            Self::Jobs(jobs) => jobs.service(),
        }
    }
}

/// An object's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectCopy {
    /// Where it is, or will be.
    pub url: String,
    /// Whether the object as it is now was copied.
    pub is_there: bool,
}

/// The copies of one folder.
#[derive(Clone)]
pub struct Copies(pub(super) Arc<Shared>);

impl Copies {
    /// Copies objects for as long as it is polled. To be run once.
    pub async fn upload(self) {
        let mut uploads = JoinSet::new();
        for upload in self.0.copies.uploads() {
            uploads.spawn(upload.clone().run(self.0.clone()));
        }
        while uploads.join_next().await.is_some() {}
    }

    /// Those that jobs are copied to, each to be worked off by one.
    pub fn of_jobs(&self) -> Vec<JobCopy> {
        self.0.copies.jobs().map(|jobs| JobCopy::new(self.0.clone(), jobs.clone())).collect()
    }

    /// How the servers fare, as far as is known.
    pub async fn known(&self) -> Vec<ServiceStatus> {
        let mut all = Vec::with_capacity(self.0.copies.copies.len());
        for kept in &self.0.copies.copies {
            let waiting = match kept {
                Kept::Objects(uploads) => uploads.count(&self.0).await,
                Kept::Jobs(jobs) => jobs.waiting(),
            };
            all.push(kept.service().status(waiting));
        }
        all
    }

    /// The same without a look at the disk: what waits is as of the last look.
    pub fn known_lately(&self) -> Vec<ServiceStatus> {
        let status = |kept: &Kept| {
            let waiting = match kept {
                Kept::Objects(uploads) => uploads.counted(),
                Kept::Jobs(jobs) => jobs.waiting(),
            };
            kept.service().status(waiting)
        };
        self.0.copies.copies.iter().map(status).collect()
    }

    /// How these servers fare. Those of which nothing was heard within five seconds are asked, all at once, for at most two.
    pub async fn fare(&self, ids: &[String]) -> Vec<ServiceStatus> {
        let mut asked = JoinSet::new();
        let is_meant = |service: &Service| ids.iter().any(|id| id == service.id());
        for kept in self.0.copies.copies.iter().filter(|kept| is_meant(kept.service())) {
            match kept {
                Kept::Objects(uploads) => asked.spawn(uploads.clone().ask(BELIEVED, ASKED)),
                Kept::Jobs(jobs) => asked.spawn(jobs.clone().ask(BELIEVED, ASKED)),
            };
        }
        while asked.join_next().await.is_some() {}
        let known = self.known().await;
        known.into_iter().filter(|status| ids.contains(&status.id)).collect()
    }

    /// How many servers changed how they fare, told whenever one does.
    pub fn turns(&self) -> watch::Receiver<u64> {
        self.0.copies.turns.subscribe()
    }

    /// Where the copy of an object is, by the first of these copies that takes it; `None` where none does. Waits until it is
    /// there for so long, but not for a server that is degraded.
    ///
    /// # Errors
    /// [`Error::NoObject`], and those of the index.
    pub async fn object(
        &self,
        owner: &Owner,
        container: &str,
        name: &str,
        ids: &[String],
        wait: Duration,
    ) -> Result<Option<ObjectCopy>, Error> {
        let is_meant = |uploads: &&Arc<Uploads>| {
            uploads.takes(&owner.id, container, name) && ids.iter().any(|id| id == uploads.id())
        };
        let Some(uploads) = self.0.copies.uploads().find(is_meant) else { return Ok(None) };
        let until = Instant::now() + wait;
        let mut ended = uploads.ended();
        loop {
            ended.borrow_and_update();
            let is_there = uploads.is_there(&self.0, (&owner.id, container, name)).await?;
            let Some(is_there) = is_there else {
                return Err(Error::NoObject { container: container.into(), object: name.into() });
            };
            let waits = !is_there && !uploads.service().is_degraded();
            // an error of the channel means that nobody copies any more, which comes to the same as time that is over
            if !waits || !matches!(timeout_at(until, ended.changed()).await, Ok(Ok(()))) {
                let url = uploads.url(&owner.id, container, name);
                return Ok(Some(ObjectCopy { url, is_there }));
            }
        }
    }
}

impl std::fmt::Debug for Copies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copies").finish_non_exhaustive()
    }
}
