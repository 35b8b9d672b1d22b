//! Clients that stay connected, one of each kind, as plain as they can be: what they hear is looked at word by word.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::client::{Answer, DEADLINE, send, try_send};

pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

/// A WebSocket, whatever is spoken over it.
pub(crate) struct Socket(pub(crate) WebSocketStream<TcpStream>);

impl Socket {
    /// Connects; or the answer that is none of a WebSocket.
    pub(crate) async fn open(edge: SocketAddr, path: &str, headers: Headers<'_>) -> Result<Self, Answer> {
        let mut request = format!("ws://{edge}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(edge).await.unwrap();
        match timeout(DEADLINE, client_async(request, stream)).await.expect("no answer") {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(answer)) => {
                let (head, body) = answer.into_parts();
                let body = Bytes::from(body.unwrap_or_default());
                Err(Answer { status: head.status, headers: head.headers, body })
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn say(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.unwrap();
    }

    /// The next text; what ended the connection where there is none.
    pub(crate) async fn hear(&mut self) -> Result<String, Option<CloseFrame>> {
        loop {
            match timeout(DEADLINE, self.0.next()).await.expect("silence") {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The code with which the server closes, after whatever it says before.
    pub(crate) async fn ended(&mut self) -> Option<u16> {
        loop {
            if let Err(frame) = self.hear().await {
                return frame.map(|frame| frame.code.into());
            }
        }
    }
}

/// A client that speaks messages of JSON.
pub(crate) struct Talker(pub(crate) Socket);

impl Talker {
    pub(crate) async fn open(edge: SocketAddr, path: &str, headers: Headers<'_>) -> Result<Self, Answer> {
        Socket::open(edge, path, headers).await.map(Self)
    }

    pub(crate) async fn say(&mut self, event: &str, data: Value) {
        self.0.say(json!({"event": event, "data": data}).to_string()).await;
    }

    /// What comes next.
    pub(crate) async fn hear(&mut self) -> Value {
        serde_json::from_str(&self.0.hear().await.unwrap()).unwrap()
    }

    /// What an event is answered.
    pub(crate) async fn ask(&mut self, event: &str, data: Value) -> Value {
        self.0.say(json!({"event": event, "data": data, "id": 1}).to_string()).await;
        self.hear().await
    }
}

/// A client that listens to server-sent events.
pub(crate) struct Listener {
    pub(crate) headers: HeaderMap,
    body: Incoming,
    text: String,
}

impl Listener {
    pub(crate) async fn open(edge: SocketAddr, path: &str, headers: Headers<'_>) -> Result<Self, Answer> {
        let mut request =
            Request::get(path).header("host", edge.to_string()).header("accept", "text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(edge).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let response = timeout(DEADLINE, sender.send_request(request)).await.expect("no answer").unwrap();
        let (head, body) = response.into_parts();
        if head.status == StatusCode::OK {
            return Ok(Self { headers: head.headers, body, text: String::new() });
        }
        let body = body.collect().await.unwrap().to_bytes();
        Err(Answer { status: head.status, headers: head.headers, body })
    }

    /// The next event: its id, its name, and its data. None at the end of the stream.
    pub(crate) async fn hear(&mut self) -> Option<(String, String, Value)> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                let field =
                    |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let (Some(id), Some(event), Some(data)) =
                    (field("id: "), field("event: "), field("data: "))
                {
                    return Some((id, event, serde_json::from_str(&data).unwrap()));
                }
                assert_eq!(frame, ":", "neither an event nor a comment");
                continue;
            }
            let frame = timeout(DEADLINE, self.body.frame()).await.expect("silence")?.ok()?;
            self.text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }
}

/// A session of engine.io by polling.
pub(crate) struct Poller {
    pub(crate) edge: SocketAddr,
    pub(crate) path: String,
    pub(crate) sid: String,
    heard: VecDeque<String>,
}

impl Poller {
    pub(crate) async fn open(edge: SocketAddr, path: &str) -> Result<Self, Answer> {
        let answer = get(edge, &format!("{path}/?EIO=4&transport=polling")).await;
        if answer.status != StatusCode::OK {
            return Err(answer);
        }
        let open: Value = serde_json::from_str(answer.text().strip_prefix('0').unwrap()).unwrap();
        let sid = open["sid"].as_str().unwrap().to_owned();
        Ok(Self { edge, path: path.to_owned(), sid, heard: VecDeque::new() })
    }

    pub(crate) fn address(&self, transport: &str) -> String {
        format!("{}/?EIO=4&transport={transport}&sid={}", self.path, self.sid)
    }

    pub(crate) async fn poll(&self) -> Answer {
        get(self.edge, &self.address("polling")).await
    }

    /// The next packet that is no ping.
    pub(crate) async fn hear(&mut self) -> String {
        loop {
            match self.heard.pop_front() {
                Some(packet) if packet == "2" => drop(self.post("3").await.unwrap()),
                Some(packet) => return packet,
                None => self.heard.extend(self.poll().await.text().split('\u{1e}').map(str::to_owned)),
            }
        }
    }

    /// Asks for the namespace, and hears the answer; the first ping, which comes about then, is answered as well.
    pub(crate) async fn connect(&mut self) -> String {
        self.post("40").await.unwrap();
        let (mut answer, mut is_pinged) = (None, false);
        while answer.is_none() || !is_pinged {
            for packet in self.poll().await.text().split('\u{1e}') {
                match packet {
                    "2" => {
                        is_pinged = true;
                        self.post("3").await.unwrap();
                    }
                    packet => answer = Some(packet.to_owned()),
                }
            }
        }
        answer.unwrap()
    }

    pub(crate) async fn post(&self, text: impl Into<Bytes>) -> Result<Answer, String> {
        let request = Request::post(self.address("polling")).header("host", "test");
        let request = request.header("content-type", "text/plain;charset=UTF-8");
        try_send(self.edge, request.body(Full::new(text.into())).unwrap()).await
    }
}

/// Engine.io's packet by which a session ends.
const CLOSE: &str = "1";

/// A client of socket.io over a WebSocket from the beginning.
pub(crate) struct SocketIo(pub(crate) Socket);

impl SocketIo {
    /// Connects up to the answer to its `connect`.
    pub(crate) async fn open(
        edge: SocketAddr,
        path: &str,
        headers: Headers<'_>,
    ) -> Result<(Self, String), Answer> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut socket =
            Socket::open(edge, &format!("{path}/?EIO=4&transport=websocket&{query}"), headers).await?;
        assert!(socket.hear().await.unwrap().starts_with("0{\"sid\""));
        socket.say("40{\"token\":\"t\"}").await;
        let mut client = Self(socket);
        let answer = client.hear().await.unwrap();
        Ok((client, answer))
    }

    /// The next packet that is no ping; pings are answered.
    pub(crate) async fn hear(&mut self) -> Result<String, Option<CloseFrame>> {
        loop {
            match self.0.hear().await?.as_str() {
                // a host that has hung up meanwhile is heard of next
                "2" => drop(self.0.0.send(Message::text("3")).await),
                text => return Ok(text.to_owned()),
            }
        }
    }

    /// What the server says last before it ends the session, which may be that it does.
    pub(crate) async fn ended(&mut self) -> Vec<String> {
        let mut last = Vec::new();
        while let Ok(text) = self.hear().await {
            last.push(text);
        }
        last.retain(|text| text != CLOSE);
        last
    }
}

pub(crate) async fn get(edge: SocketAddr, path: &str) -> Answer {
    let request = Request::get(path).header("host", "test").body(Full::default()).unwrap();
    send(edge, request).await
}
