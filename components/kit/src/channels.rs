//! Clients that stay connected to the route, as plain types behind a trait: a handler sends to rooms of them, and is told when they
//! come and what they send. The fields mean what `wit/channels.wit` says of the items of the same name.

use std::future::Future;

use futures::future::LocalBoxFuture;
use serde_json::Value;

use crate::http::{Headers, Request};

/// A client that wants to connect (`channel-receiver.client`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/channels.wit")]
pub struct Client {
    pub id: String,
    pub path: String,
    pub headers: Headers,
}

impl Client {
    /// The request that its visit would be: what tells visitors apart is in the headers, for both alike.
    pub fn request(&self) -> Request {
        let (path, query) =
            self.path.split_once('?').map_or((self.path.as_str(), None), |(path, query)| (path, Some(query)));
        Request {
            method: "GET".into(),
            path: path.into(),
            query: query.map(str::to_owned),
            headers: self.headers.clone(),
            ..Request::default()
        }
    }
}

/// What a client begins with (`channel-receiver.welcome`).
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "each field is documented in wit/channels.wit")]
pub struct Welcome {
    pub rooms: Vec<String>,
    pub events: Vec<Event>,
    pub note: String,
}

/// Something that happened (`channel-receiver.event`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub name: String,
    /// More about it.
    pub payload: Value,
}

/// One who is connected (`channel-receiver.peer`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/channels.wit")]
pub struct Peer {
    pub id: String,
    pub note: String,
}

/// Sending to clients that stay connected (`channels`).
pub trait Channels {
    /// Sends an event to everybody in a room; how many clients that are. What is too large to be sent reaches nobody.
    fn publish(&self, room: &str, event: &str, payload: &Value) -> impl Future<Output = u32>;
}

/// Sends an event to a room, with the host and the room's name in it.
pub type Room = Box<dyn Fn(&str, &Value) -> LocalBoxFuture<'static, ()>>;

/// A room, ready to be told things.
pub fn room(host: impl Channels + Clone + 'static, name: &str) -> Room {
    let name = name.to_owned();
    Box::new(move |event, payload| {
        let (host, name, event, payload) = (host.clone(), name.clone(), event.to_owned(), payload.clone());
        Box::pin(async move {
            // nobody waits for whoever listens
            host.publish(&name, &event, &payload).await;
        })
    })
}
