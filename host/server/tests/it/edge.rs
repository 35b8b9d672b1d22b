//! What a client meets at the edge: routes, limits, clocks and the end.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{DEADLINE, get, raw, send, try_send, with_method};
use crate::house::{House, PAGE, route};

fn generation(prompt: &str) -> Request<Full<Bytes>> {
    let body = format!("{{\"prompt\": \"{prompt}\", \"model\": \"fake\"}}");
    let request =
        Request::post("/v1/images/generations").header("host", "test").header("accept", "image/png");
    request.header("content-type", "application/json").body(body.into()).unwrap()
}

#[tokio::test]
async fn a_request_is_answered_by_the_component_of_its_route_wherever_that_is_mounted() {
    let house = House::with("", &[route("a", "/", ""), route("b", "/deep/down", "")].concat()).await;
    let root = get(house.edge, PAGE).await;
    let deep = get(house.edge, &format!("/deep/down{PAGE}")).await;
    assert_eq!((root.status, deep.status), (StatusCode::OK, StatusCode::OK));
    let status = house.status().await;
    assert_eq!((&status["routes"][0]["answers"], &status["routes"][1]["answers"]), (&1.into(), &1.into()));
}

#[tokio::test]
async fn every_answer_carries_an_id_and_its_time() {
    let house = House::with("", &route("a", "/a", "")).await;
    let request = Request::get("/nowhere").header("host", "test").header("x-request-id", "mine-1");
    let answer = send(house.edge, request.body(Full::default()).unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "no_route"));
    assert_eq!(answer.headers["x-request-id"], "mine-1");
    assert!(answer.headers["server-timing"].to_str().unwrap().starts_with("host;dur="));
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn a_method_that_no_route_takes_is_told_the_right_ones() {
    let house = House::with("", &route("a", "/", "methods = [\"GET\"]")).await;
    let answer = with_method(house.edge, Method::DELETE, PAGE).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
    );
    assert_eq!(answer.headers["allow"], "GET");
}

#[tokio::test]
async fn a_head_over_a_limit_is_refused_and_one_at_the_limit_is_not() {
    let house =
        House::with("max-headers = 5\nurl-bytes = 64\nheader-bytes = 8192", &route("a", "/", "")).await;
    let long = |length: usize| format!("/openapi.json?{}", "q".repeat(length - "/openapi.json?".len()));
    assert_eq!(get(house.edge, &long(64)).await.status, StatusCode::OK);
    let answer = get(house.edge, &long(65)).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::URI_TOO_LONG, "url_limit"));
    let headers = |count: usize| {
        let names = (1..count).map(|index| format!("x-{index}: y\r\n")).collect::<String>();
        format!("GET {PAGE} HTTP/1.1\r\nhost: test\r\n{names}connection: close\r\n\r\n")
    };
    assert!(raw(house.edge, headers(4).as_bytes()).await.starts_with("HTTP/1.1 200"));
    assert!(raw(house.edge, headers(5).as_bytes()).await.contains("server.max-headers"));
    let big = |bytes: usize| Request::get(PAGE).header("host", "test").header("x", "y".repeat(bytes));
    let sum = |bytes: usize| bytes - "hosttestx".len();
    let at = send(house.edge, big(sum(8_192)).body(Full::default()).unwrap()).await;
    let over = send(house.edge, big(sum(8_193)).body(Full::default()).unwrap()).await;
    assert_eq!((at.status, over.code().as_str()), (StatusCode::OK, "header_limit"));
}

#[tokio::test]
async fn a_request_names_exactly_one_host() {
    let house = House::plain().await;
    let none = raw(house.edge, b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(none.starts_with("HTTP/1.1 400"), "{none}");
    let two = raw(house.edge, b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n").await;
    assert!(two.starts_with("HTTP/1.1 400"), "{two}");
}

#[tokio::test]
async fn a_body_that_says_it_is_too_long_is_refused_before_it_is_sent() {
    let house = House::with("", &route("a", "/", "limits = { request-body-bytes = 100 }")).await;
    let head = "POST /v1/images/generations HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n";
    let answer =
        raw(house.edge, format!("{head}content-length: 101\r\nconnection: close\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("limits.request-body-bytes"), "{answer}");
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_given_up() {
    let house = House::with("body-idle-timeout-ms = 200", &route("a", "/", "")).await;
    let head = "POST /v1/images/generations HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n";
    let answer = raw(house.edge, format!("{head}content-length: 10\r\n\r\n{{").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("server.body-idle-timeout-ms"), "{answer}");
}

#[tokio::test]
async fn clients_that_say_nothing_or_only_half_are_cut() {
    let house = House::with("header-timeout-ms = 200", &route("a", "/", "")).await;
    let silent = raw(house.edge, b"").await;
    let between_versions = raw(house.edge, b"PRI * HT").await;
    let half_a_head = raw(house.edge, b"GET / HTTP/1.1\r\nhost: te").await;
    for answer in [silent, between_versions, half_a_head] {
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}

#[tokio::test]
async fn silent_clients_keep_nobody_out_beyond_their_permits() {
    let house = House::with("max-connections = 2\nheader-timeout-ms = 300", &route("a", "/", "")).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(house.edge).await.unwrap());
    }
    // the third waits until a silent one is cut
    assert_eq!(get(house.edge, PAGE).await.status, StatusCode::OK);
    assert_eq!(get(house.admin, "/health").await.status, StatusCode::OK);
}

#[tokio::test]
async fn http_2_is_spoken_on_the_same_port() {
    let house = House::plain().await;
    let stream = TcpStream::connect(house.edge).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://test{PAGE}")).body(Full::<Bytes>::default()).unwrap();
    let answer = timeout(DEADLINE, sender.send_request(request)).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn a_picture_is_made_through_the_component_and_the_queue() {
    let house = House::plain().await;
    let answer = send(house.edge, generation("a red boat")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    assert!(answer.body.starts_with(b"\x89PNG"));
    assert_eq!(house.status().await["queue"]["counters"]["completed"], 1);
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_job() {
    let house = House::plain().await;
    let mut stream = TcpStream::connect(house.edge).await.unwrap();
    let body = r#"{"prompt": "a red boat", "model": "fake", "steps": 100}"#;
    let head = "POST /v1/images/generations HTTP/1.1\r\nhost: test\r\naccept: image/png\r\n";
    let request =
        format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    house.until("running", |status| status["queue"]["running"] == true).await;
    drop(stream);
    house.until("cancelled", |status| status["queue"]["counters"]["cancelled"] == 1).await;
}

#[tokio::test]
async fn a_stop_lets_running_requests_finish_and_takes_no_new_ones() {
    let house = House::plain().await;
    let (edge, admin) = (house.edge, house.admin);
    let running = tokio::spawn(try_send(edge, generation("a slow boat")));
    house.until("running", |status| status["queue"]["running"] == true).await;
    let ended = house.stop();
    // the listener closes while the request still runs
    timeout(DEADLINE, async { while TcpStream::connect(edge).await.is_ok() {} }).await.unwrap();
    let answer = timeout(DEADLINE, running).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    timeout(DEADLINE, ended).await.unwrap().unwrap();
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn while_draining_the_host_serves_but_is_not_ready() {
    let house = House::with("drain-delay-ms = 1000", &route("a", "/", "")).await;
    let (edge, admin) = (house.edge, house.admin);
    let ended = house.stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ready = get(admin, "/ready").await;
    assert_eq!(
        (ready.status, ready.json()["reasons"][0].clone()),
        (StatusCode::SERVICE_UNAVAILABLE, "draining".into())
    );
    assert_eq!(get(edge, PAGE).await.status, StatusCode::OK);
    timeout(DEADLINE, ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_left_at_the_drain_deadline_is_cut() {
    let house = House::with("drain-ms = 200", &route("a", "/", "")).await;
    let mut stream = TcpStream::connect(house.edge).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n{").await.unwrap();
    let ended = house.stop();
    timeout(DEADLINE, ended).await.unwrap().unwrap();
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.unwrap();
}
