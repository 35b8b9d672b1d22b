//! From what a guest submits to what is kept: every field is checked here and named where it is wrong; who may be told is asked of
//! the route, and what would do the work of its code and models.

use std::collections::BTreeSet;
use std::time::Duration;

use atelier_store::{Caching, JobOrder, JobPriority, MAX_ATTEMPTS, MAX_BATCH, Occasion, Webhook};

use crate::bindings::jobs::{self, Priority, Submission};
use crate::stage::Caller;

/// A week: the longest that a job waits for its start, is known after its end, or lends its result to others.
const MOST_SECONDS: u32 = 604_800;
const START_SECONDS: u32 = 86_400;
const KEEP_SECONDS: u32 = 3_600;
/// Models that one job may name.
const MODELS: usize = 16;

/// A batch as it is kept, or which field is wrong.
pub(super) async fn read(caller: &Caller, submissions: Vec<Submission>) -> Result<Vec<JobOrder>, String> {
    if !(1..=MAX_BATCH).contains(&submissions.len()) {
        return Err(format!("a batch has 1 to {MAX_BATCH} jobs, not {}", submissions.len()));
    }
    let mut orders = Vec::with_capacity(submissions.len());
    for (index, submission) in submissions.into_iter().enumerate() {
        orders.push(order(caller, index, submission).await?);
    }
    Ok(orders)
}

async fn order(caller: &Caller, index: usize, submission: Submission) -> Result<JobOrder, String> {
    let seconds = |field, given, otherwise| {
        let seconds = within(index, field, given, MOST_SECONDS, otherwise)?;
        Ok::<_, String>(Duration::from_secs(seconds.into()))
    };
    Ok(JobOrder {
        start_within: seconds("start-within-seconds", submission.start_within_seconds, START_SECONDS)?,
        keep: seconds("keep-seconds", submission.keep_seconds, KEEP_SECONDS)?,
        attempts: within(index, "attempts", submission.attempts, MAX_ATTEMPTS, MAX_ATTEMPTS)?,
        webhook: webhook(caller, index, submission.webhook)?,
        cache: caching(caller, index, submission.cache).await?,
        kind: submission.kind,
        payload: submission.payload,
        key: submission.key,
        priority: match submission.priority {
            Some(Priority::Low) => JobPriority::Low,
            Some(Priority::High) => JobPriority::High,
            Some(Priority::Normal) | None => JobPriority::Normal,
        },
    })
}

/// Who is told of a job, if somebody is and may be.
fn webhook(caller: &Caller, index: usize, wanted: Option<jobs::Webhook>) -> Result<Option<Webhook>, String> {
    let Some(jobs::Webhook { url, mut occasions }) = wanted else { return Ok(None) };
    let wrong = |why: String| format!("`webhook` of job {index}: {why}");
    let Some(webhooks) = &caller.route.grants.webhooks else {
        let route = &caller.route.name;
        let why = format!("route `{route}` tells nobody; add [route.webhooks] with a `secret-env` to it");
        return Err(wrong(why));
    };
    if let Some(variable) = &webhooks.unset {
        let route = &caller.route.name;
        let why = format!(
            "route `{route}` tells nobody until the variable {variable} is set, which its `webhooks.secret-env` names"
        );
        return Err(wrong(why));
    }
    let receiver = caller.host.network.receiver(&url, &webhooks.private).map_err(wrong)?;
    if occasions.is_empty() {
        occasions.push(jobs::Occasion::Ended);
    }
    let occasions = occasions.into_iter().map(|occasion| match occasion {
        jobs::Occasion::Begun => Occasion::Begun,
        jobs::Occasion::Ended => Occasion::Ended,
    });
    // said twice it is wanted once
    let occasions: BTreeSet<Occasion> = occasions.collect();
    Ok(Some(Webhook { url, receiver, occasions: occasions.into_iter().collect() }))
}

/// Whether an earlier result will do, and whose.
async fn caching(
    caller: &Caller,
    index: usize,
    wanted: Option<jobs::Cache>,
) -> Result<Option<Caching>, String> {
    let Some(jobs::Cache { seconds, models }) = wanted else { return Ok(None) };
    let seconds = within(index, "cache.seconds", Some(seconds), MOST_SECONDS, MOST_SECONDS)?;
    if models.len() > MODELS {
        return Err(format!("`cache.models` of job {index} has {} models; {MODELS} may be", models.len()));
    }
    let made_by = caller.host.maker(&caller.route, &models).await;
    let made_by = made_by.map_err(|why| format!("`cache.models` of job {index}: {why}"))?;
    Ok(Some(Caching { within: Duration::from_secs(seconds.into()), tools: models, made_by }))
}

fn within(index: usize, field: &str, given: Option<u32>, most: u32, otherwise: u32) -> Result<u32, String> {
    match given {
        None => Ok(otherwise),
        Some(value) if (1..=most).contains(&value) => Ok(value),
        Some(value) => Err(format!("`{field}` of job {index} is 1 to {most}, not {value}")),
    }
}
