//! Clients over a plain WebSocket. A message is one JSON object in text: `event`, `data` where there is some, and `id` where a client
//! wants an answer to its own (`{"id": …, "data": …}`, or `error` in place of `data`).

use std::sync::Arc;
use std::time::Duration;

use atelier_runtime::ChannelEvent;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::client::{Client, Leaving, Outbox, Why};
use super::json::{members, quoted, string};
use super::post::Letter;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Answers to a client that wait to be written: as many as it may be handed in, and then some.
const MAX_ANSWERS: usize = 32;
/// For the last words to a client.
const FAREWELL: Duration = Duration::from_secs(1);
/// Digits of the number by which a client tells its messages apart.
const MAX_ID_BYTES: usize = 32;

/// Talks with a client until one of them ends it.
pub(super) async fn converse(upgrade: OnUpgrade, client: Arc<Client>, outbox: Outbox) {
    let leaving = Leaving(client);
    let client = &leaving.0;
    let limit = client.origin.rules.message_bytes as usize;
    let upgraded = match upgrade.await {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => return tracing::debug!(id = client.id, "no WebSocket: {error}"),
    };
    // a little more than a message, for the event's name and what is around it
    let frame = Some(limit + 1_024);
    let config = WebSocketConfig::default().max_message_size(frame).max_frame_size(frame);
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
    let (mut sink, mut stream) = socket.split();
    let (answers, answered) = mpsc::channel(MAX_ANSWERS);
    let why = tokio::select! {
        biased;
        why = client.closed() => why,
        why = read(&mut stream, client, answers) => why,
        why = write(&mut sink, client, outbox, answered) => why,
    };
    client.close(why);
    let frame = CloseFrame { code: code(why), reason: why.words().into() };
    // whoever takes nothing takes no farewell either
    let _ = timeout(FAREWELL, sink.send(Message::Close(Some(frame)))).await;
}

/// Takes what the client sends. One that is silent for longer than its answer to a ping may take is gone.
async fn read(stream: &mut SplitStream<Socket>, client: &Client, answers: mpsc::Sender<String>) -> Why {
    let rules = &client.origin.rules;
    loop {
        let message = match timeout(rules.ping_interval + rules.ping_timeout, stream.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return broken(&error),
            Ok(None) => return Why::Left,
            Err(_) => return Why::Silent,
        };
        match message {
            Message::Text(text) => match letter(&text, &answers) {
                Some(letter) => client.hand_in(letter),
                None => return Why::Broken,
            },
            Message::Binary(_) => return Why::Broken,
            Message::Close(_) => return Why::Left,
            // answered by the library
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

fn broken(error: &Error) -> Why {
    match error {
        Error::Capacity(_) => Why::Large,
        // most clients leave so
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Why::Left,
        Error::Utf8(_) | Error::Protocol(_) => Why::Broken,
        _ => Why::Left,
    }
}

/// Writes events and answers as they come, and asks for a sign of life now and then.
async fn write(
    sink: &mut SplitSink<Socket, Message>,
    client: &Client,
    mut outbox: Outbox,
    mut answers: mpsc::Receiver<String>,
) -> Why {
    let every = client.origin.rules.ping_interval;
    let mut pulse = interval_at(Instant::now() + every, every);
    loop {
        let message = tokio::select! {
            biased;
            Some(event) = outbox.recv() => Message::text(told(&event)),
            Some(answer) = answers.recv() => Message::text(answer),
            _ = pulse.tick() => Message::Ping(Default::default()),
        };
        if sink.send(message).await.is_err() {
            return Why::Left;
        }
    }
}

/// An event as a message.
fn told(event: &ChannelEvent) -> String {
    format!("{{\"event\":{},\"data\":{}}}", quoted(&event.name), event.payload)
}

/// A message of a client, if it is one.
fn letter(text: &str, answers: &mpsc::Sender<String>) -> Option<Letter> {
    let (mut name, mut payload, mut id) = (None, "null", None);
    for (member, value) in members(text)? {
        match member.as_str() {
            "event" => name = Some(string(value)?),
            "data" => payload = value,
            "id" => id = Some(value).filter(|id| id.len() <= MAX_ID_BYTES),
            _ => return None,
        }
    }
    let event = ChannelEvent { name: name?, payload: payload.into() };
    let (id, answers) = (id.map(str::to_owned), answers.clone());
    Some(Letter::new(event, move |answer| {
        // a client that takes no answers is ended by its events soon enough
        let _ = reply(id.as_deref(), answer).map(|text| answers.try_send(text));
    }))
}

/// What a client is answered: what it asked for, or an error whether it asked or not.
fn reply(id: Option<&str>, answer: Result<Option<String>, String>) -> Option<String> {
    match (id, answer) {
        (Some(id), Ok(payload)) => {
            Some(format!("{{\"id\":{id},\"data\":{}}}", payload.as_deref().unwrap_or("null")))
        }
        (Some(id), Err(error)) => Some(format!("{{\"id\":{id},\"error\":{}}}", quoted(&error))),
        (None, Ok(_)) => None,
        (None, Err(error)) => Some(format!("{{\"error\":{}}}", quoted(&error))),
    }
}

fn code(why: Why) -> CloseCode {
    match why {
        Why::Left | Why::Closed => CloseCode::Normal,
        Why::Stopping => CloseCode::Away,
        Why::Broken => CloseCode::Unsupported,
        Why::Large => CloseCode::Size,
        Why::Silent | Why::Slow | Why::Flood | Why::Ended => CloseCode::Policy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_an_object_with_an_event_and_nothing_unknown() {
        let (answers, _kept) = mpsc::channel(1);
        for text in [r#"{"event":"a"}"#, r#" {"data": [1], "id": 7, "event": "a"} "#] {
            assert!(letter(text, &answers).is_some(), "{text}");
        }
        for text in ["", "1", "{}", r#"{"event":1}"#, r#"{"event":"a","datum":1}"#, r#"{"event":"a"}x"#] {
            assert!(letter(text, &answers).is_none(), "{text}");
        }
    }

    #[test]
    fn an_answer_names_what_it_answers() {
        assert_eq!(reply(Some("7"), Ok(None)).unwrap(), r#"{"id":7,"data":null}"#);
        assert_eq!(reply(Some("\"x\""), Ok(Some("[1]".into()))).unwrap(), r#"{"id":"x","data":[1]}"#);
        assert_eq!(reply(Some("7"), Err("a \"b\"".into())).unwrap(), r#"{"id":7,"error":"a \"b\""}"#);
        assert_eq!(reply(None, Err("no".into())).unwrap(), r#"{"error":"no"}"#);
        assert_eq!(reply(None, Ok(Some("1".into()))), None);
        let event = ChannelEvent { name: "a\"".into(), payload: "{\"b\": 1}".into() };
        assert_eq!(told(&event), r#"{"event":"a\"","data":{"b": 1}}"#);
    }
}
