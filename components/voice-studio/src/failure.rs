//! What went wrong, as the page and other clients read it: `{"error": {"code", "message", "field"}}`, and clients of the
//! backend's endpoints, which FastAPI served: `{"detail", "code", "field"}`. Every error of a stage or capability is translated
//! here, once.
//!
//! Texts are shown to clients: they name fields, limits and manifest keys, never an address, a path or a backtrace.

use atelier_kit::Response;
use atelier_kit::fields::Faults;
use atelier_kit::host::{GenerationError, ImageError, StageError};
use atelier_kit::jobs::{JobFailure, JobsError};
use atelier_kit::speech::AudioError;
use atelier_kit::storage::StorageError;
use atelier_kit::trouble::{Trouble, UNEXPECTED, with_underscores};
use serde_json::{Value, json};

/// Codes of failures that travel: in the standing of a task, and from a backend to the server that asked it.
const TRAVELLING: [(&str, u16); 8] = [
    ("invalid", 422),
    ("nothing_heard", 422),
    ("not_understood", 422),
    ("too_large", 413),
    ("busy", 429),
    ("cancelled", 502),
    ("storage_full", 507),
    ("failed", 502),
];
/// When to come back where as many tasks wait as may, or a backend has much to do.
pub(crate) const BUSY_MS: u64 = 5_000;
/// How much of a text that came from elsewhere is repeated, in characters.
const REPEATED: usize = 500;

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    status: u16,
    /// For programs that tell one failure from another.
    code: &'static str,
    text: String,
    /// The field that is at fault, where one is.
    field: Option<String>,
    /// When to come back.
    retry_after_ms: Option<u64>,
    /// The methods of a path, for a wrong one.
    allow: Option<&'static str>,
}

impl Failure {
    pub(crate) fn new(status: u16, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into(), field: None, retry_after_ms: None, allow: None }
    }

    /// The request is wrong; the text names the field and the fix.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(422, "invalid", text)
    }

    /// No such path, or a picture that is not the visitor's.
    pub(crate) fn not_found(what: &str) -> Self {
        let shown: String = what.chars().take(80).collect();
        Self::new(404, "not_found", format!("there is nothing at {shown}; /docs lists what there is"))
    }

    /// No picture of that name in the visitor's gallery.
    pub(crate) fn no_such_picture(name: &str) -> Self {
        let shown: String = name.chars().take(80).collect();
        Self::new(404, "not_found", format!("your gallery has no picture `{shown}`"))
    }

    /// The path takes other methods.
    pub(crate) fn wrong_method(method: &str, allow: &'static str) -> Self {
        let shown: String = method.chars().take(20).collect();
        let failure =
            Self::new(405, "method_not_allowed", format!("{shown} is not served here; use {allow}"));
        Self { allow: Some(allow), ..failure }
    }

    /// The body, or what is in it, is too large; the text names the limit.
    pub(crate) fn too_large(text: impl Into<String>) -> Self {
        Self::new(413, "too_large", text)
    }

    /// A page of another site has the visitor's browser ask.
    pub(crate) fn other_site() -> Self {
        let text = "a page of another site sent this; do it on the studio's own page. If you are there, the proxy in between has to \
                    pass the `host` header on as it came";
        Self::new(403, "other_site", text)
    }

    /// The body is said to be something else than JSON.
    pub(crate) fn not_json() -> Self {
        Self::new(415, "not_json", "the body is taken as JSON alone; say `content-type: application/json`")
    }

    /// A model, a plugin or a store cannot be used or did not do its work.
    pub(crate) fn backend(text: impl Into<String>) -> Self {
        Self::new(502, "failed", text)
    }

    /// The same failure, of a field.
    #[must_use]
    pub(crate) fn about(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }

    /// The same failure, which ends after so long.
    #[must_use]
    pub(crate) fn until(self, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..self }
    }

    /// The text alone, for those who get no more.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// What an `error` event says.
    pub(crate) fn event(&self) -> Value {
        let mut value = json!({"code": self.code, "message": self.text});
        if let Some(field) = &self.field {
            value["field"] = field.as_str().into();
        }
        value
    }

    /// A failure by the code and text that somebody else gave it; one of another code has simply failed.
    pub(crate) fn of_code(code: &str, text: &str) -> Self {
        let known = TRAVELLING.into_iter().find(|(known, _)| *known == code);
        let (code, status) = known.unwrap_or(("failed", 502));
        let text: String =
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REPEATED).collect();
        Self::new(status, code, text)
    }

    /// The failure of a task, read back from how the job ended.
    pub(crate) fn of_task(error: &str) -> Self {
        match error.split_once(": ") {
            Some((code, text)) if TRAVELLING.iter().any(|(known, _)| *known == code) => {
                Self::of_code(code, text)
            }
            _ => Self::of_code("failed", error),
        }
    }

    /// How a task ends with it: what may be otherwise in a moment is tried again.
    pub(crate) fn of_run(&self) -> JobFailure {
        let text = format!("{}: {}", self.code, self.text);
        match self.status {
            429 | 504 => JobFailure::Temporary(text),
            _ => JobFailure::Permanent(text),
        }
    }

    /// What went wrong, for another text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The error as clients of the page read it, with the headers that its status calls for.
    pub(crate) fn response(&self) -> Response {
        self.headed(&json!({"error": self.event()}))
    }

    /// The error as clients of the backend read it.
    pub(crate) fn detail(&self) -> Response {
        let mut value = self.event();
        value["detail"] = value["message"].take();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("message");
        }
        self.headed(&value)
    }

    fn headed(&self, body: &Value) -> Response {
        let mut response = Response::json(self.status, body);
        if let Some(allow) = self.allow {
            response = response.with("allow", allow);
        }
        response.come_back_after(self.retry_after_ms)
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self { field: faults.field, ..Self::invalid(faults.text) }
    }
}

impl From<AudioError> for Failure {
    fn from(error: AudioError) -> Self {
        match error {
            AudioError::Refused(text) => Self::invalid(format!("`audio` cannot be read: {text}")),
            AudioError::TooLarge(text) => Self::too_large(format!("`audio` is too large: {text}")),
            AudioError::Failed(text) => Self::backend(text),
        }
        .about("audio")
    }
}

/// Pictures are the host's or the gallery's own: no field of a request is at fault.
impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Refused(text) | ImageError::Failed(text) => Self::backend(text),
        }
    }
}

impl From<GenerationError> for Failure {
    fn from(error: GenerationError) -> Self {
        if error == GenerationError::Cancelled {
            return Self::new(502, "cancelled", "the picture was cancelled");
        }
        match Trouble::of(error, with_underscores) {
            Trouble::Field { name, text } => Self::invalid(text).about(&name),
            Trouble::Busy { text, retry_after_ms } => Self::new(429, "busy", text).until(retry_after_ms),
            Trouble::Backend { text, retry_after_ms } => Self { retry_after_ms, ..Self::backend(text) },
            Trouble::TimedOut(text) => Self::new(504, "failed", text),
            Trouble::Unexpected => Self::new(500, "failed", UNEXPECTED),
        }
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Refused(text) => Self::new(422, "not_understood", text),
            StageError::NotConfigured(text) | StageError::Failed(text) => Self::backend(text),
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Full(text) => Self::new(507, "storage_full", text),
            StorageError::Denied(text) | StorageError::Failed(text) => Self::backend(text),
        }
    }
}

impl From<JobsError> for Failure {
    fn from(error: JobsError) -> Self {
        match error {
            JobsError::Invalid(text) => Self::invalid(text),
            JobsError::KeyUsed(_) => {
                let text = "`idempotency-key` was used for another task; take another key";
                Self::new(409, "key_used", text).about("idempotency-key")
            }
            JobsError::Full(text) => Self::new(429, "busy", text).until(BUSY_MS),
            JobsError::NotFound => Self::new(404, "not_found", "there is no such task, or no more"),
            JobsError::NotRunning => Self::new(502, "cancelled", "the task was called off"),
            JobsError::Failed(text) => Self::backend(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_comes_back_from_a_tasks_end_as_it_was() {
        for failure in
            [Failure::new(429, "busy", "the queue is full: wait"), Failure::invalid("`seed` is no number")]
        {
            let (JobFailure::Temporary(text) | JobFailure::Permanent(text)) = failure.of_run();
            assert_eq!(Failure::of_task(&text), failure);
        }
        assert!(matches!(Failure::new(429, "busy", "").of_run(), JobFailure::Temporary(_)));
    }

    #[test]
    fn what_somebody_else_says_is_bounded_and_has_no_code_of_its_own() {
        let failure = Failure::of_code("<script>", &"\n".repeat(9_000));
        assert_eq!((failure.code, failure.status, failure.text.len()), ("failed", 502, REPEATED));
        assert_eq!(Failure::of_task("the host: it stopped").text, "the host: it stopped");
    }
}
