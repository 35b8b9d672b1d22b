//! Signals: the host stops being ready, finishes what runs, and leaves with a clear word to who started it.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{self, DEADLINE, get};
use crate::host::{GENERATIONS, Host, PNG, STREAM, request};

fn body(seed: u64, steps: u32) -> Value {
    json!({ "prompt": "a red boat on the sea at sunset", "size": "256x256", "seed": seed, "steps": steps })
}

#[tokio::test]
async fn a_terminated_host_finishes_twenty_requests_and_takes_no_more() {
    // as long as a busy machine needs; what is cut at the deadline has a test of its own
    let patient = |command: &mut Command| {
        command.env("ATELIER__SERVER__DRAIN_MS", "600000");
    };
    let mut host = Host::told(tempfile::tempdir().unwrap(), None, patient).await;
    let edge = host.edge;
    let mut running = JoinSet::new();
    for seed in 0..20 {
        // half of them long, and some of those as streams of events
        let steps = if seed % 2 == 0 { 1 } else { 4 };
        let accept = if seed % 4 == 1 { STREAM } else { PNG };
        running.spawn(async move {
            client::try_send(edge, request(GENERATIONS, accept, &body(seed, steps))).await
        });
    }
    let arrived = |status: &Value| {
        let route = &status["routes"][0];
        route["answers"].as_u64().unwrap() + route["deployment"]["in_flight"].as_u64().unwrap()
    };
    host.until("busy", |status| arrived(status) == 20).await;
    host.signal("TERM");
    host.until("closing", |status| status["phase"] == "closing").await;
    let ready = get(host.admin, "/ready").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    timeout(DEADLINE, async { while TcpStream::connect(edge).await.is_ok() {} }).await.unwrap();
    for answer in timeout(8 * DEADLINE, running.join_all()).await.unwrap() {
        let answer = answer.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        let whole = answer.body.starts_with(b"\x89PNG") || answer.text().contains("event: result");
        assert!(whole, "an answer broke off");
    }
    assert_eq!(host.end().await.code(), Some(0));
}

#[tokio::test]
async fn connections_without_a_request_hold_no_drain_up() {
    let patient = |command: &mut Command| {
        command.env("ATELIER__SERVER__DRAIN_MS", "600000");
    };
    let mut host = Host::told(tempfile::tempdir().unwrap(), None, patient).await;
    let mut silent = TcpStream::connect(host.edge).await.unwrap();
    // this one keeps its connection for more requests, as browsers and proxies do
    let mut kept = TcpStream::connect(host.edge).await.unwrap();
    kept.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    assert!(timeout(DEADLINE, kept.read(&mut [0; 64])).await.unwrap().unwrap() > 0);
    host.until("answered", |status| status["routes"][0]["answers"] == 1).await;
    host.signal("TERM");
    for connection in [&mut silent, &mut kept] {
        // an end or a reset: either way the host has let go
        let _ = timeout(DEADLINE, connection.read_to_end(&mut Vec::new())).await.expect("it stays open");
    }
    assert_eq!(host.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_the_host_at_once() {
    let mut host = Host::start().await;
    let long = client::try_send(host.edge, request(GENERATIONS, PNG, &body(1, 150)));
    let long = tokio::spawn(long);
    host.until("running", |status| status["queue"]["running"] == true).await;
    host.signal("TERM");
    host.until("closing", |status| status["phase"] == "closing").await;
    host.signal("TERM");
    assert_eq!(host.end().await.code(), Some(130));
    assert!(timeout(DEADLINE, long).await.unwrap().unwrap().is_err());
}

/// Datagrams that a service manager would get.
struct Manager(UnixDatagram);

impl Manager {
    fn hear(&self) -> String {
        let mut bytes = [0; 512];
        let length = self.0.recv(&mut bytes).expect("the manager hears nothing");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }
}

#[tokio::test]
async fn a_service_manager_hears_of_readiness_reloads_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(DEADLINE)).unwrap();
    let manifest = "[server]\ndrain-ms = 1000\n";
    let mut host = Host::told(folder, Some(manifest), |command| {
        command.env("NOTIFY_SOCKET", &path);
    })
    .await;
    assert_eq!(manager.hear(), "READY=1");
    host.put("atelier.toml", format!("{manifest}# changed\n").as_bytes());
    let reloading = manager.hear();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    assert!(since.parse::<u64>().is_ok_and(|since| since > 0), "{reloading}");
    assert_eq!(manager.hear(), "READY=1");
    host.signal("TERM");
    assert_eq!(manager.hear(), "STOPPING=1");
    assert_eq!(host.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_host_whose_manager_is_gone_serves_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = folder.path().join("nobody");
    let host = Host::told(folder, Some(""), |command| {
        command.env("NOTIFY_SOCKET", nobody);
    })
    .await;
    assert_eq!(get(host.admin, "/health").await.status, StatusCode::OK);
}
