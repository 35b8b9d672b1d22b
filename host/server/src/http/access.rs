//! What every answer gets besides its content: a request id, the time it took, and a line in the log once its body has
//! been sent or its client is gone, with the end of its trace. Sees no content.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use atelier_inference::TenantId;
use atelier_inference::metrics::Spent;
use atelier_runtime::{RequestContext, SpanValue, Trace};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use hyper::body::{Body, Frame, SizeHint};

use super::{Answer, AnswerBody, BodyError, boxed};
use crate::metrics::{RouteTally, TenantCounts};
use crate::telemetry::Tracer;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// Longest request id that is taken over from a client.
const MAX_ID_BYTES: usize = 128;

/// One request, as the log tells it when this is dropped.
pub(crate) struct Access {
    context: Arc<RequestContext>,
    id: HeaderValue,
    method: Method,
    path: String,
    peer: SocketAddr,
    began: (SystemTime, Instant),
    route: Option<Arc<RouteTally>>,
    component: Option<Arc<str>>,
    tenant: Option<(TenantId, Arc<TenantCounts>)>,
    key: Option<Arc<str>>,
    /// The host's own answer, by its code.
    code: Option<&'static str>,
    /// None until there is an answer.
    sent: Option<Sent>,
}

/// What went out.
struct Sent {
    status: StatusCode,
    bytes: u64,
    /// The body's length, if it is known: then nobody polls for the end behind the last byte.
    expected: Option<u64>,
    ended: bool,
}

impl Access {
    /// Notes the request, and puts the id into its headers, so that the component can pass it on.
    pub(crate) fn begin<B>(request: &mut Request<B>, peer: SocketAddr, tracer: &Tracer) -> Self {
        let id = given_id(request.headers()).unwrap_or_else(mint_id);
        request.headers_mut().insert(REQUEST_ID, id.clone());
        let trace = tracer.begin(request.headers_mut());
        let context = RequestContext::new(id.to_str().unwrap_or_default(), trace);
        request.extensions_mut().insert(context.clone());
        Self {
            context,
            id,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            peer,
            began: (SystemTime::now(), Instant::now()),
            route: None,
            component: None,
            tenant: None,
            key: None,
            code: None,
            sent: None,
        }
    }

    /// The id as text.
    pub(crate) fn id(&self) -> &str {
        self.context.id()
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

    /// Which component is asked, by the beginning of its digest.
    pub(crate) fn handed_to(&mut self, component: &Arc<str>) {
        self.component = Some(component.clone());
    }

    /// Why the host itself answers.
    pub(crate) fn refused(&mut self, code: &'static str) {
        self.code = Some(code);
    }

    /// Completes the answer's headers; its body logs the request when it ends.
    pub(crate) fn finish(mut self, answer: Answer) -> Answer {
        let (mut head, body) = answer.into_parts();
        let took = self.began.1.elapsed().as_micros();
        head.headers.insert(REQUEST_ID, self.id.clone());
        head.headers.extend(
            HeaderValue::try_from(format!("host;dur={}.{:03}", took / 1_000, took % 1_000))
                .ok()
                .map(|value| (SERVER_TIMING, value)),
        );
        // nothing of the body is sent in answer to HEAD
        let expected = if self.method == Method::HEAD { Some(0) } else { body.size_hint().exact() };
        self.sent = Some(Sent { status: head.status, bytes: 0, expected, ended: false });
        Answer::from_parts(head, boxed(Logged { body, access: self }))
    }

    fn count(&self, took: Duration) {
        // whoever left before the answer got none
        let Some(Sent { status, .. }) = self.sent else { return };
        if let Some(route) = &self.route {
            route.count(status, took);
        }
        if let Some((_, counts)) = &self.tenant {
            counts.traffic.count(status, took);
        }
    }

    fn log(&self, took: Duration) {
        let (sent, usage) = (self.sent.as_ref(), self.context.usage());
        tracing::info!(
            id = self.id(),
            trace = self.context.trace().map(Trace::id),
            peer = %self.peer,
            method = %self.method,
            path = self.path,
            route = self.route.as_deref().map(RouteTally::name),
            component = self.component.as_deref(),
            tenant = self.tenant.as_ref().map(|(id, _)| id.as_str()),
            key = self.key.as_deref(),
            code = self.code,
            status = sent.map(|sent| sent.status.as_u16()),
            request_bytes = usage.request_bytes.get(),
            bytes = sent.map_or(0, |sent| sent.bytes),
            ms = milliseconds(took),
            admission_ms = spent(&usage.admission),
            instantiation_ms = spent(&usage.instantiation),
            cpu_ms = spent(&usage.cpu),
            waiting_ms = spent(&usage.waiting),
            queue_ms = spent(&usage.queue),
            inference_ms = spent(&usage.inference),
            memory_bytes = Some(usage.memory_bytes.get()).filter(|bytes| *bytes > 0),
            "{}",
            self.end(),
        );
    }

    fn end(&self) -> &'static str {
        match &self.sent {
            None => "left before the answer",
            Some(sent) if sent.ended || sent.expected == Some(sent.bytes) => "answered",
            Some(_) => "broke off",
        }
    }

    fn end_trace(&self, trace: &Trace, took: Duration) {
        let route = self.route.as_deref().map_or("-", RouteTally::name);
        let status = self.sent.as_ref().map(|sent| sent.status);
        let mut attributes: Vec<(&'static str, SpanValue)> = vec![
            ("http.request.method", method_name(&self.method).into()),
            ("http.route", route.into()),
            ("atelier.request_id", self.id().into()),
            ("atelier.cpu_us", (self.context.usage().cpu.get().as_micros() as u64).into()),
        ];
        attributes.extend(status.map(|code| ("http.response.status_code", u64::from(code.as_u16()).into())));
        attributes.extend(self.tenant.as_ref().map(|(id, _)| ("atelier.tenant", id.as_str().into())));
        let failed = status.is_none_or(|status| status.is_server_error()) || self.end() != "answered";
        let error = failed.then(|| self.code.unwrap_or(self.end()).to_owned());
        let name = format!("{} {route}", method_name(&self.method));
        trace.end(name, (self.began.0, took), attributes, error);
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let took = self.began.1.elapsed();
        self.count(took);
        self.log(took);
        if let Some(trace) = self.context.trace() {
            self.end_trace(trace, took);
        }
    }
}

/// Methods that clients make up are one, so that nobody makes names without end.
fn method_name(method: &Method) -> &str {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ];
    if known.contains(method) { method.as_str() } else { "_OTHER" }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}

/// None for what did not happen.
fn spent(time: &Spent) -> Option<f64> {
    Some(milliseconds(time.get())).filter(|time| *time > 0.0)
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
    static START: LazyLock<String> = LazyLock::new(|| {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        format!("{began:x}-{:x}", std::process::id())
    });
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = format!("{}-{:x}", *START, NEXT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("none"))
}

/// A body that tells when it is over.
struct Logged {
    // goes first: what it holds belongs to the request that is logged
    body: AnswerBody,
    access: Access,
}

impl Body for Logged {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let Access { context, sent: Some(sent), .. } = &mut self.access else { return Poll::Ready(frame) };
        match &frame {
            Some(Ok(frame)) => sent.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(error)) => tracing::warn!(id = context.id(), "the answer broke off: {error}"),
            None => sent.ended = true,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(given: &str) -> String {
        let mut request = Request::builder().header("x-request-id", given).body(()).unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let access = Access::begin(&mut request, peer, &Tracer::new(None, 0.0));
        assert_eq!(request.headers()["x-request-id"], access.id());
        assert_eq!(request.extensions().get::<Arc<RequestContext>>().unwrap().id(), access.id());
        access.id().to_owned()
    }

    #[test]
    fn a_plain_request_id_is_kept_and_any_other_is_replaced() {
        assert_eq!(id_of("abc-123"), "abc-123");
        assert_ne!(id_of("a b"), "a b");
        assert_ne!(id_of(&"a".repeat(MAX_ID_BYTES + 1)), "a".repeat(MAX_ID_BYTES + 1));
        assert_ne!(id_of("a b"), id_of("a b"));
    }

    #[test]
    fn methods_that_clients_make_up_have_one_name() {
        assert_eq!((method_name(&Method::GET), method_name(&"BREW".parse().unwrap())), ("GET", "_OTHER"));
    }
}
