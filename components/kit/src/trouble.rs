//! Why a job gave nothing, in the terms of an answer: whose it is to mend, when to come back, and a text that may be shown. Each
//! handler gives that its own statuses, codes and shape; what an error of the host comes to is decided here, once for all.

use crate::host::GenerationError;

/// What went wrong with a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The request's field, by the request's own name for it: the client's to mend.
    Field {
        /// The name.
        name: String,
        /// What is wrong; begins with the name.
        text: String,
    },
    /// Too much is asked of the host at the moment.
    Busy {
        /// The reason.
        text: String,
        /// When another attempt is sensible.
        retry_after_ms: u64,
    },
    /// A model or a plugin cannot be used or did not do its work.
    Backend {
        /// The reason.
        text: String,
        /// When another attempt is sensible, where that is known.
        retry_after_ms: Option<u64>,
    },
    /// A model that is served elsewhere did not answer in time.
    TimedOut(String),
    /// Nothing that was foreseen. What happened stays in the host's log.
    Unexpected,
}

/// What is told of trouble that nobody foresaw.
pub const UNEXPECTED: &str = "an unexpected error occurred; the server's log says more";

impl Trouble {
    /// `called` gives the request's name of what the host calls otherwise.
    pub fn of(error: GenerationError, called: impl Fn(&str) -> String) -> Self {
        let backend = |text| Self::Backend { text, retry_after_ms: None };
        match error {
            GenerationError::Invalid { field, reason } => {
                let name = called(&field);
                Self::Field { text: format!("`{name}` {reason}"), name }
            }
            GenerationError::Overloaded { reason, retry_after_ms } => {
                Self::Busy { text: format!("{reason}; try again later"), retry_after_ms }
            }
            // handlers list their models as granted just before, so these are faults of the host's side
            GenerationError::AccessDenied(text)
            | GenerationError::UnknownModel(text)
            | GenerationError::Failed(text) => backend(text),
            GenerationError::Unavailable { reason, retry_after_ms } => {
                Self::Backend { text: reason, retry_after_ms }
            }
            GenerationError::TimedOut(text) => Self::TimedOut(text),
            GenerationError::Cancelled => backend("the job was cancelled".into()),
            GenerationError::WorkerGone => {
                backend("the inference worker has stopped; the host needs its operator".into())
            }
            // its text may be anything, so it is not shown
            GenerationError::Other(_) => Self::Unexpected,
        }
    }
}

/// The host's name of a field as most requests write it.
pub fn with_underscores(field: &str) -> String {
    field.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_named_as_the_request_names_it() {
        let error =
            GenerationError::Invalid { field: "negative-prompt".into(), reason: "is not obeyed".into() };
        let expected =
            Trouble::Field { name: "negative_prompt".into(), text: "`negative_prompt` is not obeyed".into() };
        assert_eq!(Trouble::of(error, with_underscores), expected);
    }

    #[test]
    fn what_nobody_foresaw_shows_no_inner_text() {
        let error = GenerationError::Other("pointer 0xdeadbeef".into());
        assert_eq!(Trouble::of(error, with_underscores), Trouble::Unexpected);
    }
}
