//! Errors as FastAPI writes them: `{"detail": "..."}`, and for what fails validation `{"detail": [{type, loc, msg, input}]}`
//! with 422. Every error of a capability is translated here, once, for all handlers that replace a FastAPI service.
//!
//! Texts are shown to clients: they name fields, limits and manifest keys, never an address, a path or a backtrace. What a
//! request's fields are called is the handler's to say.

use serde_json::{Value, json};

use crate::Response;
use crate::docs::object;
use crate::fields::{Fault, FaultKind, Faults, in_part};
use crate::host::{GenerationError, ImageError};
use crate::http::BodyError;
use crate::jobs::JobsError;
use crate::speech::AudioError;
use crate::storage::StorageError;
use crate::trouble::Trouble;

/// When to come back where too much waits: about as long as a picture takes.
const FULL_MS: u64 = 10_000;

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    status: u16,
    detail: Value,
    /// When to come back, for a full queue.
    retry_after_ms: Option<u64>,
    /// The methods of a path, for a wrong one.
    allow: Option<&'static str>,
}

impl Failure {
    /// A failure with a status and a text.
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, detail: Value::String(text.into()), retry_after_ms: None, allow: None }
    }

    /// No such path.
    pub fn not_found() -> Self {
        Self::new(404, "Not Found")
    }

    /// The path takes other methods.
    pub fn wrong_method(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::new(405, "Method Not Allowed") }
    }

    /// A value of a field is wrong; the text says what would be right.
    pub fn invalid(field: &str, text: impl Into<String>) -> Self {
        Self::from(Faults::from(vec![Fault::invalid(Some(field), text)]))
    }

    /// The body is none that can be read; the text says what to send.
    pub fn unreadable(text: impl Into<String>) -> Self {
        Self::from(Faults::from(vec![Fault::invalid(None, text)]))
    }

    /// The body did not come as it should; `advice` is what to send where it is too large.
    pub fn of_body(error: BodyError, max_bytes: usize, advice: &str) -> Self {
        match error {
            BodyError::TooLarge => {
                Self::new(413, format!("the body has more than {max_bytes} bytes; {advice}"))
            }
            BodyError::Incomplete => Self::new(400, "the body broke off; send it whole"),
        }
    }

    /// A model or a plugin cannot be used or did not do its work.
    pub fn backend(text: impl Into<String>) -> Self {
        Self::new(502, text)
    }

    /// The failure of a recording that a field holds. The host knows recordings, not requests.
    pub fn of_recording(error: AudioError, field: &str) -> Self {
        match error {
            AudioError::Refused(text) => Self::new(400, format!("`{field}` cannot be read: {text}")),
            AudioError::TooLarge(text) => Self::new(413, format!("`{field}` is too large: {text}")),
            AudioError::Failed(text) => Self::backend(text),
        }
    }

    /// The failure of a picture that a field holds, or that was made.
    pub fn of_picture(error: ImageError, field: &str) -> Self {
        match error {
            ImageError::Refused(text) => Self::new(400, format!("`{field}` cannot be read: {text}")),
            ImageError::Failed(text) => Self::backend(text),
        }
    }

    /// The failure of a job. `called` gives the request's name of what the host calls otherwise.
    pub fn of_job(error: GenerationError, called: impl Fn(&str) -> String) -> Self {
        match Trouble::of(error, called) {
            Trouble::Field { name, text } => Self::invalid(&name, text),
            Trouble::Busy { text, retry_after_ms } => {
                Self { retry_after_ms: Some(retry_after_ms), ..Self::new(429, text) }
            }
            Trouble::Backend { text, retry_after_ms } => Self { retry_after_ms, ..Self::backend(text) },
            Trouble::TimedOut(text) => Self::new(504, text),
            // FastAPI says no more either
            Trouble::Unexpected => Self::new(500, "Internal Server Error"),
        }
    }

    /// The same failure, which repeats what a field held that only the host could find wrong; `sent` has the request's fields by
    /// their names.
    #[must_use]
    pub fn repeating(mut self, sent: &Value) -> Self {
        for entry in self.detail.as_array_mut().into_iter().flatten() {
            if let Some(given) = entry["loc"][1].as_str().and_then(|field| sent.get(field)) {
                entry["input"] = in_part(given);
            }
        }
        self
    }

    /// What is wrong with background jobs that were submitted or asked for. `what` is the service's word for one.
    pub fn of_jobs(error: JobsError, what: &str) -> Self {
        match error {
            JobsError::Invalid(text) => Self::unreadable(text),
            JobsError::KeyUsed(text) => Self::new(409, text),
            JobsError::Full(text) => Self { retry_after_ms: Some(FULL_MS), ..Self::new(429, text) },
            JobsError::NotFound => Self::new(404, format!("{what} not found")),
            // nobody reports but a runner, whose errors are no answers
            JobsError::NotRunning => Self::new(500, "Internal Server Error"),
            JobsError::Failed(text) => Self::backend(text),
        }
    }

    /// The failure of what should have been kept or found.
    pub fn of_storage(error: StorageError) -> Self {
        match error {
            StorageError::Full(text) => Self::new(507, text),
            StorageError::Denied(text) | StorageError::Failed(text) => Self::backend(text),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What FastAPI has under `detail`: a text, or the list of what fails validation.
    pub fn detail(&self) -> &Value {
        &self.detail
    }

    /// The error as a response, with the headers that its status calls for.
    pub fn response(&self) -> Response {
        let mut response = Response::json(self.status, &json!({"detail": self.detail}));
        if let Some(allow) = self.allow {
            response = response.with("allow", allow);
        }
        response.come_back_after(self.retry_after_ms)
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        let detail = faults.each.iter().map(entry).collect();
        Self { detail, ..Self::new(422, "") }
    }
}

/// A fault in pydantic's words where it has one for that, and with our text.
fn entry(fault: &Fault) -> Value {
    let kind = match fault.kind {
        FaultKind::Missing => "missing",
        FaultKind::Unknown => "extra_forbidden",
        FaultKind::Invalid => "value_error",
    };
    let mut place = vec![json!("body")];
    if let Some((list, index)) = fault.entry {
        place.extend([json!(list), json!(index)]);
    }
    place.extend(fault.field.as_deref().map(Value::from));
    json!({"type": kind, "loc": place, "msg": fault.text, "input": fault.given})
}

/// The schemas of both shapes, under FastAPI's names where it has one.
pub fn schemas() -> Value {
    let text = || json!({"type": "string"});
    let place = json!({"anyOf": [{"type": "string"}, {"type": "integer"}]});
    json!({
        "ValidationError": object(json!({
            "type": {"enum": ["missing", "extra_forbidden", "value_error"]},
            "loc": {"type": "array", "items": place, "description": "`body`, for an entry its list and place, and the field."},
            "msg": {"type": "string", "description": "What is wrong, and what would be right."},
            "input": {"description": "What was sent; null where there is nothing, or where it is no text."},
        }), &["type", "loc", "msg"]),
        "HTTPValidationError": object(json!({
            "detail": {"type": "array", "items": {"$ref": "#/components/schemas/ValidationError"}},
        }), &["detail"]),
        "HTTPError": object(json!({"detail": text()}), &["detail"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(failure: &Failure) -> Value {
        serde_json::from_slice(&failure.response().body).expect("json")
    }

    #[test]
    fn a_path_and_a_method_fail_in_fastapis_words() {
        let failure = Failure::not_found();
        assert_eq!((failure.status(), body(&failure)), (404, json!({"detail": "Not Found"})));
        let failure = Failure::wrong_method("POST");
        assert_eq!((failure.status(), body(&failure)), (405, json!({"detail": "Method Not Allowed"})));
        assert_eq!(failure.response().headers.get("allow"), Some("POST"));
    }

    #[test]
    fn what_fails_validation_is_a_list_of_places_and_texts() {
        let missing = Fault {
            kind: FaultKind::Missing,
            entry: None,
            field: Some("prompt".into()),
            text: "`prompt` is missing; give text".into(),
            given: Value::Null,
        };
        let (kind, entry) = (FaultKind::Unknown, Some(("tasks", 1)));
        // a name that a client made up is one name, whatever it looks like
        let unknown =
            Fault { kind, entry, field: Some("x[0].y".into()), text: "no".into(), given: json!("1") };
        let whole = Fault::invalid(None, "no object").in_entry("tasks", 2);
        let failure = Failure::from(Faults::from(vec![missing, unknown, whole]));
        let expected = json!({"detail": [
            {"type": "missing", "loc": ["body", "prompt"], "msg": "`prompt` is missing; give text", "input": null},
            {"type": "extra_forbidden", "loc": ["body", "tasks", 1, "x[0].y"], "msg": "no", "input": "1"},
            {"type": "value_error", "loc": ["body", "tasks", 2], "msg": "no object", "input": null},
        ]});
        assert_eq!((failure.status(), body(&failure)), (422, expected));
    }

    #[test]
    fn a_full_queue_says_when_to_come_back() {
        let error = GenerationError::Overloaded { reason: "the queue is full".into(), retry_after_ms: 2100 };
        let response = Failure::of_job(error, str::to_owned).response();
        assert_eq!((response.status, response.headers.get("retry-after")), (429, Some("3")));
    }

    #[test]
    fn what_cannot_be_kept_says_whose_matter_it_is() {
        let full = Failure::of_jobs(JobsError::Full("tenant.quotas.waiting-jobs".into()), "Task").response();
        assert_eq!((full.status, full.headers.get("retry-after")), (429, Some("10")));
        let none = Failure::of_jobs(JobsError::NotFound, "Session");
        assert_eq!((none.status(), body(&none)), (404, json!({"detail": "Session not found"})));
        assert_eq!(Failure::of_storage(StorageError::Full("a quota".into())).status(), 507);
        assert_eq!(Failure::of_storage(StorageError::Denied("`grants.buckets`".into())).status(), 502);
    }

    #[test]
    fn what_a_job_refuses_is_a_field_in_the_requests_words_and_what_nobody_foresaw_is_not_shown() {
        let error = GenerationError::Invalid { field: "refiner".into(), reason: "is none".into() };
        let failure = Failure::of_job(error, |field| format!("use_{field}"));
        assert_eq!(failure.detail()[0]["loc"], json!(["body", "use_refiner"]));
        let sent = json!({"use_refiner": "yes", "steps": 3});
        assert_eq!(failure.repeating(&sent).detail()[0]["input"], json!("yes"));
        let failure = Failure::of_job(GenerationError::Other("pointer 0xdead".into()), str::to_owned);
        assert_eq!((failure.status(), body(&failure)), (500, json!({"detail": "Internal Server Error"})));
    }
}
