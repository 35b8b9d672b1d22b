//! What every answer gets besides its content: a request id, the time it took, and a line in the log once its body has
//! been sent or its client is gone. Sees no content.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use atelier_inference::TenantId;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use hyper::body::{Body, Frame, SizeHint};

use super::{Answer, AnswerBody, BodyError, boxed};
use crate::metrics::{RouteTally, TenantCounts};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// Longest request id that is taken over from a client.
const MAX_ID_BYTES: usize = 128;

/// One request, as the log tells it.
pub(crate) struct Access {
    id: HeaderValue,
    method: Method,
    path: String,
    peer: SocketAddr,
    began: Instant,
    route: Option<Arc<RouteTally>>,
    tenant: Option<(TenantId, Arc<TenantCounts>)>,
    key: Option<Arc<str>>,
}

impl Access {
    /// Notes the request, and puts the id into its headers, so that the component can pass it on.
    pub(crate) fn begin<B>(request: &mut Request<B>, peer: SocketAddr) -> Self {
        let id = given_id(request.headers()).unwrap_or_else(mint_id);
        request.headers_mut().insert(REQUEST_ID, id.clone());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        Self { id, method, path, peer, began: Instant::now(), route: None, tenant: None, key: None }
    }

    /// The id as text.
    pub(crate) fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// Which route answers.
    pub(crate) fn routed(&mut self, route: Arc<RouteTally>) {
        self.route = Some(route);
    }

    /// Whose account it goes to, and the name of the key that said so.
    pub(crate) fn charged(&mut self, tenant: &TenantId, counts: Arc<TenantCounts>, key: Option<Arc<str>>) {
        self.tenant = Some((tenant.clone(), counts));
        self.key = key;
    }

    /// Completes the answer's headers; its body logs the request when it ends.
    pub(crate) fn finish(self, answer: Answer) -> Answer {
        let (mut head, body) = answer.into_parts();
        let took = self.began.elapsed().as_micros() as f64 / 1_000.0;
        head.headers.insert(REQUEST_ID, self.id.clone());
        head.headers.extend(
            HeaderValue::try_from(format!("host;dur={took:.3}")).ok().map(|value| (SERVER_TIMING, value)),
        );
        // nothing of the body is sent in answer to HEAD
        let expected = if self.method == Method::HEAD { Some(0) } else { body.size_hint().exact() };
        let sent = Sent { access: self, status: head.status, bytes: 0, expected, ended: false };
        Answer::from_parts(head, boxed(Logged { body, sent }))
    }
}

/// A client's own id is taken over when it cannot spoil a log.
fn given_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=MAX_ID_BYTES).contains(&id.len()).then_some(())?;
    id.as_bytes().iter().all(plain).then(|| id.clone())
}

/// Unique, and no secret: the start of the process and a number.
fn mint_id() -> HeaderValue {
    static START: LazyLock<u64> = LazyLock::new(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
    });
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = format!("{:x}-{:x}-{:x}", *START, std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("none"))
}

/// A body that tells when it is over.
struct Logged {
    body: AnswerBody,
    sent: Sent,
}

/// What went out; logged when dropped.
struct Sent {
    access: Access,
    status: StatusCode,
    bytes: u64,
    /// The body's length, if it is known: then nobody polls for the end behind the last byte.
    expected: Option<u64>,
    ended: bool,
}

impl Body for Logged {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.sent.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(error)) => {
                tracing::warn!(id = self.sent.access.id(), "the answer broke off: {error}");
            }
            None => self.sent.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let Access { method, path, peer, began, route, tenant, key, .. } = &self.access;
        let took = began.elapsed();
        if let Some(route) = route {
            route.count(self.status, took);
        }
        if let Some((_, counts)) = tenant {
            counts.traffic.count(self.status, took);
        }
        tracing::info!(
            id = self.access.id(),
            %peer,
            %method,
            path,
            route = route.as_deref().map(RouteTally::name),
            tenant = tenant.as_ref().map(|(id, _)| id.as_str()),
            key = key.as_deref(),
            status = self.status.as_u16(),
            bytes = self.bytes,
            ms = took.as_millis() as u64,
            "{}",
            if self.ended || self.expected == Some(self.bytes) { "answered" } else { "broke off" },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(given: &str) -> String {
        let mut request = Request::builder().header("x-request-id", given).body(()).unwrap();
        let access = Access::begin(&mut request, SocketAddr::from(([127, 0, 0, 1], 1)));
        assert_eq!(request.headers()["x-request-id"], access.id());
        access.id().to_owned()
    }

    #[test]
    fn a_plain_request_id_is_kept_and_any_other_is_replaced() {
        assert_eq!(id_of("abc-123"), "abc-123");
        assert_ne!(id_of("a b"), "a b");
        assert_ne!(id_of(&"a".repeat(MAX_ID_BYTES + 1)), "a".repeat(MAX_ID_BYTES + 1));
        assert_ne!(id_of("a b"), id_of("a b"));
    }
}
