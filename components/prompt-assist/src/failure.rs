//! What went wrong, in the service's error shape: `{"error": "...", "status_code": 400}`. Every error of a stage or
//! capability is translated here, once.
//!
//! Texts are shown to clients: they name fields, limits and manifest keys, never an address, a path or a backtrace.

use atelier_kit::Response;
use atelier_kit::finishing::Unfinished;
use atelier_kit::host::{CallError, GenerationError, ImageError, StageError};
use atelier_kit::trouble::{Trouble, UNEXPECTED, with_underscores};
use serde_json::{Value, json};

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The HTTP status, repeated in the body.
    status: u16,
    text: String,
    /// When to come back, for a full queue.
    retry_after_ms: Option<u64>,
    /// The methods of a path, for a wrong one.
    allow: Option<&'static str>,
}

impl Failure {
    fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), retry_after_ms: None, allow: None }
    }

    /// The request is wrong; the text names the field and the fix.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(400, text)
    }

    /// No such path.
    pub(crate) fn not_found(path: &str) -> Self {
        let shown: String = path.chars().take(80).collect();
        Self::new(404, format!("there is nothing at {shown}; /docs lists what there is"))
    }

    /// The path takes other methods.
    pub(crate) fn wrong_method(method: &str, allow: &'static str) -> Self {
        let shown: String = method.chars().take(20).collect();
        Self { allow: Some(allow), ..Self::new(405, format!("{shown} is not served here; use {allow}")) }
    }

    /// The body has too many bytes.
    pub(crate) fn too_large(max_bytes: usize) -> Self {
        Self::new(413, format!("the body has more than {max_bytes} bytes; send a smaller `image`"))
    }

    /// A backend cannot be used or did not do its work.
    pub(crate) fn backend(text: impl Into<String>) -> Self {
        Self::new(502, text)
    }

    /// Nothing that was foreseen. What happened stays in the host's log.
    pub(crate) fn unexpected() -> Self {
        Self::new(500, UNEXPECTED)
    }

    /// The same failure, with what it is about said first.
    pub(crate) fn prefixed(self, about: &str) -> Self {
        Self { text: format!("{about}{}", self.text), ..self }
    }

    /// The error as the service writes it.
    pub(crate) fn body(&self) -> Value {
        json!({"error": self.text, "status_code": self.status})
    }

    /// The error as a response, with the headers that its status calls for.
    pub(crate) fn response(&self) -> Response {
        let mut response = Response::json(self.status, &self.body());
        if let Some(allow) = self.allow {
            response = response.with("allow", allow);
        }
        response.come_back_after(self.retry_after_ms)
    }
}

impl From<GenerationError> for Failure {
    fn from(error: GenerationError) -> Self {
        match Trouble::of(error, with_underscores) {
            Trouble::Field { text, .. } => Self::invalid(text),
            Trouble::Busy { text, retry_after_ms } => {
                Self { retry_after_ms: Some(retry_after_ms), ..Self::new(429, text) }
            }
            Trouble::Backend { text, retry_after_ms } => Self { retry_after_ms, ..Self::backend(text) },
            Trouble::TimedOut(text) => Self::new(504, text),
            Trouble::Unexpected => Self::unexpected(),
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
            ImageError::Refused(text) => Self::invalid(text),
            ImageError::Failed(text) => Self::backend(text),
        }
    }
}

impl From<Unfinished> for Failure {
    fn from(unfinished: Unfinished) -> Self {
        match unfinished {
            Unfinished::Stage(error) => error.into(),
            Unfinished::Image(error) => error.into(),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::backend(format!("the language model server cannot be used: {}", error.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_says_when_to_come_back() {
        let error = GenerationError::Overloaded { reason: "the queue is full".into(), retry_after_ms: 2100 };
        let response = Failure::from(error).response();
        assert_eq!(response.status, 429);
        assert_eq!(response.headers.get("retry-after"), Some("3"));
        assert_eq!(response.headers.get("x-should-retry"), Some("true"));
    }

    #[test]
    fn an_unforeseen_error_shows_no_inner_text() {
        let failure = Failure::from(GenerationError::Other("pointer 0xdeadbeef".into()));
        assert_eq!((failure.status, failure.text.contains("dead")), (500, false));
    }

    #[test]
    fn a_value_that_the_host_refuses_is_named_as_the_request_names_it() {
        let error =
            GenerationError::Invalid { field: "negative-prompt".into(), reason: "is not obeyed".into() };
        assert_eq!(Failure::from(error).body()["error"], "`negative_prompt` is not obeyed");
    }
}
