//! What one guest has sent and received by its own requests. Counts; whoever adds stops at the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use http_body::Frame;
use wasmtime_wasi_http::Error;

use super::refusal::Refusal;
use crate::{Limits, RequestContext, RouteMetrics};

/// Counts of one store.
pub(super) struct Tally {
    route: Arc<str>,
    metrics: Arc<RouteMetrics>,
    context: Arc<RequestContext>,
    max_requests: u32,
    max_bytes: u64,
    requests: AtomicU32,
    bytes: AtomicU64,
}

impl Tally {
    pub(super) fn new(
        route: Arc<str>,
        metrics: Arc<RouteMetrics>,
        context: Arc<RequestContext>,
        limits: &Limits,
    ) -> Self {
        let (max_requests, max_bytes) = (limits.outbound_requests, limits.outbound_bytes);
        let (requests, bytes) = (AtomicU32::new(0), AtomicU64::new(0));
        Self { route, metrics, context, max_requests, max_bytes, requests, bytes }
    }

    /// Counts a request, sent or refused.
    pub(super) fn begin(&self) -> Result<(), Refusal> {
        let before = self.requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_add(1));
        if before.is_ok_and(|before| before < self.max_requests) {
            return Ok(());
        }
        Err(Refusal::TooMany(self.max_requests))
    }

    /// Counts a refusal and says why, at most once more than there may be requests: a guest must not fill the log.
    pub(super) fn refuse(&self, refusal: &Refusal) {
        self.metrics.denied.count(refusal.kind());
        if self.requests.load(Ordering::Relaxed) <= self.max_requests + 1 {
            let (id, why) = (self.context.id(), refusal.to_string());
            tracing::warn!(id, route = %self.route, "outbound request refused: {}", why.escape_debug());
        }
    }

    /// Counts what a frame carries; the limit when it is too much.
    pub(super) fn carry(&self, frame: &Option<Result<Frame<Bytes>, Error>>) -> Result<(), u64> {
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
        let Some(data) = data else { return Ok(()) };
        let before = self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        let after = before.saturating_add(data.len() as u64);
        if after <= self.max_bytes {
            return Ok(());
        }
        if before <= self.max_bytes {
            self.refuse(&Refusal::TooLong(self.max_bytes));
        }
        Err(self.max_bytes)
    }

    /// What is behind a connection's error: one that we broke ourselves says no more than that.
    pub(super) fn cause(&self, error: Error) -> Error {
        let cut = self.bytes.load(Ordering::Relaxed) > self.max_bytes;
        if cut { Error::HttpRequestBodySize(Some(self.max_bytes)) } else { error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_bytes_end_just_past_their_limits() {
        let limits = Limits { outbound_requests: 2, outbound_bytes: 10, ..Limits::default() };
        let tally = Tally::new("/test".into(), Arc::default(), Arc::default(), &limits);
        assert!(tally.begin().is_ok() && tally.begin().is_ok());
        assert_eq!(tally.begin(), Err(Refusal::TooMany(2)));
        let frame = |length| Some(Ok(Frame::data(Bytes::from(vec![0; length]))));
        assert_eq!((tally.carry(&frame(4)), tally.carry(&frame(6))), (Ok(()), Ok(())));
        assert_eq!(tally.carry(&frame(1)), Err(10));
        assert_eq!(tally.metrics.denied.all(), [("outbound_bytes", 1)]);
        assert!(matches!(tally.cause(Error::HttpProtocolError), Error::HttpRequestBodySize(Some(10))));
    }
}
