//! What is to be told to webhooks, as it lies in the index: written in the transaction that begins or ends a job, so that no job
//! ends untold, and removed when it was told or nobody has to be told any more. Which message is sent next is `post.rs`.
//!
//! A message counts for nobody's bytes: a job has two at most, and an owner as many as [`StorageConfig::webhooks`] says, and
//! those of the jobs that it may have waiting.
//!
//! [`StorageConfig::webhooks`]: crate::StorageConfig

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::record::{self, Record};
use crate::Error;

/// Owner, receiver, when it is to be sent (ms since 1970), job, occasion.
pub(super) const DUE: TableDefinition<'_, DueKey, ()> = TableDefinition::new("webhooks due");
/// Job, occasion: a message.
pub(super) const MESSAGES: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("webhooks");
/// Owner: messages.
pub(super) const SUMS: TableDefinition<'_, &str, u64> = TableDefinition::new("webhook counts");

/// Owner, receiver, time, job, occasion.
pub(super) type DueKey = (&'static str, &'static str, u64, &'static str, &'static str);

/// After every occasion.
const LAST: &str = "\u{10FFFF}";

/// Who is told of a job, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Where the message goes.
    pub url: String,
    /// The server that has the address: messages to one server wait for each other, and for no others.
    pub receiver: String,
    /// What of.
    pub occasions: Vec<Occasion>,
}

/// What a webhook may be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Occasion {
    /// The job is worked on for the first time.
    Begun,
    /// It is completed, failed or cancelled.
    Ended,
}

impl Occasion {
    /// The occasion in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Ended => "ended",
        }
    }
}

/// A message as it lies in the index.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) owner: String,
    pub(super) route: String,
    pub(super) receiver: String,
    pub(super) url: String,
    pub(super) occasion: Occasion,
    /// When there was the occasion.
    pub(super) since_ms: u64,
    pub(super) due_ms: u64,
    /// How often it was sent.
    pub(super) attempts: u32,
}

/// Has a webhook told of a job, if it wants to be told of that. It may wait to be told already.
pub(super) fn announce(
    index: &WriteTransaction,
    id: &str,
    record: &Record,
    occasion: Occasion,
) -> Result<(), Error> {
    let Some(webhook) = record.webhook.as_ref().filter(|webhook| webhook.occasions.contains(&occasion))
    else {
        return Ok(());
    };
    if load(index, id, occasion)?.is_some() {
        return Ok(());
    }
    let now = record::now_ms();
    let message = Message {
        owner: record.owner.clone(),
        route: record.route.clone(),
        receiver: webhook.receiver.clone(),
        url: webhook.url.clone(),
        occasion,
        since_ms: now,
        due_ms: now,
        attempts: 0,
    };
    put(index, id, &message)?;
    count(index, &message.owner, |count| count.saturating_add(1))
}

/// Puts a message off, or says that it was sent once more in vain.
pub(super) fn again(
    index: &WriteTransaction,
    id: &str,
    occasion: Occasion,
    change: impl FnOnce(&mut Message),
) -> Result<(), Error> {
    let Some(mut message) = load(index, id, occasion)? else { return Ok(()) };
    remove_due(index, id, &message)?;
    change(&mut message);
    put(index, id, &message)
}

/// Forgets a message. The job that it was about is forgotten as well, if that is due.
pub(super) fn remove(index: &WriteTransaction, id: &str, occasion: Occasion) -> Result<(), Error> {
    let Some(message) = load(index, id, occasion)? else { return Ok(()) };
    remove_due(index, id, &message)?;
    let mut messages = index.open_table(MESSAGES).map_err(Error::index("write"))?;
    messages.remove((id, occasion.name())).map_err(Error::index("write"))?;
    drop(messages);
    count(index, &message.owner, |count| count.saturating_sub(1))?;
    let until = record::load(index, id)?.and_then(|record| record.until_ms());
    match until {
        Some(until) if until <= record::now_ms() => record::remind(index, until, id),
        _ => Ok(()),
    }
}

/// Whether anybody is still to be told of a job.
pub(super) fn has_any(index: &WriteTransaction, id: &str) -> Result<bool, Error> {
    let messages = index.open_table(MESSAGES).map_err(Error::index("read"))?;
    let mut of_job = messages.range((id, "")..(id, LAST)).map_err(Error::index("read"))?;
    Ok(of_job.next().transpose().map_err(Error::index("read"))?.is_some())
}

/// Messages of an owner.
pub(super) fn count_of(index: &WriteTransaction, owner: &str) -> Result<u64, Error> {
    let sums = index.open_table(SUMS).map_err(Error::index("read"))?;
    Ok(sums.get(owner).map_err(Error::index("read"))?.map_or(0, |sum| sum.value()))
}

/// Reads a message out of a row.
pub(super) fn parsed(bytes: &[u8]) -> Result<Message, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Index { action: "read", why: error.to_string() })
}

fn load(index: &WriteTransaction, id: &str, occasion: Occasion) -> Result<Option<Message>, Error> {
    let messages = index.open_table(MESSAGES).map_err(Error::index("read"))?;
    let found = messages.get((id, occasion.name())).map_err(Error::index("read"))?;
    found.map(|found| parsed(found.value())).transpose()
}

fn put(index: &WriteTransaction, id: &str, message: &Message) -> Result<(), Error> {
    let bytes = serde_json::to_vec(message);
    let bytes = bytes.map_err(|error| Error::Index { action: "write", why: error.to_string() })?;
    let mut messages = index.open_table(MESSAGES).map_err(Error::index("write"))?;
    messages.insert((id, message.occasion.name()), bytes.as_slice()).map_err(Error::index("write"))?;
    let mut due = index.open_table(DUE).map_err(Error::index("write"))?;
    due.insert(due_key(id, message), ()).map_err(Error::index("write"))?;
    Ok(())
}

fn remove_due(index: &WriteTransaction, id: &str, message: &Message) -> Result<(), Error> {
    let mut due = index.open_table(DUE).map_err(Error::index("write"))?;
    due.remove(due_key(id, message)).map_err(Error::index("write"))?;
    Ok(())
}

fn due_key<'a>(id: &'a str, message: &'a Message) -> (&'a str, &'a str, u64, &'a str, &'a str) {
    (&message.owner, &message.receiver, message.due_ms, id, message.occasion.name())
}

fn count(index: &WriteTransaction, owner: &str, change: impl FnOnce(u64) -> u64) -> Result<(), Error> {
    let sum = change(count_of(index, owner)?);
    let mut sums = index.open_table(SUMS).map_err(Error::index("write"))?;
    sums.insert(owner, sum).map_err(Error::index("write"))?;
    Ok(())
}
