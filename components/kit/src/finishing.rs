//! A drawn picture on its way to the size that was asked for: by the route's finish stage where there is one, or else by the host.
//! What was done to it is told, so that no handler changes a size in silence.

use crate::Host;
use crate::host::{ImageError, Size, StageError};

/// Why a picture was not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// The finish stage is broken.
    Stage(StageError),
    /// The host could not scale it.
    Image(ImageError),
}

/// Lets the finish stage work on a picture of a model and brings it to a size, by the host if need be; and what a user should know of
/// that.
///
/// # Errors
/// The stage is broken: one that is missing or refuses costs quality only. Or the picture cannot be scaled.
pub async fn finished<H: Host>(
    host: &H,
    model: &str,
    picture: H::Image,
    prompt: &str,
    wanted: Size,
) -> Result<(H::Image, Option<String>), Unfinished> {
    let drawn = host.size(&picture);
    // a plugin is told a size only when there is something to scale
    let target = (drawn != wanted).then_some(wanted);
    let (picture, refusal) = match host.finish(host.share(&picture), prompt, target).await {
        Ok(finished) => (finished, None),
        Err(StageError::NotConfigured(_)) => (picture, None),
        Err(StageError::Refused(text)) => (picture, Some(text)),
        Err(error @ StageError::Failed(_)) => return Err(Unfinished::Stage(error)),
    };
    let (picture, by) = match host.size(&picture) == wanted {
        true => (picture, "the finish stage"),
        false => (host.resize(&picture, wanted).await.map_err(Unfinished::Image)?, "the host"),
    };
    let scaled = target.map(|_| format!("rendered at {drawn} by {model}, scaled to {wanted} by {by}"));
    let refused = refusal.map(|text| format!("the finish stage left the picture as it was: {text}"));
    Ok((picture, joined(scaled, refused)))
}

fn joined(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first}; {second}")),
        (first, second) => first.or(second),
    }
}
