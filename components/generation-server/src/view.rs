//! How a task stands, in the original's words: what `/api/{session_id}/status` answers, what Redis holds and what else the host tells
//! of a job. One function, so that all of them say the same.

use atelier_kit::jobs::{Standing, State};
use serde_json::{Value, json};

use crate::task::Made;

/// The status of a task that is kept. Its six members are always there, and null where they hold nothing.
pub fn view(standing: &Standing) -> Value {
    let made = standing.result.as_deref().and_then(Made::read);
    let (progress, message) = match standing.state {
        State::Pending => (0, waiting(standing.position)),
        State::Processing if standing.message.is_empty() => (standing.progress, "Task is starting".into()),
        State::Processing => (standing.progress, standing.message.clone()),
        State::Completed => (100, made.as_ref().map_or_else(|| DONE.into(), |made| made.message.clone())),
        State::Failed => (0, "Generation failed".into()),
        State::Cancelled => (0, "Generation cancelled".into()),
    };
    let error = match standing.state {
        State::Failed => Some(standing.error.clone().unwrap_or_else(|| "no reason was given".into())),
        State::Cancelled => Some("cancelled".into()),
        // why an attempt failed is no error of a task that is tried again
        State::Pending | State::Processing | State::Completed => None,
    };
    json!({
        "session_id": standing.id,
        "status": word(standing.state),
        "progress": progress,
        "message": message,
        "result_url": made.map(|made| made.url(&standing.id)),
        "error": error,
    })
}

/// The original's word for a state. It has none for what is called off, which has failed as far as its clients are concerned.
pub(crate) fn word(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Processing => "processing",
        State::Completed => "completed",
        State::Failed | State::Cancelled => "failed",
    }
}

const DONE: &str = "Generation completed successfully";

/// What is said of a task that is done: more than the original says only where there is more to know.
pub(crate) fn done(waits: bool, notes: &[String]) -> String {
    let upload = "the upload to S3 waits, the picture is served here".to_owned();
    let said: Vec<_> = waits.then_some(upload).into_iter().chain(notes.iter().cloned()).collect();
    if said.is_empty() { DONE.into() } else { format!("{DONE}; {}", said.join("; ")) }
}

fn waiting(position: Option<u32>) -> String {
    match position {
        Some(before @ 1..) => format!("Task is queued, {before} before it"),
        Some(0) | None => "Task is queued".into(),
    }
}
