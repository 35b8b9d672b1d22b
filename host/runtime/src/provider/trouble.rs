//! Why an attempt has no answer, and what that means: whether another one may help, whether another model may work
//! instead, and what whoever asked is told.

use std::time::Duration;

use atelier_inference::{Error, ModelInfo};

use super::Provided;
use crate::Failure;
use crate::bindings::provider::atelier::host::provider_types as wit;

/// Longest text of a plugin that is repeated.
const SHOWN_CHARS: usize = 400;

/// Most notes of a plugin that are passed on.
const MAX_NOTES: usize = 8;

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Trouble {
    /// What whoever asked is told.
    pub(super) error: Error,
    /// A stable word for what is counted.
    pub(super) kind: &'static str,
    /// Whether the same server may answer when it is asked again.
    pub(super) may_pass: bool,
    /// Whether another model works instead, if there is one: not where the request is wrong, or was given up.
    pub(super) is_passed_on: bool,
    /// Whether the server gave no answer, of which too many in a row end the asking.
    pub(super) is_silence: bool,
}

impl Trouble {
    fn new(kind: &'static str, error: Error) -> Self {
        let is_passed_on = matches!(error, Error::Unavailable { .. } | Error::TimedOut(_));
        Self { error, kind, may_pass: false, is_passed_on, is_silence: false }
    }

    /// The server is not to be had.
    pub(super) fn unavailable(kind: &'static str, reason: String, retry_after: Option<Duration>) -> Self {
        Self::new(kind, Error::Unavailable { reason, retry_after })
    }

    /// The time is over.
    pub(super) fn late(model: &Provided) -> Self {
        let limit = model.provider.limits.timeout.as_millis();
        let text = format!("{}: no whole answer within {limit} ms (provider.timeout-ms)", model.title());
        Self { is_silence: true, ..Self::new("timed_out", Error::TimedOut(text)) }
    }

    /// The host has no room for another call.
    pub(super) fn refused(error: Error) -> Self {
        Self { is_passed_on: false, ..Self::new("refused_here", error) }
    }

    /// The answer makes no sense.
    pub(super) fn malformed(model: &Provided, text: &str) -> Self {
        let reason = format!("{}: {}", model.title(), shown(model, text));
        Self::unavailable("malformed", reason, None)
    }

    /// What a plugin reports.
    pub(super) fn reported(model: &Provided, error: wit::Error) -> Self {
        let told = |text: &str| format!("{}: {}", model.title(), shown(model, text));
        let outage = |kind, wit::Outage { reason, retry_after_ms }: wit::Outage| {
            Self::unavailable(kind, told(&reason), retry_after_ms.map(Duration::from_millis))
        };
        match error {
            wit::Error::Unavailable(it) => {
                Self { may_pass: true, is_silence: true, ..outage("unavailable", it) }
            }
            wit::Error::TimedOut(text) => {
                Self { is_silence: true, ..Self::new("timed_out", Error::TimedOut(told(&text))) }
            }
            wit::Error::Invalid(wit::Invalid { field, reason }) => {
                let field = known_field(&field).unwrap_or(subject(model));
                Self::new("invalid", Error::Invalid { field, reason: told(&reason) })
            }
            wit::Error::Refused(text) => {
                Self::new("refused", Error::Invalid { field: subject(model), reason: told(&text) })
            }
            wit::Error::Unauthorised(text) => Self::unavailable("unauthorised", told(&text), None),
            wit::Error::OverQuota(it) => outage("over_quota", it),
            wit::Error::Malformed(text) => Self::malformed(model, &text),
            wit::Error::Other(text) => Self::new("other", Error::Failed(told(&text))),
        }
    }

    /// What a plugin was stopped for.
    pub(super) fn stopped(model: &Provided, failure: &Failure) -> Self {
        let title = model.title();
        match failure {
            Failure::Wall { .. } | Failure::CapabilityWait { .. } => Self::late(model),
            Failure::Saturated { retry_after, .. } | Failure::Share { retry_after, .. } => {
                let reason = format!("{title}: too many plugins run already (server.max-instances)");
                Self::refused(Error::Overloaded { reason, retry_after: *retry_after })
            }
            _ => {
                let reason = format!("{title}: its plugin stopped with an error");
                Self { is_silence: true, ..Self::unavailable("plugin", reason, None) }
            }
        }
    }

    /// When the server wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match &self.error {
            Error::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A plugin's text, bounded, in one line and without the key.
pub(super) fn shown(model: &Provided, text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let scrubbed =
        model.provider.secret.as_ref().map_or_else(|| text.to_owned(), |secret| secret.scrub(text));
    scrubbed.chars().map(plain).take(SHOWN_CHARS).collect()
}

/// What a plugin has to say to users, bounded.
pub(super) fn notes(model: &Provided, notes: &[String]) -> Vec<String> {
    notes.iter().take(MAX_NOTES).map(|note| shown(model, note)).collect()
}

/// What a request of the model's kind is about: the field that stands for all of it.
fn subject(model: &Provided) -> &'static str {
    match model.info {
        ModelInfo::Language(_) => "turns",
        ModelInfo::Image(_) => "prompt",
        ModelInfo::Speech(_) => "audio",
    }
}

/// The field's name as the domain writes it; none for what a plugin calls otherwise.
fn known_field(field: &str) -> Option<&'static str> {
    const FIELDS: [&str; 27] = [
        "model",
        // of conversations
        "turns",
        "max-tokens",
        "temperature",
        "top-k",
        "top-p",
        "min-p",
        "repeat-penalty",
        "seed",
        "stop",
        "schema",
        // of pictures
        "prompt",
        "negative-prompt",
        "size",
        "count",
        "steps",
        "guidance",
        "source",
        "mask",
        "strength",
        "image-guidance",
        // of speech
        "audio",
        "language",
        "task",
        "timestamps",
        "temperatures",
        "initial-prompt",
    ];
    FIELDS.into_iter().find(|known| *known == field)
}
