//! One client that is connected: how events reach it, how much of them waits, and why it goes. Knows neither rooms nor components.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use atelier_runtime::{ChannelEvent, ChannelKind, ChannelPeer, ChannelRealm};
use tokio::sync::{mpsc, watch};

use super::post::Letter;
use super::seats::Seat;
use super::socket_io::Socket;
use crate::config::Channels;
use crate::keys::KeyHash;
use crate::tenants::Rate;

/// Bytes in a client's name.
const ID_BYTES: usize = 15;
/// Events of a client that wait for the component.
const MAX_LETTERS: usize = 16;

/// Events on their way to a client.
pub(super) type Outbox = mpsc::Receiver<Arc<ChannelEvent>>;

/// Why a client goes. The first reason counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It left.
    Left,
    /// It gave no sign of life in time.
    Silent,
    /// It took its events too slowly.
    Slow,
    /// It sent more than it may.
    Flood,
    /// It sent a message that is too large.
    Large,
    /// It sent what is no message.
    Broken,
    /// The component closed it.
    Closed,
    /// Its route or its key is gone.
    Ended,
    /// The host stops.
    Stopping,
}

impl Why {
    /// For the log and for the client.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Why::Left => "left",
            Why::Silent => "no sign of life (channels.ping-timeout-ms)",
            Why::Slow => "events were taken too slowly (channels.buffered-events)",
            Why::Flood => "too many events were sent (channels.events-per-second)",
            Why::Large => "a message was too large (channels.message-bytes)",
            Why::Broken => "a message could not be understood",
            Why::Closed => "closed by the component",
            Why::Ended => "the route or the key is gone",
            Why::Stopping => "the host stops",
        }
    }

    /// Whether the component is told.
    pub(super) fn is_told(self) -> bool {
        !matches!(self, Why::Ended | Why::Stopping)
    }
}

/// The way to a client.
pub(super) enum Link {
    /// Whatever writes to it takes events from here.
    Outbox(mpsc::Sender<Arc<ChannelEvent>>),
    /// Engine.io has a buffer of its own; the session belongs to it.
    Engine(Weak<Socket>),
}

/// Who asks to come in.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) kind: ChannelKind,
    pub(super) realm: ChannelRealm,
    /// By which key, where one was wanted.
    pub(super) key: Option<KeyHash>,
    pub(super) rules: Arc<Channels>,
}

/// One who is connected.
pub(crate) struct Client {
    pub(super) id: String,
    pub(super) origin: Origin,
    link: Link,
    note: OnceLock<String>,
    letters: mpsc::Sender<Letter>,
    /// Since when, and when the next event is due.
    pace: (Instant, Mutex<Duration>),
    end: watch::Sender<Option<Why>>,
    /// Given back with the client; a session of engine.io holds its own.
    _seat: Option<Seat>,
}

impl Client {
    /// A client, and where what it sends can be taken.
    pub(super) fn new(origin: Origin, link: Link, seat: Option<Seat>) -> (Arc<Self>, mpsc::Receiver<Letter>) {
        let (letters, inbox) = mpsc::channel(MAX_LETTERS);
        let client = Self {
            id: random_id(),
            origin,
            link,
            note: OnceLock::new(),
            letters,
            pace: (Instant::now(), Mutex::default()),
            end: watch::Sender::new(None),
            _seat: seat,
        };
        (Arc::new(client), inbox)
    }

    /// As the component knows it.
    pub(super) fn peer(&self) -> ChannelPeer {
        ChannelPeer { id: self.id.clone(), note: self.note.get().cloned().unwrap_or_default() }
    }

    /// What the component wants to be told with everything that the client does.
    pub(super) fn remember(&self, note: String) {
        // it is welcomed once
        let _ = self.note.set(note);
    }

    /// Sends an event, or ends the client when there is no room for it. Never waits.
    pub(super) fn push(&self, event: &Arc<ChannelEvent>) -> bool {
        let has_room = match &self.link {
            Link::Outbox(outbox) => outbox.try_send(event.clone()).is_ok(),
            Link::Engine(socket) => {
                socket.upgrade().is_some_and(|socket| super::socket_io::push(&socket, event))
            }
        };
        if !has_room {
            self.close(Why::Slow);
        }
        has_room
    }

    /// Takes what the client sent, or ends it when that is too much.
    pub(super) fn hand_in(&self, letter: Letter) {
        if letter.bytes() as u64 > self.origin.rules.message_bytes {
            self.close(Why::Large);
        } else if !self.is_in_time() || self.letters.try_send(letter).is_err() {
            self.close(Why::Flood);
        }
    }

    fn is_in_time(&self) -> bool {
        let (since, due) = &self.pace;
        let per_second = self.origin.rules.events_per_second;
        let mut due = due.lock().unwrap_or_else(PoisonError::into_inner);
        match Rate::new(per_second, per_second).next(*due, since.elapsed()) {
            Ok(next) => {
                *due = next;
                true
            }
            Err(_) => false,
        }
    }

    /// Ends the client; whoever writes to it sees that.
    pub(super) fn close(&self, why: Why) {
        self.end.send_if_modified(|end| {
            let is_first = end.is_none();
            if is_first {
                *end = Some(why);
            }
            is_first
        });
    }

    /// Ends when the client does.
    pub(super) async fn closed(&self) -> Why {
        let mut end = self.end.subscribe();
        let ended = end.wait_for(Option::is_some).await;
        // an error means that the client is dropped, which cannot be while it is looked at
        ended.ok().and_then(|why| *why).unwrap_or(Why::Left)
    }
}

/// A client that leaves with whatever wrote to it.
pub(super) struct Leaving(pub(super) Arc<Client>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.close(Why::Left);
    }
}

/// Random, and no secret: 20 letters and digits.
fn random_id() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rand::random::<[u8; ID_BYTES]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Arc<Channels> {
        Arc::new(Channels {
            socket_io: None,
            websocket: None,
            events: Some("/events".into()),
            origins: Vec::new(),
            message_bytes: 1_024,
            buffered_events: 32,
            events_per_second: 5,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
        })
    }

    fn client(room: usize) -> (Arc<Client>, mpsc::Receiver<Letter>, mpsc::Receiver<Arc<ChannelEvent>>) {
        let realm = ChannelRealm { route: "r".into(), tenant: Default::default() };
        let origin = Origin { kind: ChannelKind::WebSocket, realm, key: None, rules: rules() };
        let (outbox, taken) = mpsc::channel(room);
        let (client, letters) = Client::new(origin, Link::Outbox(outbox), None);
        (client, letters, taken)
    }

    fn event() -> ChannelEvent {
        ChannelEvent { name: "a".into(), payload: "1".into() }
    }

    #[tokio::test]
    async fn a_client_is_ended_by_the_first_event_that_finds_no_room() {
        let (client, _letters, _outbox) = client(2);
        let event = Arc::new(event());
        assert!(client.push(&event) && client.push(&event) && !client.push(&event));
        client.close(Why::Left);
        assert_eq!(client.closed().await, Why::Slow);
    }

    #[tokio::test]
    async fn a_client_is_ended_by_one_event_more_than_it_may_send_at_once() {
        let (client, mut letters, _outbox) = client(2);
        for _ in 0..5 {
            client.hand_in(Letter::unanswered(event()));
        }
        assert!((0..5).all(|_| letters.try_recv().is_ok()));
        assert_eq!(client.end.borrow().as_ref(), None);
        client.hand_in(Letter::unanswered(event()));
        assert_eq!(client.closed().await, Why::Flood);
    }

    #[test]
    fn names_are_20_letters_and_no_two_are_equal() {
        assert!(random_id().len() == 20 && random_id() != random_id());
    }
}
