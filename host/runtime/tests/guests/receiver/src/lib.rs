//! A handler whose route serves channels. What a client asks for in its query says how it is received; what it sends, by the
//! event's name, what is done. A request's body says line by line what is sent to whom.

wit_bindgen::generate!({ path: "../../../../../wit", world: "atelier:host/channel-handler", generate_all });

use atelier::host::channels::{self, Error};
use exports::atelier::host::channel_receiver::{Client, Event, Guest as Receiver, Peer, Welcome};
use exports::wasi::http0_3_0::handler::Guest;
use wasi::clocks0_3_0::monotonic_clock::wait_for;
use wasi::http0_3_0::types::{ErrorCode, Fields, Request, Response};

const MILLISECOND: u64 = 1_000_000;

struct Channel;

impl Guest for Channel {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (_done, outcome) = wit_future::new(|| Ok(()));
        let (stream, _trailers) = Request::consume_body(request, outcome);
        let body = String::from_utf8_lossy(&stream.collect().await).into_owned();
        let mut answers = Vec::new();
        for line in body.lines() {
            answers.push(act(line).await.unwrap_or_else(|error| format!("error: {}", told(error))));
        }
        let (mut writer, contents) = wit_stream::new();
        let (trailers, no_trailers) = wit_future::new(|| Ok(None));
        let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
        wit_bindgen::spawn_local(async move {
            writer.write_all(answers.join("\n").into_bytes()).await;
            drop(trailers);
        });
        Ok(response)
    }
}

impl Receiver for Channel {
    /// The query is a list of `name=value`: `room` for each room, `note`, `refuse` with a text, `trap`, `hello` for an event that
    /// says who is received, `rooms` and `events` for so many of them, `name` and `payload` for an event that may be wrong.
    async fn connect(client: Client) -> Result<Welcome, String> {
        let query = client.path.split_once('?').map_or("", |(_, query)| query).to_owned();
        let mut welcome = Welcome { rooms: Vec::new(), events: Vec::new(), note: String::new() };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let many = || value.parse::<usize>().unwrap_or_default();
            match name {
                "room" => welcome.rooms.push(value.into()),
                "note" => welcome.note = value.into(),
                "long-note" => welcome.note = "n".repeat(many()),
                "refuse" => return Err(value.into()),
                "trap" => panic!("on purpose"),
                "hello" => welcome.events.push(hello(&client)),
                "rooms" => welcome.rooms.extend((0..many()).map(|index| format!("room {index}"))),
                "events" => welcome.events.extend((0..many()).map(|_| event("again", "1"))),
                "payload" => welcome.events.push(event("given", value)),
                _ => {}
            }
        }
        Ok(welcome)
    }

    async fn receive(peer: Peer, event: Event) -> Result<Option<String>, String> {
        match event.name.as_str() {
            "echo" => Ok(Some(event.payload)),
            "who" => Ok(Some(format!("\"{} {}\"", peer.id, peer.note))),
            "say" => {
                let count = channels::publish(peer.note, "said".into(), event.payload).await.map_err(told)?;
                Ok(Some(count.to_string()))
            }
            "enter" => {
                let room = event.payload.trim_matches('"').to_owned();
                channels::join(peer.id, room).await.map_err(told)?;
                Ok(None)
            }
            "wait" => {
                wait_for(event.payload.parse::<u64>().unwrap() * MILLISECOND).await;
                Ok(Some(event.payload))
            }
            "fail" => Err(event.payload),
            "trap" => panic!("on purpose"),
            "no-json" => Ok(Some("no json".into())),
            _ => Ok(None),
        }
    }

    async fn disconnect(peer: Peer) {
        let payload = format!("\"{} {}\"", peer.id, peer.note);
        channels::publish("watchers".into(), "gone".into(), payload).await.unwrap();
    }
}

fn event(name: &str, payload: &str) -> Event {
    Event { name: name.into(), payload: payload.into() }
}

/// Kind, path without its query, the headers of a visitor, and what was sent as `auth`.
fn hello(client: &Client) -> Event {
    let header = |wanted: &str| {
        let found = client.headers.iter().find(|(name, _)| name == wanted);
        found.map_or("-", |(_, value)| value.as_str())
    };
    let path = client.path.split('?').next().unwrap_or_default();
    let kind = format!("{:?}", client.kind).replace("Kind::", "");
    let (cookie, address) = (header("cookie"), header("x-forwarded-for"));
    let payload = format!(
        r#"{{"kind": "{kind}", "path": "{path}", "cookie": "{cookie}", "address": "{address}", "key": "{}", "auth": {}}}"#,
        header("authorization"),
        client.auth.as_deref().unwrap_or("null"),
    );
    event("hello", &payload)
}

/// Words of a line; the last may have spaces in it.
async fn act(line: &str) -> Result<String, Error> {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    let text = |word: &str| word.to_owned();
    match words[..] {
        ["publish", room, event, payload] => {
            Ok(channels::publish(text(room), text(event), text(payload)).await?.to_string())
        }
        ["large", room, bytes] => {
            let payload = format!("\"{}\"", "x".repeat(bytes.parse::<usize>().unwrap() - 2));
            Ok(channels::publish(text(room), "large".into(), payload).await?.to_string())
        }
        ["flood", room, count] => {
            for number in 0..count.parse::<u32>().unwrap() {
                channels::publish(text(room), "flood".into(), number.to_string()).await?;
            }
            Ok("done".into())
        }
        ["send", client, event, payload] => {
            channels::send(text(client), text(event), text(payload)).await.map(|()| "sent".into())
        }
        ["join", client, room] => channels::join(text(client), text(room)).await.map(|()| "in".into()),
        ["leave", client, room] => channels::leave(text(client), text(room)).await.map(|()| "out".into()),
        ["close", client] => channels::close(text(client)).await.map(|()| "closed".into()),
        _ => Ok(format!("what is `{line}`?")),
    }
}

fn told(error: Error) -> String {
    match error {
        Error::Invalid(text) => format!("invalid: {text}"),
        Error::NotFound => "not found".into(),
    }
}

export!(Channel);
