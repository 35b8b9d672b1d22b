//! Requests and responses as plain values. They come from `wasm::http`, which reads bodies with a limit, and go back
//! there; nothing here touches a socket or a binding type.

use futures::channel::mpsc;
use futures::future::LocalBoxFuture;
use serde_json::Value;

/// Header names and values in order. Names are compared without regard to case; values that are not UTF-8 are left out.
/// Pairs and no map: there are a dozen at most, and some may come twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Adds a value. Line breaks would start another header, so control characters become spaces.
    pub fn add(&mut self, name: &str, value: &str) {
        let value = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.0.push((name.to_ascii_lowercase(), value));
    }

    /// Every name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::default();
        pairs.into_iter().for_each(|(name, value)| headers.add(name.as_ref(), value.as_ref()));
        headers
    }
}

/// A request whose body has been read.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The method in capitals, such as `POST`.
    pub method: String,
    /// The path without the query, as sent.
    pub path: String,
    /// What follows the question mark, if anything.
    pub query: Option<String>,
    /// The host that the client means, with its port where it names one: `images.example.org:8000`.
    pub authority: Option<String>,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// Whether the body is said to be of a media type such as `application/json`, whatever its parameters.
    pub fn is_of(&self, media_type: &str) -> bool {
        let said = self.headers.get("content-type").unwrap_or_default();
        said.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
    }
}

/// Why a request's body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It has more bytes than the handler takes.
    TooLarge,
    /// The connection ended early.
    Incomplete,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer with a body of a given type, which browsers must not guess otherwise.
    pub fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let fixed = [("content-type", content_type), ("x-content-type-options", "nosniff")];
        Self { status, headers: fixed.into_iter().collect(), body }
    }

    /// An answer in JSON.
    pub fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string().into_bytes())
    }

    /// The same response, which tells when to come back, if that is known.
    #[must_use]
    pub fn come_back_after(self, ms: Option<u64>) -> Self {
        let Some(ms) = ms else { return self };
        // rounded up: a client that comes back a moment early is refused again
        let seconds = ms.div_ceil(1000).max(1).to_string();
        self.with("retry-after", &seconds).with("x-should-retry", "true")
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.add(name, value);
        self
    }
}

/// Chunks of a body on their way to the client. Sending fails once the client has gone.
pub type BodyWriter = mpsc::Sender<Vec<u8>>;

/// Writes a body; dropped before it ends when the client goes away, which cancels whatever it was waiting for.
pub type Producer = Box<dyn FnOnce(BodyWriter) -> LocalBoxFuture<'static, ()>>;

/// What a handler answers with.
pub enum Reply {
    /// A whole response.
    Whole(Response),
    /// Status and headers at once, and a body that is written while the work goes on.
    Stream(Response, Producer),
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Whole(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_found_in_any_case() {
        let headers: Headers = [("Accept", "image/png")].into_iter().collect();
        assert_eq!(headers.get("aCCept"), Some("image/png"));
    }

    #[test]
    fn a_value_cannot_start_another_header() {
        let response = Response::json(200, &Value::Null).with("x-note", "a\r\nset-cookie: b");
        assert_eq!(response.headers.get("x-note"), Some("a  set-cookie: b"));
        assert_eq!(response.headers.get("set-cookie"), None);
    }
}
