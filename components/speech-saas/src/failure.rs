//! What went wrong, as the service's clients read it: `{"success": false, "error": "..."}`. Every error of a stage or capability
//! is translated here, once.
//!
//! Texts are shown to clients: they name fields, limits and manifest keys, never an address, a path or a backtrace.

use atelier_kit::Response;
use atelier_kit::host::{GenerationError, ImageError, StageError};
use atelier_kit::speech::AudioError;
use atelier_kit::storage::StorageError;
use atelier_kit::trouble::{Trouble, UNEXPECTED};
use serde_json::json;

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    status: u16,
    text: String,
    /// When to come back.
    retry_after_ms: Option<u64>,
    /// The methods of a path, for a wrong one.
    allow: Option<&'static str>,
}

impl Failure {
    pub(crate) fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), retry_after_ms: None, allow: None }
    }

    /// The request is wrong; the text names the field and the fix.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(400, text)
    }

    /// No such path, or no such picture.
    pub(crate) fn not_found(path: &str) -> Self {
        let shown: String = path.chars().take(80).collect();
        Self::new(404, format!("there is nothing at {shown}; /docs lists what there is"))
    }

    /// The path takes other methods.
    pub(crate) fn wrong_method(method: &str, allow: &'static str) -> Self {
        let shown: String = method.chars().take(20).collect();
        Self { allow: Some(allow), ..Self::new(405, format!("{shown} is not served here; use {allow}")) }
    }

    /// Too many requests; the text names the limit.
    pub(crate) fn too_many(text: impl Into<String>, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(429, text) }
    }

    /// A model, a plugin or the storage cannot be used.
    pub(crate) fn backend(text: impl Into<String>) -> Self {
        Self::new(502, text)
    }

    /// What it says.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The error as a response, with the headers that its status calls for.
    pub(crate) fn response(&self) -> Response {
        let mut response = Response::json(self.status, &json!({"success": false, "error": self.text}));
        if let Some(allow) = self.allow {
            response = response.with("allow", allow);
        }
        response.come_back_after(self.retry_after_ms)
    }
}

impl From<GenerationError> for Failure {
    fn from(error: GenerationError) -> Self {
        match Trouble::of(error, requests_name) {
            Trouble::Field { text, .. } => Self::invalid(text),
            Trouble::Busy { text, retry_after_ms } => Self::too_many(text, retry_after_ms),
            Trouble::Backend { text, retry_after_ms } => Self { retry_after_ms, ..Self::backend(text) },
            Trouble::TimedOut(text) => Self::new(504, text),
            Trouble::Unexpected => Self::new(500, UNEXPECTED),
        }
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Refused(text) => Self::invalid(text),
            // callers that can do without a stage look for `NotConfigured` themselves
            StageError::NotConfigured(text) | StageError::Failed(text) => Self::backend(text),
        }
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Refused(text) | ImageError::Failed(text) => Self::backend(text),
        }
    }
}

impl From<AudioError> for Failure {
    fn from(error: AudioError) -> Self {
        match error {
            AudioError::Refused(text) => Self::invalid(format!("`audio` cannot be read: {text}")),
            AudioError::TooLarge(text) => Self::new(413, format!("`audio` is too large: {text}")),
            AudioError::Failed(text) => Self::backend(text),
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Full(text) => Self::new(507, text),
            StorageError::Denied(text) | StorageError::Failed(text) => Self::backend(text),
        }
    }
}

/// The request's name of what the host calls otherwise.
fn requests_name(field: &str) -> String {
    match field {
        "guidance" => "guidance_scale".into(),
        "size" => "width` and `height".into(),
        field => field.replace('-', "_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_says_when_to_come_back() {
        let error = GenerationError::Overloaded { reason: "the queue is full".into(), retry_after_ms: 2100 };
        let response = Failure::from(error).response();
        assert_eq!((response.status, response.headers.get("retry-after")), (429, Some("3")));
    }

    #[test]
    fn an_unforeseen_error_shows_no_inner_text() {
        let failure = Failure::from(GenerationError::Other("pointer 0xdeadbeef".into()));
        assert_eq!((failure.status, failure.text.contains("dead")), (500, false));
    }

    #[test]
    fn what_the_host_refuses_is_named_as_the_request_names_it() {
        let error = GenerationError::Invalid { field: "guidance".into(), reason: "is too much".into() };
        assert_eq!(Failure::from(error).text(), "`guidance_scale` is too much");
    }
}
