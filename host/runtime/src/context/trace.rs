//! A request's trace: spans that are kept until the last of the request's guests has ended, and then handed over together.
//! A trace that nobody records costs nothing but the headers that pass it on.

use std::borrow::Cow;
use std::fmt;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue};

use super::RequestContext;
use super::w3c::{TRACEPARENT, TRACESTATE, TraceParent};
use crate::Failure;

/// Spans kept of one request; a guest that calls the host more often loses the later ones.
const MAX_SPANS: usize = 128;

/// Takes traces that have ended. Must not block.
pub trait TraceSink: Send + Sync {
    /// One trace, whole.
    fn take(&self, trace: TraceParts);
}

/// A trace that has ended.
#[derive(Debug, Clone)]
pub struct TraceParts {
    /// Its id.
    pub id: u128,
    /// What other tracing systems keep of it.
    pub state: Option<HeaderValue>,
    /// In the order of their ends.
    pub spans: Vec<Span>,
    /// Spans for which there was no room.
    pub lost: u64,
}

/// Something that took time.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its id.
    pub id: u64,
    /// The span that it is a part of; none for the request itself when no other host caused it.
    pub parent: Option<u64>,
    /// What was done.
    pub name: Cow<'static, str>,
    /// Its place between hosts.
    pub kind: SpanKind,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// More about it, by the names of OpenTelemetry's conventions where these have one.
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// Why it failed, as a code or a short text without anything that a guest or a client said.
    pub error: Option<String>,
}

/// A span's place between hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Inside this host.
    Internal,
    /// Answers another host's request.
    Server,
    /// Waits for another host's answer.
    Client,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpanValue {
    /// Text.
    Text(String),
    /// A number.
    Number(u64),
}

impl From<&str> for SpanValue {
    fn from(text: &str) -> Self {
        SpanValue::Text(text.into())
    }
}

impl From<String> for SpanValue {
    fn from(text: String) -> Self {
        SpanValue::Text(text)
    }
}

impl From<u64> for SpanValue {
    fn from(number: u64) -> Self {
        SpanValue::Number(number)
    }
}

/// The trace of one request.
pub struct Trace {
    /// As it came, or with the request's own span in place of a cause.
    parent: TraceParent,
    state: Option<HeaderValue>,
    /// Nobody's when the trace is only passed on.
    recording: Option<Recording>,
}

struct Recording {
    /// The request's own span.
    root: u64,
    /// What caused the request.
    cause: Option<u64>,
    spans: Mutex<Spans>,
    sink: Arc<dyn TraceSink>,
}

#[derive(Default)]
struct Spans {
    ended: Vec<Span>,
    lost: u64,
}

impl Trace {
    /// A trace that came with the request and goes on with what its guests send; nobody here records it.
    pub fn passed_on(parent: TraceParent, state: Option<HeaderValue>) -> Self {
        Self { parent, state, recording: None }
    }

    /// A trace that is recorded: one that came with the request, or a new one.
    pub fn recorded(
        cause: Option<TraceParent>,
        state: Option<HeaderValue>,
        sink: Arc<dyn TraceSink>,
    ) -> Self {
        let root = mint();
        let trace = cause.map_or_else(|| u128::from(mint()) << 64 | u128::from(mint()), |cause| cause.trace);
        let cause = cause.map(|cause| cause.span);
        let recording = Recording { root, cause, spans: Mutex::default(), sink };
        let parent = TraceParent { trace, span: root, sampled: true };
        Self { parent, state, recording: Some(recording) }
    }

    /// Its id: 32 hexadecimal digits.
    pub fn id(&self) -> String {
        format!("{:032x}", self.parent.trace)
    }

    /// Keeps the request's own span, to which all others belong. `began` and `took` are those of the whole answer.
    pub fn end(
        &self,
        name: String,
        (began, took): (SystemTime, Duration),
        attributes: Vec<(&'static str, SpanValue)>,
        error: Option<String>,
    ) {
        let Some(Recording { root, cause, .. }) = &self.recording else { return };
        let (id, parent, kind) = (*root, *cause, SpanKind::Server);
        self.keep(Span { id, parent, name: name.into(), kind, began, took, attributes, error });
    }

    fn keep(&self, span: Span) {
        let Some(recording) = &self.recording else { return };
        let mut spans = recording.spans();
        // the request's own span always finds room
        if spans.ended.len() < MAX_SPANS || span.id == recording.root {
            spans.ended.push(span);
        } else {
            spans.lost += 1;
        }
    }

    /// What goes on with a request that a span causes.
    fn write(&self, span: u64, headers: &mut HeaderMap) {
        let span = if self.recording.is_some() { span } else { self.parent.span };
        headers.extend(TraceParent { span, ..self.parent }.header().map(|value| (TRACEPARENT, value)));
        match &self.state {
            Some(state) => headers.insert(TRACESTATE, state.clone()),
            None => headers.remove(TRACESTATE),
        };
    }
}

impl Recording {
    fn spans(&self) -> MutexGuard<'_, Spans> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Trace {
    /// Nobody works for the request any more.
    fn drop(&mut self) {
        let Some(recording) = &self.recording else { return };
        let Spans { ended: spans, lost } = take(&mut *recording.spans());
        recording.sink.take(TraceParts { id: self.parent.trace, state: self.state.take(), spans, lost });
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.parent.to_string()).finish()
    }
}

/// An id that is not 0.
fn mint() -> u64 {
    rand::random_range(1..=u64::MAX)
}

/// A place in a request: the span under which what happens there is kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    context: Arc<RequestContext>,
    span: u64,
}

impl Scope {
    /// The request itself.
    pub(crate) fn of(context: Arc<RequestContext>) -> Self {
        let recording = context.trace.as_ref().and_then(|trace| trace.recording.as_ref());
        let span = recording.map_or(0, |recording| recording.root);
        Self { context, span }
    }

    pub(crate) fn context(&self) -> &Arc<RequestContext> {
        &self.context
    }

    /// Begins a part of this; it ends when it is dropped.
    pub(crate) fn open(&self, name: &'static str) -> OpenSpan {
        self.open_kind(name, SpanKind::Internal)
    }

    /// Begins a request to another host.
    pub(crate) fn open_client(&self, name: &'static str) -> OpenSpan {
        self.open_kind(name, SpanKind::Client)
    }

    fn open_kind(&self, name: &'static str, kind: SpanKind) -> OpenSpan {
        let is_recorded = self.context.trace.as_ref().is_some_and(|trace| trace.recording.is_some());
        let span = is_recorded.then(|| {
            let (id, parent, began) = (mint(), Some(self.span), SystemTime::now());
            let (took, attributes, error) = (Duration::ZERO, Vec::new(), None);
            Box::new((
                Span { id, parent, name: name.into(), kind, began, took, attributes, error },
                Instant::now(),
            ))
        });
        OpenSpan { context: self.context.clone(), span }
    }

    /// Keeps a part that is over already; `after` is when it began, counted from `origin`.
    pub(crate) fn keep(&self, name: &'static str, origin: SystemTime, after: Duration, took: Duration) {
        let mut open = self.open(name);
        if let Some((mut span, _)) = open.span.take().map(|span| *span)
            && let Some(trace) = &self.context.trace
        {
            (span.began, span.took) = (origin + after, took);
            trace.keep(span);
        }
    }

    /// Names the trace in the headers of a request that this causes. Without a trace they stay as they are.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        if let Some(trace) = &self.context.trace {
            trace.write(self.span, headers);
        }
    }
}

/// A span that has begun; kept when it is dropped.
#[derive(Debug)]
pub(crate) struct OpenSpan {
    context: Arc<RequestContext>,
    span: Option<Box<(Span, Instant)>>,
}

impl OpenSpan {
    /// Where parts of this belong.
    pub(crate) fn scope(&self) -> Scope {
        let span = self.span.as_ref().map_or(0, |span| span.0.id);
        Scope { context: self.context.clone(), span }
    }

    /// When it began.
    pub(crate) fn began(&self) -> Option<SystemTime> {
        self.span.as_ref().map(|span| span.0.began)
    }

    /// Says more about it. The value is made only when somebody records it.
    pub(crate) fn set<V: Into<SpanValue>>(&mut self, name: &'static str, value: impl FnOnce() -> V) {
        if let Some(span) = &mut self.span {
            span.0.attributes.push((name, value().into()));
        }
    }

    /// Says why it failed.
    pub(crate) fn fail(&mut self, why: &str) {
        if let Some(span) = &mut self.span {
            span.0.error = Some(why.into());
        }
    }

    /// Says how it ended.
    pub(crate) fn settle<T>(&mut self, result: &Result<T, Failure>) {
        if let Err(failure) = result {
            self.fail(failure.code());
        }
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        if let Some((mut span, began)) = self.span.take().map(|span| *span)
            && let Some(trace) = &self.context.trace
        {
            span.took = began.elapsed();
            trace.keep(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what it is given.
    #[derive(Default)]
    struct Kept(Mutex<Vec<TraceParts>>);

    impl TraceSink for Kept {
        fn take(&self, trace: TraceParts) {
            self.0.lock().unwrap().push(trace);
        }
    }

    const CAUSE: TraceParent = TraceParent { trace: 7, span: 9, sampled: true };

    fn context(sink: &Arc<Kept>) -> Arc<RequestContext> {
        RequestContext::new("id", Some(Trace::recorded(Some(CAUSE), None, sink.clone())))
    }

    fn end(context: &RequestContext) {
        let times = (SystemTime::now(), Duration::ZERO);
        context.trace().unwrap().end("GET /".into(), times, Vec::new(), None);
    }

    #[test]
    fn spans_are_handed_over_when_the_last_of_the_request_is_gone() {
        let sink = Arc::new(Kept::default());
        let context = context(&sink);
        let guest = Scope::of(context.clone()).open("guest");
        let mut call = guest.scope().open("call");
        call.fail("why");
        end(&context);
        drop((call, context));
        assert!(sink.0.lock().unwrap().is_empty(), "the guest still runs");
        drop(guest);
        let trace = sink.0.lock().unwrap().pop().unwrap();
        let [root, call, guest] = trace.spans.as_slice() else { panic!("{trace:?}") };
        assert_eq!((trace.id, root.parent, root.kind), (7, Some(9), SpanKind::Server));
        assert_eq!((guest.parent, call.parent), (Some(root.id), Some(guest.id)));
        assert_eq!(call.error.as_deref(), Some("why"));
    }

    #[test]
    fn one_span_more_than_there_is_room_for_is_lost_and_counted_but_never_the_requests_own() {
        let sink = Arc::new(Kept::default());
        let context = context(&sink);
        for _ in 0..=MAX_SPANS {
            Scope::of(context.clone()).open("call");
        }
        end(&context);
        drop(context);
        let trace = sink.0.lock().unwrap().pop().unwrap();
        assert_eq!((trace.spans.len(), trace.lost), (MAX_SPANS + 1, 1));
        assert_eq!(trace.spans.last().unwrap().name, "GET /");
    }

    #[test]
    fn a_trace_is_named_by_the_span_that_causes_and_passed_on_as_it_came_when_nobody_records_it() {
        let sink = Arc::new(Kept::default());
        let state: HeaderValue = "a=1".parse().unwrap();
        let recorded = RequestContext::new("", Some(Trace::recorded(Some(CAUSE), Some(state.clone()), sink)));
        let passed = RequestContext::new("", Some(Trace::passed_on(CAUSE, Some(state))));
        let written = |scope: &Scope| {
            let mut headers = HeaderMap::new();
            scope.write(&mut headers);
            assert_eq!(headers[TRACESTATE], "a=1");
            TraceParent::take(&mut headers).unwrap().0
        };
        let call = Scope::of(recorded).open_client("call");
        let named = written(&call.scope());
        assert_eq!((named.trace, named.span, named.sampled), (7, call.scope().span, true));
        assert_eq!(written(&Scope::of(passed).open("call").scope()), CAUSE);
        let mut headers = HeaderMap::new();
        Scope::default().write(&mut headers);
        assert!(headers.is_empty());
    }
}
