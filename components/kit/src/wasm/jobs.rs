//! [`Jobs`] on the bindings, and what joins a handler's two functions to the exports `job-runner` and `job-view`.

use std::future::Future;

use super::Granted;
use crate::bindings::atelier::host::jobs;
use crate::bindings::background::exports::atelier::host::job_runner;
use crate::jobs::{
    Cache, Job, JobFailure, Jobs, JobsError, Occasion, Page, Priority, Receipt, Standing, State, Submission,
    Webhook,
};

impl Jobs for Granted {
    async fn submit(&self, submissions: Vec<Submission>) -> Result<Vec<Receipt>, JobsError> {
        let submitted = jobs::submit(submissions.into_iter().map(wire).collect()).await;
        let receipt = |jobs::Receipt { id, existed }| Receipt { id, existed };
        Ok(submitted.map_err(refused)?.into_iter().map(receipt).collect())
    }

    async fn status(&self, id: &str) -> Result<Standing, JobsError> {
        jobs::status(id.to_owned()).await.map(plain).map_err(refused)
    }

    async fn list(&self, after: Option<String>, count: u32) -> Result<Page, JobsError> {
        let page = jobs::list(after, count).await.map_err(refused)?;
        Ok(Page { jobs: page.jobs.into_iter().map(plain).collect(), next: page.next })
    }

    async fn cancel(&self, id: &str) -> Result<Standing, JobsError> {
        jobs::cancel(id.to_owned()).await.map(plain).map_err(refused)
    }

    async fn report(&self, progress: u8, message: &str) -> Result<(), JobsError> {
        jobs::report(progress, message.to_owned()).await.map_err(refused)
    }
}

/// Lets `run` work a job off, for a component's export `job-runner`.
pub async fn work<F>(job: job_runner::Job, run: impl FnOnce(Job) -> F) -> Result<Vec<u8>, job_runner::Failure>
where
    F: Future<Output = Result<Vec<u8>, JobFailure>>,
{
    let job_runner::Job { id, kind, payload, attempt } = job;
    run(Job { id, kind, payload, attempt }).await.map_err(|failure| match failure {
        JobFailure::Permanent(why) => job_runner::Failure::Permanent(why),
        JobFailure::Temporary(why) => job_runner::Failure::Temporary(why),
    })
}

/// Lets `view` say how a job reads, as JSON, for a component's export `job-view`.
pub async fn describe<F>(standing: jobs::Standing, view: impl FnOnce(Standing) -> F) -> Result<String, String>
where
    F: Future<Output = Result<serde_json::Value, String>>,
{
    view(plain(standing)).await.map(|view| view.to_string())
}

fn wire(submission: Submission) -> jobs::Submission {
    jobs::Submission {
        kind: submission.kind,
        payload: submission.payload,
        key: submission.key,
        priority: Some(match submission.priority {
            Priority::Low => jobs::Priority::Low,
            Priority::Normal => jobs::Priority::Normal,
            Priority::High => jobs::Priority::High,
        }),
        start_within_seconds: submission.start_within_seconds,
        keep_seconds: submission.keep_seconds,
        attempts: submission.attempts,
        webhook: submission.webhook.map(webhook),
        cache: submission.cache.map(|Cache { seconds, models }| jobs::Cache { seconds, models }),
    }
}

fn webhook(Webhook { url, occasions }: Webhook) -> jobs::Webhook {
    let occasion = |occasion| match occasion {
        Occasion::Begun => jobs::Occasion::Begun,
        Occasion::Ended => jobs::Occasion::Ended,
    };
    jobs::Webhook { url, occasions: occasions.into_iter().map(occasion).collect() }
}

fn plain(found: jobs::Standing) -> Standing {
    Standing {
        id: found.id,
        kind: found.kind,
        state: match found.state {
            jobs::State::Pending => State::Pending,
            jobs::State::Processing => State::Processing,
            jobs::State::Completed => State::Completed,
            jobs::State::Failed => State::Failed,
            jobs::State::Cancelled => State::Cancelled,
        },
        progress: found.progress,
        message: found.message,
        cached: found.cached,
        result: found.result,
        error: found.error,
        attempts: found.attempts,
        position: found.position,
        eta_seconds: found.eta_seconds,
        submitted: found.submitted,
        started: found.started,
        ended: found.ended,
    }
}

fn refused(error: jobs::Error) -> JobsError {
    match error {
        jobs::Error::Invalid(text) => JobsError::Invalid(text),
        jobs::Error::KeyUsed(text) => JobsError::KeyUsed(text),
        jobs::Error::Full(text) => JobsError::Full(text),
        jobs::Error::NotFound => JobsError::NotFound,
        jobs::Error::NotRunning => JobsError::NotRunning,
        jobs::Error::Failed(text) => JobsError::Failed(text),
    }
}
