//! A client's session: from engine.io's messages to a client that is connected, and back.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use atelier_runtime::ChannelEvent;
use bytes::Bytes;
use engineioxide::handler::EngineIoHandler;
use engineioxide::{DisconnectReason, Str};
use tokio::time::sleep;

use super::super::client::{Client, Link, Origin, Why};
use super::super::desk::Desk;
use super::super::json::quoted;
use super::super::post::Letter;
use super::super::seats::Seat;
use super::Socket;
use super::packet::{self, MAIN, Packet};
use crate::failure::Refusal;

/// For a session to ask for its namespace.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// What a session begins with; goes with the session.
pub(super) struct Opening {
    origin: Origin,
    _seat: Seat,
}

impl Opening {
    pub(super) fn new(origin: Origin, seat: Seat) -> Self {
        Self { origin, _seat: seat }
    }
}

/// What engine.io keeps of a session for us.
#[derive(Default)]
pub(crate) struct Session {
    has_asked: AtomicBool,
    /// Once the component has let it in.
    client: OnceLock<Arc<Client>>,
}

/// Hears what happens to the sessions of a realm.
pub(super) struct Handler {
    desk: Arc<Desk>,
}

impl Handler {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handler")
    }
}

impl EngineIoHandler for Handler {
    type Data = Session;

    fn on_connect(self: Arc<Self>, socket: Arc<Socket>) {
        let socket = Arc::downgrade(&socket);
        tokio::spawn(async move {
            sleep(CONNECT_WITHIN).await;
            if let Some(socket) = socket.upgrade().filter(|socket| socket.data.client.get().is_none()) {
                socket.close(DisconnectReason::TransportClose);
            }
        });
    }

    fn on_disconnect(&self, socket: Arc<Socket>, reason: DisconnectReason) {
        if let Some(client) = socket.data.client.get() {
            client.close(why(&reason));
        }
    }

    fn on_message(self: &Arc<Self>, message: Str, socket: Arc<Socket>) {
        match packet::parse(&message) {
            Some(Packet::Connect { namespace: MAIN, auth }) => {
                if !socket.data.has_asked.swap(true, Ordering::AcqRel) {
                    tokio::spawn(enter(self.desk.clone(), socket, auth.map(str::to_owned)));
                }
            }
            Some(Packet::Connect { namespace, .. }) => {
                answer(&socket, packet::refused(namespace, "Invalid namespace"));
            }
            Some(Packet::Event { id, event }) => match socket.data.client.get() {
                Some(client) => client.hand_in(letter(id, event, &socket)),
                None => socket.close(DisconnectReason::PacketParsingError),
            },
            Some(Packet::Disconnect) => socket.close(DisconnectReason::TransportClose),
            Some(Packet::Acknowledgement) => {}
            Some(Packet::Binary) | None => socket.close(DisconnectReason::PacketParsingError),
        }
    }

    fn on_binary(self: &Arc<Self>, _: Bytes, socket: Arc<Socket>) {
        socket.close(DisconnectReason::PacketParsingError);
    }
}

/// Asks the component, and lets the client in or says why not. A session that ends meanwhile ends the asking.
async fn enter(desk: Arc<Desk>, socket: Arc<Socket>, auth: Option<String>) {
    let Some(opening) = socket.req_parts.extensions.get::<Arc<Opening>>() else {
        return socket.close(DisconnectReason::ClosingServer);
    };
    let link = Link::Engine(Arc::downgrade(&socket));
    let (client, letters) = Client::new(opening.origin.clone(), link, None);
    let welcome = tokio::select! {
        biased;
        () = socket.closed() => return,
        welcome = desk.connect(&client, &socket.req_parts, auth) => welcome,
    };
    let welcome = match welcome {
        Ok(welcome) => welcome,
        Err(refusal) => return refuse(&socket, &refusal),
    };
    // set before the client hears of it: what it sends next may come before anything else is done here
    let _ = socket.data.client.set(client.clone());
    answer(&socket, packet::connected(&client.id));
    if socket.is_closed() {
        // whoever heard of it found no client here
        client.close(Why::Left);
    }
    if !desk.admit(&client, welcome, letters) {
        client.close(Why::Stopping);
    }
    let socket = Arc::downgrade(&socket);
    tokio::spawn(async move {
        let why = client.closed().await;
        if let Some(socket) = socket.upgrade() {
            part(&socket, why);
        }
    });
}

fn refuse(socket: &Socket, refusal: &Refusal) {
    if let Some(internal) = refusal.internal() {
        tracing::warn!(code = refusal.code(), "a client of socket.io was not let in: {internal}");
    }
    answer(socket, packet::refused(MAIN, &refusal.public()));
}

/// Ends a session. Whoever is told that it may not stay does not come back by itself; the others do.
fn part(socket: &Socket, why: Why) {
    if matches!(why, Why::Flood | Why::Large | Why::Broken | Why::Closed | Why::Ended) {
        answer(socket, packet::disconnected());
    }
    socket.close(DisconnectReason::ClosingServer);
}

/// What a client sent, and how it is answered: by an acknowledgement where it wants one, by the event `error` where it does not.
fn letter(id: Option<u64>, event: ChannelEvent, socket: &Arc<Socket>) -> Letter {
    let socket = Arc::downgrade(socket);
    Letter::new(event, move |reply| {
        let error = |text: &str| format!("{{\"error\":{}}}", quoted(text));
        let text = match (id, reply) {
            (Some(id), Ok(payload)) => packet::acknowledged(id, payload.as_deref().unwrap_or("null")),
            (Some(id), Err(text)) => packet::acknowledged(id, &error(&text)),
            (None, Err(text)) => packet::told(&ChannelEvent { name: "error".into(), payload: error(&text) }),
            (None, Ok(_)) => return,
        };
        if let Some(socket) = socket.upgrade() {
            answer(&socket, text);
        }
    })
}

/// Sends something that is no event. A client without room for it is ended by its events soon enough.
fn answer(socket: &Socket, text: String) {
    let _ = socket.emit(text);
}

fn why(reason: &DisconnectReason) -> Why {
    match reason {
        DisconnectReason::HeartbeatTimeout => Why::Silent,
        DisconnectReason::PacketParsingError | DisconnectReason::MultipleHttpPollingError => Why::Broken,
        _ => Why::Left,
    }
}
