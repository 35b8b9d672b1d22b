//! Jobs that outlive their requests: submitted by an owner at a route ([`Jobs`]), worked off by whoever asks for the next one
//! ([`JobQueue`], `queue.rs`, `taken.rs`).
//!
//! A job that was acknowledged is on the disk, and ends: completed, failed or cancelled. Its payload, its result and what is
//! known of it lie in the index (`record.rs`) and count for its owner. Who works on it is known in memory alone (`lease.rs`):
//! what the last process worked on waits again when the next one opens the folder, as often as its attempts allow. Who is told
//! of it lies in the index as well (`outbox.rs`), for whoever tells them ([`Outbox`], `post.rs`).

mod cached;
mod lease;
mod list;
mod outbox;
mod post;
mod queue;
mod record;
mod seen;
mod submit;
mod taken;
mod twins;

use std::sync::Arc;
use std::time::Duration;

use redb::{ReadTransaction, WriteTransaction};

use super::{MAX_PAGE, Owner, Shared, checked};
use crate::Error;

pub use cached::Caching;
pub(super) use lease::Leases;
pub use list::JobPage;
pub use outbox::{Occasion, Webhook};
pub(super) use post::Post;
pub use post::{Delivery, Outbox, OutboxLine, Sent};
pub use queue::{JobLine, JobQueue};
pub(super) use queue::{make_tables, recover};
pub use record::{JobPriority, JobState};
pub use seen::JobSeen;
pub(super) use seen::each_after;
pub use taken::{JobEnd, Reports, Taken};

use record::{JOBS, RESULTS, Record, WAITING};

/// Most jobs of one batch.
pub const MAX_BATCH: usize = 100;
/// Most times that a job is begun.
pub const MAX_ATTEMPTS: u32 = 3;

/// Work to be done later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOrder {
    /// What kind of work, in the words of whoever works it off: 1 to 1,024 bytes.
    pub kind: String,
    /// What to work on; at most as large as a value (`store.value-bytes`).
    pub payload: Vec<u8>,
    /// The same work under the same key is the same job, for as long as the job is known.
    pub key: Option<String>,
    /// Which of the owner's jobs goes first.
    pub priority: JobPriority,
    /// Fails when nobody begins it within this time.
    pub start_within: Duration,
    /// How long it is known after its end.
    pub keep: Duration,
    /// How often it is begun, when it was not ended by whoever began it: 1 to [`MAX_ATTEMPTS`].
    pub attempts: u32,
    /// Who is told of it. The job is known until that is done.
    pub webhook: Option<Webhook>,
    /// Whether the result of the same work will do, which the job is completed with at once.
    pub cache: Option<Caching>,
}

/// A job that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Its name: random, and known to nobody else.
    pub id: String,
    /// Whether it was not there before, under its key.
    pub is_new: bool,
}

/// How a job stands. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    /// Its name.
    pub id: String,
    /// As it was ordered.
    pub kind: String,
    /// How it stands.
    pub state: JobState,
    /// How far it is, of 100.
    pub progress: u8,
    /// What whoever works on it said last.
    pub message: String,
    /// Whether that made it which made the result of the same work before.
    pub cached: bool,
    /// What it made, once it is completed.
    pub result: Option<Vec<u8>>,
    /// Why it failed, or why its last attempt did.
    pub error: Option<String>,
    /// How often it was begun.
    pub attempts: u32,
    /// How many jobs of the same owner at the same route go before it, while it waits; [`MAX_PAGE`] where there are more.
    pub position: Option<usize>,
    /// When it was kept.
    pub submitted_ms: u64,
    /// When it was last begun.
    pub started_ms: Option<u64>,
    /// When it ended.
    pub ended_ms: Option<u64>,
}

/// The jobs of one owner at one route.
#[derive(Clone)]
pub struct Jobs {
    shared: Arc<Shared>,
    place: Arc<Place>,
}

struct Place {
    owner: Owner,
    route: Arc<str>,
}

impl Place {
    /// Others' jobs are not there.
    fn has(&self, record: &Record) -> bool {
        (record.owner.as_str(), record.route.as_str()) == (&*self.owner.id, &*self.route)
    }
}

impl Jobs {
    pub(super) fn new(shared: Arc<Shared>, owner: Owner, route: Arc<str>) -> Self {
        Self { shared, place: Arc::new(Place { owner, route }) }
    }

    /// Keeps a batch of jobs, all or none, of which at most `waiting` of this owner may wait at a time at all routes. They are
    /// on the disk when this returns, in the order in which they were given.
    ///
    /// # Errors
    /// [`Error::Waiting`], [`Error::Untold`], [`Error::Full`], [`Error::KeyUsed`], and what of a job is too long or too many.
    pub async fn submit(&self, orders: Vec<JobOrder>, waiting: u64) -> Result<Vec<Submitted>, Error> {
        let submitted = match self.check(&orders) {
            Ok(()) => {
                let (place, shared) = (self.place.clone(), self.shared.clone());
                let submit = move |index: &WriteTransaction| {
                    let room = submit::Room {
                        waiting,
                        untold: shared.config.webhooks,
                        drafted: shared.drafted.of(&place.owner),
                    };
                    submit::all(index, &place, orders, &room)
                };
                self.shared.index.write(submit).await
            }
            Err(error) => Err(error),
        };
        self.shared.jobs.ended("submit", &submitted);
        if let Ok(jobs) = &submitted {
            jobs.iter().filter(|job| job.is_new).for_each(|job| self.changed(&job.id));
            // one whose result was known has ended
            self.shared.moved();
        }
        submitted
    }

    fn check(&self, orders: &[JobOrder]) -> Result<(), Error> {
        if orders.len() > MAX_BATCH {
            let text = format!("{} jobs are more than the {MAX_BATCH} of a batch", orders.len());
            return Err(Error::TooMany(text));
        }
        orders.iter().try_for_each(|order| {
            checked("job's kind", &order.kind)?;
            order.key.iter().try_for_each(|key| checked("job's key", key))?;
            fits(&self.shared, "a job's payload", &order.payload)
        })
    }

    /// How a job stands; `None` when this owner has none of that name at this route.
    pub async fn status(&self, id: &str) -> Result<Option<JobStatus>, Error> {
        let (place, shared, id) = (self.place.clone(), self.shared.clone(), id.to_owned());
        let look = move |index: &ReadTransaction| match found(index, &id)? {
            Some(record) if place.has(&record) => {
                let progress = shared.leases.progress(&id);
                status(index, id, record, progress, true).map(Some)
            }
            _ => Ok(None),
        };
        let status = self.shared.index.read(look).await;
        self.shared.jobs.ended("status", &status);
        status
    }

    /// The jobs that are known, the newest first and without what they made: so many at most, from the newest on or after what the
    /// last page says ([`JobPage::next`]).
    ///
    /// # Errors
    /// [`Error::NoPage`] when no page said so.
    pub async fn list(&self, after: Option<String>, count: usize) -> Result<JobPage, Error> {
        let (place, shared) = (self.place.clone(), self.shared.clone());
        let count = count.min(MAX_BATCH);
        let look = move |index: &ReadTransaction| list::page(index, &shared, &place, after.as_deref(), count);
        let page = self.shared.index.read(look).await;
        self.shared.jobs.ended("list", &page);
        page
    }

    /// Calls a job off and says how it stands then: one that has ended stays as it is. Whoever works on it is told.
    pub async fn cancel(&self, id: &str) -> Result<Option<JobStatus>, Error> {
        let (place, name) = (self.place.clone(), id.to_owned());
        let cancel = move |index: &WriteTransaction| cancel(index, &place, &name);
        let cancelled = self.shared.index.write(cancel).await;
        self.shared.jobs.ended("cancel", &cancelled);
        if cancelled? {
            self.shared.leases.stop(id, None);
            self.shared.moved();
            self.changed(id);
        }
        self.status(id).await
    }

    /// A job stands otherwise than before.
    fn changed(&self, id: &str) {
        self.shared.copies.job_changed(&self.place.owner.id, &self.place.route, id);
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").field("route", &self.place.route).finish_non_exhaustive()
    }
}

/// What is kept as one value has its bound.
fn fits(shared: &Shared, what: &'static str, bytes: &[u8]) -> Result<(), Error> {
    let limit = shared.config.value_bytes;
    if bytes.len() as u64 <= limit {
        return Ok(());
    }
    Err(Error::TooLarge { what, limit, key: "store.value-bytes" })
}

fn found(index: &ReadTransaction, id: &str) -> Result<Option<Record>, Error> {
    let jobs = index.open_table(JOBS).map_err(Error::index("read"))?;
    let found = jobs.get(id).map_err(Error::index("read"))?;
    found.map(|found| record::parsed(found.value())).transpose()
}

fn status(
    index: &ReadTransaction,
    id: String,
    record: Record,
    progress: Option<(u8, String)>,
    with_result: bool,
) -> Result<JobStatus, Error> {
    let result = if with_result { result(index, &id)? } else { None };
    let position = match record.state {
        JobState::Pending => Some(position(index, &record)?),
        _ => None,
    };
    let (progress, message) = match record.state {
        JobState::Processing => progress.unwrap_or_default(),
        JobState::Completed => (100, String::new()),
        _ => (0, String::new()),
    };
    Ok(JobStatus {
        id,
        kind: record.kind,
        state: record.state,
        progress,
        message,
        cached: record.cached,
        result,
        error: record.error,
        attempts: record.attempts,
        position,
        submitted_ms: record.submitted_ms,
        started_ms: record.started_ms,
        ended_ms: record.ended_ms,
    })
}

/// What a job made.
fn result(index: &ReadTransaction, id: &str) -> Result<Option<Vec<u8>>, Error> {
    let results = index.open_table(RESULTS).map_err(Error::index("read"))?;
    let result = results.get(id).map_err(Error::index("read"))?;
    Ok(result.map(|result| result.value().to_vec()))
}

/// How many go before a job that waits.
fn position(index: &ReadTransaction, record: &Record) -> Result<usize, Error> {
    let waiting = index.open_table(WAITING).map_err(Error::index("read"))?;
    let (route, owner) = (record.route.as_str(), record.owner.as_str());
    let before = waiting.range((route, owner, 0_u64, "")..(route, owner, record.rank, ""));
    Ok(before.map_err(Error::index("read"))?.take(MAX_PAGE).count())
}

/// Whether there was something to call off.
fn cancel(index: &WriteTransaction, place: &Place, id: &str) -> Result<bool, Error> {
    let Some(mut record) = record::load(index, id)? else { return Ok(false) };
    if !place.has(&record) || record.state.is_end() {
        return Ok(false);
    }
    if record.state == JobState::Pending {
        record::dequeue(index, id, &record)?;
    }
    record::end(index, id, &mut record, JobState::Cancelled, None)?;
    Ok(true)
}
