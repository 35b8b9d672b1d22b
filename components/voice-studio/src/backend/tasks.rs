//! Pictures as background jobs: submitted by a request, drawn when their turn comes (one at a time with `limits.jobs-at-once = 1`),
//! and looked at by their ids, which nobody guesses. Files of a task are kept beside its job (`keep`), since a job's own result is
//! small.

use atelier_kit::jobs::{Job, JobFailure, Standing, State, Submission};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::report::{Report, Stage, preview_name};
use super::requests::{Look, Picture};
use super::{MODES, keep, lease};
use crate::api::Studio;
use crate::failure::Failure;
use crate::modes::{self, Mode};
use crate::painter::{self, Wish};
use crate::settings::Settings;

/// A task that is not begun within so many seconds has failed.
const START_SECONDS: u32 = 3_600;
/// So long an ended task is known.
const KEEP_SECONDS: u32 = 3_600;
/// A picture to change outlives the waiting and three attempts; a result the task, whose end comes after its file.
const PICTURE_SECONDS: u64 = 4 * 3_600;
const RESULT_SECONDS: u64 = KEEP_SECONDS as u64 + 60;
/// Between two looks at a task whose end is waited for, in milliseconds.
const LOOK_MS: u64 = 150;

/// A job's payload.
#[derive(Serialize, Deserialize)]
struct Payload {
    prompt: String,
    mode: String,
    seed: Option<u64>,
    /// The file of the picture to change.
    picture: Option<String>,
}

/// Keeps a task; how it stands then.
pub(super) async fn submit(
    host: &impl Studio,
    settings: &Settings,
    picture: Picture,
) -> Result<Value, Failure> {
    let Picture { prompt, mode, seed, lease, image, key } = picture;
    // what could only fail is not queued
    modes::workplace(host, mode, settings).await?;
    let (kind, picture) = match image {
        None => ("generate_image", None),
        Some(bytes) => ("edit_image", Some(keep_source(host, bytes).await?)),
    };
    let payload = Payload { prompt, mode: mode.name().to_owned(), seed, picture };
    let payload = serde_json::to_vec(&payload).map_err(|_| broken())?;
    let submission = Submission {
        key,
        start_within_seconds: Some(START_SECONDS),
        keep_seconds: Some(KEEP_SECONDS),
        ..Submission::new(kind, payload)
    };
    let receipts = host.submit(vec![submission]).await?;
    let receipt = receipts.into_iter().next().ok_or_else(broken)?;
    if let Some(seconds) = lease {
        lease::give(host, &receipt.id, seconds).await?;
    }
    let mut standing = host.status(&receipt.id).await?;
    // it may have begun just now; who has asked for it hears that it waits, and the rest when asking again
    if !receipt.existed {
        let position = standing.position.or(Some(0));
        standing = Standing {
            id: standing.id,
            kind: standing.kind,
            submitted: standing.submitted,
            position,
            eta_seconds: standing.eta_seconds,
            ..Standing::default()
        };
    }
    shown(host, standing, 0).await
}

/// Keeps the picture to change, if it is one. It is named by what it is, so that the same request is the same task.
async fn keep_source(host: &impl Studio, bytes: Vec<u8>) -> Result<String, Failure> {
    let name = format!("source-{}", blake3::hash(&bytes).to_hex());
    host.decode(bytes.clone()).await.map_err(|error| {
        let failure = Failure::from(error);
        Failure::invalid(format!("`image` cannot be read: {}", failure.text())).about("image")
    })?;
    keep::put(host, &name, &bytes, PICTURE_SECONDS).await?;
    Ok(name)
}

/// How a task stands: now, or when it has ended or there is a preview that is not known, if that is soon enough.
pub(super) async fn standing(host: &impl Studio, id: &str, look: Look) -> Result<Value, Failure> {
    lease::renew(host, id).await?;
    let mut left = look.wait_ms;
    loop {
        let standing = host.status(id).await?;
        let preview = preview(&standing).map_or(0, u64::from);
        let has_news = standing.state.is_end() || look.preview_after.is_some_and(|known| preview > known);
        if has_news || left == 0 {
            return shown(host, standing, look.preview_after.unwrap_or(0)).await;
        }
        let pause = left.min(LOOK_MS);
        host.sleep_ms(pause).await;
        left -= pause;
    }
}

/// Calls a task off; how it stands then.
pub(super) async fn cancel(host: &impl Studio, id: &str) -> Result<Value, Failure> {
    let standing = host.cancel(id).await?;
    if let Some(step) = preview(&standing) {
        keep::remove(host, &preview_name(id, step)).await?;
    }
    shown(host, standing, 0).await
}

/// A task as clients see it, with its files.
async fn shown(host: &impl Studio, standing: Standing, preview_after: u64) -> Result<Value, Failure> {
    let mut value = view(&standing);
    match standing.state {
        State::Processing => {
            let step = preview(&standing).filter(|step| u64::from(*step) > preview_after);
            let file = match step {
                Some(step) => keep::get(host, &preview_name(&standing.id, step)).await?,
                None => None,
            };
            // it may have given way to the next one just now
            if let Some(png) = file {
                value["preview"] = address("image/png", &png).into();
                value["preview_step"] = step.into();
            }
        }
        State::Completed => value["result"] = result(host, &standing).await?,
        State::Pending | State::Failed | State::Cancelled => {}
    }
    Ok(value)
}

/// The step of the preview that is kept.
fn preview(standing: &Standing) -> Option<u32> {
    Stage::read(&standing.message)?.preview
}

/// A task as it reads everywhere: without the files, which only its own endpoint has.
pub(crate) fn view(standing: &Standing) -> Value {
    let stage = Stage::read(&standing.message).filter(|stage| stage.steps > 0);
    let (status, error) = match standing.state {
        State::Pending => ("queued", None),
        State::Processing => ("processing", None),
        State::Completed => ("completed", None),
        State::Failed => ("failed", Some(Failure::of_task(standing.error.as_deref().unwrap_or_default()))),
        State::Cancelled => ("cancelled", Some(Failure::of_code("cancelled", "the task was called off"))),
    };
    json!({
        "task_id": standing.id,
        "status": status,
        "position": standing.position,
        "eta_seconds": standing.eta_seconds,
        "progress": standing.progress,
        "message": standing.message,
        "step": stage.map(|stage| stage.step),
        "steps": stage.map(|stage| stage.steps),
        "preview": null,
        "preview_step": null,
        "result": known(standing),
        "error": error.map(|failure| failure.event()),
    })
}

/// What is known of the picture that a completed task has made.
fn known(standing: &Standing) -> Option<Value> {
    let result = standing.result.as_deref().and_then(|result| serde_json::from_slice::<Value>(result).ok());
    result.filter(Value::is_object)
}

/// What a completed task has made, with its file.
async fn result(host: &impl Studio, standing: &Standing) -> Result<Value, Failure> {
    let mut result = known(standing).ok_or_else(broken)?;
    let file = keep::get(host, &result_name(&standing.id)).await?;
    let file = file.ok_or_else(|| Failure::new(404, "not_found", "the task's picture is kept no longer"))?;
    result["image"] = address("image/webp", &file).into();
    Ok(result)
}

/// A file as an address that holds it.
fn address(media_type: &str, bytes: &[u8]) -> String {
    format!("data:{media_type};base64,{}", STANDARD.encode(bytes))
}

fn result_name(id: &str) -> String {
    format!("{id}.webp")
}

/// Works a task off; what is known of its picture.
pub(crate) async fn run(host: impl Studio, job: Job) -> Result<Vec<u8>, JobFailure> {
    let mut report = Report::of(&host, &job.id);
    report.look().await;
    let painted = paint(&host, &job, &mut report).await;
    report.end().await;
    painted.map(|known| known.to_string().into_bytes()).map_err(|failure| failure.of_run())
}

async fn paint<H: Studio>(host: &H, job: &Job, report: &mut Report<'_, H>) -> Result<Value, Failure> {
    let payload: Payload = serde_json::from_slice(&job.payload).map_err(|_| broken())?;
    let settings = Settings::read(host)?;
    let mode = Mode::named(&payload.mode).filter(|mode| MODES.contains(mode)).ok_or_else(broken)?;
    let workplace = modes::workplace(host, mode, &settings).await?;
    let wish = Wish { prompt: &payload.prompt, seed: payload.seed };
    let painted = match &payload.picture {
        None => painter::create(host, &workplace.create, wish, report).await?,
        Some(name) => {
            let bytes = keep::get(host, name).await?;
            let bytes = bytes.ok_or_else(|| Failure::backend("the picture to change is kept no longer"))?;
            let picture = host.decode(bytes).await?;
            painter::edit(host, &workplace.edit, &picture, wish, report).await?
        }
    };
    let file = host.webp(&painted.image).await?;
    keep::put(host, &result_name(&job.id), &file, RESULT_SECONDS).await?;
    let size = host.size(&painted.image);
    let notes: Vec<_> = workplace.note.into_iter().chain(painted.notes).collect();
    Ok(json!({
        "prompt": painted.prompt,
        "seed": painted.seed,
        "model": painted.model,
        "mode": workplace.mode.name(),
        "width": size.width,
        "height": size.height,
        "notes": notes,
    }))
}

fn broken() -> Failure {
    Failure::backend("what is kept of this task cannot be read or written")
}
