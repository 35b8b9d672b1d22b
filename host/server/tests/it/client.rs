//! A small HTTP client, and raw sockets for what no client would send.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Generous: reached only when something is stuck.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The code of an error that the host itself answered.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    let request = Request::builder().uri(path).header("host", "test");
    send(address, request.body(Full::default()).unwrap()).await
}

pub(crate) async fn with_method(address: SocketAddr, method: Method, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).header("host", "test");
    send(address, request.body(Full::default()).unwrap()).await
}

pub(crate) async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    timeout(DEADLINE, try_send(address, request)).await.expect("no answer").expect("a broken answer")
}

pub(crate) async fn try_send(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(address).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| text(&error))?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| text(&error))?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// Sends bytes as they are, then reads until the server ends the connection.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let end = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    // a reset ends it as well
    let _ = end.expect("the connection stays open");
    String::from_utf8_lossy(&answer).into_owned()
}
