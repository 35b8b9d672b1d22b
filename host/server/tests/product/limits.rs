//! Requests over a limit, or that are none: each gets its status at once, and harms nobody.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Answer, DEADLINE, raw, send, try_send};
use crate::host::{GENERATIONS, Host, JSON};

async fn post(host: &Host, path: &str, body: Bytes) -> Answer {
    let request = Request::post(path).header("host", "test").header("content-type", JSON);
    send(host.edge, request.body(Full::new(body)).unwrap()).await
}

async fn head(host: &Host, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n{headers}connection: close\r\n\r\n");
    raw(host.edge, request.as_bytes()).await
}

/// The headers of a POST, and what follows them.
async fn body(host: &Host, headers: &str, rest: &str) -> String {
    let request =
        format!("POST {GENERATIONS} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n{headers}");
    raw(host.edge, format!("{request}connection: close\r\n\r\n{rest}").as_bytes()).await
}

#[tokio::test]
async fn heads_just_past_the_limits_are_told_which_one() {
    let host = Host::start().await;
    // with `host` and `connection`
    let many: String = (0..99).map(|n| format!("x-{n}: y\r\n")).collect();
    let many = head(&host, "/openapi.json", &many).await;
    assert!(many.starts_with("HTTP/1.1 431") && many.contains("server.max-headers"), "{many}");
    let large = head(&host, "/openapi.json", &format!("x: {}\r\n", "y".repeat(33 << 10))).await;
    assert!(large.starts_with("HTTP/1.1 431") && large.contains("server.header-bytes"), "{large}");
    let long = head(&host, &format!("/openapi.json?{}", "q".repeat(9 << 10)), "").await;
    assert!(long.starts_with("HTTP/1.1 414") && long.contains("server.url-bytes"), "{long}");
    // far beyond, nothing is kept to be looked at
    let huge = head(&host, "/openapi.json", &format!("x: {}\r\n", "y".repeat(1 << 20))).await;
    assert!(huge.is_empty() || huge.starts_with("HTTP/1.1 431"), "{huge}");
}

#[tokio::test]
async fn bodies_that_are_too_long_or_too_deep_are_refused() {
    let host = Host::start().await;
    let large = format!("{{\"prompt\": \"{}\"}}", "x".repeat(50 << 20));
    let request = Request::post(GENERATIONS).header("host", "test").header("content-type", JSON);
    // the host answers before it has read all of it, which a client may see as a broken connection
    match try_send(host.edge, request.body(Full::new(large.into())).unwrap()).await {
        Ok(answer) => assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", answer.text()),
        Err(error) => println!("the connection ended first: {error}"),
    }
    let announced = body(&host, "content-length: 52428800\r\n", "").await;
    assert!(
        announced.starts_with("HTTP/1.1 413") && announced.contains("limits.request-body-bytes"),
        "{announced}"
    );
    for path in [GENERATIONS, "/v1/prompts/enhance"] {
        let deep = format!("{{\"prompt\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        let answer = post(&host, path, deep.into()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn bodies_whose_length_is_a_riddle_are_refused() {
    let host = Host::start().await;
    for headers in [
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: two\r\n",
        "content-length: -1\r\n",
        "content-length: +2\r\n",
        "content-length: 18446744073709551616\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
    ] {
        let answer = body(&host, headers, "{}{}").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{headers:?}: {answer}");
    }
    // sound, but nobody here would take the rest off
    for headers in
        ["transfer-encoding: gzip, chunked\r\n", "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n"]
    {
        let answer = body(&host, headers, "2\r\n{}\r\n0\r\n\r\n").await;
        assert!(
            answer.starts_with("HTTP/1.1 501") && answer.contains("transfer_coding"),
            "{headers:?}: {answer}"
        );
    }
    for chunks in [
        "garbage\r\n",
        "2\r\n{}garbage",
        "-1\r\n{}\r\n",
        "fffffffffffffffff\r\n{}\r\n",
        "2;\n{}\r\n0\r\n\r\n",
    ] {
        let answer = body(&host, "transfer-encoding: chunked\r\n", chunks).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{chunks:?}: {answer}");
    }
}

#[tokio::test]
async fn of_a_length_and_chunks_only_the_chunks_count() {
    let host = Host::start().await;
    let mut stream = TcpStream::connect(host.edge).await.unwrap();
    // were the length believed, the rest would be a second request
    let both = format!(
        "POST {GENERATIONS} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\n{{}}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
    );
    stream.write_all(both.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(!answer.contains("smuggled"), "{answer}");
}
