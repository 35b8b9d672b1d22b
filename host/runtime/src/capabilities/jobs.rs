//! `jobs`: lets a handler submit work that outlives its request, look at it and call it off. What is kept belongs to the tenant
//! and the route of whoever submits; what a submission says is read in `orders.rs`, how jobs are worked off is in
//! `background.rs`.

mod orders;

use std::time::Duration;

use atelier_store::{Error as StoreError, JobState, JobStatus, Jobs, MAX_BATCH};
use wasmtime::Result;

use super::storage::told;
use super::{Access, Capabilities, caller};
use crate::bindings::jobs::{Error, Host, HostWithStore, Page, Receipt, Standing, State, Submission};
use crate::sandbox::{Route, Sandbox};
use crate::stage::Caller;

impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn submit(
        access: &Access,
        submissions: Vec<Submission>,
    ) -> Result<std::result::Result<Vec<Receipt>, Error>> {
        let caller = caller(access).await;
        let waiting = caller.meter.tenant().quota.waiting_jobs();
        let work = async |jobs: Jobs| {
            let orders = orders::read(&caller, submissions).await.map_err(Error::Invalid)?;
            let submitted = jobs.submit(orders, waiting).await.map_err(|error| refused(&caller, &error))?;
            let receipts = submitted.into_iter().map(|job| Receipt { id: job.id, existed: !job.is_new });
            Ok(receipts.collect())
        };
        Ok(asked(&caller, "jobs.submit", work).await)
    }

    async fn status(access: &Access, id: String) -> Result<std::result::Result<Standing, Error>> {
        let caller = caller(access).await;
        let work = async |jobs: Jobs| {
            let status = jobs.status(&id).await.map_err(|error| refused(&caller, &error))?;
            status.map(|status| standing(&caller.route, status)).ok_or(Error::NotFound)
        };
        Ok(asked(&caller, "jobs.status", work).await)
    }

    async fn list(
        access: &Access,
        after: Option<String>,
        count: u32,
    ) -> Result<std::result::Result<Page, Error>> {
        if !(1..=MAX_BATCH).contains(&(count as usize)) {
            return Ok(Err(Error::Invalid(format!("`count` is 1 to {MAX_BATCH}, not {count}"))));
        }
        let caller = caller(access).await;
        let work = async |jobs: Jobs| {
            let page = jobs.list(after, count as usize).await.map_err(|error| refused(&caller, &error))?;
            let jobs = page.jobs.into_iter().map(|status| standing(&caller.route, status)).collect();
            Ok(Page { jobs, next: page.next })
        };
        Ok(asked(&caller, "jobs.list", work).await)
    }

    async fn cancel(access: &Access, id: String) -> Result<std::result::Result<Standing, Error>> {
        let caller = caller(access).await;
        let work = async |jobs: Jobs| {
            let status = jobs.cancel(&id).await.map_err(|error| refused(&caller, &error))?;
            status.map(|status| standing(&caller.route, status)).ok_or(Error::NotFound)
        };
        Ok(asked(&caller, "jobs.cancel", work).await)
    }

    async fn report(
        access: &Access,
        progress: u8,
        message: String,
    ) -> Result<std::result::Result<(), Error>> {
        if progress > 100 {
            return Ok(Err(Error::Invalid(format!("`progress` is 0 to 100, not {progress}"))));
        }
        let caller = caller(access).await;
        let is_heard = caller.meter.reports().is_some_and(|reports| reports.report(progress, message));
        Ok(if is_heard { Ok(()) } else { Err(Error::NotRunning) })
    }
}

/// Does something with the jobs of whoever asks, who waits for it.
async fn asked<R>(
    caller: &Caller,
    name: &'static str,
    work: impl AsyncFnOnce(Jobs) -> std::result::Result<R, Error>,
) -> std::result::Result<R, Error> {
    // granted, or the handler had not been loaded
    let Some(storage) = caller.host.storage.get() else {
        return Err(Error::Failed("there is no place to keep jobs (store.data-dir)".into()));
    };
    let (_wait, _span) = (caller.meter.wait(), caller.meter.scope().open(name));
    let jobs = storage.jobs(caller.meter.owner(), caller.route.name.clone());
    caller.meter.while_wanted(work(jobs)).await
}

/// What a guest is told of what the storage refuses.
fn refused(caller: &Caller, error: &StoreError) -> Error {
    let text = told(&caller.meter, error);
    match error {
        error if error.is_operators() => Error::Failed(text),
        StoreError::KeyUsed(_) => Error::KeyUsed(text),
        StoreError::Waiting { .. } => {
            caller.meter.deny("waiting_jobs");
            Error::Full(text)
        }
        StoreError::Full { .. } | StoreError::Untold { .. } => Error::Full(text),
        _ => Error::Invalid(text),
    }
}

/// A status as guests see it.
pub(crate) fn standing(route: &Route, status: JobStatus) -> Standing {
    Standing {
        eta_seconds: eta(route, &status),
        id: status.id,
        kind: status.kind,
        state: match status.state {
            JobState::Pending => State::Pending,
            JobState::Processing => State::Processing,
            JobState::Completed => State::Completed,
            JobState::Failed => State::Failed,
            JobState::Cancelled => State::Cancelled,
        },
        progress: status.progress,
        message: status.message,
        cached: status.cached,
        result: status.result,
        error: status.error,
        attempts: status.attempts,
        position: status.position.map(|position| position as u32),
        submitted: status.submitted_ms,
        started: status.started_ms,
        ended: status.ended_ms,
    }
}

/// Seconds until a job ends, where one of the route has ended: as long as the last ones took, for those before it as well.
fn eta(route: &Route, status: &JobStatus) -> Option<u32> {
    let mean = route.metrics.job_time()?;
    let left = match (status.state, status.started_ms, status.position) {
        (JobState::Pending, _, Some(position)) => {
            let rounds = position as u32 / route.limits.jobs_at_once.max(1) + 1;
            mean.saturating_mul(rounds)
        }
        (JobState::Processing, Some(started), _) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            mean.saturating_sub(now.saturating_sub(Duration::from_millis(started)))
        }
        _ => return None,
    };
    Some(left.as_secs_f64().ceil() as u32)
}
