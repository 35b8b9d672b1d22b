//! What is known of a job and how it lies in the index: a record in JSON, so that the next version of this program reads what
//! this one wrote, the bytes of payload and result beside it, and rows by which what is due is found.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::list;
use super::outbox::{self, Occasion, Webhook};
use crate::Error;
use crate::storage::Owner;
use crate::storage::charge::{Change, charge};

/// A job's id: its record.
pub(super) const JOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("jobs");
/// A job's id: what it is to work on, until it ends.
pub(super) const PAYLOADS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("job payloads");
/// A job's id: what it made.
pub(super) const RESULTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("job results");
/// Owner, route, idempotency key: a job's id.
pub(super) const KEYS: TableDefinition<'_, (&str, &str, &str), &str> = TableDefinition::new("job keys");
/// Route, owner, rank, id of a job that waits: not before and not after when it is begun, in ms since 1970.
pub(super) const WAITING: TableDefinition<'_, WaitingKey, (u64, u64)> = TableDefinition::new("jobs waiting");
/// Ids of jobs that somebody works on.
pub(super) const RUNNING: TableDefinition<'_, &str, ()> = TableDefinition::new("jobs running");
/// When a job is to be looked at, in ms since 1970, and its id. A row that came too late for its job means nothing.
pub(super) const TIMES: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("job times");
/// Owner: jobs that wait.
pub(super) const COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("job counts");

/// Route, owner, rank, id.
pub(super) type WaitingKey = (&'static str, &'static str, u64, &'static str);

/// What a record counts for among the bytes of its owner, however long its texts are.
pub(super) const RECORD_BYTES: u64 = 512;
/// Longest text of why a job failed.
const ERROR_BYTES: usize = 4_096;
/// A job of one class is passed by those of the class above that come up to so much later, and by no others: that is how
/// waiting makes every job older than any priority.
const CLASS_MS: u64 = 600_000;
/// Of a rank: orders what was submitted in the same millisecond.
const SEQUENCE_BITS: u32 = 20;

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits, for the first time or once more.
    Pending,
    /// Somebody works on it.
    Processing,
    /// It made a result.
    Completed,
    /// It made none, and is not tried again.
    Failed,
    /// It was called off.
    Cancelled,
}

impl JobState {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more happens to it.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// Which of an owner's jobs goes first: a class is worth ten minutes of waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobPriority {
    /// Before the others.
    High,
    /// As most.
    #[default]
    Normal,
    /// After the others.
    Low,
}

impl JobPriority {
    /// Smaller is sooner.
    pub(super) fn rank(self, submitted_ms: u64, sequence: u64) -> u64 {
        let at = submitted_ms + self.later_ms();
        (at << SEQUENCE_BITS) | (sequence & ((1 << SEQUENCE_BITS) - 1))
    }

    /// As if it had been submitted so much later.
    fn later_ms(self) -> u64 {
        match self {
            Self::High => 0,
            Self::Normal => CLASS_MS,
            Self::Low => 2 * CLASS_MS,
        }
    }
}

/// Everything that is known of a job but its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) owner: String,
    pub(super) route: String,
    pub(super) kind: String,
    pub(super) priority: JobPriority,
    pub(super) state: JobState,
    pub(super) rank: u64,
    /// Begun so often; what was given back does not count.
    pub(super) attempts: u32,
    /// Begun at most so often.
    pub(super) most_attempts: u32,
    pub(super) submitted_ms: u64,
    /// Fails when it is not begun before.
    pub(super) start_by_ms: u64,
    /// Whether it was begun in time: what comes after that is never late.
    #[serde(default)]
    pub(super) begun: bool,
    #[serde(default)]
    pub(super) started_ms: Option<u64>,
    #[serde(default)]
    pub(super) ended_ms: Option<u64>,
    /// It is known for so long after its end.
    pub(super) keep_ms: u64,
    #[serde(default)]
    pub(super) key: Option<String>,
    /// Of what was submitted, to know it again.
    pub(super) digest: String,
    pub(super) payload_bytes: u64,
    #[serde(default)]
    pub(super) result_bytes: u64,
    #[serde(default)]
    pub(super) error: Option<String>,
    /// Who is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) webhook: Option<Webhook>,
    /// How its result may be another's, and another's its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cache: Option<CacheRecord>,
    /// Whether its result is another's.
    #[serde(default)]
    pub(super) cached: bool,
}

/// What is known of how a job's result is kept for others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CacheRecord {
    pub(super) within_ms: u64,
    pub(super) tools: Vec<String>,
}

impl Record {
    /// What it counts for among the bytes of its owner.
    pub(super) fn charged(&self) -> u64 {
        let told = |webhook: &Webhook| webhook.url.len() + webhook.receiver.len();
        let texts = self.kind.len()
            + self.key.as_ref().map_or(0, String::len)
            + self.webhook.as_ref().map_or(0, told)
            + self.cache.iter().flat_map(|cache| &cache.tools).map(String::len).sum::<usize>();
        RECORD_BYTES + texts as u64 + self.payload_bytes + self.result_bytes
    }

    /// When it was submitted, with the order of what was submitted in the same millisecond: its rank without its priority.
    pub(super) fn moment(&self) -> u64 {
        self.rank.saturating_sub(self.priority.later_ms() << SEQUENCE_BITS)
    }

    /// When it is too late to begin it.
    pub(super) fn latest_ms(&self) -> u64 {
        if self.begun || self.attempts > 0 { u64::MAX } else { self.start_by_ms }
    }

    /// Until when it is known, once it has ended.
    pub(super) fn until_ms(&self) -> Option<u64> {
        self.ended_ms.map(|ended| ended.saturating_add(self.keep_ms))
    }

    fn waiting_key<'a>(&'a self, id: &'a str) -> (&'a str, &'a str, u64, &'a str) {
        (&self.route, &self.owner, self.rank, id)
    }
}

/// Reads a record out of a row.
pub(super) fn parsed(bytes: &[u8]) -> Result<Record, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Index { action: "read", why: error.to_string() })
}

pub(super) fn load(index: &WriteTransaction, id: &str) -> Result<Option<Record>, Error> {
    let jobs = index.open_table(JOBS).map_err(Error::index("read"))?;
    let found = jobs.get(id).map_err(Error::index("read"))?;
    found.map(|found| parsed(found.value())).transpose()
}

pub(super) fn save(index: &WriteTransaction, id: &str, record: &Record) -> Result<(), Error> {
    let bytes = serde_json::to_vec(record);
    let bytes = bytes.map_err(|error| Error::Index { action: "write", why: error.to_string() })?;
    let mut jobs = index.open_table(JOBS).map_err(Error::index("write"))?;
    jobs.insert(id, bytes.as_slice()).map_err(Error::index("write"))?;
    Ok(())
}

/// Puts a job into the line, not to be begun before a moment.
pub(super) fn enqueue(
    index: &WriteTransaction,
    id: &str,
    record: &mut Record,
    not_before_ms: u64,
) -> Result<(), Error> {
    record.state = JobState::Pending;
    record.started_ms = None;
    let mut waiting = index.open_table(WAITING).map_err(Error::index("write"))?;
    let times = (not_before_ms, record.latest_ms());
    waiting.insert(record.waiting_key(id), times).map_err(Error::index("write"))?;
    running(index, id, false)?;
    count(index, &record.owner, |count| count.saturating_add(1))?;
    save(index, id, record)
}

/// Takes a job out of the line.
pub(super) fn dequeue(index: &WriteTransaction, id: &str, record: &Record) -> Result<(), Error> {
    let mut waiting = index.open_table(WAITING).map_err(Error::index("write"))?;
    waiting.remove(record.waiting_key(id)).map_err(Error::index("write"))?;
    count(index, &record.owner, |count| count.saturating_sub(1))
}

/// Says that somebody works on a job, or nobody.
pub(super) fn running(index: &WriteTransaction, id: &str, is_running: bool) -> Result<(), Error> {
    let mut running = index.open_table(RUNNING).map_err(Error::index("write"))?;
    if is_running {
        running.insert(id, ()).map_err(Error::index("write"))?;
    } else {
        running.remove(id).map_err(Error::index("write"))?;
    }
    Ok(())
}

/// Has a job looked at, at a moment.
pub(super) fn remind(index: &WriteTransaction, at_ms: u64, id: &str) -> Result<(), Error> {
    let mut times = index.open_table(TIMES).map_err(Error::index("write"))?;
    times.insert((at_ms, id), ()).map_err(Error::index("write"))?;
    Ok(())
}

/// Jobs of an owner that wait.
pub(super) fn waiting_of(index: &WriteTransaction, owner: &str) -> Result<u64, Error> {
    let counts = index.open_table(COUNTS).map_err(Error::index("read"))?;
    Ok(counts.get(owner).map_err(Error::index("read"))?.map_or(0, |count| count.value()))
}

fn count(index: &WriteTransaction, owner: &str, change: impl FnOnce(u64) -> u64) -> Result<(), Error> {
    let count = change(waiting_of(index, owner)?);
    let mut counts = index.open_table(COUNTS).map_err(Error::index("write"))?;
    counts.insert(owner, count).map_err(Error::index("write"))?;
    Ok(())
}

/// Ends a job that is in no line any more, and has whoever wants to know told. What it was to work on is not needed again.
pub(super) fn end(
    index: &WriteTransaction,
    id: &str,
    record: &mut Record,
    state: JobState,
    error: Option<String>,
) -> Result<(), Error> {
    let now = now_ms();
    let mut payloads = index.open_table(PAYLOADS).map_err(Error::index("write"))?;
    payloads.remove(id).map_err(Error::index("write"))?;
    uncharge(index, &record.owner, record.payload_bytes)?;
    record.payload_bytes = 0;
    (record.state, record.ended_ms) = (state, Some(now));
    record.error = error.map(cut);
    running(index, id, false)?;
    remind(index, now.saturating_add(record.keep_ms), id)?;
    outbox::announce(index, id, record, Occasion::Ended)?;
    save(index, id, record)
}

/// Puts a job back that nobody works on any more, or ends it when that was its last attempt.
pub(super) fn again(
    index: &WriteTransaction,
    id: &str,
    record: &mut Record,
    why: String,
    after: Duration,
) -> Result<JobState, Error> {
    if record.attempts >= record.most_attempts {
        end(index, id, record, JobState::Failed, Some(why))?;
        return Ok(JobState::Failed);
    }
    record.error = Some(cut(why));
    enqueue(index, id, record, now_ms().saturating_add(after.as_millis() as u64))?;
    Ok(JobState::Pending)
}

/// Forgets a job.
pub(super) fn forget(index: &WriteTransaction, id: &str, record: &Record) -> Result<(), Error> {
    index.open_table(JOBS).map_err(Error::index("write"))?.remove(id).map_err(Error::index("write"))?;
    index.open_table(PAYLOADS).map_err(Error::index("write"))?.remove(id).map_err(Error::index("write"))?;
    index.open_table(RESULTS).map_err(Error::index("write"))?.remove(id).map_err(Error::index("write"))?;
    if let Some(key) = &record.key {
        let mut keys = index.open_table(KEYS).map_err(Error::index("write"))?;
        let at = (record.owner.as_str(), record.route.as_str(), key.as_str());
        keys.remove(at).map_err(Error::index("write"))?;
    }
    list::remove(index, id, record)?;
    uncharge(index, &record.owner, record.charged())
}

/// Gives bytes back to an owner, which no limit keeps from it.
fn uncharge(index: &WriteTransaction, owner: &str, bytes: u64) -> Result<(), Error> {
    charge(index, &Owner::new(owner, None), Change { more: 0, less: bytes }, 0)
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The beginning of a text that may be long.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(ERROR_BYTES));
    text
}
