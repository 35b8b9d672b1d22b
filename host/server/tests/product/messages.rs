//! What handlers answer, as it arrives on the wire: heads without bodies, bodies that break off, trailers.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::client::{get, raw, try_send};
use crate::host::{Host, guest};

/// Both generations of `wasi:http`, at `/2` and `/3`.
async fn host() -> Host {
    let folder = tempfile::tempdir().unwrap();
    let route = |version: &str, more: &str| {
        let name = format!("messages{version}");
        std::fs::write(folder.path().join(format!("{name}.wasm")), guest(&name)).unwrap();
        format!(
            "[[route]]\nname = \"{version}\"\npath = \"/{version}\"\ncomponent = \"{name}.wasm\"\n{more}\n"
        )
    };
    let routes = route("2", "") + &route("3", "grants = { outbound = [\"http://127.0.0.1:9\"] }");
    Host::with(folder, Some(&routes)).await
}

/// Several requests in a row over one connection, which the last one closes.
async fn in_a_row(host: &Host, requests: &[(&str, &str)]) -> String {
    let head = |(index, (method, path)): (usize, &(&str, &str))| {
        let last = if index + 1 == requests.len() { "connection: close\r\n" } else { "" };
        format!("{method} {path} HTTP/1.1\r\nhost: test\r\n{last}\r\n")
    };
    let text: String = requests.iter().enumerate().map(head).collect();
    raw(host.edge, text.as_bytes()).await
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_leave_the_connection_in_order() {
    let host = host().await;
    for (method, path, status) in [
        ("HEAD", "/length/5/5", "200"),
        ("HEAD", "/hello", "200"),
        ("GET", "/status/204", "204"),
        ("GET", "/status/304", "304"),
        ("GET", "/status-with-body/204", "204"),
        ("GET", "/status-with-body/304", "304"),
    ] {
        for version in ["/2", "/3"] {
            let path = format!("{version}{path}");
            let answers = in_a_row(&host, &[(method, &path), ("GET", &format!("{version}/next"))]).await;
            let (first, second) = answers.split_once("\r\n\r\n").expect("no head");
            assert!(first.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {answers}");
            assert!(second.starts_with("HTTP/1.1 200"), "{method} {path} has a body: {answers}");
            assert!(second.contains("/next"), "{method} {path}: {answers}");
        }
    }
    let head = in_a_row(&host, &[("HEAD", "/2/length/5/5")]).await;
    assert!(head.contains("content-length: 5\r\n"), "{head}");
}

#[tokio::test]
async fn a_status_that_announces_an_answer_is_none() {
    let host = host().await;
    for path in ["/2/status/100", "/3/status/101", "/2/status/103", "/3/status/199"] {
        let answer = get(host.edge, path).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_GATEWAY, "no_response"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_not_whole_is_never_taken_for_one() {
    let host = host().await;
    for path in ["/2/length/10/5", "/3/length/10/5", "/2/unfinished"] {
        let request = Request::get(path).header("host", "test").body(Full::default()).unwrap();
        let answer = try_send(host.edge, request).await;
        assert!(answer.is_err(), "{path}: {answer:?}");
    }
    assert_eq!(get(host.edge, "/2/hello").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_long_head_arrives_whole() {
    let host = host().await;
    let answer = get(host.edge, "/3/long-head/50").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "long"));
    let long =
        answer.headers.iter().filter(|(name, value)| name.as_str().starts_with("x-") && value.len() == 1_000);
    assert_eq!(long.count(), 50);
}

/// A connection of HTTP/2.
async fn http_2(host: &Host) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(host.edge).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn answers_without_a_body_have_none_over_http_2_either() {
    let host = host().await;
    let mut sender = http_2(&host).await;
    for version in ["2", "3"] {
        for (method, path, status, length) in [
            ("HEAD", "length/5/5", 200, 0),
            ("HEAD", "hello", 200, 0),
            ("GET", "status-with-body/204", 204, 0),
            ("GET", "status-with-body/304", 304, 0),
            ("GET", "length/5/5", 200, 5),
        ] {
            let request = Request::builder().method(method).uri(format!("http://test/{version}/{path}"));
            let answer = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), status);
            let announced = answer.headers().get("content-length").map(|length| length == "5");
            assert_eq!(announced, path.starts_with("length").then_some(true), "{method} {version}/{path}");
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body.len(), length, "{method} {version}/{path}");
        }
    }
}

#[tokio::test]
async fn trailers_arrive_over_http_2() {
    let host = host().await;
    for version in ["2", "3"] {
        let mut sender = http_2(&host).await;
        let request = Request::post(format!("http://test/{version}/trailers"));
        let answer =
            sender.send_request(request.body(Full::new(Bytes::from("hello"))).unwrap()).await.unwrap();
        let answer = answer.into_body().collect().await.unwrap();
        assert_eq!(answer.trailers().unwrap()["x-length"], "5");
        assert_eq!(answer.to_bytes(), "see below");
    }
}

#[tokio::test]
async fn a_component_learns_from_where_a_request_comes_where_it_may_and_from_nobody_but_the_host() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("guest.wasm"), guest("plain2")).unwrap();
    let route = |name: &str, grants: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\ncomponent = \"guest.wasm\"\ngrants = {{ {grants} }}\n"
        )
    };
    let told = route("told", "client-address = true") + &route("untold", "");
    let ask = |path: &'static str| {
        format!(
            "GET /{path}/echo HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 198.51.100.7\r\nx-real-ip: 6.6.6.6\r\nconnection: close\r\n\r\n"
        )
    };
    let host = Host::with(folder, Some(&told)).await;
    let seen = raw(host.edge, ask("told").as_bytes()).await;
    assert!(seen.contains("x-forwarded-for: 127.0.0.1\n") && !seen.contains("6.6.6.6"), "{seen}");
    let seen = raw(host.edge, ask("untold").as_bytes()).await;
    assert!(!seen.contains("127.0.0.1"), "{seen}");
    // a proxy that is trusted is believed
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("guest.wasm"), guest("plain2")).unwrap();
    let trusting = format!("[server]\ntrusted-proxies = [\"127.0.0.0/8\"]\n{told}");
    let host = Host::with(folder, Some(&trusting)).await;
    let seen = raw(host.edge, ask("told").as_bytes()).await;
    assert!(seen.contains("x-forwarded-for: 198.51.100.7\n"), "{seen}");
}
