//! The next job: of a route's owners that have one due, the one who has fewest at work goes first, and of those the one whose
//! last turn is longest ago; within an owner the rank decides, which is when a job was submitted and of which priority.
//!
//! Also what nobody asked for: jobs whose start or whose life is over, and those whose workers are gone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::cached;
use super::lease::{Leases, Load};
use super::list;
use super::outbox::{self, Occasion};
use super::post::Outbox;
use super::record::{
    self, COUNTS, JOBS, JobState, KEYS, PAYLOADS, RESULTS, RUNNING, Record, TIMES, WAITING, WaitingKey,
};
use super::taken::Taken;
use super::twins;
use crate::Error;
use crate::storage::{Counts, MAX_PAGE, Shared};

/// Jobs of one owner that are looked at for one that is due: the others are tried again later, or too late to begin.
const LOOK_AT: usize = 1_000;
/// Times that are looked at in one transaction.
const PIECE: usize = 256;
/// After every name that can stand in a row.
const LAST: &str = "\u{10FFFF}";
/// What a job's status says when it was begun too often by workers that never ended it.
const LOST: &str = "whoever worked on the job ended before it did";
const LATE: &str = "the job was not begun in time (its start timeout)";

/// All jobs of a folder, for whoever works them off.
#[derive(Clone)]
pub struct JobQueue(pub(in crate::storage) Arc<Shared>);

/// The jobs of one owner at one route that have not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLine {
    /// The route.
    pub route: String,
    /// The owner.
    pub owner: String,
    /// How many wait.
    pub waiting: usize,
}

impl JobQueue {
    /// The job that is next at a route, under a lease of this length; `None` when none is due. Whoever takes one ends it
    /// ([`Taken::end`]) or lets the lease end.
    pub async fn take(&self, route: &str, lease: Duration) -> Result<Option<Taken>, Error> {
        let Shared { index, leases, .. } = &*self.0;
        let (name, load) = (route.to_owned(), leases.clone());
        // reading costs no write to the disk
        let look = move |index: &ReadTransaction| {
            let waiting = index.open_table(WAITING).map_err(Error::index("read"))?;
            let jobs = index.open_table(JOBS).map_err(Error::index("read"))?;
            Ok(next(&waiting, &jobs, &name, &load)?.is_some())
        };
        if !index.read(look).await? {
            return Ok(None);
        }
        let (name, granting) = (route.to_owned(), leases.clone());
        let taken = index.write(move |index| begin(index, &name, &granting, lease)).await;
        self.0.jobs.ended("take", &taken);
        self.0.post.changed.notify_one();
        Ok(taken?.map(|begun| {
            self.0.copies.job_changed(&begun.owner, &begun.route, &begun.id);
            Taken::new(self.0.clone(), begun)
        }))
    }

    /// Ends when a job may be due or a place free that was not before. For one at a time.
    pub async fn changed(&self) {
        self.0.leases.changed.notified().await;
    }

    /// Ends what is over: jobs that were not begun in time, jobs that are known for long enough, results that are kept for others
    /// for long enough, and leases that nobody renewed. To be called every second or so.
    pub async fn sweep(&self) -> Result<(), Error> {
        for (id, number) in self.0.leases.overdue() {
            let leases = self.0.leases.clone();
            let (job, standing) = (id.clone(), leases.clone());
            let lost = self.0.index.write(move |index| lost(index, &job, number, &standing)).await;
            self.0.jobs.ended("lose", &lost);
            self.tell(lost?);
            leases.stop(&id, Some(number));
            self.0.moved();
        }
        while self.0.index.read(|index| Ok(!due_times(index)?.is_empty())).await? {
            let leases = self.0.leases.clone();
            let swept = self.0.index.write(move |index| sweep(index, &leases)).await;
            self.0.jobs.ended("sweep", &swept);
            self.tell(swept?);
            self.0.post.changed.notify_one();
        }
        while self.0.index.read(has_stale_results).await? && self.0.index.write(cached::sweep).await? {}
        self.0.leases.waiting.store(self.waiting().await?, Ordering::Relaxed);
        Ok(())
    }

    /// Tells those who copy jobs that these stand otherwise than before, or are forgotten.
    fn tell(&self, changed: impl IntoIterator<Item = Changed>) {
        for Changed { owner, route, id } in changed {
            self.0.copies.job_changed(&owner, &route, &id);
        }
    }

    /// Jobs that somebody works on: at one route, or at all.
    pub fn running(&self, route: Option<&str>) -> usize {
        self.0.leases.running(route)
    }

    /// Jobs that wait, at all routes.
    pub async fn waiting(&self) -> Result<u64, Error> {
        let look = |index: &ReadTransaction| {
            let waiting = index.open_table(WAITING).map_err(Error::index("read"))?;
            waiting.len().map_err(Error::index("read"))
        };
        self.0.index.read(look).await
    }

    /// Jobs that waited, at all routes, when [`JobQueue::sweep`] last looked.
    pub fn waiting_lately(&self) -> u64 {
        self.0.leases.waiting.load(Ordering::Relaxed)
    }

    /// Who waits where: at most [`MAX_PAGE`] lines, and as many jobs of each.
    pub async fn lines(&self) -> Result<Vec<JobLine>, Error> {
        self.0.index.read(lines).await
    }

    /// What is to be told of all these jobs.
    pub fn outbox(&self) -> Outbox {
        Outbox(self.0.clone())
    }

    /// What was done with jobs.
    pub fn counts(&self) -> &Counts {
        &self.0.jobs
    }
}

impl std::fmt::Debug for JobQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobQueue").finish_non_exhaustive()
    }
}

/// A job that is begun.
pub(super) struct Begun {
    pub(super) id: String,
    pub(super) owner: String,
    pub(super) route: String,
    pub(super) kind: String,
    pub(super) payload: Vec<u8>,
    pub(super) attempt: u32,
    /// With what the work is done, where its result may be kept for others.
    pub(super) tools: Option<Vec<String>>,
    pub(super) lease: u64,
    pub(super) stopped: tokio::sync::watch::Receiver<bool>,
}

fn begin(
    index: &WriteTransaction,
    route: &str,
    leases: &Leases,
    length: Duration,
) -> Result<Option<Begun>, Error> {
    let waiting = index.open_table(WAITING).map_err(Error::index("read"))?;
    let jobs = index.open_table(JOBS).map_err(Error::index("read"))?;
    let chosen = next(&waiting, &jobs, route, leases)?;
    drop((waiting, jobs));
    let Some((owner, id)) = chosen else { return Ok(None) };
    let Some(mut record) = record::load(index, &id)? else {
        return Err(Error::Index { action: "follow", why: "a job that waits has no record".into() });
    };
    record::dequeue(index, &id, &record)?;
    record::running(index, &id, true)?;
    (record.state, record.started_ms) = (JobState::Processing, Some(record::now_ms()));
    record.attempts += 1;
    record.begun = true;
    record::save(index, &id, &record)?;
    if record.attempts == 1 {
        outbox::announce(index, &id, &record, Occasion::Begun)?;
    }
    let payloads = index.open_table(PAYLOADS).map_err(Error::index("read"))?;
    let payload = payloads.get(id.as_str()).map_err(Error::index("read"))?;
    let payload = payload.map(|payload| payload.value().to_vec()).unwrap_or_default();
    // before the job is on the disk as begun: who calls it off from then on finds the lease. One that stands for a job that
    // was not written as begun ends by itself.
    let line = (route.to_owned(), owner.clone());
    let (lease, stopped) = leases.grant(&id, line, twins::work(&record), length);
    let Record { kind, route, attempts: attempt, cache, .. } = record;
    let tools = cache.map(|cache| cache.tools);
    Ok(Some(Begun { id, owner, route, kind, payload, attempt, tools, lease, stopped }))
}

/// A job that nobody's own order changed.
struct Changed {
    owner: String,
    route: String,
    id: String,
}

/// Whose job is next at a route: the owner and the job.
fn next(
    waiting: &impl ReadableTable<WaitingKey, (u64, u64)>,
    jobs: &impl ReadableTable<&'static str, &'static [u8]>,
    route: &str,
    leases: &Leases,
) -> Result<Option<(String, String)>, Error> {
    let mut best: Option<(Load, u64, String, String)> = None;
    let mut owner = next_owner(waiting, route, None)?;
    while let Some(name) = owner {
        let load = leases.load(route, &name);
        if let Some((rank, id)) = first_due(waiting, jobs, leases, (route, &name))?
            && best.as_ref().is_none_or(|(least, first, ..)| (load, rank) < (*least, *first))
        {
            best = Some((load, rank, name.clone(), id));
        }
        owner = next_owner(waiting, route, Some(&name))?;
    }
    Ok(best.map(|(_, _, owner, id)| (owner, id)))
}

/// The first owner at a route who has a job waiting, or the first after another.
fn next_owner(
    waiting: &impl ReadableTable<WaitingKey, (u64, u64)>,
    route: &str,
    after: Option<&str>,
) -> Result<Option<String>, Error> {
    let start = after.map_or((route, "", 0_u64, ""), |owner| (route, owner, u64::MAX, LAST));
    let first = waiting.range(start..).map_err(Error::index("read"))?.next();
    let Some((key, _)) = first.transpose().map_err(Error::index("read"))? else { return Ok(None) };
    let (at, owner, ..) = key.value();
    Ok((at == route).then(|| owner.to_owned()))
}

/// The job of an owner that goes first of those that may be begun now.
fn first_due(
    waiting: &impl ReadableTable<WaitingKey, (u64, u64)>,
    jobs: &impl ReadableTable<&'static str, &'static [u8]>,
    leases: &Leases,
    (route, owner): (&str, &str),
) -> Result<Option<(u64, String)>, Error> {
    // records are read only where one may have to wait for another
    let (now, shares) = (record::now_ms(), leases.shares(route, owner));
    let line = waiting.range((route, owner, 0_u64, "")..(route, owner, u64::MAX, LAST));
    for entry in line.map_err(Error::index("read"))?.take(LOOK_AT) {
        let (key, times) = entry.map_err(Error::index("read"))?;
        let ((_, _, rank, id), (not_before, start_by)) = (key.value(), times.value());
        let is_due = (not_before..start_by).contains(&now);
        if is_due && !(shares && twins::waits(jobs, leases, id)?) {
            return Ok(Some((rank, id.to_owned())));
        }
    }
    Ok(None)
}

/// Puts a job back whose lease ended.
fn lost(index: &WriteTransaction, id: &str, lease: u64, leases: &Leases) -> Result<Option<Changed>, Error> {
    if let Some(mut record) = record::load(index, id)?
        && record.state == JobState::Processing
        && leases.stands(id, lease)
    {
        record::again(index, id, &mut record, LOST.into(), Duration::ZERO)?;
        return Ok(Some(Changed { owner: record.owner, route: record.route, id: id.to_owned() }));
    }
    Ok(None)
}

/// Rows whose time has come, oldest first.
fn due_times(index: &ReadTransaction) -> Result<Vec<(u64, String)>, Error> {
    due(&index.open_table(TIMES).map_err(Error::index("read"))?)
}

fn due(times: &impl ReadableTable<(u64, &'static str), ()>) -> Result<Vec<(u64, String)>, Error> {
    let mut found = Vec::new();
    for entry in times.range(..(record::now_ms(), LAST)).map_err(Error::index("read"))?.take(PIECE) {
        let (key, _) = entry.map_err(Error::index("read"))?;
        let (at, id) = key.value();
        found.push((at, id.to_owned()));
    }
    Ok(found)
}

/// Whether results are kept whose time is over.
fn has_stale_results(index: &ReadTransaction) -> Result<bool, Error> {
    let times = index.open_table(cached::TIMES).map_err(Error::index("read"))?;
    Ok(cached::due(&times)?.next().is_some())
}

fn sweep(index: &WriteTransaction, leases: &Leases) -> Result<Vec<Changed>, Error> {
    let mut times = index.open_table(TIMES).map_err(Error::index("write"))?;
    let rows = due(&times)?;
    for (at, id) in &rows {
        times.remove((*at, id.as_str())).map_err(Error::index("write"))?;
    }
    drop(times);
    let (now, mut changed) = (record::now_ms(), Vec::new());
    for (_, id) in rows {
        let Some(mut record) = record::load(index, &id)? else { continue };
        match record.state {
            JobState::Pending if record.latest_ms() <= now => {
                record::dequeue(index, &id, &record)?;
                if twins::is_at_work(leases, &record) {
                    // what it waits for was begun in time
                    record.begun = true;
                    record::enqueue(index, &id, &mut record, 0)?;
                    continue;
                }
                record::end(index, &id, &mut record, JobState::Failed, Some(LATE.into()))?;
            }
            // whoever is told last has it looked at again
            state if state.is_end() && outbox::has_any(index, &id)? => {}
            state if state.is_end() && record.until_ms().is_some_and(|until| until <= now) => {
                record::forget(index, &id, &record)?;
            }
            // it was begun in time, or ends later
            _ => continue,
        }
        changed.push(Changed { owner: record.owner, route: record.route, id });
    }
    Ok(changed)
}

fn lines(index: &ReadTransaction) -> Result<Vec<JobLine>, Error> {
    let waiting = index.open_table(WAITING).map_err(Error::index("read"))?;
    let (mut lines, mut start): (Vec<JobLine>, _) = (Vec::new(), (String::new(), String::new()));
    while lines.len() < MAX_PAGE {
        let after = (start.0.as_str(), start.1.as_str(), u64::MAX, LAST);
        let first = waiting.range(after..).map_err(Error::index("read"))?.next();
        let Some((key, _)) = first.transpose().map_err(Error::index("read"))? else { break };
        let (route, owner, ..) = key.value();
        let line = waiting.range((route, owner, 0_u64, "")..(route, owner, u64::MAX, LAST));
        let count = line.map_err(Error::index("read"))?.take(MAX_PAGE).count();
        start = (route.to_owned(), owner.to_owned());
        lines.push(JobLine { route: start.0.clone(), owner: start.1.clone(), waiting: count });
    }
    Ok(lines)
}

/// Readers may come before the first write.
pub(in crate::storage) fn make_tables(transaction: &WriteTransaction) -> Result<(), redb::TableError> {
    transaction.open_table(JOBS)?;
    transaction.open_table(PAYLOADS)?;
    transaction.open_table(RESULTS)?;
    transaction.open_table(KEYS)?;
    transaction.open_table(WAITING)?;
    transaction.open_table(RUNNING)?;
    transaction.open_table(TIMES)?;
    transaction.open_table(COUNTS)?;
    transaction.open_table(cached::CACHED)?;
    transaction.open_table(cached::TIMES)?;
    transaction.open_table(list::LISTED)?;
    transaction.open_table(outbox::DUE)?;
    transaction.open_table(outbox::MESSAGES)?;
    transaction.open_table(outbox::SUMS)?;
    Ok(())
}

/// What the last process worked on waits again, or has failed.
pub(in crate::storage) fn recover(index: &WriteTransaction) -> Result<(), Error> {
    list::recover(index)?;
    let running = index.open_table(RUNNING).map_err(Error::index("read"))?;
    let mut ids = Vec::new();
    for entry in running.iter().map_err(Error::index("read"))? {
        ids.push(entry.map_err(Error::index("read"))?.0.value().to_owned());
    }
    drop(running);
    for id in ids {
        match record::load(index, &id)? {
            Some(mut record) if record.state == JobState::Processing => {
                record::again(index, &id, &mut record, LOST.into(), Duration::ZERO)?;
            }
            _ => record::running(index, &id, false)?,
        }
    }
    Ok(())
}
