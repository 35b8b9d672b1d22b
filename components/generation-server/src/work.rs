//! A task, worked off: drawn, kept, and told where it is. May begin anew, when the host or the run ended before: a picture has one name
//! for its job, so that it is never there twice, and one that is there already is not drawn again.

use atelier_kit::jobs::{Job, JobFailure};
use atelier_kit::storage::StorageError;

use crate::api::Capable;
use crate::drawing::draw;
use crate::task::{Made, Task};
use crate::{inputs, placing, view};

/// How far a task is when its picture is drawn, and what the original says then.
const DRAWN: (u8, &str) = (60, "Generation complete, uploading to S3...");

/// Works a job off and gives its result.
///
/// # Errors
/// The picture cannot be drawn or kept; the text says why, for whoever asks how the task stands.
pub async fn run(host: &impl Capable, job: Job) -> Result<Vec<u8>, JobFailure> {
    let task = Task::read(&job.payload);
    let task =
        task.ok_or_else(|| JobFailure::Permanent("the task is another version's; send it again".into()))?;
    let made = make(host, &job, &task).await;
    // what is tried again needs it again
    if !matches!(made, Err(JobFailure::Temporary(_))) {
        inputs::release(host, task.input.as_deref()).await;
    }
    made.map(|made| made.result())
}

async fn make(host: &impl Capable, job: &Job, task: &Task) -> Result<Made, JobFailure> {
    // the moment of its submission: each attempt finds the same
    let submitted =
        host.status(&job.id).await.map_err(|_| JobFailure::Permanent("the task is gone".into()))?.submitted;
    let object = placing::name(submitted, &job.id);
    let is_there = job.attempt > 1 && host.read(placing::CONTAINER, &object).await.map_err(failed)?.is_some();
    let notes = if is_there {
        Vec::new()
    } else {
        let drawn = draw(host, task).await?;
        report(host, DRAWN.0, DRAWN.1).await;
        host.write(placing::CONTAINER, &object, &drawn.png).await.map_err(failed)?;
        drawn.notes
    };
    let (copied_to, waits) = placing::copied(host, &object).await;
    Ok(Made { object, copied_to, base: task.base.clone(), message: view::done(waits, &notes) })
}

/// Says how far the task is. One that was called off has nobody to tell.
pub(crate) async fn report(host: &impl Capable, progress: u8, message: &str) {
    let _ = host.report(progress, message).await;
}

/// A quota is there in a moment as well; anything else may pass.
pub(crate) fn failed(error: StorageError) -> JobFailure {
    match error {
        StorageError::Full(text) | StorageError::Denied(text) => {
            JobFailure::Permanent(format!("Storage error: {text}"))
        }
        StorageError::Failed(text) => JobFailure::Temporary(format!("Storage error: {text}")),
    }
}
