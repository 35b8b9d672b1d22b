//! Results that may stand for those of the same work: kept beside the jobs that made them, since they outlive these, under what was
//! worked on and by what. They belong to an owner at a route and count for its bytes, until their time is over.

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::record::{self, RECORD_BYTES, Record};
use crate::Error;
use crate::storage::Owner;
use crate::storage::charge::{Change, charge};

/// Owner, route, of what the result is.
type Key = (&'static str, &'static str, &'static str);
/// When a result was made, until when it is kept (ms since 1970), the result.
type Kept<'a> = (u64, u64, &'a [u8]);
/// Until when a result is kept, and whose it is: the key of [`CACHED`].
type Due<'a> = (u64, &'a str, &'a str, &'a str);

/// Owner, route, of what the result is.
pub(super) const CACHED: TableDefinition<'_, (&str, &str, &str), Kept<'_>> =
    TableDefinition::new("job results cached");
/// Results in the order in which they go.
pub(super) const TIMES: TableDefinition<'_, Due<'_>, ()> = TableDefinition::new("job results cached times");

/// Results that are let go of in one transaction.
const PIECE: usize = 256;

/// That the result of the same work will do, if it is not too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caching {
    /// How old it may be; so long is the job's own kept for others.
    pub within: std::time::Duration,
    /// With what the work is done, as whoever works it off names that.
    pub tools: Vec<String>,
    /// What would do the work now, tools included: what another one made will not do.
    pub made_by: String,
}

/// A result of the same work by this maker that is not too old.
pub(super) fn find(
    cached: &impl ReadableTable<Key, Kept<'static>>,
    record: &Record,
    made_by: &str,
) -> Result<Option<Vec<u8>>, Error> {
    let Some(within_ms) = record.cache.as_ref().map(|cache| cache.within_ms) else { return Ok(None) };
    let of = of(record, made_by);
    let key = (record.owner.as_str(), record.route.as_str(), of.as_str());
    let found = cached.get(key).map_err(Error::index("read"))?;
    Ok(found.and_then(|found| {
        let (made_ms, until_ms, result) = found.value();
        let now = record::now_ms();
        let is_young = made_ms.saturating_add(within_ms) >= now && until_ms >= now;
        is_young.then(|| result.to_vec())
    }))
}

/// Keeps what a job made for others that are the same, instead of what was kept of such work before; nothing where there is no
/// room for it.
pub(super) fn keep(
    index: &WriteTransaction,
    owner: &Owner,
    drafted: u64,
    record: &Record,
    made_by: &str,
    result: &[u8],
) -> Result<(), Error> {
    let Some(within_ms) = record.cache.as_ref().map(|cache| cache.within_ms) else { return Ok(()) };
    let of = of(record, made_by);
    let key = (record.owner.as_str(), record.route.as_str(), of.as_str());
    let less = remove(index, key)?.unwrap_or(0);
    let change = Change { more: charged(result), less };
    match charge(index, owner, change, drafted) {
        Ok(()) => {}
        // what was there is gone all the same: it is older than this
        Err(Error::Full { .. }) => return charge(index, owner, Change { more: 0, less }, 0),
        Err(error) => return Err(error),
    }
    let now = record::now_ms();
    let until = now.saturating_add(within_ms);
    let mut cached = index.open_table(CACHED).map_err(Error::index("write"))?;
    cached.insert(key, (now, until, result)).map_err(Error::index("write"))?;
    let mut times = index.open_table(TIMES).map_err(Error::index("write"))?;
    times.insert((until, key.0, key.1, key.2), ()).map_err(Error::index("write"))?;
    Ok(())
}

/// Lets go of results whose time is over, some at a time. Whether there were any.
pub(super) fn sweep(index: &WriteTransaction) -> Result<bool, Error> {
    let mut over = Vec::new();
    for entry in due(&index.open_table(TIMES).map_err(Error::index("read"))?)?.take(PIECE) {
        let (key, _) = entry.map_err(Error::index("read"))?;
        let (_, owner, route, of) = key.value();
        over.push((owner.to_owned(), route.to_owned(), of.to_owned()));
    }
    for (owner, route, of) in &over {
        if let Some(less) = remove(index, (owner, route, of))? {
            charge(index, &Owner::new(owner.as_str(), None), Change { more: 0, less }, 0)?;
        }
    }
    Ok(!over.is_empty())
}

/// Rows whose time is over.
pub(super) fn due(
    times: &impl ReadableTable<Due<'static>, ()>,
) -> Result<redb::Range<'_, Due<'static>, ()>, Error> {
    times.range(..(record::now_ms(), "", "", "")).map_err(Error::index("read"))
}

/// Takes a result away; for how many bytes it counted.
fn remove(index: &WriteTransaction, key: (&str, &str, &str)) -> Result<Option<u64>, Error> {
    let mut cached = index.open_table(CACHED).map_err(Error::index("write"))?;
    let removed = cached.remove(key).map_err(Error::index("write"))?;
    let Some((until, bytes)) = removed.map(|removed| (removed.value().1, charged(removed.value().2))) else {
        return Ok(None);
    };
    let mut times = index.open_table(TIMES).map_err(Error::index("write"))?;
    times.remove((until, key.0, key.1, key.2)).map_err(Error::index("write"))?;
    Ok(Some(bytes))
}

/// What a result is of: the work, and what did it.
fn of(record: &Record, made_by: &str) -> String {
    let mut digest = blake3::Hasher::new();
    digest.update(record.digest.as_bytes()).update(&[0]).update(made_by.as_bytes());
    digest.finalize().to_hex().to_string()
}

fn charged(result: &[u8]) -> u64 {
    RECORD_BYTES + result.len() as u64
}

pub(super) fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
