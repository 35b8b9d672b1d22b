//! A job in somebody's hands, until it ends or the lease does. What is done with it after that changes nothing.

use std::sync::Arc;
use std::time::Duration;

use redb::{ReadTransaction, WriteTransaction};

use super::cached::{self, CACHED};
use super::queue::Begun;
use super::record::{self, JobState, RESULTS, Record};
use super::{Shared, fits, found};
use crate::Error;
use crate::storage::Owner;
use crate::storage::charge::{Change, charge};

/// Longest text of how far a job is.
const MESSAGE_BYTES: usize = 1_024;

/// A job that somebody works on.
pub struct Taken {
    shared: Arc<Shared>,
    begun: Begun,
    made_by: Option<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// The job is done, and this is what it made.
    Completed(Vec<u8>),
    /// Another job of the same work made this ([`Taken::known`]).
    Cached(Vec<u8>),
    /// It failed for good; the text is for its owner.
    Failed(String),
    /// This attempt failed; the next one, if there is one left, begins no sooner than after this time.
    Again {
        /// For its owner.
        why: String,
        /// How much later.
        after: Duration,
    },
    /// There was no attempt: another one may begin it, and this one does not count.
    GivenBack,
}

impl Taken {
    pub(super) fn new(shared: Arc<Shared>, begun: Begun) -> Self {
        Self { shared, begun, made_by: None }
    }

    /// The job's name.
    pub fn id(&self) -> &str {
        &self.begun.id
    }

    /// The id of whose it is.
    pub fn owner(&self) -> &str {
        &self.begun.owner
    }

    /// What kind of work it is.
    pub fn kind(&self) -> &str {
        &self.begun.kind
    }

    /// What to work on. Handed out once.
    pub fn payload(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.begun.payload)
    }

    /// The first attempt is 1.
    pub fn attempt(&self) -> u32 {
        self.begun.attempt
    }

    /// With what the work is done, where what it makes may be kept for others ([`JobOrder::cache`]).
    ///
    /// [`JobOrder::cache`]: crate::JobOrder::cache
    pub fn tools(&self) -> Option<&[String]> {
        self.begun.tools.as_deref()
    }

    /// Says what does the work, tools included. Without it nothing is kept for others.
    pub fn is_made_by(&mut self, made_by: String) {
        self.made_by = Some(made_by);
    }

    /// What another job of the same work made with this maker meanwhile, if that is not too old for this one.
    pub async fn known(&self, made_by: &str) -> Result<Option<Vec<u8>>, Error> {
        let (id, made_by) = (self.begun.id.clone(), made_by.to_owned());
        let look = move |index: &ReadTransaction| {
            let Some(record) = found(index, &id)? else { return Ok(None) };
            let cached = index.open_table(CACHED).map_err(Error::index("read"))?;
            cached::find(&cached, &record, &made_by)
        };
        self.shared.index.read(look).await
    }

    /// Makes the lease as long as a new one; whether it stood.
    pub fn renew(&self, length: Duration) -> bool {
        self.shared.leases.renew(self.id(), self.begun.lease, length)
    }

    /// A way to say how far the job is, which may be handed on.
    pub fn reports(&self) -> Reports {
        let Begun { id, owner, route, lease, .. } = &self.begun;
        let place = [owner, route, id].map(|text| Arc::from(text.as_str()));
        Reports { shared: self.shared.clone(), place, lease: *lease }
    }

    /// Ends when the job was called off, or the lease ended otherwise.
    pub async fn stopped(&self) {
        let mut stopped = self.begun.stopped.clone();
        // an error says that the lease is gone, which comes to the same
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }

    /// Ends the attempt, for an owner who may keep what is made. It is on the disk when this returns; `None` where the lease
    /// had ended and nothing was changed, how the job stands otherwise.
    pub async fn end(self, owner: Owner, end: JobEnd) -> Result<Option<JobState>, Error> {
        let Self { shared, begun, made_by } = self;
        let operation = match end {
            JobEnd::Completed(_) => "complete",
            JobEnd::Cached(_) => "complete_cached",
            JobEnd::Failed(_) => "fail",
            JobEnd::Again { .. } => "try_again",
            JobEnd::GivenBack => "give_back",
        };
        let (id, lease, sharing) = (begun.id.clone(), begun.lease, shared.clone());
        let write = move |index: &WriteTransaction| {
            if !sharing.leases.stands(&id, lease) {
                return Ok(None);
            }
            match record::load(index, &id)? {
                Some(record) if record.state == JobState::Processing => {
                    let attempt = Attempt { shared: &sharing, owner: &owner, id: &id, made_by };
                    attempt.settle(index, record, end).map(Some)
                }
                _ => Ok(None),
            }
        };
        let ended = shared.index.write(write).await;
        shared.jobs.ended(operation, &ended);
        // where the disk failed the lease ends by itself, and the job is done once more
        ended.inspect(|_| {
            shared.leases.release(&begun.id, begun.lease);
            shared.moved();
            shared.copies.job_changed(&begun.owner, &begun.route, &begun.id);
        })
    }
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taken").field("id", &self.begun.id).finish_non_exhaustive()
    }
}

/// Says how far a job is. Kept in memory: a job that begins anew begins at nothing.
#[derive(Clone)]
pub struct Reports {
    shared: Arc<Shared>,
    /// Owner, route, job.
    place: [Arc<str>; 3],
    lease: u64,
}

impl Reports {
    /// How far the job is, of 100, and in words, of which 1,024 bytes are kept. Whether the lease stands.
    pub fn report(&self, progress: u8, mut message: String) -> bool {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
        let [owner, route, id] = &self.place;
        let stands = self.shared.leases.report(id, self.lease, progress.min(100), message);
        if stands {
            self.shared.copies.job_reported(owner, route, id);
        }
        stands
    }
}

impl std::fmt::Debug for Reports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reports").field("place", &self.place).finish_non_exhaustive()
    }
}

/// An attempt that ends.
struct Attempt<'a> {
    shared: &'a Shared,
    owner: &'a Owner,
    id: &'a str,
    made_by: Option<String>,
}

impl Attempt<'_> {
    fn settle(&self, index: &WriteTransaction, mut record: Record, end: JobEnd) -> Result<JobState, Error> {
        let id = self.id;
        match end {
            JobEnd::Completed(result) => self.complete(index, record, &result, false),
            JobEnd::Cached(result) => self.complete(index, record, &result, true),
            JobEnd::Failed(why) => fail(index, id, &mut record, why),
            JobEnd::Again { why, after } => record::again(index, id, &mut record, why, after),
            JobEnd::GivenBack => {
                record.attempts = record.attempts.saturating_sub(1);
                record::enqueue(index, id, &mut record, 0)?;
                Ok(JobState::Pending)
            }
        }
    }

    /// Whether a result may be kept; then it is charged.
    fn keep(&self, index: &WriteTransaction, result: &[u8]) -> Result<(), Error> {
        fits(self.shared, "a job's result", result)?;
        let change = Change { more: result.len() as u64, less: 0 };
        charge(index, self.owner, change, self.shared.drafted.of(self.owner))
    }

    fn complete(
        &self,
        index: &WriteTransaction,
        mut record: Record,
        result: &[u8],
        is_cached: bool,
    ) -> Result<JobState, Error> {
        match self.keep(index, result) {
            Ok(()) => {}
            Err(error) if error.is_operators() => return Err(error),
            Err(error) => {
                let why = format!("the job is done, but its result is not kept: {error}");
                return fail(index, self.id, &mut record, why);
            }
        }
        let mut results = index.open_table(RESULTS).map_err(Error::index("write"))?;
        results.insert(self.id, result).map_err(Error::index("write"))?;
        drop(results);
        (record.result_bytes, record.cached) = (result.len() as u64, is_cached);
        record::end(index, self.id, &mut record, JobState::Completed, None)?;
        // what is another's is kept already
        if let Some(made_by) = self.made_by.as_ref().filter(|_| !is_cached) {
            let drafted = self.shared.drafted.of(self.owner);
            cached::keep(index, self.owner, drafted, &record, made_by, result)?;
        }
        Ok(JobState::Completed)
    }
}

fn fail(index: &WriteTransaction, id: &str, record: &mut Record, why: String) -> Result<JobState, Error> {
    record::end(index, id, record, JobState::Failed, Some(why))?;
    Ok(JobState::Failed)
}
