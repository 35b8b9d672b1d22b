//! What belongs to one request from its first byte to the end of its last guest: its id, its trace, and what it has used.
//! The server makes it and puts it into the request's extensions; everything that works for the request adds to it; the
//! server reads it when the answer is over. `trace.rs` keeps spans, `w3c.rs` reads and writes the headers of W3C Trace
//! Context. Knows no log and no collector.

mod trace;
mod w3c;

use std::sync::Arc;

use atelier_inference::metrics::{Counter, Peak, Spent};

pub(crate) use trace::{OpenSpan, Scope};
pub use trace::{Span, SpanKind, SpanValue, Trace, TraceParts, TraceSink};
pub use w3c::{TRACEPARENT, TRACESTATE, TraceParent};

/// One request, as everybody sees it who works for it.
#[derive(Debug, Default)]
pub struct RequestContext {
    id: String,
    trace: Option<Trace>,
    usage: Usage,
}

/// What a request used, growing while it runs.
#[derive(Debug, Default)]
pub struct Usage {
    /// Waiting for an instance.
    pub admission: Spent,
    /// Making the handler's instance.
    pub instantiation: Spent,
    /// Its guests' computing; see [`crate::Consumption::cpu`].
    pub cpu: Spent,
    /// The handler's waiting in capabilities.
    pub waiting: Spent,
    /// Its jobs' waiting in the queue.
    pub queue: Spent,
    /// Its jobs' time on the inference worker, loading included.
    pub inference: Spent,
    /// The most bytes that one of its guests held in its linear memories.
    pub memory_bytes: Peak,
    /// Bytes of its body that were read.
    pub request_bytes: Counter,
}

impl RequestContext {
    /// A request that begins. The id is text without spaces or control characters.
    pub fn new(id: &str, trace: Option<Trace>) -> Arc<Self> {
        Arc::new(Self { id: id.into(), trace, usage: Usage::default() })
    }

    /// The request's id; empty for work that no client asked for.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its trace, if it has one.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// What it has used so far.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }
}
