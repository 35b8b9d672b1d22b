//! Traces on their way to a collector: OTLP over HTTP in its JSON form, which every collector takes. Traces wait in a
//! bounded queue for the one task that sends; what finds no room, or is not taken, is lost and counted. So a collector
//! that is down or hangs costs the host nothing. (The exporter that OpenTelemetry keeps for Rust brings a client, a thread
//! and a queue of its own, whose losses nobody can count.)

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atelier_inference::metrics::Counter;
use atelier_runtime::{Span, SpanKind, SpanValue, TraceParts, TraceSink};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Traces that wait to be sent; each has a bounded number of spans.
const WAITING_TRACES: usize = 512;
/// Traces of one message.
const BATCH: usize = 64;
/// For a collector to take a message.
const PATIENCE: Duration = Duration::from_secs(5);
/// For what waits, when the host stops.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Sends traces. Dropping it stops that.
pub(crate) struct Exporter {
    queue: Arc<SpanQueue>,
    sending: JoinHandle<()>,
}

/// The way in, and what became of spans.
pub(crate) struct SpanQueue {
    traces: mpsc::Sender<TraceParts>,
    /// Spans that a collector took.
    pub(crate) delivered: Counter,
    /// Spans that found no room, here or in their trace.
    pub(crate) crowded_out: Counter,
    /// Spans that no collector took.
    pub(crate) undelivered: Counter,
}

impl Exporter {
    /// Sends to a collector's address, such as `http://127.0.0.1:4318`, from now on.
    pub(crate) fn start(endpoint: &Uri) -> Self {
        let (traces, waiting) = mpsc::channel(WAITING_TRACES);
        let zero = Counter::default;
        let queue = SpanQueue { traces, delivered: zero(), crowded_out: zero(), undelivered: zero() };
        let queue = Arc::new(queue);
        let sending = tokio::spawn(send_all(endpoint.clone(), waiting, queue.clone()));
        Self { queue, sending }
    }

    /// Where traces go in.
    pub(crate) fn queue(&self) -> Arc<SpanQueue> {
        self.queue.clone()
    }

    /// Sends what waits, if the collector takes it soon.
    pub(crate) async fn finish(mut self) {
        // an empty trace is the last: requests that still end find the queue closed behind it
        let last = TraceParts { id: 0, state: None, spans: Vec::new(), lost: 0 };
        let finished = async {
            if self.queue.traces.send(last).await.is_ok() {
                // a task that failed has sent what it could
                let _ = (&mut self.sending).await;
            }
        };
        if timeout(LAST_PATIENCE, finished).await.is_err() {
            tracing::warn!("the collector of traces did not take the last ones (telemetry.otlp-endpoint)");
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

impl TraceSink for SpanQueue {
    fn take(&self, trace: TraceParts) {
        if trace.spans.is_empty() {
            return;
        }
        let spans = trace.spans.len() as u64;
        self.crowded_out.add(trace.lost);
        if self.traces.try_send(trace).is_err() {
            self.crowded_out.add(spans);
        }
    }
}

async fn send_all(endpoint: Uri, mut waiting: mpsc::Receiver<TraceParts>, queue: Arc<SpanQueue>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut told = false;
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let is_last = batch.iter().any(|trace| trace.spans.is_empty());
        let spans: u64 = batch.iter().map(|trace| trace.spans.len() as u64).sum();
        let message = message(&batch).to_string();
        batch.clear();
        let sent = timeout(PATIENCE, send(&endpoint, message)).await;
        match sent.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs()))) {
            Ok(()) => {
                queue.delivered.add(spans);
                told = false;
            }
            Err(error) => {
                queue.undelivered.add(spans);
                if !told {
                    tracing::warn!("traces are lost: {endpoint} (telemetry.otlp-endpoint): {error}");
                }
                told = true;
            }
        }
        if is_last {
            return;
        }
    }
}

/// Sends one message over a connection of its own.
async fn send(endpoint: &Uri, message: String) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let authority = endpoint.authority().ok_or("it names no host")?;
    let address = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    // ends with the sender
    let connection = tokio::spawn(connection);
    let path = format!("{}/v1/traces", endpoint.path().trim_end_matches('/'));
    let request = Request::post(path)
        .header(HOST, authority.as_str())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(message)))
        .map_err(|error| text(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| text(&error));
    connection.abort();
    match answer?.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answers {status}")),
    }
}

/// `ExportTraceServiceRequest` in JSON: ids in hexadecimal, 64-bit numbers as text.
fn message(traces: &[TraceParts]) -> Value {
    let spans = traces.iter().flat_map(|trace| trace.spans.iter().map(move |one| span(trace, one)));
    let resource = [("service.name", "atelier"), ("service.version", env!("CARGO_PKG_VERSION"))];
    let resource = resource.map(|(key, value)| attribute(key, &value.into()));
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{
            "scope": { "name": "atelier", "version": env!("CARGO_PKG_VERSION") },
            "spans": spans.collect::<Vec<_>>(),
        }],
    }] })
}

fn span(trace: &TraceParts, span: &Span) -> Value {
    let kind = match span.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
    };
    let attributes: Vec<Value> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    // 0 says nothing of success, 2 is an error
    let status = match &span.error {
        Some(error) => json!({ "code": 2, "message": error }),
        None => json!({}),
    };
    json!({
        "traceId": format!("{:032x}", trace.id),
        "spanId": format!("{:016x}", span.id),
        "parentSpanId": span.parent.map_or(String::new(), |parent| format!("{parent:016x}")),
        "traceState": trace.state.as_ref().and_then(|state| state.to_str().ok()).unwrap_or_default(),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": nanos(span.began),
        "endTimeUnixNano": nanos(span.began + span.took),
        "attributes": attributes,
        "status": status,
    })
}

fn attribute(key: &str, value: &SpanValue) -> Value {
    let value = match value {
        SpanValue::Text(text) => json!({ "stringValue": text }),
        // the form has signed numbers only
        SpanValue::Number(number) => {
            json!({ "intValue": i64::try_from(*number).unwrap_or(i64::MAX).to_string() })
        }
    };
    json!({ "key": key, "value": value })
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn trace(spans: usize) -> TraceParts {
        let span = |id| Span {
            id,
            parent: (id > 1).then_some(1),
            name: "part".into(),
            kind: SpanKind::Internal,
            began: UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789),
            took: Duration::from_nanos(1),
            attributes: vec![("number", SpanValue::Number(u64::MAX)), ("text", "a\"b".into())],
            error: (id > 1).then(|| "why".into()),
        };
        TraceParts { id: 0xabc, state: None, spans: (1..=spans as u64).map(span).collect(), lost: 0 }
    }

    #[test]
    fn ids_are_hexadecimal_and_long_numbers_are_text() {
        let message = message(&[trace(2)]);
        let spans = &message["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!(spans[0]["traceId"], "00000000000000000000000000000abc");
        assert_eq!(
            (&spans[0]["spanId"], &spans[0]["parentSpanId"]),
            (&json!("0000000000000001"), &json!(""))
        );
        assert_eq!(spans[1]["parentSpanId"], "0000000000000001");
        assert_eq!(spans[0]["startTimeUnixNano"], "1234567890123456789");
        assert_eq!(spans[0]["endTimeUnixNano"], "1234567890123456790");
        assert_eq!(spans[0]["attributes"][0]["value"], json!({ "intValue": i64::MAX.to_string() }));
        assert_eq!(
            (&spans[0]["status"], &spans[1]["status"]),
            (&json!({}), &json!({ "code": 2, "message": "why" }))
        );
    }

    #[tokio::test]
    async fn one_trace_more_than_may_wait_is_lost_and_counted() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
        let exporter = Exporter::start(&endpoint);
        let queue = exporter.queue();
        // nobody has run since, so nothing has been taken out
        (0..=WAITING_TRACES).for_each(|_| queue.take(trace(3)));
        assert_eq!(queue.crowded_out.get(), 3);
        assert_eq!((queue.delivered.get(), queue.undelivered.get()), (0, 0));
    }
}
