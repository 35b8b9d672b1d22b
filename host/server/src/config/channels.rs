//! `channels` of a route: where clients connect that stay connected, and their bounds.

use std::time::Duration;

use atelier_runtime::ChannelKind;
use serde::Serialize;

use super::check::check_origin;
use super::raw::{Found, Table};
use super::shown::millis;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const HOUR_MS: u64 = 3_600_000;

/// `channels` of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Channels {
    /// Where socket.io is served, below the route's own path; nowhere when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_io: Option<String>,
    /// Where WebSockets are served, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub websocket: Option<String>,
    /// Where server-sent events are served, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<String>,
    /// Pages of other origins that may connect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// Bytes of one message, in either direction.
    pub message_bytes: u64,
    /// Events that wait for a client; with one more it is disconnected.
    pub buffered_events: usize,
    /// Events a second that a client may send in the long run, and at once.
    pub events_per_second: u64,
    /// Between two signs of life.
    #[serde(rename = "ping-interval-ms", serialize_with = "millis")]
    pub ping_interval: Duration,
    /// How long a client may take to answer one.
    #[serde(rename = "ping-timeout-ms", serialize_with = "millis")]
    pub ping_timeout: Duration,
}

impl Channels {
    /// How clients connect at a path below the route's own, if they do.
    pub fn kind(&self, path: &str) -> Option<ChannelKind> {
        let is_at = |place: &Option<String>| place.as_deref() == Some(path.strip_suffix('/').unwrap_or(path));
        let below = |place: &String| path.strip_prefix(place.as_str());
        if is_at(&self.events) {
            Some(ChannelKind::ServerSentEvents)
        } else if is_at(&self.websocket) {
            Some(ChannelKind::WebSocket)
        } else {
            // its clients add a slash, some of them more
            let rest = self.socket_io.as_ref().and_then(below)?;
            (rest.is_empty() || rest.starts_with('/')).then_some(ChannelKind::SocketIo)
        }
    }

    /// Whether clients of a kind connect anywhere.
    pub(crate) fn serves(&self, kind: ChannelKind) -> bool {
        match kind {
            ChannelKind::ServerSentEvents => self.events.is_some(),
            ChannelKind::WebSocket => self.websocket.is_some(),
            ChannelKind::SocketIo => self.socket_io.is_some(),
        }
    }
}

/// Reads the table; nothing where there is none.
pub(super) fn channels(route: &Table<'_>) -> Option<Channels> {
    let table = route.table("channels");
    if !table.is_given() {
        return None;
    }
    let millis = |key, default| Duration::from_millis(table.number(key, 100..=HOUR_MS).unwrap_or(default));
    let channels = Channels {
        socket_io: path(&table, "socket-io"),
        websocket: path(&table, "websocket"),
        events: path(&table, "events"),
        origins: origins(&table),
        message_bytes: table.bytes("message-bytes", KIB..=64 * MIB).unwrap_or(MIB),
        // those that a client may begin with have room, and then some
        buffered_events: table.number("buffered-events", 32..=65_536).unwrap_or(128) as usize,
        events_per_second: table.number("events-per-second", 1..=10_000).unwrap_or(20),
        ping_interval: millis("ping-interval-ms", 25_000),
        ping_timeout: millis("ping-timeout-ms", 20_000),
    };
    let places = [&channels.socket_io, &channels.websocket, &channels.events];
    let mut given: Vec<&String> = places.into_iter().flatten().collect();
    if given.is_empty() && !["socket-io", "websocket", "events"].iter().any(|key| table.has(key)) {
        table.problem(table.at(), "nobody can connect; write socket-io, websocket or events = \"/path\"");
    }
    given.sort_unstable();
    if given.windows(2).any(|pair| pair[0] == pair[1]) {
        table.problem(table.at(), "`socket-io`, `websocket` and `events` are at paths of their own");
    }
    table.finish();
    Some(channels)
}

/// A path of whole segments below the route's own.
fn path(table: &Table<'_>, key: &'static str) -> Option<String> {
    let Found { value, at } = table.text(key)?;
    let is_segment = |segment: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        !matches!(segment, "" | "." | "..") && segment.bytes().all(plain)
    };
    if !value.strip_prefix('/').is_some_and(|below| below.split('/').all(is_segment)) {
        let text = format!(
            "wants whole segments of letters, digits, `-`, `_`, `.` and `~`, such as \"/events\", not `{value}`"
        );
        table.problem(&at, text);
    }
    Some(value)
}

fn origins(table: &Table<'_>) -> Vec<String> {
    let origin = |found: Found<String>| {
        if let Err(text) = check_origin(&found.value) {
            table.problem(&found.at, text);
        }
        found.value.trim_end_matches('/').to_ascii_lowercase()
    };
    table.texts("origins").into_iter().map(origin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_where_clients_connect_and_socket_io_is_below_its_own_as_well() {
        let channels = Channels {
            socket_io: Some("/socket.io".into()),
            websocket: Some("/ws".into()),
            events: Some("/events".into()),
            origins: Vec::new(),
            message_bytes: MIB,
            buffered_events: 128,
            events_per_second: 20,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
        };
        for (path, kind) in [
            ("/ws", Some(ChannelKind::WebSocket)),
            ("/ws/", Some(ChannelKind::WebSocket)),
            ("/ws/more", None),
            ("/wss", None),
            ("/events", Some(ChannelKind::ServerSentEvents)),
            ("/socket.io/", Some(ChannelKind::SocketIo)),
            ("/socket.io/more", Some(ChannelKind::SocketIo)),
            ("/socket.iota", None),
            ("/", None),
        ] {
            assert_eq!(channels.kind(path), kind, "{path}");
        }
        let none = Channels { socket_io: None, websocket: None, ..channels };
        assert!(none.serves(ChannelKind::ServerSentEvents) && !none.serves(ChannelKind::SocketIo));
    }
}
