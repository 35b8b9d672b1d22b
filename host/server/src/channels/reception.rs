//! Lets clients in. In order: may this page connect, is there a seat, does the component want the client; only then is anything
//! answered. Everything here is asked before a connection changes its protocol, so that a refusal is an answer like any other.

use std::net::IpAddr;
use std::sync::Arc;

use atelier_runtime::{ChannelKind, ChannelRealm};
use http::{Method, Request};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::client::{Client, Link, Origin, Outbox, Why};
use super::clients::Clients;
use super::desk::Desk;
use super::post::Letter;
use super::seats::Seats;
use super::socket_io::{self, Engines};
use super::{origin, sse, upgrade, websocket};
use crate::config::{Channels, Server};
use crate::failure::Refusal;
use crate::http::{Answer, Pace, RequestBody, Verdict};
use crate::keys::KeyHash;
use crate::live::{Live, Slot};
use crate::tenants::Caller;

/// Where clients come in.
#[derive(Clone)]
pub(crate) struct Reception {
    pub(super) desk: Arc<Desk>,
    seats: Arc<Seats>,
    engines: Arc<Engines>,
    body_pace: Pace,
}

/// Who asks, and where.
pub(crate) struct Visit {
    realm: ChannelRealm,
    key: Option<KeyHash>,
    rules: Arc<Channels>,
    address: IpAddr,
}

impl Visit {
    /// A caller of a route who comes from this address.
    pub(crate) fn new(slot: &Slot, rules: &Channels, caller: &Caller, address: IpAddr) -> Self {
        let realm =
            ChannelRealm { route: slot.route.name.as_str().into(), tenant: caller.member.tenant.id.clone() };
        Self { realm, key: caller.hash, rules: Arc::new(rules.clone()), address }
    }

    pub(super) fn realm(&self) -> &ChannelRealm {
        &self.realm
    }

    pub(super) fn rules(&self) -> &Arc<Channels> {
        &self.rules
    }

    pub(super) fn origin(&self, kind: ChannelKind) -> Origin {
        let Self { realm, key, rules, .. } = self;
        Origin { kind, realm: realm.clone(), key: *key, rules: rules.clone() }
    }
}

impl Reception {
    pub(crate) fn new(live: Arc<Live>, clients: Arc<Clients>, server: &Server) -> Self {
        let seats = Arc::new(Seats::new(server));
        let body_pace = Pace::of_bodies(server);
        Self { desk: Arc::new(Desk { clients, live }), seats, engines: Arc::default(), body_pace }
    }

    /// What those who look after the clients need.
    pub(crate) fn desk(&self) -> Arc<Desk> {
        self.desk.clone()
    }

    /// Answers a request at a path where clients connect; its path is below the route's own.
    pub(crate) async fn receive(
        &self,
        kind: ChannelKind,
        request: Request<Incoming>,
        visit: Visit,
    ) -> Result<Answer, Refusal> {
        let elsewhere = origin::check(&request, &visit.rules.origins)?;
        let mut answer = match kind {
            ChannelKind::ServerSentEvents => self.listener(request, visit).await,
            ChannelKind::WebSocket => self.talker(request, visit).await,
            ChannelKind::SocketIo => self.session(request, visit).await,
        }?;
        elsewhere.allow(answer.headers_mut());
        Ok(answer)
    }

    async fn listener(&self, request: Request<Incoming>, visit: Visit) -> Result<Answer, Refusal> {
        if request.method() != Method::GET {
            return Err(Refusal::Method(vec![Method::GET]));
        }
        let arrival = self.arrival(ChannelKind::ServerSentEvents, &visit)?;
        let (client, outbox) = self.welcome(arrival, request).await?;
        Ok(sse::answer(client, outbox))
    }

    async fn talker(&self, mut request: Request<Incoming>, visit: Visit) -> Result<Answer, Refusal> {
        let (upgraded, answer) = upgrade::begin(&mut request)?;
        let arrival = self.arrival(ChannelKind::WebSocket, &visit)?;
        let (client, outbox) = self.welcome(arrival, request).await?;
        tokio::spawn(websocket::converse(upgraded, client, outbox));
        Ok(answer)
    }

    async fn session(&self, mut request: Request<Incoming>, visit: Visit) -> Result<Answer, Refusal> {
        let engine = self.engines.of(&self.desk, &visit);
        if socket_io::opens(&request) {
            let seat = self.seats.take(visit.address)?;
            socket_io::prepare(&mut request, visit.origin(ChannelKind::SocketIo), seat);
        }
        let pace = self.body_pace;
        engine.answer(request, |body| RequestBody::new(body, pace, Verdict::default())).await
    }

    /// A client at the door, with a seat.
    fn arrival(&self, kind: ChannelKind, visit: &Visit) -> Result<Arrival, Refusal> {
        let seat = self.seats.take(visit.address)?;
        let (sender, outbox) = mpsc::channel(visit.rules.buffered_events);
        let (client, letters) = Client::new(visit.origin(kind), Link::Outbox(sender), Some(seat));
        Ok(Arrival { client, letters, outbox })
    }

    /// Asks the component, and lets the client in.
    async fn welcome(
        &self,
        arrival: Arrival,
        request: Request<Incoming>,
    ) -> Result<(Arc<Client>, Outbox), Refusal> {
        let Arrival { client, letters, outbox } = arrival;
        let (head, _) = request.into_parts();
        let welcome = self.desk.connect(&client, &head, None).await?;
        if !self.desk.admit(&client, welcome, letters) {
            client.close(Why::Stopping);
            return Err(Refusal::Closed { route: client.origin.realm.route.to_string() });
        }
        Ok((client, outbox))
    }
}

struct Arrival {
    client: Arc<Client>,
    letters: mpsc::Receiver<Letter>,
    outbox: Outbox,
}
