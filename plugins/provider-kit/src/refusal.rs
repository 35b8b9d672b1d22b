//! What servers' errors have in common: statuses, and texts that may be shown.

use crate::{Answer, Error};

/// Longest text of a server that is repeated.
const SHOWN_CHARS: usize = 300;

/// What a status means, whatever the server says beside it. `said` is the server's own text, which is repeated only where
/// it is about the request: elsewhere it may name accounts, machines and parts of keys.
pub fn by_status(answer: &Answer, said: Option<&str>) -> Error {
    let (status, after) = (answer.status, answer.retry_after_ms);
    match status {
        401 | 403 => Error::Unauthorised(format!(
            "the server does not accept the key, or wants one (status {status}); see `api-key-env`"
        )),
        402 => Error::OverQuota(format!("the account is used up (status {status})"), after),
        408 | 504 => Error::TimedOut(format!("the server gave up waiting (status {status})")),
        413 => Error::invalid("turns", "the conversation is too long for the server"),
        429 => {
            Error::Unavailable("the server has too much to do for this account (status 429)".into(), after)
        }
        500..=599 => Error::Unavailable(format!("the server failed (status {status})"), after),
        300..=399 => Error::Malformed(format!(
            "the server sends elsewhere (status {status}), where the key is not taken; correct `base-url`"
        )),
        404 | 405 => Error::Other(match said {
            Some(said) => format!("the server has nothing there (status {status}): {}", shown(said)),
            None => format!("the server has nothing there (status {status}); see `base-url` and `name`"),
        }),
        200..=299 => Error::Malformed(match answer.content_type.as_str() {
            "" => "its answer is no stream of events".into(),
            kind => format!("its answer is `{}` and no stream of events", shown(kind)),
        }),
        _ => Error::Other(match said {
            Some(said) => format!("the server does not take the request (status {status}): {}", shown(said)),
            None => format!("the server does not take the request (status {status})"),
        }),
    }
}

/// An error of a request for pictures. What servers say of requests that are too long is written of conversations.
#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) fn of_pictures(error: Error) -> Error {
    match error {
        Error::Invalid("turns", _) => Error::invalid("prompt", "the request is too large for the server"),
        error => error,
    }
}

/// The same of speech, whose fields have names of their own.
#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) fn of_speech(error: Error) -> Error {
    match error {
        Error::Invalid("turns", _) => Error::invalid("audio", "the recording is too long for the server"),
        Error::Invalid("prompt", reason) => Error::Invalid("initial-prompt", reason),
        Error::Invalid("temperature", reason) => Error::Invalid("temperatures", reason),
        error => error,
    }
}

/// A server's text in one line, cut where it gets long.
pub fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() || c == '\u{2028}' || c == '\u{2029}' { ' ' } else { c };
    let mut shown: String = text.trim().chars().map(plain).take(SHOWN_CHARS + 1).collect();
    if shown.chars().count() > SHOWN_CHARS {
        shown.pop();
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Error {
        let answer =
            Answer { status, retry_after_ms: Some(7), content_type: "text/html".into(), ..Answer::default() };
        by_status(&answer, Some("key sk-1 of org-2"))
    }

    #[test]
    fn a_status_says_whether_another_attempt_helps() {
        assert!(matches!(status(429), Error::Unavailable(_, Some(7))));
        assert!(matches!(status(500), Error::Unavailable(_, Some(7))));
        assert!(matches!(status(503), Error::Unavailable(..)));
        assert!(matches!(status(504), Error::TimedOut(_)));
        assert!(matches!(status(401), Error::Unauthorised(_)));
        assert!(matches!(status(402), Error::OverQuota(..)));
        assert!(matches!(status(302), Error::Malformed(_)));
        assert!(matches!(status(200), Error::Malformed(text) if text.contains("text/html")));
    }

    #[test]
    fn what_is_too_large_is_what_was_sent() {
        let large = || by_status(&Answer { status: 413, ..Answer::default() }, None);
        assert!(matches!(of_pictures(large()), Error::Invalid("prompt", _)));
        assert!(matches!(of_speech(large()), Error::Invalid("audio", _)));
        assert!(matches!(of_speech(Error::invalid("prompt", "")), Error::Invalid("initial-prompt", _)));
    }

    #[test]
    fn what_a_server_says_of_keys_and_accounts_is_not_repeated() {
        for code in [401, 402, 403, 429, 500, 503, 302] {
            assert!(!format!("{:?}", status(code)).contains("sk-1"), "{code}");
        }
        assert!(format!("{:?}", status(400)).contains("sk-1"), "what is wrong with a request is told");
    }

    #[test]
    fn a_text_is_one_short_line() {
        assert_eq!(shown(" a\r\nb\u{1b}[1m "), "a  b [1m");
        assert_eq!(shown(&"ä".repeat(1000)).chars().count(), SHOWN_CHARS + 1);
    }
}
