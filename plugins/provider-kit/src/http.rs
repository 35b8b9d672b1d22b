//! What is sent to a server and what comes back, as plain values. The one who sends is `wasm::client`.

use crate::Form;

/// A request to the server: always a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What follows the base address, such as `/chat/completions`.
    pub path: String,
    /// Besides those of every request; names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// What the body is: JSON, or a form.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Ask {
    /// A post of JSON.
    pub fn json(
        path: impl Into<String>,
        headers: Vec<(&'static str, String)>,
        body: &serde_json::Value,
    ) -> Self {
        let (content_type, body) = ("application/json".into(), body.to_string().into_bytes());
        Self { path: path.into(), headers, content_type, body }
    }

    /// A post of a form.
    pub fn form(path: impl Into<String>, headers: Vec<(&'static str, String)>, form: &Form) -> Self {
        let (content_type, body) = form.written();
        Self { path: path.into(), headers, content_type, body }
    }
}

/// The beginning of an answer that is no stream of events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `content-type`, without its parameters, in lower case.
    pub content_type: String,
    /// Milliseconds of `retry-after-ms` or `retry-after`, if it told some.
    pub retry_after_ms: Option<u64>,
    /// The body, as far as it was read.
    pub body: Vec<u8>,
}

impl Answer {
    /// The head of an answer, by its headers.
    pub fn head<'a>(status: u16, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut answer = Self { status, ..Self::default() };
        let mut seconds = None;
        for (name, value) in headers {
            let number = || value.trim().parse::<f64>().ok().filter(|number| (0.0..1e6).contains(number));
            match name.to_ascii_lowercase().as_str() {
                "content-type" => answer.content_type = media_type(value),
                "retry-after-ms" => answer.retry_after_ms = number().map(|ms| ms as u64),
                // a date is not read: a guest has no clock that it would be held against
                "retry-after" => seconds = number(),
                _ => {}
            }
        }
        answer.retry_after_ms = answer.retry_after_ms.or(seconds.map(|seconds| (seconds * 1000.0) as u64));
        answer
    }
}

fn media_type(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_its_type_and_when_to_come_back() {
        let head = Answer::head(
            429,
            [("Content-Type", "text/event-stream; charset=utf-8"), ("Retry-After", "1.5"), ("x", "y")],
        );
        assert_eq!((head.content_type.as_str(), head.retry_after_ms), ("text/event-stream", Some(1_500)));
        let head = Answer::head(429, [("retry-after", "9"), ("retry-after-ms", "20")]);
        assert_eq!(head.retry_after_ms, Some(20));
        for odd in ["-1", "NaN", "1e99", "Fri, 31 Dec 1999 23:59:59 GMT", ""] {
            assert_eq!(Answer::head(503, [("retry-after", odd)]).retry_after_ms, None, "{odd}");
        }
    }
}
