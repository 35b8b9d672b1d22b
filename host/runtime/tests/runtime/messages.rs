//! Requests and responses in every shape that `wasi:http` lets a handler give them, in both of its generations.

use std::sync::Arc;
use std::time::Duration;

use atelier_runtime::{Body, Deployment, Grants, Reuse, RouteSpec};
use bytes::Bytes;
use futures::SinkExt;
use futures::channel::mpsc;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};

use crate::kit::{self, Logs, ask, deploy, fail, guest, send, spec, until, within};
use crate::outbound::{Target, origins};

type Piece = Result<Frame<Bytes>, std::io::Error>;

async fn p2() -> Arc<Deployment> {
    deploy(spec(guest("messages2"))).await
}

fn p3_spec() -> RouteSpec {
    // it imports requests to other servers; this one does not exist
    let outbound = origins(&["127.0.0.1:9".into()]);
    RouteSpec { grants: Grants { outbound, ..Grants::default() }, ..spec(guest("messages3")) }
}

async fn p3() -> Arc<Deployment> {
    deploy(p3_spec()).await
}

async fn both() -> [Arc<Deployment>; 2] {
    [p2().await, p3().await]
}

/// A request whose body is sent piece by piece, and ends when the sender is dropped.
async fn open(route: &Arc<Deployment>, path: &str) -> (mpsc::Sender<Piece>, Response<Body>) {
    let (sender, receiver) = mpsc::channel(1);
    let request =
        Request::post(format!("http://test.invalid{path}")).body(StreamBody::new(receiver)).unwrap();
    (sender, within(route.handle(request)).await.unwrap())
}

fn data(text: &str) -> Piece {
    Ok(Frame::data(Bytes::copy_from_slice(text.as_bytes())))
}

/// The next so many bytes of a body.
async fn read(body: &mut Body, length: usize) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let frame = within(body.frame()).await.expect("the body ended").unwrap();
        bytes.extend_from_slice(&frame.into_data().unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_body_comes_back_as_it_was() {
    for route in both().await {
        let long = "0123456789".repeat(100_000);
        assert!(ask(&route, "/echo", &long).await.unwrap() == long);
        assert_eq!(ask(&route, "/echo", "").await.unwrap(), "");
        until(|| route.in_flight() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_directions_stream_at_once() {
    let [p2, p3] = both().await;
    for (route, path, times) in [(&p2, "/echo", 1), (&p3, "/echo", 1), (&p3, "/double", 2)] {
        let (mut sender, response) = open(route, path).await;
        let mut body = response.into_body();
        for piece in ["first", "second", "third"] {
            // the next piece is not sent before this one has come back
            sender.send(data(piece)).await.unwrap();
            assert_eq!(read(&mut body, piece.len() * times).await, piece.repeat(times), "{path}");
        }
        drop(sender);
        assert!(within(body.frame()).await.is_none());
        until(|| route.in_flight() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_arrive_and_are_sent() {
    for route in both().await {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "abc".parse().unwrap());
        let pieces = [data("some "), data("bytes"), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures::stream::iter(pieces));
        let request = Request::post("http://test.invalid/trailers").body(body).unwrap();
        let answer =
            within(within(route.handle(request)).await.unwrap().into_body().collect()).await.unwrap();
        let trailers = answer.trailers().cloned().unwrap();
        assert_eq!(
            (&trailers["x-sum"], &trailers["x-length"]),
            (&"abc".parse().unwrap(), &"10".parse().unwrap())
        );
        assert_eq!(answer.to_bytes(), "see below");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_with_trailers_is_handed_on_whole() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "abc".parse().unwrap());
    let body = StreamBody::new(futures::stream::iter([data("bytes"), Ok(Frame::trailers(trailers))]));
    let request = Request::post("http://test.invalid/echo").body(body).unwrap();
    let answer =
        within(within(p3().await.handle(request)).await.unwrap().into_body().collect()).await.unwrap();
    assert_eq!(answer.trailers().unwrap()["x-sum"], "abc");
    assert_eq!(answer.to_bytes(), "bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn middleware_passes_on_what_it_does_not_read() {
    let target = Target::open().await;
    let to = target.at("127.0.0.1");
    let grants = Grants { outbound: origins(std::slice::from_ref(&to)), ..Grants::default() };
    let route = deploy(RouteSpec { grants, ..p3_spec() }).await;
    // long after the guest is done, the rest still flows through
    for (path, length) in [("/", None), ("/bytes/3000000", Some(3_000_000))] {
        let request =
            Request::put("http://test.invalid/middleware").header("x-to", &to).header("x-path", path);
        let request = request.header("x-mine", "1").body(Full::new(Bytes::from("hello"))).unwrap();
        let answer = within(route.handle(request)).await.unwrap();
        let via = answer.headers().get_all("x-via").iter().filter(|via| *via == "back").count();
        assert_eq!((answer.status().as_u16(), via), (200, 1));
        let body = within(answer.into_body().collect()).await.unwrap().to_bytes();
        match length {
            Some(length) => assert_eq!(body.len(), length),
            None => {
                let head = String::from_utf8(body.to_vec()).unwrap();
                assert!(head.starts_with("PUT / HTTP/1.1\r\n"), "{head}");
                assert!(head.contains("x-mine: 1\r\n") && head.contains("x-via: out\r\n"), "{head}");
            }
        }
    }
    until(|| route.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_a_guest_does_not_want_holds_nobody_up() {
    for route in both().await {
        for (path, told) in [("/unread", "read nothing"), ("/half-read", "read 1")] {
            let (mut sender, receiver) = mpsc::channel::<Piece>(1);
            // it never ends, and says so by never being closed
            sender.try_send(data("x")).unwrap();
            let request = Request::post(format!("http://test.invalid{path}"));
            let request = request.body(StreamBody::new(receiver)).unwrap();
            let answer = within(route.handle(request)).await.unwrap();
            assert_eq!(within(answer.into_body().collect()).await.unwrap().to_bytes(), told);
            until(|| route.in_flight() == 0 && sender.is_closed()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_finishes_its_work_after_an_answer_that_was_taken() {
    for (name, code) in [("/after2", guest("messages2")), ("/after3", guest("messages3"))] {
        let logs = Logs::of(name);
        let route = deploy(RouteSpec { route: name.into(), handler: code, ..p3_spec() }).await;
        assert_eq!(ask(&route, "/after", "").await.unwrap(), "answered");
        assert_eq!(route.in_flight(), 1, "the answer does not wait for it");
        until(|| route.in_flight() == 0).await;
        assert_eq!(logs.lines(), ["worked on after the answer"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_the_connection_and_of_others_are_not_a_guests_to_set() {
    for route in both().await {
        let told = ask(&route, "/forbidden", "").await.unwrap();
        let told: Vec<(&str, &str)> = told.split(", ").filter_map(|one| one.split_once(' ')).collect();
        assert_eq!(told.len(), 9, "{told:?}");
        for (name, error) in told {
            let wanted = match name {
                "value" | "name" => "InvalidSyntax",
                "received" => "Immutable",
                _ => "Forbidden",
            };
            assert!(error.contains(wanted), "{name}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_status_that_can_end_a_request_is_a_guests_to_give() {
    for route in both().await {
        for status in [200, 204, 304, 404, 418, 500, 599] {
            let answer = send(&route, &format!("/status/{status}"), "").await.unwrap();
            assert_eq!(answer.status().as_u16(), status);
            assert!(within(answer.into_body().collect()).await.unwrap().to_bytes().is_empty());
        }
        for status in [0, 99, 1_000] {
            assert!(ask(&route, &format!("/status/{status}"), "").await.unwrap().contains("is no status"));
        }
        // these announce an answer and are none
        for status in [100, 101, 103, 199] {
            let failure = fail(&route, &format!("/status/{status}"), "").await;
            assert_eq!(failure.code(), "no_response");
            assert!(failure.internal().contains(&status.to_string()), "{}", failure.internal());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_head_passes_up_to_its_limit() {
    let route = p3().await;
    let answer = send(&route, "/long-head/50", "").await.unwrap();
    assert_eq!(answer.headers().len(), 50);
    assert!(answer.headers().values().all(|value| value.len() == 1_000));
    // the guest is told at the limit, and gives up
    assert_eq!(fail(&route, "/long-head/70", "").await.code(), "guest_trap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_another_length_than_announced_breaks_off() {
    for route in both().await {
        assert_eq!(ask(&route, "/length/5/5", "").await.unwrap(), "xxxxx");
        for lengths in ["10/5", "5/10"] {
            let answer = send(&route, &format!("/length/{lengths}"), "").await.unwrap();
            assert!(within(answer.into_body().collect()).await.is_err(), "{lengths}");
            until(|| route.in_flight() == 0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_is_set_once_and_its_body_taken_once() {
    let runtime = kit::runtime_with(Default::default(), kit::scheduler(Duration::ZERO));
    let route = runtime.deploy(spec(guest("messages2"))).await.unwrap();
    assert_eq!(ask(&route, "/body-twice", "").await.unwrap(), "body Some(()), stream Some(())");
    assert_eq!(fail(&route, "/dropped", "").await.code(), "no_response");
    let unfinished = send(&route, "/unfinished", "").await.unwrap().into_body();
    assert!(within(unfinished.collect()).await.is_err());
    until(|| route.in_flight() == 0).await;
    assert_eq!(runtime.metrics().traps, 0);
    // the first one stands; the guest is stopped for the second
    assert_eq!(ask(&route, "/twice", "").await.unwrap(), "first");
    until(|| route.in_flight() == 0).await;
    assert_eq!(runtime.metrics().traps, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_whose_end_is_forgotten_ends_with_its_guest() {
    for reuse in [Reuse::None, Reuse::Serial, Reuse::Concurrent] {
        let route = deploy(RouteSpec { reuse, ..p3_spec() }).await;
        for _ in 0..2 {
            assert_eq!(ask(&route, "/no-trailers-ever", "").await.unwrap(), "all there is");
        }
        until(|| route.in_flight() == 0).await;
    }
}
