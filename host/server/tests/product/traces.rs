//! Traces: one request is one tree, whoever began it, and no collector can hold a request up.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant};

use crate::client::{Answer, get, raw, send};
use crate::collector::{Collector, Span};
use crate::host::{GENERATIONS, Host, JSON, PNG, guest};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CAUSE: &str = "b7ad6b7169203331";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CAUSE}-{flags}")
}

fn route(name: &str, component: &str, more: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\npath = \"/{name}\"\ncomponent = \"{component}\"\n{more}\n")
}

async fn host(manifest: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    for name in ["plain2", "caller2"] {
        std::fs::write(folder.path().join(format!("{name}.wasm")), guest(name)).unwrap();
    }
    Host::with(folder, Some(manifest)).await
}

/// A request with an id, as a part of somebody's trace.
async fn ask(host: &Host, path: &str, id: &str, flags: &str) -> Answer {
    let request = Request::get(path).header("host", "test").header("x-request-id", id);
    let request = request.header("traceparent", traceparent(flags)).header("tracestate", "vendor=7");
    send(host.edge, request.body(Full::<Bytes>::default()).unwrap()).await
}

/// One root, caused by `cause`; every other span is below another one, and none begins before its parent.
fn assert_tree<'a>(spans: &'a [Span], cause: &str) -> &'a Span {
    let find = |id: &str| spans.iter().find(|span| span.id == id);
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "every span has an id of its own");
    let roots: Vec<&Span> = spans.iter().filter(|span| find(&span.parent).is_none()).collect();
    let [root] = roots.as_slice() else { panic!("{} roots: {roots:#?}", roots.len()) };
    assert_eq!(root.parent, cause);
    for span in spans.iter().filter(|span| span.id != root.id) {
        let parent = find(&span.parent).unwrap();
        // two clocks meet here: one for the beginning, one for how long it took
        assert!(span.began + 1_000_000 >= parent.began, "{span:?} begins before {parent:?}");
    }
    root
}

fn names(spans: &[Span]) -> BTreeSet<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

#[tokio::test]
async fn a_pictures_request_is_one_tree_below_whoever_asked() {
    let collector = Collector::open().await;
    let manifest = include_str!("../../../bundle/atelier.toml").to_owned() + &collector.manifest();
    let host = Host::with(tempfile::tempdir().unwrap(), Some(&manifest)).await;
    let body = json!({ "prompt": "a red boat", "size": "256x256", "steps": 2, "seed": 1 }).to_string();
    let request = Request::post(GENERATIONS).header("host", "test").header("content-type", JSON);
    let request = request.header("accept", PNG).header("x-request-id", "picture-1");
    let request = request.header("traceparent", traceparent("01")).header("tracestate", "vendor=7");
    let answer = send(host.edge, request.body(Full::from(body)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    let spans = collector.trace_of("picture-1").await;
    let root = assert_tree(&spans, CAUSE);
    assert_eq!((root.trace.as_str(), root.name.as_str()), (TRACE, "POST prompt-assist"));
    assert_eq!((root.number("http.response.status_code"), root.failed), (Some(200), false));
    assert!(spans.iter().all(|span| span.state == "vendor=7"));
    let wanted =
        ["admission", "guest", "images.encode", "inference", "instantiate", "job", "plugin.select", "queue"];
    assert!(names(&spans).is_superset(&wanted.into()), "{:?}", names(&spans));
    let job = spans.iter().find(|span| span.name == "job").unwrap();
    assert_eq!(
        (job.text("atelier.model").as_deref(), job.number("atelier.steps")),
        (Some("atelier-nano"), Some(2))
    );
    for name in ["queue", "inference"] {
        assert_eq!(spans.iter().find(|span| span.name == name).unwrap().parent, job.id, "{name}");
    }
    let whole = root.ended - root.began;
    assert!(
        spans.iter().filter(|span| span.name == "inference").all(|span| span.ended - span.began <= whole)
    );
    assert!(!collector.messages().contains("red boat"), "prompts are nobody's business");
}

#[tokio::test]
async fn a_trace_goes_through_the_component_to_the_server_that_it_asks() {
    let (collector, other) = (Collector::open().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = other.local_addr().unwrap();
    let asked = tokio::spawn(head_of(other));
    let grants = format!("grants = {{ outbound = [\"http://{address}\"] }}");
    let manifest =
        route("call", "caller2.wasm", &grants) + &route("echo", "plain2.wasm", "") + &collector.manifest();
    let host = host(&manifest).await;
    let answer = ask(&host, &format!("/call?{address}"), "call-1", "01").await;
    assert_eq!(answer.text(), "204");
    let spans = collector.trace_of("call-1").await;
    assert_tree(&spans, CAUSE);
    let call = spans.iter().find(|span| span.name == "outbound").unwrap();
    assert_eq!(
        (call.text("server.address"), call.number("http.response.status_code")),
        (Some(address.to_string()), Some(204))
    );
    let head = asked.await.unwrap();
    assert!(head.contains(&format!("traceparent: 00-{TRACE}-{}-01", call.id)), "{head}");
    assert!(head.contains("tracestate: vendor=7"), "{head}");
    // what the component itself is told
    let seen = ask(&host, "/echo/echo", "echo-1", "01").await;
    let guest = collector.trace_of("echo-1").await.into_iter().filter(|span| span.name == "guest");
    let told = guest.map(|span| format!("traceparent: 00-{TRACE}-{}-01", span.id));
    assert!(told.into_iter().any(|header| seen.text().contains(&header)), "{}", seen.text());
}

/// The head of the one request that comes.
async fn head_of(listener: TcpListener) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn what_nobody_samples_is_passed_on_and_not_recorded_and_nonsense_is_neither() {
    let collector = Collector::open().await;
    let manifest = route("echo", "plain2.wasm", "") + &collector.manifest() + "sample-ratio = 0\n";
    let host = host(&manifest).await;
    let seen = ask(&host, "/echo/echo", "unsampled", "00").await;
    assert!(seen.text().contains(&format!("traceparent: {}", traceparent("00"))), "{}", seen.text());
    let nonsense = "GET /echo/echo HTTP/1.1\r\nhost: test\r\ntraceparent: 00-nonsense\r\ntracestate: a=1\r\nconnection: close\r\n\r\n";
    let seen = raw(host.edge, nonsense.as_bytes()).await;
    assert!(
        seen.contains("200 OK") && !seen.contains("traceparent") && !seen.contains("tracestate"),
        "{seen}"
    );
    ask(&host, "/echo", "sampled", "01").await;
    let spans = collector.trace_of("sampled").await;
    assert_tree(&spans, CAUSE);
    assert!(!collector.messages().contains("unsampled"));
}

#[tokio::test]
async fn a_guest_that_traps_is_a_failed_span() {
    let collector = Collector::open().await;
    let host = host(&(route("r", "plain2.wasm", "") + &collector.manifest())).await;
    assert_eq!(ask(&host, "/r/trap", "trap-1", "01").await.status, StatusCode::BAD_GATEWAY);
    let spans = collector.trace_of("trap-1").await;
    let root = assert_tree(&spans, CAUSE);
    assert!(root.failed && spans.iter().any(|span| span.name == "guest" && span.failed), "{spans:#?}");
}

#[tokio::test]
async fn a_collector_that_hangs_or_is_gone_costs_a_counter_and_nothing_else() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), gone] {
        let telemetry = format!("[telemetry]\notlp-endpoint = \"http://{address}\"\n");
        let mut host = host(&(route("r", "plain2.wasm", "") + &telemetry)).await;
        for _ in 0..100 {
            assert_eq!(get(host.edge, "/r").await.status, StatusCode::OK);
        }
        assert!(host.until_counted("atelier_spans_lost_total{why=\"not_taken\"}", 1).await > 0);
        let began = Instant::now();
        host.signal("TERM");
        assert!(host.end().await.success());
        assert!(began.elapsed() < Duration::from_secs(20), "it waited {:?}", began.elapsed());
    }
}
