//! `GET /api/{session_id}/status`, and as extensions `/image` and `DELETE /api/{session_id}`: what becomes of a task. Others' tasks are
//! not there: the host gives a handler those of its tenant and route alone.

use atelier_kit::fastapi::Failure;
use atelier_kit::http::Response;
use atelier_kit::jobs::{JobsError, Standing};

use crate::api::Capable;
use crate::submit::SESSION;
use crate::task::Made;
use crate::view::{view, word};
use crate::{inputs, placing};

/// Answers with how a task stands.
pub(crate) async fn status(host: &impl Capable, id: &str) -> Result<Response, Failure> {
    Ok(shown(&host.status(id).await.map_err(failed)?))
}

/// Answers with a task's picture, wherever its copy is.
pub(crate) async fn image(host: &impl Capable, id: &str) -> Result<Response, Failure> {
    let standing = host.status(id).await.map_err(failed)?;
    let none = || Failure::new(404, format!("there is no picture: the task is {}", word(standing.state)));
    let made = standing.result.as_deref().and_then(Made::read).ok_or_else(none)?;
    let bytes = host.read(placing::CONTAINER, &made.object).await.map_err(Failure::of_storage)?;
    let bytes = bytes.ok_or_else(|| Failure::new(404, "the picture is not here any more"))?;
    // a task never gets another picture
    Ok(Response::new(200, "image/png", bytes).with("cache-control", "private, max-age=3600, immutable"))
}

/// Calls a task off, and answers with how it stands then.
pub(crate) async fn cancel(host: &impl Capable, id: &str) -> Result<Response, Failure> {
    let standing = host.cancel(id).await.map_err(failed)?;
    inputs::release_of(host, id).await;
    Ok(shown(&standing))
}

fn shown(standing: &Standing) -> Response {
    Response::json(200, &view(standing)).with("cache-control", "no-store")
}

fn failed(error: JobsError) -> Failure {
    Failure::of_jobs(error, SESSION)
}
