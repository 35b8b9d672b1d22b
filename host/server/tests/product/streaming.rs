//! Event streams, and what happens when the reader goes away.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::DEADLINE;
use crate::host::{GENERATIONS, Host, JSON, STREAM, request};

fn body(steps: u32) -> Value {
    json!({ "prompt": "a yellow star in the night sky", "seed": 3, "steps": steps, "size": "256x256" })
}

/// The names of a stream's events, in order.
fn names(stream: &str) -> Vec<&str> {
    stream.lines().filter_map(|line| line.strip_prefix("event:")).map(str::trim).collect()
}

#[tokio::test]
async fn a_reader_sees_position_steps_previews_and_the_result() {
    let host = Host::start().await;
    let answer = host.post(GENERATIONS, STREAM, body(8)).await;
    let seen = names(answer.text());
    for name in ["queued", "started", "step", "preview", "result"] {
        assert!(seen.contains(&name), "no {name} in {seen:?}");
    }
    assert_eq!(seen.iter().filter(|name| **name == "step").count(), 8, "{seen:?}");
    assert_eq!(seen.last(), Some(&"result"));
    let result = answer.text().rsplit("data:").next().unwrap();
    let result: Value = serde_json::from_str(result.trim()).unwrap();
    assert_eq!(result["data"][0]["seed"], 3);
    let plain = host.post(GENERATIONS, JSON, body(8)).await.json();
    assert_eq!(result["data"], plain["data"], "the stream ends with what a plain request answers");
}

/// Sends a request, waits for the first bytes that contain `mark`, then hangs up.
async fn hang_up_after(host: &Host, accept: &str, mark: &str) {
    let stream = TcpStream::connect(host.edge).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut answer = sender.send_request(request(GENERATIONS, accept, &body(150))).await.unwrap();
    let mut seen = String::new();
    while !seen.contains(mark) {
        let frame =
            timeout(DEADLINE, answer.frame()).await.expect("no frame").expect("the stream ended").unwrap();
        seen.push_str(&String::from_utf8_lossy(frame.data_ref().map_or(&[][..], |data| data)));
    }
    connection.abort();
}

#[tokio::test]
async fn a_stream_reader_that_leaves_ends_the_job_before_its_next_step() {
    let host = Host::start().await;
    hang_up_after(&host, STREAM, "event: step").await;
    let status = host.until("cancelled", |status| status["queue"]["counters"]["cancelled"] == 1).await;
    let steps = status["queue"]["counters"]["steps"].as_u64().unwrap();
    assert!(steps < 150, "all {steps} steps ran");
    assert_eq!(status["queue"]["running"], false);
}

#[tokio::test]
async fn a_plain_client_that_leaves_ends_the_job_as_well() {
    let host = Host::start().await;
    let stream = TcpStream::connect(host.edge).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer =
        tokio::spawn(
            async move { sender.send_request(request(GENERATIONS, JSON, &body(150))).await.is_ok() },
        );
    host.until("running", |status| status["queue"]["running"] == true).await;
    connection.abort();
    let status = host.until("cancelled", |status| status["queue"]["counters"]["cancelled"] == 1).await;
    assert!(status["queue"]["counters"]["steps"].as_u64().unwrap() < 150);
    assert!(
        !timeout(Duration::from_secs(5), answer).await.unwrap().unwrap(),
        "nobody answered a closed connection"
    );
}
