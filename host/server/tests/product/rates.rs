//! Clients that try to get around the rate of a tenant, or to fill the host's memory with what it remembers of them.

use std::net::SocketAddr;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{DEADLINE, send};
use crate::tenants::{ask, host, key, route, tenant, with_key};

/// Keys that nobody has, in all, and connections that they come over.
const KEYS: usize = 40_000;
const CONNECTIONS: usize = 8;
/// What they may cost in memory: 64 MiB for a million would be 64 bytes for each; these have as much in all, so that
/// whatever is kept of each of them shows.
const ROOM: u64 = 8 << 20;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[tokio::test]
async fn no_header_makes_one_tenant_look_like_many() {
    let (a, b) = (key("a", "a"), key("b", "b"));
    let quotas = "quotas = { requests-per-second = 1, burst = 3 }";
    let manifest = [tenant("a", &[&a], quotas), tenant("b", &[&b], ""), route("any", "access = \"key\"")];
    let host = host(&manifest.concat()).await;
    let mut passed = 0;
    for n in 0..60_u8 {
        let mut request = with_key("/any", "x-api-key", &a.text);
        for name in ["x-forwarded-for", "x-real-ip", "forwarded", "cf-connecting-ip", "true-client-ip"] {
            let address =
                if name == "forwarded" { format!("for=192.0.2.{n}") } else { format!("192.0.2.{n}") };
            request.headers_mut().insert(name, address.parse().unwrap());
        }
        let answer = send(host.edge, request).await;
        match answer.status {
            StatusCode::OK => passed += 1,
            status => {
                assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}");
                assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
            }
        }
        assert_eq!(ask(&host, "/any", &b).await.status, StatusCode::OK, "the neighbour notices nothing");
    }
    // the burst, and one for each second that the rest took
    assert!(passed < 30, "{passed} of 60 passed");
}

/// A key in the host's own form, with a checksum that fits: only the tables can tell that nobody has it.
fn unknown_key(number: usize) -> String {
    let body = format!("atl_a_{number:028}");
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    format!("{body}_{}", String::from_utf8_lossy(&digits))
}

/// Sends requests over one connection, each with a key of its own and from an address that it makes up; answers how many
/// were refused.
async fn guess(edge: SocketAddr, keys: std::ops::Range<usize>) -> usize {
    let (mut reader, mut writer) = TcpStream::connect(edge).await.unwrap().into_split();
    let last = keys.end - 1;
    let writing = tokio::spawn(async move {
        for number in keys {
            let end = if number == last { "connection: close\r\n" } else { "" };
            let key = unknown_key(number);
            let head = format!(
                "GET /any HTTP/1.1\r\nhost: test\r\nx-api-key: {key}\r\nx-forwarded-for: {number}\r\n"
            );
            writer.write_all(format!("{head}{end}\r\n").as_bytes()).await.unwrap();
        }
        writer
    });
    let mut answers = String::new();
    timeout(2 * DEADLINE, reader.read_to_string(&mut answers)).await.expect("no end").unwrap();
    // until here: a client that stops writing hangs up
    drop(writing.await.unwrap());
    answers.matches("HTTP/1.1 401 ").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_keys_that_nobody_has_nothing_is_remembered() {
    let a = key("a", "a");
    let manifest = [
        "[server]\nlog = \"warn\"\n".to_owned(),
        tenant("a", &[&a], "quotas = { requests-per-second = 1_000 }"),
        route("any", "access = \"key\""),
    ];
    let host = host(&manifest.concat()).await;
    let guessing = async |from: usize| {
        let mut guesses = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let part = KEYS / CONNECTIONS / 2;
            let first = from + connection * part;
            guesses.spawn(guess(host.edge, first..first + part));
        }
        guesses.join_all().await.iter().sum::<usize>()
    };
    // the first half warms up what the host keeps in any case, such as buffers
    assert_eq!(guessing(0).await, KEYS / 2);
    let before = host.memory();
    assert_eq!(guessing(KEYS / 2).await, KEYS / 2);
    let grown = host.memory().saturating_sub(before);
    println!("{} unknown keys cost {} KiB", KEYS / 2, grown >> 10);
    assert!(grown < ROOM, "{grown} bytes more");
    assert_eq!(ask(&host, "/any", &a).await.status, StatusCode::OK, "whoever has a key is still let in");
}
