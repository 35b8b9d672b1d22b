//! [`Channels`] on the bindings, and clients and events from them.

use serde_json::Value;

use super::Granted;
use crate::bindings::atelier::host::channels;
use crate::bindings::channel::exports::atelier::host::channel_receiver as wire;
use crate::channels::{Channels, Client, Event, Peer, Welcome};

impl Channels for Granted {
    async fn publish(&self, room: &str, event: &str, payload: &Value) -> u32 {
        // a name or a payload that is refused reaches nobody
        channels::publish(room.to_owned(), event.to_owned(), payload.to_string()).await.unwrap_or(0)
    }
}

/// Lets a client in, or says why not.
pub async fn welcome<F: Future<Output = Result<Welcome, String>>>(
    client: wire::Client,
    work: impl FnOnce(Client) -> F,
) -> Result<wire::Welcome, String> {
    let wire::Client { id, path, headers, .. } = client;
    let Welcome { rooms, events, note } =
        work(Client { id, path, headers: headers.into_iter().collect() }).await?;
    let event = |event: Event| wire::Event { name: event.name, payload: event.payload.to_string() };
    Ok(wire::Welcome { rooms, events: events.into_iter().map(event).collect(), note })
}

/// Hands an event over, and gives what it is answered.
pub async fn receive<F: Future<Output = Result<Value, String>>>(
    peer: wire::Peer,
    event: wire::Event,
    work: impl FnOnce(Peer, Event) -> F,
) -> Result<Option<String>, String> {
    let wire::Event { name, payload } = event;
    // the host has looked at it already
    let payload = serde_json::from_str(&payload).map_err(|error| error.to_string())?;
    let peer = Peer { id: peer.id, note: peer.note };
    work(peer, Event { name, payload }).await.map(|answer| Some(answer.to_string()))
}
