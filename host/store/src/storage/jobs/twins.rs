//! Jobs of the same work, whose results may stand for each other (`cache`): of those that are there at the same time one is worked on,
//! and the others wait in their line, which goes on past them. When it has ended their turn comes as anybody's does, and whoever
//! works them off finds the result ([`Taken::known`]), or does the work where there is none: because it failed, was called off, or
//! nothing was kept of it. So each stays a job of its own, with its own place, attempts, messages and end.
//!
//! Who is worked on is known in memory, with the leases: after a crash all of them wait again, and one is begun.
//!
//! [`Taken::known`]: super::Taken::known

use redb::ReadableTable;

use super::lease::Leases;
use super::record::{self, JobState, Record};
use crate::Error;

/// What a job's work is, where the result of another will do: whose it is, what is worked on, and with what. By whom is not known
/// before it is begun; where that was somebody else, no result is found and the work is done.
pub(super) fn work(record: &Record) -> Option<String> {
    let cache = record.cache.as_ref()?;
    let mut digest = blake3::Hasher::new();
    let texts = [&record.owner, &record.route, &record.digest].into_iter().chain(&cache.tools);
    for text in texts {
        digest.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    Some(digest.finalize().to_hex().to_string())
}

/// Whether a job waits for another one that does the same work.
pub(super) fn waits(
    jobs: &impl ReadableTable<&'static str, &'static [u8]>,
    leases: &Leases,
    id: &str,
) -> Result<bool, Error> {
    let Some(found) = jobs.get(id).map_err(Error::index("read"))? else { return Ok(false) };
    let record = record::parsed(found.value())?;
    Ok(record.state == JobState::Pending && is_at_work(leases, &record))
}

/// Whether somebody does a job's work, if under another job's name.
pub(super) fn is_at_work(leases: &Leases, record: &Record) -> bool {
    work(record).is_some_and(|work| leases.is_at_work(&work))
}
