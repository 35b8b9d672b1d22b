//! A request's body with bounds on how slowly it may arrive (the runtime bounds its bytes). The component sees an error of
//! its stream; the edge sees the verdict and answers for it.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::pace::{Late, Pace, Watch};

/// How a body broke its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// Nothing arrived for too long.
    #[error("the request's body stopped arriving")]
    Stalled,
    /// Too little arrived for too long.
    #[error("the request's body arrived too slowly")]
    Slow,
    /// It broke off, or cannot be understood.
    #[error("the request's body broke off")]
    Gone,
}

/// The edge's view of a body that a component reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict(Arc<OnceLock<Broken>>);

impl Verdict {
    /// How the body broke its bounds, if it did.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.0.get().copied()
    }
}

/// A bounded body.
pub(crate) struct RequestBody {
    inner: Incoming,
    watch: Watch,
    verdict: Verdict,
}

impl RequestBody {
    pub(crate) fn new(inner: Incoming, pace: Pace, verdict: Verdict) -> Self {
        Self { inner, watch: Watch::new(pace), verdict }
    }

    fn broken(&self, how: Broken) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // only the first reason counts
        let _ = self.verdict.0.set(how);
        Poll::Ready(Some(Err(how)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(how) = self.verdict.broken() {
            return self.broken(how);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            return match ready!(self.watch.poll_late(cx)) {
                Late::Silent => self.broken(Broken::Stalled),
                Late::Slow => self.broken(Broken::Slow),
            };
        };
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
        self.watch.moved(data.map_or(0, Bytes::len));
        match frame {
            Some(Err(_)) => self.broken(Broken::Gone),
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
