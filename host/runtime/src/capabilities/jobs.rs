//! `jobs`: lets a handler submit work that outlives its request, look at it and call it off. What is kept belongs to the tenant
//! and the route of whoever submits; how jobs are worked off is in `background.rs`.

use std::time::Duration;

use atelier_store::{
    Error as StoreError, JobOrder, JobPriority, JobState, JobStatus, Jobs, MAX_ATTEMPTS, MAX_BATCH,
};
use wasmtime::Result;

use super::storage::told;
use super::{Access, Capabilities, caller};
use crate::bindings::jobs::{Error, Host, HostWithStore, Priority, Receipt, Standing, State, Submission};
use crate::sandbox::Sandbox;
use crate::stage::Caller;

/// A week: the longest that a job waits for its start, or is known after its end.
const MOST_SECONDS: u32 = 604_800;
const START_SECONDS: u32 = 86_400;
const KEEP_SECONDS: u32 = 3_600;

impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn submit(
        access: &Access,
        submissions: Vec<Submission>,
    ) -> Result<std::result::Result<Vec<Receipt>, Error>> {
        let caller = caller(access).await;
        let waiting = caller.meter.tenant().quota.waiting_jobs();
        let work = async |jobs: Jobs| {
            let orders = orders(submissions).map_err(Error::Invalid)?;
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
            status.map(|status| seen(&caller, status)).ok_or(Error::NotFound)
        };
        Ok(asked(&caller, "jobs.status", work).await)
    }

    async fn cancel(access: &Access, id: String) -> Result<std::result::Result<Standing, Error>> {
        let caller = caller(access).await;
        let work = async |jobs: Jobs| {
            let status = jobs.cancel(&id).await.map_err(|error| refused(&caller, &error))?;
            status.map(|status| seen(&caller, status)).ok_or(Error::NotFound)
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
        StoreError::Full { .. } => Error::Full(text),
        _ => Error::Invalid(text),
    }
}

/// A batch as it is kept, or which field is wrong.
fn orders(submissions: Vec<Submission>) -> std::result::Result<Vec<JobOrder>, String> {
    if !(1..=MAX_BATCH).contains(&submissions.len()) {
        return Err(format!("a batch has 1 to {MAX_BATCH} jobs, not {}", submissions.len()));
    }
    let order = |(index, submission): (usize, Submission)| {
        let (start, keep) = (submission.start_within_seconds, submission.keep_seconds);
        let seconds = |field, given, otherwise| {
            let seconds = within(index, field, given, MOST_SECONDS, otherwise)?;
            Ok::<_, String>(Duration::from_secs(seconds.into()))
        };
        Ok(JobOrder {
            kind: submission.kind,
            payload: submission.payload,
            key: submission.key,
            priority: match submission.priority {
                Some(Priority::Low) => JobPriority::Low,
                Some(Priority::High) => JobPriority::High,
                Some(Priority::Normal) | None => JobPriority::Normal,
            },
            start_within: seconds("start-within-seconds", start, START_SECONDS)?,
            keep: seconds("keep-seconds", keep, KEEP_SECONDS)?,
            attempts: within(index, "attempts", submission.attempts, MAX_ATTEMPTS, MAX_ATTEMPTS)?,
        })
    };
    submissions.into_iter().enumerate().map(order).collect()
}

fn within(
    index: usize,
    field: &str,
    given: Option<u32>,
    most: u32,
    otherwise: u32,
) -> std::result::Result<u32, String> {
    match given {
        None => Ok(otherwise),
        Some(value) if (1..=most).contains(&value) => Ok(value),
        Some(value) => Err(format!("`{field}` of job {index} is 1 to {most}, not {value}")),
    }
}

/// A status as guests see it.
fn seen(caller: &Caller, status: JobStatus) -> Standing {
    Standing {
        eta_seconds: eta(caller, &status),
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
fn eta(caller: &Caller, status: &JobStatus) -> Option<u32> {
    let mean = caller.route.metrics.job_time()?;
    let left = match (status.state, status.started_ms, status.position) {
        (JobState::Pending, _, Some(position)) => {
            let rounds = position as u32 / caller.route.limits.jobs_at_once.max(1) + 1;
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
