//! Between the binding types and the plain values, field by field.

use crate::bindings::atelier::host::provider_types::{Invalid, Outage};
use crate::bindings::exports::atelier::host::provider_language as wit;
use crate::values;

impl From<wit::Request> for values::Request {
    fn from(request: wit::Request) -> Self {
        Self {
            model: request.model,
            turns: request.turns.into_iter().map(Into::into).collect(),
            max_tokens: request.max_tokens,
            temperature: request.temperature,
            top_k: request.top_k,
            top_p: request.top_p,
            min_p: request.min_p,
            repeat_penalty: request.repeat_penalty,
            seed: request.seed,
            stop: request.stop,
            schema: request.schema,
        }
    }
}

impl From<wit::Turn> for values::Turn {
    fn from(wit::Turn { role, text }: wit::Turn) -> Self {
        let role = match role {
            wit::Role::System => values::Role::System,
            wit::Role::User => values::Role::User,
            wit::Role::Assistant => values::Role::Assistant,
        };
        Self { role, text }
    }
}

impl From<values::Part> for wit::Part {
    fn from(part: values::Part) -> Self {
        match part {
            values::Part::Said(text) => Self::Said(text),
            values::Part::End(end) => Self::End(end.into()),
            values::Part::Failed(error) => Self::Failed(error.into()),
        }
    }
}

impl From<values::End> for wit::End {
    fn from(values::End { finish, usage, notes }: values::End) -> Self {
        let finish = match finish {
            values::Finish::End => wit::Finish::End,
            values::Finish::Length => wit::Finish::Length,
            values::Finish::StopString => wit::Finish::StopString,
        };
        let usage = usage.map(|usage| wit::Usage {
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.cached_tokens,
            reply_tokens: usage.reply_tokens,
        });
        Self { finish, usage, notes }
    }
}

impl From<values::Error> for wit::Error {
    fn from(error: values::Error) -> Self {
        match error {
            values::Error::Unavailable(reason, retry_after_ms) => {
                Self::Unavailable(Outage { reason, retry_after_ms })
            }
            values::Error::TimedOut(text) => Self::TimedOut(text),
            values::Error::Invalid(field, reason) => Self::Invalid(Invalid { field: field.into(), reason }),
            values::Error::Refused(text) => Self::Refused(text),
            values::Error::Unauthorised(text) => Self::Unauthorised(text),
            values::Error::OverQuota(reason, retry_after_ms) => {
                Self::OverQuota(Outage { reason, retry_after_ms })
            }
            values::Error::Malformed(text) => Self::Malformed(text),
            values::Error::Other(text) => Self::Other(text),
        }
    }
}
