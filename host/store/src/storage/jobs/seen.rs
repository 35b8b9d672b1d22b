//! What others than a job's owner see of it: those who copy jobs for other programs.

use std::time::Duration;

use redb::ReadTransaction;

use super::record::{self, JOBS};
use super::{JobQueue, JobStatus, found, status};
use crate::Error;
use crate::storage::copies::JobPlace;

/// A job, and how long it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSeen {
    /// How it stands.
    pub status: JobStatus,
    /// It fails when it is not begun before, in milliseconds since 1970.
    pub start_by_ms: u64,
    /// So long it is known after its end.
    pub keep: Duration,
}

impl JobQueue {
    /// A job, if it is known.
    pub async fn look(&self, id: &str) -> Result<Option<JobSeen>, Error> {
        let (shared, id) = (self.0.clone(), id.to_owned());
        let look = move |index: &ReadTransaction| {
            let Some(record) = found(index, &id)? else { return Ok(None) };
            let (start_by_ms, keep) = (record.start_by_ms, Duration::from_millis(record.keep_ms));
            let progress = shared.leases.progress(&id);
            let status = status(index, id, record, progress, true)?;
            Ok(Some(JobSeen { status, start_by_ms, keep }))
        };
        self.0.index.read(look).await
    }
}

/// So many jobs in the order of their names: those after one.
pub(in crate::storage) fn each_after(
    index: &ReadTransaction,
    after: &str,
    count: usize,
) -> Result<Vec<JobPlace>, Error> {
    let jobs = index.open_table(JOBS).map_err(Error::index("read"))?;
    let mut places = Vec::new();
    for entry in jobs.range(after..).map_err(Error::index("read"))? {
        let (id, record) = entry.map_err(Error::index("read"))?;
        if id.value() == after {
            continue;
        }
        if places.len() == count {
            break;
        }
        let record = record::parsed(record.value())?;
        let (owner, route) = (record.owner.into(), record.route.into());
        places.push(JobPlace { owner, route, id: id.value().into() });
    }
    Ok(places)
}
