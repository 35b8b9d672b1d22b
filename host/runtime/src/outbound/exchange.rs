//! One request and its response over a connection that stands already: headers that belong to connections are taken
//! off, bytes are counted in both directions, and a server may keep a guest waiting for so long only.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::time::{Sleep, sleep, timeout};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::network::Stream;
use super::tally::Tally;
use crate::Limits;
use crate::sandbox::{Meter, Wait};

/// Shortest patience: a guest may ask for none at all.
const LEAST: Duration = Duration::from_millis(1);
/// hyper takes no smaller buffer for a response's head.
const LEAST_HEAD_BYTES: usize = 8_192;

/// Of a connection, not of a message; whoever passes a message on takes them off.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// A response, and what goes on driving its connection.
pub(super) type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// How long a server may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    pub(super) connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Patience {
    /// What the guest asks for: a guest may be less patient than its route, never more.
    pub(super) fn new(options: Option<RequestOptions>, limits: &Limits) -> Self {
        let options = options.unwrap_or_default();
        let within =
            |wanted: Option<Duration>, limit: Duration| wanted.unwrap_or(limit).min(limit).max(LEAST);
        Self {
            connect: within(options.connect_timeout, limits.outbound_connect),
            first_byte: within(options.first_byte_timeout, limits.outbound_first_byte),
            between_bytes: within(options.between_bytes_timeout, limits.outbound_between_bytes),
        }
    }
}

/// Takes off what belongs to a connection, and names the server that the request goes to.
pub(super) fn address(request: &mut Request<WasiBody>, authority: &str) -> Result<(), Error> {
    strip(request.headers_mut());
    let host = HeaderValue::try_from(authority).map_err(|_| Error::HttpRequestUriInvalid)?;
    request.headers_mut().insert(HOST, host);
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or(Uri::from_static("/"), Uri::from);
    Ok(())
}

fn strip(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Sends the request and waits for the response's head.
pub(super) async fn send(
    stream: Box<dyn Stream>,
    request: Request<WasiBody>,
    patience: Patience,
    tally: Arc<Tally>,
    meter: Arc<Meter>,
) -> Result<Sent, Error> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(meter.limits().header_bytes.max(LEAST_HEAD_BYTES));
    let request = request.map(|body| Counted { body, tally: tally.clone() });
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let mut connection = Some(Box::pin(connection));
    let mut answer = Box::pin(timeout(patience.first_byte, sender.send_request(request)));
    let answer = poll_fn(|cx| {
        // the connection moves only while it is polled; the answer comes first, since a server may close behind it
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer.map_err(|_| Error::ConnectionReadTimeout)?.map_err(Error::from));
        }
        if let Some(running) = &mut connection
            && let Poll::Ready(end) = running.as_mut().poll(cx)
        {
            connection = None;
            end?;
        }
        answer.as_mut().poll(cx).map(|answer| Ok(answer.map_err(|_| Error::ConnectionReadTimeout)??))
    });
    let answer = answer.await.map_err(|error| tally.cause(error))?;
    let (mut head, body) = answer.into_parts();
    strip(&mut head.headers);
    let body = Answer { body, limit: patience.between_bytes, clock: None, wait: None, tally, meter };
    let drive = async move {
        match connection {
            Some(connection) => connection.await.map_err(Error::from),
            None => Ok(()),
        }
    };
    Ok((Response::from_parts(head, body.boxed_unsync()), Box::new(drive)))
}

/// A request's body that is counted.
struct Counted {
    body: WasiBody,
    tally: Arc<Tally>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match (self.tally.carry(&frame), frame) {
            (Err(limit), _) => Some(Err(Error::HttpRequestBodySize(Some(limit)))),
            (Ok(()), frame) => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body that is counted, and given up when the server stops sending.
struct Answer {
    body: Incoming,
    limit: Duration,
    /// Runs while a piece is waited for.
    clock: Option<Pin<Box<Sleep>>>,
    /// Held for as long: waiting for a server is not the guest's own time.
    wait: Option<Wait>,
    tally: Arc<Tally>,
    meter: Arc<Meter>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.meter.given_up_since().is_some() {
            return Poll::Ready(Some(Err(Error::ConnectionTerminated)));
        }
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            this.wait.get_or_insert_with(|| this.meter.wait());
            ready!(this.clock.get_or_insert_with(|| Box::pin(sleep(this.limit))).as_mut().poll(cx));
            this.wait = None;
            return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
        };
        (this.clock, this.wait) = (None, None);
        let frame = frame.map(|frame| frame.map_err(Error::from));
        Poll::Ready(match (this.tally.carry(&frame), frame) {
            (Err(limit), _) => Some(Err(Error::HttpResponseBodySize(Some(limit)))),
            (Ok(()), frame) => frame,
        })
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
    use http_body_util::Empty;

    use super::*;

    #[test]
    fn a_guest_may_only_lower_timeouts_and_none_to_nothing() {
        let limits = Limits::default();
        let asked = RequestOptions {
            connect_timeout: Some(Duration::ZERO),
            first_byte_timeout: Some(Duration::from_secs(600)),
            between_bytes_timeout: None,
        };
        let patience = Patience::new(Some(asked), &limits);
        assert_eq!(patience.connect, LEAST);
        assert_eq!(patience.first_byte, limits.outbound_first_byte);
        assert_eq!(patience.between_bytes, limits.outbound_between_bytes);
    }

    #[test]
    fn what_belongs_to_a_connection_is_taken_off_and_the_host_is_the_servers() {
        let mut request = Request::get("http://a.test:81/b?c").header("host", "other").header("x-mine", "1");
        for name in HOP_BY_HOP {
            request = request.header(name, "x");
        }
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let mut request = request.body(body).unwrap();
        address(&mut request, "a.test:81").unwrap();
        assert_eq!(request.uri(), "/b?c");
        let names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(request.headers()["host"], "a.test:81");
        assert_eq!(request.headers()["x-mine"], "1");
    }
}
