//! Clients that flood a connection, slow ones that hold it, and everyone else who must not notice.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{DEADLINE, get};
use crate::host::{GENERATIONS, Host};
use crate::wire::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GET, HEADERS, PING, POST, RESET,
    SETTINGS, WINDOW, asking, frame, heard, opening, until_hung_up,
};

const FLOOD: usize = 50_000;
/// How much a flood may cost the host in memory.
const ROOM: u64 = 50 << 20;
const PAGE: &str = "/openapi.json";

async fn serves(host: &Host) {
    let began = Instant::now();
    assert_eq!(get(host.edge, PAGE).await.status, StatusCode::OK);
    assert_eq!(get(host.admin, "/health").await.status, StatusCode::OK);
    assert!(began.elapsed() < DEADLINE / 2, "the others noticed");
}

/// One flood over one connection; the reason that the server gave when it hung up.
async fn flood(host: &Host, flood: Vec<u8>) -> Option<u32> {
    get(host.edge, PAGE).await;
    let before = host.memory();
    let reason = until_hung_up(host.edge, [opening(), flood].concat()).await;
    let after = host.memory();
    assert!(after < before + ROOM, "the flood cost {} bytes", after - before);
    serves(host).await;
    reason
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_end_their_connection() {
    let host = Host::start().await;
    let taken_back = |n: u32| {
        let stream = 2 * n + 1;
        let asked = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
        [asked, frame(RESET, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    let reason = flood(&host, (0..FLOOD as u32).flat_map(taken_back).collect()).await;
    assert_eq!(reason, Some(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn headers_that_never_end_end_their_connection() {
    let host = Host::start().await;
    let field = [&b"\x00\x01x\x7f\x81\x01"[..], &[b'y'; 256]].concat();
    let more = frame(CONTINUATION, 0, 1, &field.repeat(60));
    let endless = [frame(HEADERS, 0, 1, GET), more.repeat(2_000)].concat();
    assert!(flood(&host, endless).await.is_some());
}

#[tokio::test]
async fn frames_that_ask_for_nothing_end_their_connection() {
    let host = Host::start().await;
    flood(&host, frame(PING, 0, 0, &[7; 8]).repeat(FLOOD)).await;
    flood(&host, frame(SETTINGS, 0, 0, &[]).repeat(FLOOD)).await;
    let empty = frame(DATA, 0, 1, &[]).repeat(FLOOD);
    flood(&host, [frame(HEADERS, END_HEADERS, 1, POST), empty].concat()).await;
}

/// Connects from another address of this machine, so that the test's other requests are another client's.
async fn from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    timeout(DEADLINE, socket.connect(to)).await.unwrap().unwrap()
}

/// One byte of a head every so often, until the server hangs up.
async fn drip(mut stream: TcpStream) {
    let head = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(10_000));
    for byte in head.bytes() {
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
        // what the server says, or its end
        if let Ok(Ok(0) | Err(_)) = timeout(Duration::from_secs(5), stream.read(&mut [0; 512])).await {
            return;
        }
    }
    panic!("the server waits for ever");
}

#[tokio::test]
async fn five_hundred_slow_heads_are_cut_and_nobody_else_waits() {
    let host = Host::with(tempfile::tempdir().unwrap(), Some("")).await;
    let mut slow = JoinSet::new();
    let began = Instant::now();
    // as two clients, since one may have 256 connections
    for client in [2, 3].repeat(250) {
        slow.spawn(drip(from([127, 0, 0, client], host.edge).await));
    }
    while !slow.is_empty() {
        assert!(began.elapsed() < 2 * DEADLINE, "{} slow clients are still there", slow.len());
        assert_eq!(get(host.admin, "/health").await.status, StatusCode::OK);
        assert_eq!(get(host.edge, "/").await.status, StatusCode::NOT_FOUND);
        sleep(Duration::from_millis(100)).await;
        while let Some(ended) = slow.try_join_next() {
            ended.unwrap();
        }
    }
}

#[tokio::test]
async fn one_client_has_so_many_connections_and_no_more() {
    let host = Host::with(tempfile::tempdir().unwrap(), Some("[server]\nmax-connections-per-ip = 3\n")).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = from([127, 0, 0, 2], host.edge).await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
        held.push(stream);
    }
    let mut fourth = from([127, 0, 0, 2], host.edge).await;
    let nothing = timeout(DEADLINE, fourth.read(&mut [0; 512])).await.unwrap();
    assert!(matches!(nothing, Ok(0) | Err(_)), "{nothing:?}");
    assert_eq!(get(host.edge, "/").await.status, StatusCode::NOT_FOUND, "another client has its own");
    assert!(
        get(host.admin, "/metrics").await.text().contains("\natelier_http_connections_refused_total 1\n")
    );
    held.clear();
    // a place that was given back can be taken
    let again = async {
        loop {
            let mut stream = from([127, 0, 0, 2], host.edge).await;
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
            if stream.read(&mut [0; 512]).await.is_ok_and(|length| length > 0) {
                return;
            }
        }
    };
    timeout(DEADLINE, again).await.unwrap();
}

#[tokio::test]
async fn a_body_that_drips_is_given_up_though_it_never_stops() {
    let host = Host::with(tempfile::tempdir().unwrap(), Some(&slow_manifest())).await;
    let mut stream = TcpStream::connect(host.edge).await.unwrap();
    let head = format!("POST {GENERATIONS} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n");
    stream.write_all(format!("{head}content-length: 1048576\r\n\r\n").as_bytes()).await.unwrap();
    let began = Instant::now();
    let mut answer = String::new();
    while answer.is_empty() {
        assert!(began.elapsed() < DEADLINE, "the server waits for ever");
        let _ = stream.write_all(b" ").await;
        let mut bytes = [0; 4_096];
        if let Ok(read) = timeout(Duration::from_millis(100), stream.read(&mut bytes)).await {
            answer = String::from_utf8_lossy(&bytes[..read.unwrap()]).into_owned();
        }
    }
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body-min-bytes-per-second"), "{answer}");
}

/// Short clocks, so that the tests of slow clients are quick.
fn slow_manifest() -> String {
    let clocks = "[server]\nbody-idle-timeout-ms = 1000\nwrite-idle-timeout-ms = 1000\n";
    format!(
        "{clocks}[[route]]\nname = \"a\"\npath = \"/\"\ncomponent = \"builtin:prompt-assist\"\n\
             grants = {{ models = [\"nano\"], outbound = [\"http://127.0.0.1:1\"] }}\n\
             [[model]]\nid = \"nano\"\nsource = \"builtin:atelier-nano\"\n"
    )
}

#[tokio::test]
async fn a_reader_that_drips_cannot_hold_its_answers() {
    let host = Host::with(tempfile::tempdir().unwrap(), Some(&slow_manifest())).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stream = socket.connect(host.edge).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let asking = tokio::spawn(async move {
        let ask = format!("GET {PAGE} HTTP/1.1\r\nhost: test\r\n\r\n");
        while writer.write_all(ask.as_bytes()).await.is_ok() {}
    });
    let began = Instant::now();
    // what has arrived can still be read when the server has hung up; only the other direction tells
    while !asking.is_finished() {
        assert!(began.elapsed() < DEADLINE, "the answers wait for ever");
        let _ = reader.read(&mut [0; 1]).await;
        sleep(Duration::from_millis(100)).await;
    }
    serves(&host).await;
}

/// Over HTTP/2, with windows of so many bytes, which are never more: asks for a page on each stream.
async fn asked(host: &Host, window: u32, streams: impl Iterator<Item = u32>) -> TcpStream {
    let mut stream = TcpStream::connect(host.edge).await.unwrap();
    let settings = frame(SETTINGS, 0, 0, &[&[0, 4], &window.to_be_bytes()[..]].concat());
    let ask = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &asking(PAGE));
    let asked = [opening(), settings, streams.flat_map(ask).collect()].concat();
    stream.write_all(&asked).await.unwrap();
    stream
}

#[tokio::test]
async fn a_closed_window_cannot_hold_its_answers() {
    let host = Host::with(tempfile::tempdir().unwrap(), Some(&slow_manifest())).await;
    let mut stream = asked(&host, 0, (1..=39).step_by(2)).await;
    let in_flight = async |count: usize| {
        let sample = format!("atelier_tenant_in_flight{{tenant=\"default\"}} {count}\n");
        let end = Instant::now() + DEADLINE;
        while !host.metrics().await.contains(&sample) {
            assert!(Instant::now() < end, "never {count} in flight");
            sleep(Duration::from_millis(10)).await;
        }
    };
    in_flight(20).await;
    in_flight(0).await;
    // the connection is not ended: what else it carries is not late
    stream.write_all(&frame(WINDOW, 0, 1, &[0, 1, 0, 0])).await.unwrap();
    loop {
        match heard(&mut stream).await {
            (RESET, 1, _) => break,
            (DATA, 1, data) => assert!(data.is_empty(), "an answer that was thrown away"),
            _ => {}
        }
    }
    serves(&host).await;
}

#[tokio::test]
async fn a_slow_reader_over_http_2_gets_its_whole_answer() {
    let host = Host::with(tempfile::tempdir().unwrap(), Some(&slow_manifest())).await;
    let whole = get(host.edge, PAGE).await.body;
    assert!(whole.len() > 6_000, "too short a page to be slow with: {}", whole.len());
    let window = whole.len() / 5 + 1;
    let mut stream = asked(&host, window as u32, 1..=1).await;
    let mut taken = Vec::new();
    while taken.len() < whole.len() {
        match heard(&mut stream).await {
            (DATA, 1, data) => taken.extend(data),
            (RESET, ..) => panic!("cut after {} bytes", taken.len()),
            _ => continue,
        }
        // longer in all than the silence, and never as long
        sleep(Duration::from_millis(500)).await;
        let more = frame(WINDOW, 0, 1, &(window as u32).to_be_bytes());
        stream.write_all(&more).await.unwrap();
    }
    assert!(taken == whole);
}
