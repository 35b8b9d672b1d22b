//! All jobs of an owner at a route, the newest first, a page at a time. A page says where the next one begins: at a moment and a
//! name, so that jobs which come or go meanwhile neither hide others nor show them twice.

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use super::record::{self, JOBS, Record};
use super::{JobStatus, Place, Shared, status};
use crate::Error;

/// Owner, route, when it was submitted (see [`Record::moment`]), id.
pub(super) const LISTED: TableDefinition<'_, (&str, &str, u64, &str), ()> =
    TableDefinition::new("jobs listed");

/// Digits of a moment, in hexadecimal.
const MOMENT_DIGITS: usize = 16;
/// After every name.
const LAST: &str = "\u{10FFFF}";

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPage {
    /// The newest first, without what they made.
    pub jobs: Vec<JobStatus>,
    /// After what the next page begins; `None` when there are no more.
    pub next: Option<String>,
}

/// Has a job listed.
pub(super) fn add(index: &WriteTransaction, id: &str, record: &Record) -> Result<(), Error> {
    let mut listed = index.open_table(LISTED).map_err(Error::index("write"))?;
    listed.insert(key(id, record), ()).map_err(Error::index("write"))?;
    Ok(())
}

/// Takes a job off the list.
pub(super) fn remove(index: &WriteTransaction, id: &str, record: &Record) -> Result<(), Error> {
    let mut listed = index.open_table(LISTED).map_err(Error::index("write"))?;
    listed.remove(key(id, record)).map_err(Error::index("write"))?;
    Ok(())
}

/// Lists what a process kept that had no list.
pub(super) fn recover(index: &WriteTransaction) -> Result<(), Error> {
    let jobs = index.open_table(JOBS).map_err(Error::index("read"))?;
    let listed = index.open_table(LISTED).map_err(Error::index("read"))?.len();
    if listed.map_err(Error::index("read"))? == jobs.len().map_err(Error::index("read"))? {
        return Ok(());
    }
    for job in jobs.iter().map_err(Error::index("read"))? {
        let (id, record) = job.map_err(Error::index("read"))?;
        add(index, id.value(), &record::parsed(record.value())?)?;
    }
    Ok(())
}

/// A page of so many jobs at most, from the newest or after what the last page says.
pub(super) fn page(
    index: &ReadTransaction,
    shared: &Shared,
    place: &Place,
    after: Option<&str>,
    count: usize,
) -> Result<JobPage, Error> {
    let listed = index.open_table(LISTED).map_err(Error::index("read"))?;
    let jobs = index.open_table(JOBS).map_err(Error::index("read"))?;
    let (owner, route) = (&*place.owner.id, &*place.route);
    let (moment, id) = after.map_or(Ok((u64::MAX, LAST)), parsed)?;
    let rows = listed.range((owner, route, 0, "")..(owner, route, moment, id));
    let mut page = JobPage { jobs: Vec::new(), next: None };
    let mut last = None;
    for row in rows.map_err(Error::index("read"))?.rev() {
        let (key, _) = row.map_err(Error::index("read"))?;
        let (_, _, moment, id) = key.value();
        if page.jobs.len() == count {
            page.next = last;
            break;
        }
        last = Some(format!("{moment:0MOMENT_DIGITS$x}{id}"));
        let Some(record) = jobs.get(id).map_err(Error::index("read"))? else { continue };
        let record = record::parsed(record.value())?;
        let progress = shared.leases.progress(id);
        page.jobs.push(status(index, id.to_owned(), record, progress, false)?);
    }
    Ok(page)
}

/// What a page says of where the next one begins.
fn parsed(after: &str) -> Result<(u64, &str), Error> {
    let split = after.split_at_checked(MOMENT_DIGITS);
    let place = split.and_then(|(moment, id)| Some((u64::from_str_radix(moment, 16).ok()?, id)));
    place.ok_or_else(|| Error::NoPage(after.chars().take(64).collect()))
}

fn key<'a>(id: &'a str, record: &'a Record) -> (&'a str, &'a str, u64, &'a str) {
    (&record.owner, &record.route, record.moment(), id)
}
