//! Bodies on both sides of a guest: the request's, which is cut at its limit on the way in, and the response's, which is
//! cut at its limit, breaks off when its guest was stopped, and stops its guest when nobody wants it any more.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::channel::oneshot;
use http::header::{HOST, HeaderValue};
use http::uri::{Authority, Scheme};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::task::JoinHandle;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use crate::sandbox::Meter;
use crate::{Deployment, Failure};

/// A request as guests get it. One that says at once that it is too long is refused at once.
pub(crate) fn incoming<B>(
    request: http::Request<B>,
    meter: &Arc<Meter>,
) -> Result<http::Request<WasiBody>, Failure>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limit = meter.limits().request_body_bytes;
    if request.body().size_hint().lower() > limit {
        return Err(Failure::RequestBody { route: meter.route(), limit });
    }
    let (mut parts, body) = request.into_parts();
    // what the guest sends on belongs to the same trace
    meter.scope().write(&mut parts.headers);
    meter.hold_request_body(true);
    let body = Counted { body: body.map_err(closed).boxed_unsync(), left: limit, meter: meter.clone() };
    Ok(http::Request::from_parts(with_authority(parts), body.boxed_unsync()))
}

/// The client broke off; the guest learns no more than that.
fn closed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HttpError {
    tracing::debug!(error = %error.into(), "the request's body broke off");
    HttpError::ConnectionTerminated
}

/// `wasi:http` asks for a host, and its 0.3 looks for it in the target alone, where HTTP/1.1 has it in a header that guests do not
/// see. HTTP/1.0 clients and tests may name none.
fn with_authority(mut parts: http::request::Parts) -> http::request::Parts {
    if parts.uri.authority().is_none() {
        let host = parts.headers.entry(HOST).or_insert(HeaderValue::from_static("localhost"));
        let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        let mut target = parts.uri.clone().into_parts();
        // the scheme is what 0.2 is told as well, whatever lies before the host
        (target.scheme, target.authority) = (Some(Scheme::HTTP), host);
        // a host that is none, and a target that has no place for one, stay as they are
        if let Ok(uri) = http::Uri::from_parts(target) {
            parts.uri = uri;
        }
    }
    parts
}

/// Fails once more bytes came than are allowed.
struct Counted {
    body: WasiBody,
    left: u64,
    meter: Arc<Meter>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()).map_or(0, data_len);
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                self.meter.context().usage().request_bytes.add(bytes);
            }
            None => {
                self.meter.cut_request_body();
                return Poll::Ready(Some(Err(HttpError::HttpRequestBodySize(None))));
            }
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

impl Drop for Counted {
    fn drop(&mut self) {
        self.meter.hold_request_body(false);
    }
}

fn data_len(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

/// A guest at work on a request. Dropping this ends its work at its next breath.
pub(crate) struct Guest {
    work: Work,
    wanted: bool,
    /// Told when the answer was taken to its end.
    taken: Option<oneshot::Sender<()>>,
}

enum Work {
    /// A task of its own, which knows the guest's limits.
    Alone(JoinHandle<Result<(), Failure>>),
    /// An instance that goes on for others: says when this request must end, by its limits or by theirs.
    Shared(Arc<Meter>, Pin<Box<dyn Future<Output = Failure> + Send>>),
}

impl Guest {
    pub(crate) fn alone(task: JoinHandle<Result<(), Failure>>, taken: Option<oneshot::Sender<()>>) -> Self {
        Self { work: Work::Alone(task), wanted: true, taken }
    }

    /// A guest that may work for others as well, and who is told when its answer was taken.
    pub(crate) fn shared(meter: &Arc<Meter>) -> (Self, oneshot::Receiver<()>) {
        let (taken, end) = oneshot::channel();
        let work = Work::Shared(meter.clone(), Box::pin(meter.clone().must_end()));
        (Self { work, wanted: true, taken: Some(taken) }, end)
    }

    /// Ends when the request does before its answer. A task of its own tells by itself.
    pub(crate) async fn stopped(&mut self) -> Failure {
        poll_fn(|cx| self.poll_stopped(cx)).await
    }

    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        match &mut self.work {
            Work::Alone(_) => Poll::Pending,
            Work::Shared(_, stopped) => stopped.as_mut().poll(cx),
        }
    }

    /// Why there is no answer, when there will be none.
    pub(crate) async fn silence(mut self, meter: &Meter) -> Failure {
        self.taken = None;
        let ended = match &mut self.work {
            Work::Alone(task) => task.await,
            Work::Shared(_, stopped) => return stopped.await,
        };
        match ended {
            Ok(Err(failure)) => failure,
            Ok(Ok(())) => Failure::NoResponse { route: meter.route(), detail: "the guest ended".into() },
            Err(error) => Failure::host(error),
        }
    }

    /// Lets the guest run on by itself, within its limits.
    fn release(&mut self) {
        self.wanted = false;
        // whoever waits for it may be gone
        let _ = self.taken.take().map(|taken| taken.send(()));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        match &self.work {
            _ if !self.wanted => (),
            Work::Alone(task) => task.abort(),
            Work::Shared(meter, _) => meter.give_up(),
        }
    }
}

/// A response's body as it comes out of the guest. Dropping it before its end stops the guest and its jobs.
pub struct Body {
    body: WasiBody,
    guest: Guest,
    meter: Arc<Meter>,
    deployment: Arc<Deployment>,
    left: u64,
    /// Bytes still to come, when the guest said how many.
    expected: Option<u64>,
    ended: bool,
}

impl Body {
    pub(crate) fn new(body: WasiBody, guest: Guest, meter: Arc<Meter>, deployment: Arc<Deployment>) -> Self {
        let expected = body.size_hint().exact();
        let left = meter.limits().response_body_bytes;
        Self { body, guest, meter, deployment, left, expected, ended: false }
    }

    fn fail(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.ended = true;
        self.meter.stop(failure.clone());
        if self.meter.first_report() {
            self.deployment.count_failure(&failure);
            let (id, code) = (self.meter.context().id(), failure.code());
            tracing::warn!(id, code, "a response broke off: {}", failure.internal());
        }
        Poll::Ready(Some(Err(failure)))
    }

    fn passes(&mut self, bytes: u64) -> Result<(), Failure> {
        let limit = self.meter.limits().response_body_bytes;
        let over = || Failure::ResponseBody { route: self.meter.route(), limit };
        self.left = self.left.checked_sub(bytes).ok_or_else(over)?;
        self.expected = self.expected.map(|expected| expected.saturating_sub(bytes));
        if self.expected == Some(0) {
            self.guest.release();
        }
        Ok(())
    }

    /// The stream ended: by itself, whole or too early, or since its guest was stopped.
    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Some(failure) = self.meter.verdict().cloned() {
            return self.fail(failure);
        }
        if let Some(missing) = self.expected.filter(|missing| *missing > 0) {
            let detail = format!("its body ended {missing} bytes before the length that it announced");
            return self.fail(Failure::NoResponse { route: self.meter.route(), detail });
        }
        self.ended = true;
        self.guest.release();
        Poll::Ready(None)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending()
            && let Poll::Ready(failure) = self.guest.poll_stopped(cx)
        {
            return self.fail(failure);
        }
        match ready!(polled) {
            None => self.end(),
            Some(Ok(frame)) => match self.passes(data_len(&frame)) {
                Ok(()) => Poll::Ready(Some(Ok(frame))),
                Err(failure) => self.fail(failure),
            },
            Some(Err(error)) => {
                let (route, detail) = (self.meter.route(), error.to_string());
                let verdict = self.meter.verdict().cloned();
                self.fail(verdict.unwrap_or(Failure::NoResponse { route, detail }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.body.is_end_stream() && self.meter.verdict().is_none())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // an HTTP server may drop an empty body without reading it
        if self.body.is_end_stream() {
            self.guest.release();
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("ended", &self.ended).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(target: &str, host: Option<&str>) -> (Option<String>, Option<String>) {
        let mut request = http::Request::get(target);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let parts = with_authority(request.body(()).unwrap().into_parts().0);
        let path = parts.uri.path_and_query().map(ToString::to_string);
        (parts.uri.authority().map(ToString::to_string), path)
    }

    #[test]
    fn guests_are_told_the_host_wherever_the_client_names_it() {
        for (target, host, expected) in [
            ("/a?b", Some("images.example.org:8000"), "images.example.org:8000"),
            ("/a?b", None, "localhost"),
            ("http://other.example.org/a?b", Some("images.example.org"), "other.example.org"),
        ] {
            assert_eq!(told(target, host), (Some(expected.into()), Some("/a?b".into())));
        }
        assert_eq!(told("/a", Some("no host")), (None, Some("/a".into())));
    }
}
