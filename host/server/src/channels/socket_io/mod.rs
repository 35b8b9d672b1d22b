//! Clients of socket.io, protocol 5. Engine.io below it (polling, WebSocket, the way from one to the other, signs of life) is
//! engineioxide's; socket.io's packets are few (`packet.rs`) and read here, since what a client sends has to come to the component in
//! its order and bounded, and rooms are shared with clients that are connected otherwise (`session.rs`).
//!
//! There is one engine for each realm, so that a session of one tenant is not there for another.

mod packet;
mod session;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use atelier_runtime::{ChannelEvent, ChannelRealm};
use engineioxide::config::EngineIoConfig;
use engineioxide::service::EngineIoService;
use http::Request;
use hyper::body::Incoming;
use hyper::service::Service;

use super::client::Origin;
use super::desk::Desk;
use super::reception::Visit;
use super::seats::Seat;
use super::upgrade;
use crate::config::Channels;
use crate::failure::Refusal;
use crate::http::{Answer, RequestBody, boxed};
use session::{Handler, Opening, Session};

/// A client's session.
pub(super) type Socket = engineioxide::Socket<Session>;

/// The only version of engine.io's protocol, which socket.io's libraries speak from version 3 on.
const ENGINE_VERSION: &str = "4";

/// The engines of all realms.
#[derive(Default)]
pub(super) struct Engines(Mutex<BTreeMap<ChannelRealm, Engine>>);

/// One realm's.
#[derive(Clone)]
pub(super) struct Engine {
    rules: Arc<Channels>,
    service: EngineIoService<Handler>,
}

impl Engines {
    /// The engine of whoever asks. One whose rules have changed gives way to a new one; its clients connect again.
    pub(super) fn of(&self, desk: &Arc<Desk>, visit: &Visit) -> Engine {
        let mut engines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engines.get(visit.realm()).filter(|engine| engine.rules == *visit.rules()) {
            return engine.clone();
        }
        let engine = Engine::new(desk.clone(), visit.rules().clone());
        engines.insert(visit.realm().clone(), engine.clone());
        engine
    }
}

impl Engine {
    fn new(desk: Arc<Desk>, rules: Arc<Channels>) -> Self {
        let bytes = rules.message_bytes;
        // a little more than a message, for the event's name and what is around it
        let whole = bytes as usize + 1_024;
        let config = EngineIoConfig::builder()
            .req_path(rules.socket_io.clone().unwrap_or_default())
            .ping_interval(rules.ping_interval)
            .ping_timeout(rules.ping_timeout)
            .max_buffer_size(rules.buffered_events)
            .max_payload(whole as u64)
            .ws_max_message_size(whole)
            .ws_max_frame_size(whole)
            .build();
        Self { service: EngineIoService::with_config(Arc::new(Handler::new(desk)), config), rules }
    }

    /// Answers a request of a session, or one that begins one. The engine itself takes the connection of a WebSocket, for then it also
    /// ends the session of one that breaks off on the way from polling; it asks for less than a whole handshake, hence the look before.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        bounded: impl FnOnce(Incoming) -> RequestBody,
    ) -> Result<Answer, Refusal> {
        let is_known = parameter(&request, "EIO") == Some(ENGINE_VERSION);
        // what it is not, the engine says in its own words
        if is_known && parameter(&request, "transport") == Some("websocket") {
            upgrade::check(&request)?;
        }
        let request = request.map(|body| boxed(bounded(body)));
        let answer = self.service.call(request).await;
        answer.map(|answer| answer.map(boxed)).map_err(|never| match never {})
    }
}

/// Whether the request begins a session.
pub(super) fn opens<B>(request: &Request<B>) -> bool {
    parameter(request, "sid").is_none()
}

/// Gives a session what it begins with.
pub(super) fn prepare<B>(request: &mut Request<B>, origin: Origin, seat: Seat) {
    request.extensions_mut().insert(Arc::new(Opening::new(origin, seat)));
}

/// Sends an event to a client; false when there is no room for it.
pub(super) fn push(socket: &Socket, event: &ChannelEvent) -> bool {
    socket.emit(packet::told(event)).is_ok()
}

/// A part of the query, as it stands there and as the engine reads it: up to a second `=`.
fn parameter<'a, B>(request: &'a Request<B>, name: &str) -> Option<&'a str> {
    let mut pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))?.split('=').next()
}
