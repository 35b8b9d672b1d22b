//! What went wrong, in OpenAI's error shape: `{"error": {"message", "type", "param", "code"}}`. Every error of a stage or
//! capability is translated here, once.
//!
//! Texts are shown to clients: they name fields, limits and manifest keys, never an address, a path or a backtrace.

use atelier_kit::Response;
use atelier_kit::fields::Faults;
use atelier_kit::host::{GenerationError, ImageError, StageError};
use atelier_kit::intent::Intention;
use atelier_kit::speech::AudioError;
use atelier_kit::trouble::{Trouble, UNEXPECTED};
use serde_json::{Value, json};

use crate::listen;

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    status: u16,
    text: String,
    /// The field that is at fault, where one is.
    param: Option<String>,
    /// For programs that tell one failure from another.
    code: Option<&'static str>,
    /// When to come back, for a full queue.
    retry_after_ms: Option<u64>,
    /// The methods of a path, for a wrong one.
    allow: Option<&'static str>,
    /// How far a command came.
    came: Option<Box<Came>>,
}

/// How far a command came before it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Came {
    said: String,
    intention: Option<Intention>,
}

impl Failure {
    fn new(status: u16, text: impl Into<String>) -> Self {
        let text = text.into();
        let (param, code, retry_after_ms, allow) = (None, None, None, None);
        Self { status, text, param, code, retry_after_ms, allow, came: None }
    }

    /// The request is wrong; the text names the field and the fix.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(400, text)
    }

    /// The model that a request names is not this route's.
    pub(crate) fn no_such_model(text: impl Into<String>) -> Self {
        Self::new(404, text).about("model").coded("model_not_found")
    }

    /// No such path.
    pub(crate) fn not_found(path: &str) -> Self {
        let shown: String = path.chars().take(80).collect();
        Self::new(404, format!("there is nothing at {shown}; /docs lists what there is")).coded("unknown_url")
    }

    /// The path takes other methods.
    pub(crate) fn wrong_method(method: &str, allow: &'static str) -> Self {
        let shown: String = method.chars().take(20).collect();
        let failure = Self::new(405, format!("{shown} is not served here; use {allow}"));
        Self { allow: Some(allow), ..failure.coded("method_not_supported") }
    }

    /// The body, or what is in it, is too large; the text names the limit.
    pub(crate) fn too_large(text: impl Into<String>) -> Self {
        Self::new(413, text).coded("too_large")
    }

    /// The request is understood, and there is nothing that it could be done with; the text says what would help.
    pub(crate) fn impossible(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(422, text).coded(code)
    }

    /// A model or a plugin cannot be used or did not do its work.
    pub(crate) fn backend(text: impl Into<String>) -> Self {
        Self::new(502, text)
    }

    /// Nothing that was foreseen. What happened stays in the host's log.
    fn unexpected() -> Self {
        Self::new(500, UNEXPECTED)
    }

    /// The same failure, of a field.
    #[must_use]
    pub(crate) fn about(self, param: &str) -> Self {
        Self { param: Some(param.to_owned()), ..self }
    }

    /// The same failure, with a code.
    #[must_use]
    pub(crate) fn coded(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The failure of a recording that a field holds. The host knows recordings, not requests.
    pub(crate) fn of_recording(error: AudioError, field: &str) -> Self {
        match error {
            AudioError::Refused(text) => {
                Self::invalid(format!("`{field}` cannot be read: {text}")).coded("invalid_file")
            }
            AudioError::TooLarge(text) => Self::too_large(format!("`{field}` is too large: {text}")),
            AudioError::Failed(text) => Self::backend(text),
        }
        .about(field)
    }

    /// The failure of a picture that a field holds, or that was made.
    pub(crate) fn of_picture(error: ImageError, field: &str) -> Self {
        match error {
            ImageError::Refused(text) => {
                Self::invalid(format!("`{field}` cannot be read: {text}")).coded("invalid_file").about(field)
            }
            ImageError::Failed(text) => Self::backend(text),
        }
    }

    /// The failure of the intent stage, over what was said.
    pub(crate) fn of_intent(error: StageError, said: &str) -> Self {
        let is_configured = !matches!(error, StageError::NotConfigured(_));
        let came = Came { said: said.to_owned(), intention: None };
        let failure = Self { came: Some(Box::new(came)), ..Self::from(error) };
        if is_configured { failure } else { failure.coded("intent_not_configured") }
    }

    /// The same failure, with what was said and understood before it.
    #[must_use]
    pub(crate) fn after(self, said: &str, intention: &Intention) -> Self {
        let came = Came { said: said.to_owned(), intention: Some(intention.clone()) };
        Self { came: Some(Box::new(came)), ..self }
    }

    /// The error as OpenAI writes it, and beside it how far a command came.
    pub(crate) fn body(&self) -> Value {
        let kind = match self.status {
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        let mut body =
            json!({"error": {"message": self.text, "type": kind, "param": self.param, "code": self.code}});
        if let Some(Came { said, intention }) = self.came.as_deref() {
            body["transcript"] = said.as_str().into();
            if let Some(intention) = intention {
                body["intent"] = listen::intent(intention);
            }
        }
        body
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

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self { param: faults.field, ..Self::invalid(faults.text) }
    }
}

impl From<GenerationError> for Failure {
    fn from(error: GenerationError) -> Self {
        match Trouble::of(error, requests_name) {
            Trouble::Field { name, text } => Self::invalid(text).about(&name),
            Trouble::Busy { text, retry_after_ms } => {
                Self { retry_after_ms: Some(retry_after_ms), ..Self::new(429, text).coded("overloaded") }
            }
            Trouble::Backend { text, retry_after_ms } => Self { retry_after_ms, ..Self::backend(text) },
            Trouble::TimedOut(text) => Self::new(504, text).coded("timed_out"),
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

/// The request's name of what the host calls otherwise.
fn requests_name(field: &str) -> String {
    match field {
        "initial-prompt" => "prompt".into(),
        "temperatures" => "temperature".into(),
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
        let error = GenerationError::Invalid { field: "initial-prompt".into(), reason: "is too long".into() };
        let body = Failure::from(error).body();
        assert_eq!(body["error"]["message"], "`prompt` is too long");
        assert_eq!(
            (&body["error"]["param"], &body["error"]["type"]),
            (&json!("prompt"), &json!("invalid_request_error"))
        );
    }
}
