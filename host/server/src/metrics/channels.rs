//! The families of clients that stay connected: how many there are, and what they were sent.

use atelier_runtime::ChannelKind;

use super::page::{Kind, Page};
use crate::channels::Clients;

pub(super) fn write(page: &mut Page, clients: &Clients) {
    let help = "clients that are connected, by how";
    let mut family = page.family("atelier_channel_clients", Kind::Gauge, help);
    let connected = clients.connected();
    for (kind, name) in [
        (ChannelKind::ServerSentEvents, "server-sent-events"),
        (ChannelKind::WebSocket, "websocket"),
        (ChannelKind::SocketIo, "socket-io"),
    ] {
        family.sample(&[("kind", name)], connected.get(&kind).copied().unwrap_or_default());
    }
    let help = "events that were sent, each counted for every client that it was sent to";
    page.counter("atelier_channel_events_total", help, clients.sent());
    let help =
        "clients that were disconnected, since they took their events too slowly (channels.buffered-events)";
    page.counter("atelier_channel_clients_slow_total", help, clients.slow());
}
