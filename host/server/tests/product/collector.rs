//! A stand-in for a collector of traces: takes OTLP over HTTP in its JSON form, as the specification has it, and keeps the
//! spans. https://opentelemetry.io/docs/specs/otlp

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant, sleep};

use crate::client::DEADLINE;

/// A span, checked.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) failed: bool,
    attributes: Value,
}

/// Takes spans until it is dropped.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    messages: Arc<Mutex<String>>,
    task: tokio::task::JoinHandle<()>,
}

impl Collector {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (spans, messages) = (Arc::<Mutex<Vec<Span>>>::default(), Arc::<Mutex<String>>::default());
        let kept = (spans.clone(), messages.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                let answer = service_fn(move |request| take(request, kept.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { address, spans, messages, task }
    }

    /// What the manifest says of it.
    pub(crate) fn manifest(&self) -> String {
        format!("[telemetry]\notlp-endpoint = \"http://{}\"\n", self.address)
    }

    /// Everything that was sent, as it came.
    pub(crate) fn messages(&self) -> String {
        self.messages.lock().unwrap().clone()
    }

    /// The spans of the trace whose request has that id, all of them: a trace comes whole.
    pub(crate) async fn trace_of(&self, request_id: &str) -> Vec<Span> {
        let end = Instant::now() + DEADLINE;
        loop {
            let spans = self.spans.lock().unwrap().clone();
            let is_root = |span: &&Span| span.text("atelier.request_id").as_deref() == Some(request_id);
            if let Some(trace) = spans.iter().find(is_root).map(|root| root.trace.clone()) {
                return spans.into_iter().filter(|span| span.trace == trace).collect();
            }
            assert!(Instant::now() < end, "no trace of {request_id} in {spans:#?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Kept = (Arc<Mutex<Vec<Span>>>, Arc<Mutex<String>>);

async fn take(
    request: Request<Incoming>,
    (spans, messages): Kept,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
    assert_eq!(request.headers()["content-type"], "application/json");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let message: Value = serde_json::from_slice(&body).unwrap();
    messages.lock().unwrap().push_str(std::str::from_utf8(&body).unwrap());
    for resource in list(&message["resourceSpans"]) {
        let name = attribute(&resource["resource"]["attributes"], "service.name");
        assert_eq!(name.unwrap()["stringValue"], "atelier");
        for scope in list(&resource["scopeSpans"]) {
            spans.lock().unwrap().extend(list(&scope["spans"]).iter().map(Span::read));
        }
    }
    Ok(Response::new(Full::from("{}")))
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

fn attribute<'a>(attributes: &'a Value, key: &str) -> Option<&'a Value> {
    list(attributes).iter().find(|attribute| attribute["key"] == key).map(|attribute| &attribute["value"])
}

impl Span {
    fn read(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}")).to_owned();
        let (trace, id, parent) = (text("traceId"), text("spanId"), text("parentSpanId"));
        let is_hex = |id: &str, digits| id.len() == digits && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_hex(&trace, 32) && is_hex(&id, 16), "{value}");
        assert!(parent.is_empty() || is_hex(&parent, 16), "{value}");
        // 64-bit numbers are text in JSON
        let [began, ended] = ["startTimeUnixNano", "endTimeUnixNano"].map(|key| text(key).parse().unwrap());
        assert!(
            began <= ended && value["kind"].as_u64().is_some_and(|kind| (1..=5).contains(&kind)),
            "{value}"
        );
        let failed = value["status"]["code"] == 2;
        let attributes = value["attributes"].clone();
        Self {
            trace,
            id,
            parent,
            name: text("name"),
            state: text("traceState"),
            began,
            ended,
            failed,
            attributes,
        }
    }

    /// An attribute that is a text.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        attribute(&self.attributes, key)?["stringValue"].as_str().map(str::to_owned)
    }

    /// An attribute that is a number.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        attribute(&self.attributes, key)?["intValue"].as_str()?.parse().ok()
    }
}
