//! Clients that stay connected, as components meet them. What a client does is told to the handler of its route, each time in a
//! store of its own, on the account of the client's tenant and within the grants and limits of the route. What the handler sends
//! goes to [`Channels`], which the server implements: sockets, rooms and who is in them are nothing that this crate knows.
//!
//! Everything that a guest names is checked here or in `capabilities/channels.rs`, so that nobody behind [`Channels`] has to.

use std::sync::Arc;

use atelier_inference::TenantId;
use serde::de::IgnoredAny;

use crate::bindings::receiver::exports::atelier::host::channel_receiver::{
    Client, Event, Kind, Peer, Welcome,
};
use crate::context::{RequestContext, Scope};
use crate::drive::{Call, limited};
use crate::in_flight::InFlight;
use crate::sandbox::Meter;
use crate::stage::task;
use crate::{Deployment, Failure, Tenant};

/// Of a payload where nobody can connect, and so nobody said how much it may be.
pub(crate) const MESSAGE_BYTES: usize = 1 << 20;
/// Bytes in the name of a room or an event.
const MAX_NAME_BYTES: usize = 128;
/// Rooms that a client is in.
pub(crate) const MAX_ROOMS: usize = 32;
/// Events that a client begins with: they must find room where its events wait.
const MAX_FIRST_EVENTS: usize = 16;
/// What a component is told with everything that a client does.
const MAX_NOTE_BYTES: usize = 4_096;

/// Where the names of clients and rooms mean something: a tenant's part of a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelRealm {
    /// The route's name.
    pub route: Arc<str>,
    /// The tenant.
    pub tenant: TenantId,
}

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChannelKind {
    /// By server-sent events.
    ServerSentEvents,
    /// By a WebSocket.
    WebSocket,
    /// By socket.io.
    SocketIo,
}

/// A client that wants to connect; `channel-receiver.client`.
#[derive(Debug, Clone)]
pub struct ChannelClient {
    /// Its name.
    pub id: String,
    /// How it is connected.
    pub kind: ChannelKind,
    /// Path and query below the route's own path.
    pub path: String,
    /// Headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// JSON text.
    pub auth: Option<String>,
}

/// Something that happened; `channel-receiver.event`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelEvent {
    /// What: without control characters.
    pub name: String,
    /// JSON text.
    pub payload: String,
}

/// What a client begins with; `channel-receiver.welcome`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelWelcome {
    /// The rooms that it is in.
    pub rooms: Vec<String>,
    /// What it is sent before anything else.
    pub events: Vec<ChannelEvent>,
    /// What the component wants to be told with everything that the client does.
    pub note: String,
}

/// One who is connected; `channel-receiver.peer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPeer {
    /// Its name.
    pub id: String,
    /// As in its welcome.
    pub note: String,
}

/// Why nothing was sent; `channels.error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelError {
    /// What is wrong with what was asked; safe to show.
    Invalid(String),
    /// There is no such client in this realm.
    NotFound,
}

/// Where clients are that stay connected. No call waits.
pub trait Channels: Send + Sync {
    /// Sends an event to everybody in a room; how many clients that are.
    fn publish(&self, realm: &ChannelRealm, room: &str, event: ChannelEvent) -> u32;

    /// Sends an event to one client.
    ///
    /// # Errors
    /// There is no such client.
    fn send(&self, realm: &ChannelRealm, client: &str, event: ChannelEvent) -> Result<(), ChannelError>;

    /// Lets a client into a room; it is in so many at most.
    ///
    /// # Errors
    /// There is no such client, or it is in as many rooms as it may.
    fn join(&self, realm: &ChannelRealm, client: &str, room: &str, most: usize) -> Result<(), ChannelError>;

    /// Takes a client out of a room.
    ///
    /// # Errors
    /// There is no such client.
    fn leave(&self, realm: &ChannelRealm, client: &str, room: &str) -> Result<(), ChannelError>;

    /// Disconnects a client.
    ///
    /// # Errors
    /// There is no such client.
    fn close(&self, realm: &ChannelRealm, client: &str) -> Result<(), ChannelError>;
}

/// What a handler is asked.
enum Asked {
    Connect(Client),
    Receive(Peer, Event),
    Disconnect(Peer),
}

/// What it says.
enum Said {
    Welcome(Result<Welcome, String>),
    Reply(Result<Option<String>, String>),
    Nothing,
}

impl Deployment {
    /// Whether its component receives clients that stay connected.
    pub fn receives(&self) -> bool {
        self.receiver.is_some()
    }

    /// Asks the component whether a client may come in: what it begins with, or a text for it that says why not.
    ///
    /// # Errors
    /// The component failed, or its welcome breaks the rules of the interface.
    pub async fn connect(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        context: Arc<RequestContext>,
        client: ChannelClient,
    ) -> Result<Result<ChannelWelcome, String>, Failure> {
        match self.asked(tenant, context, Asked::Connect(client.into())).await? {
            Said::Welcome(Ok(welcome)) => self.checked(welcome).map(Ok),
            Said::Welcome(Err(why)) => Ok(Err(why)),
            _ => Err(Failure::host("a component was asked to let a client in and said something else")),
        }
    }

    /// Hands over an event of a client; what it is answered, as JSON text, or what it is told of an error.
    ///
    /// # Errors
    /// The component failed, or its answer is no JSON.
    pub async fn receive(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        context: Arc<RequestContext>,
        peer: ChannelPeer,
        event: ChannelEvent,
    ) -> Result<Result<Option<String>, String>, Failure> {
        let Said::Reply(reply) =
            self.asked(tenant, context, Asked::Receive(peer.into(), event.into())).await?
        else {
            return Err(Failure::host("a component was handed an event and said something else"));
        };
        if let Ok(Some(payload)) = &reply {
            self.check_payload("the acknowledgement", payload).map_err(|why| self.broken(&why))?;
        }
        Ok(reply)
    }

    /// Tells the component that a client is gone.
    ///
    /// # Errors
    /// The component failed.
    pub async fn disconnect(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        context: Arc<RequestContext>,
        peer: ChannelPeer,
    ) -> Result<(), Failure> {
        self.asked(tenant, context, Asked::Disconnect(peer.into())).await.map(drop)
    }

    async fn asked(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        context: Arc<RequestContext>,
        what: Asked,
    ) -> Result<Said, Failure> {
        let answer = self.ask(tenant, &Scope::of(context), what).await;
        if let Err(failure) = &answer {
            self.count_failure(failure);
        }
        answer
    }

    /// Asks in a store of its own, when it is the tenant's turn. Dropping the future stops the guest.
    async fn ask(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        scope: &Scope,
        what: Asked,
    ) -> Result<Said, Failure> {
        let receiver =
            self.receiver.clone().ok_or_else(|| Failure::host("the component receives no clients"))?;
        let place = self.admit(tenant, scope).await?;
        let mut span = scope.open("channel");
        span.set("atelier.component", || self.component().as_ref());
        let meter = Meter::new(self.route.clone(), tenant.clone(), self.metrics.clone(), span.scope());
        let call = Call { host: self.host.clone(), route: self.route.clone(), meter: Arc::new(meter) };
        let counted = InFlight::new(self.clone());
        let work = async move {
            let (mut store, meter) = (call.store(), call.meter.clone());
            let work = async move {
                let receiver = meter.instantiate(receiver.instantiate_async(&mut store)).await?;
                let run = async |accessor: &_| {
                    let guest = receiver.atelier_host_channel_receiver();
                    wasmtime::error::Ok(match what {
                        Asked::Connect(client) => Said::Welcome(guest.call_connect(accessor, client).await?),
                        Asked::Receive(peer, event) => {
                            Said::Reply(guest.call_receive(accessor, peer, event).await?)
                        }
                        Asked::Disconnect(peer) => {
                            guest.call_disconnect(accessor, peer).await?;
                            Said::Nothing
                        }
                    })
                };
                store.run_concurrent(run).await?
            };
            let result = limited(call, work).await;
            span.settle(&result);
            drop((place, counted));
            result
        };
        task(work).await
    }

    /// A welcome that keeps to the interface's rules.
    fn checked(&self, welcome: Welcome) -> Result<ChannelWelcome, Failure> {
        let Welcome { rooms, events, note } = welcome;
        let few = |count: usize, most: usize, what: &str| match count > most {
            true => Err(format!("a client begins with at most {most} {what}, not {count}")),
            false => Ok(()),
        };
        let events: Vec<ChannelEvent> = events.into_iter().map(Into::into).collect();
        few(rooms.len(), MAX_ROOMS, "rooms")
            .and_then(|()| few(events.len(), MAX_FIRST_EVENTS, "events"))
            .and_then(|()| few(note.len(), MAX_NOTE_BYTES, "bytes of `note`"))
            .and_then(|()| rooms.iter().try_for_each(|room| check_name("a room", room)))
            .and_then(|()| events.iter().try_for_each(|event| self.check_event(event)))
            .map_err(|why| self.broken(&why))?;
        Ok(ChannelWelcome { rooms, events, note })
    }

    fn check_event(&self, event: &ChannelEvent) -> Result<(), String> {
        check_name("an event", &event.name)?;
        self.check_payload("a payload", &event.payload)
    }

    fn check_payload(&self, what: &str, payload: &str) -> Result<(), String> {
        check_payload(what, payload, self.route.channel_message_bytes)
    }

    /// The component broke its contract.
    fn broken(&self, why: &str) -> Failure {
        Failure::NoResponse { route: self.route.name.to_string(), detail: why.into() }
    }
}

/// Whether a text is fit to be the name of a room or an event.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), String> {
    let is_fit = (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    let wrong = || format!("the name of {what} has 1 to {MAX_NAME_BYTES} bytes and no control characters");
    is_fit.then_some(()).ok_or_else(wrong)
}

/// Whether a text is fit to be sent.
pub(crate) fn check_payload(what: &str, payload: &str, limit: usize) -> Result<(), String> {
    if payload.len() > limit {
        return Err(format!(
            "{what} has {} bytes; at most {limit} (channels.message-bytes of the route)",
            payload.len()
        ));
    }
    serde_json::from_str::<IgnoredAny>(payload).map_err(|error| format!("{what} is no JSON: {error}"))?;
    Ok(())
}

impl From<ChannelClient> for Client {
    fn from(client: ChannelClient) -> Self {
        let ChannelClient { id, kind, path, headers, auth } = client;
        let kind = match kind {
            ChannelKind::ServerSentEvents => Kind::ServerSentEvents,
            ChannelKind::WebSocket => Kind::Websocket,
            ChannelKind::SocketIo => Kind::SocketIo,
        };
        Self { id, kind, path, headers, auth }
    }
}

impl From<ChannelEvent> for Event {
    fn from(event: ChannelEvent) -> Self {
        Self { name: event.name, payload: event.payload }
    }
}

impl From<Event> for ChannelEvent {
    fn from(event: Event) -> Self {
        Self { name: event.name, payload: event.payload }
    }
}

impl From<ChannelPeer> for Peer {
    fn from(peer: ChannelPeer) -> Self {
        Self { id: peer.id, note: peer.note }
    }
}
