//! The next messages to webhooks: of each owner some at a time, and of each receiver fewer, so that one who does not answer
//! keeps nobody else waiting. Who has which message in hand is known in memory alone: with the process goes all of that, and the
//! next one sends again what was not settled. A message arrives once at least; its receiver knows it by job and occasion.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};
use tokio::sync::Notify;

use super::outbox::{self, DUE, DueKey, MESSAGES, Message, Occasion};
use super::{JobStatus, Jobs, record};
use crate::Error;
use crate::storage::{Counts, MAX_PAGE, Owner, Shared};

/// Messages of one owner that are in hand at a time.
const OF_OWNER: usize = 8;
/// Those of them that go to one receiver.
const OF_RECEIVER: usize = 2;
/// After every name.
const LAST: &str = "\u{10FFFF}";

/// What is in hand, of one folder.
#[derive(Default)]
pub(in crate::storage) struct Post {
    held: Mutex<HashMap<(String, Occasion), Line>>,
    /// Told when a message may be due that was not.
    pub(in crate::storage) changed: Notify,
    /// Messages when they were last counted.
    waiting: AtomicU64,
    counts: Counts,
}

/// An owner and a receiver.
type Line = (String, String);

/// All messages to webhooks of a folder, for whoever sends them.
#[derive(Clone)]
pub struct Outbox(pub(in crate::storage) Arc<Shared>);

/// A message in somebody's hands: dropped, it is nobody's and due as before.
pub struct Delivery {
    /// The job that it is about.
    pub job: String,
    /// Whose that is.
    pub owner: String,
    /// The route at which it was submitted.
    pub route: String,
    /// What there is to tell.
    pub occasion: Occasion,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Where it goes.
    pub url: String,
    /// How often it was sent in vain.
    pub attempts: u32,
    post: Arc<Post>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Whom it was for has it.
    Delivered,
    /// Whom it was for wants no more of it, or never answered.
    GivenUp,
    /// It was sent in vain, and is sent again at a time (ms since 1970).
    Again(u64),
    /// It could not be sent, and is looked at again at a time (ms since 1970).
    PutOff(u64),
}

/// The messages of one owner to one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxLine {
    /// The owner.
    pub owner: String,
    /// The receiver.
    pub receiver: String,
    /// How many wait or are in hand, counted up to [`MAX_PAGE`].
    pub waiting: usize,
}

impl Outbox {
    /// Messages that are due, as many as may be in hand beside those that are.
    pub async fn take(&self) -> Result<Vec<Delivery>, Error> {
        let post = self.0.post.clone();
        self.0.index.read(move |index| take(index, &post)).await
    }

    /// How the job stands that a message is about. It is known as long as the message is.
    pub async fn job(&self, delivery: &Delivery) -> Result<Option<JobStatus>, Error> {
        let owner = Owner::new(delivery.owner.as_str(), None);
        Jobs::new(self.0.clone(), owner, delivery.route.as_str().into()).status(&delivery.job).await
    }

    /// Says what became of a message, which stays in hand until it is dropped. It is on the disk when this returns.
    pub async fn settle(&self, delivery: &Delivery, sent: Sent) -> Result<(), Error> {
        let operation = match sent {
            Sent::Delivered => "deliver",
            Sent::GivenUp => "give_up",
            Sent::Again(_) => "try_again",
            Sent::PutOff(_) => "put_off",
        };
        let (job, occasion) = (delivery.job.clone(), delivery.occasion);
        let write = move |index: &WriteTransaction| match sent {
            Sent::Delivered | Sent::GivenUp => outbox::remove(index, &job, occasion),
            Sent::Again(at) => outbox::again(index, &job, occasion, |message| {
                (message.attempts, message.due_ms) = (message.attempts.saturating_add(1), at);
            }),
            Sent::PutOff(at) => outbox::again(index, &job, occasion, |message| message.due_ms = at),
        };
        let settled = self.0.index.write(write).await;
        self.0.post.counts.ended(operation, &settled);
        settled
    }

    /// Ends when a message may be due, or one in hand less. For one at a time.
    pub async fn changed(&self) {
        self.0.post.changed.notified().await;
    }

    /// Whose messages wait for whom: at most [`MAX_PAGE`] lines.
    pub async fn lines(&self) -> Result<Vec<OutboxLine>, Error> {
        self.0.index.read(lines).await
    }

    /// Messages when [`Outbox::take`] last looked.
    pub fn waiting_lately(&self) -> u64 {
        self.0.post.waiting.load(Ordering::Relaxed)
    }

    /// What became of messages.
    pub fn counts(&self) -> &Counts {
        &self.0.post.counts
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.post.held().remove(&(std::mem::take(&mut self.job), self.occasion));
        self.post.changed.notify_one();
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // an address may hold a secret of its receiver's
        f.debug_struct("Delivery")
            .field("job", &self.job)
            .field("occasion", &self.occasion)
            .finish_non_exhaustive()
    }
}

impl Post {
    fn held(&self) -> MutexGuard<'_, HashMap<(String, Occasion), Line>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many more messages of an owner may be taken, to any receiver.
    fn room_of(&self, owner: &str) -> usize {
        OF_OWNER.saturating_sub(self.held().values().filter(|line| line.0 == owner).count())
    }

    /// How many more may be taken that go to one receiver.
    fn room_for(&self, line: (&str, &str)) -> usize {
        let is_of = |held: &&Line| (held.0.as_str(), held.1.as_str()) == line;
        OF_RECEIVER.saturating_sub(self.held().values().filter(is_of).count())
    }

    fn take(self: &Arc<Self>, job: &str, message: Message) -> Option<Delivery> {
        let Message { owner, route, receiver, url, occasion, since_ms, attempts, .. } = message;
        let key = (job.to_owned(), occasion);
        let mut held = self.held();
        if held.contains_key(&key) {
            return None;
        }
        held.insert(key, (owner.clone(), receiver));
        let (job, post) = (job.to_owned(), self.clone());
        Some(Delivery { job, owner, route, occasion, since_ms, url, attempts, post })
    }
}

type Due = ReadOnlyTable<DueKey, ()>;

fn take(index: &ReadTransaction, post: &Arc<Post>) -> Result<Vec<Delivery>, Error> {
    let due = index.open_table(DUE).map_err(Error::index("read"))?;
    let messages = index.open_table(MESSAGES).map_err(Error::index("read"))?;
    post.waiting.store(messages.len().map_err(Error::index("read"))?, Ordering::Relaxed);
    let mut taken = Vec::new();
    let mut line = next_line(&due, ("", ""))?;
    while let Some((owner, receiver)) = line {
        // an owner with no room has none for its other receivers either
        let after = if post.room_of(&owner) == 0 { LAST } else { receiver.as_str() };
        if after != LAST {
            take_of(&due, &messages, post, (&owner, &receiver), &mut taken)?;
        }
        line = next_line(&due, (&owner, after))?;
    }
    Ok(taken)
}

/// Takes what is due of an owner to a receiver, as far as there is room.
fn take_of(
    due: &Due,
    messages: &impl ReadableTable<(&'static str, &'static str), &'static [u8]>,
    post: &Arc<Post>,
    (owner, receiver): (&str, &str),
    taken: &mut Vec<Delivery>,
) -> Result<(), Error> {
    let mut room = post.room_of(owner).min(post.room_for((owner, receiver)));
    if room == 0 {
        return Ok(());
    }
    let rows = due.range((owner, receiver, 0_u64, "", "")..(owner, receiver, record::now_ms(), LAST, LAST));
    // of those that are in hand there are fewer than this
    for row in rows.map_err(Error::index("read"))?.take(OF_OWNER) {
        let (key, _) = row.map_err(Error::index("read"))?;
        let (_, _, _, job, occasion) = key.value();
        let Some(found) = messages.get((job, occasion)).map_err(Error::index("read"))? else { continue };
        if let Some(delivery) = post.take(job, outbox::parsed(found.value())?) {
            taken.push(delivery);
            room -= 1;
        }
        if room == 0 {
            break;
        }
    }
    Ok(())
}

/// The first owner and receiver after these.
fn next_line(due: &Due, (owner, receiver): (&str, &str)) -> Result<Option<Line>, Error> {
    let after = (owner, receiver, u64::MAX, LAST, LAST);
    let first = due.range(after..).map_err(Error::index("read"))?.next();
    let first = first.transpose().map_err(Error::index("read"))?;
    Ok(first.map(|(key, _)| {
        let (owner, receiver, ..) = key.value();
        (owner.to_owned(), receiver.to_owned())
    }))
}

fn lines(index: &ReadTransaction) -> Result<Vec<OutboxLine>, Error> {
    let due = index.open_table(DUE).map_err(Error::index("read"))?;
    let mut lines = Vec::new();
    let mut next = next_line(&due, ("", ""))?;
    while let Some((owner, receiver)) = next
        && lines.len() < MAX_PAGE
    {
        let rows = due.range(
            (owner.as_str(), receiver.as_str(), 0_u64, "", "")
                ..(owner.as_str(), receiver.as_str(), u64::MAX, LAST, LAST),
        );
        let waiting = rows.map_err(Error::index("read"))?.take(MAX_PAGE).count();
        next = next_line(&due, (&owner, &receiver))?;
        lines.push(OutboxLine { owner, receiver, waiting });
    }
    Ok(lines)
}
