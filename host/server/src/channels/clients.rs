//! Who is connected, and who is in which room: the server's side of the capability `channels`. Rooms and clients belong to a realm, a
//! tenant's part of a route; nobody names one of another. No lock is held while anything is sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atelier_runtime::{ChannelError, ChannelEvent, ChannelKind, ChannelRealm, Channels};

use super::client::{Client, Why};

/// All who are connected to this host.
#[derive(Default)]
pub(crate) struct Clients {
    state: Mutex<State>,
    /// Events that were sent, and clients that were too slow for theirs.
    sent: AtomicU64,
    slow: AtomicU64,
}

#[derive(Default)]
struct State {
    realms: BTreeMap<ChannelRealm, Realm>,
    /// Nobody comes in any more.
    is_closed: bool,
}

#[derive(Default)]
struct Realm {
    clients: HashMap<String, Present>,
    rooms: HashMap<String, BTreeSet<String>>,
}

struct Present {
    client: Arc<Client>,
    rooms: BTreeSet<String>,
}

impl Clients {
    /// A client comes in, into these rooms, after it was sent its first events; false when nobody may any more.
    pub(super) fn enter(&self, client: &Arc<Client>, rooms: Vec<String>, first: Vec<ChannelEvent>) -> bool {
        let mut state = self.state();
        if state.is_closed {
            return false;
        }
        // under the lock, so that nothing that is published comes before
        for event in first {
            client.push(&Arc::new(event));
        }
        let realm = state.realms.entry(client.origin.realm.clone()).or_default();
        let present = Present { client: client.clone(), rooms: BTreeSet::new() };
        realm.clients.insert(client.id.clone(), present);
        rooms.into_iter().for_each(|room| realm.join(&client.id, room));
        true
    }

    /// A client is gone.
    pub(super) fn remove(&self, client: &Client, why: Why) {
        self.slow.fetch_add(u64::from(why == Why::Slow), Ordering::Relaxed);
        let mut state = self.state();
        let Some(realm) = state.realms.get_mut(&client.origin.realm) else { return };
        let Some(present) = realm.clients.remove(&client.id) else { return };
        present.rooms.iter().for_each(|room| realm.drop_from(&client.id, room));
        if realm.clients.is_empty() {
            state.realms.remove(&client.origin.realm);
        }
    }

    /// Ends everybody for whom this does not hold.
    pub(super) fn keep_only(&self, holds: impl Fn(&Client) -> bool) {
        let gone: Vec<_> = self.all().into_iter().filter(|client| !holds(client)).collect();
        gone.iter().for_each(|client| client.close(Why::Ended));
    }

    /// Ends everybody; nobody comes in any more.
    pub(super) fn close_all(&self) {
        self.state().is_closed = true;
        self.all().iter().for_each(|client| client.close(Why::Stopping));
    }

    /// How many are connected, by how.
    pub(crate) fn connected(&self) -> BTreeMap<ChannelKind, u64> {
        let mut counts = BTreeMap::new();
        for client in self.all() {
            *counts.entry(client.origin.kind).or_default() += 1;
        }
        counts
    }

    /// Events that were sent so far, each counted for every client.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Clients that were ended so far, since they took their events too slowly.
    pub(crate) fn slow(&self) -> u64 {
        self.slow.load(Ordering::Relaxed)
    }

    fn all(&self) -> Vec<Arc<Client>> {
        let state = self.state();
        let presents = state.realms.values().flat_map(|realm| realm.clients.values());
        presents.map(|present| present.client.clone()).collect()
    }

    fn find(&self, realm: &ChannelRealm, client: &str) -> Result<Arc<Client>, ChannelError> {
        let state = self.state();
        let present = state.realms.get(realm).and_then(|realm| realm.clients.get(client));
        present.map(|present| present.client.clone()).ok_or(ChannelError::NotFound)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channels for Clients {
    fn publish(&self, realm: &ChannelRealm, room: &str, event: ChannelEvent) -> u32 {
        let there: Vec<Arc<Client>> = {
            let state = self.state();
            let Some(realm) = state.realms.get(realm) else { return 0 };
            let ids = realm.rooms.get(room).into_iter().flatten();
            ids.filter_map(|id| realm.clients.get(id)).map(|present| present.client.clone()).collect()
        };
        let event = Arc::new(event);
        let sent = there.iter().filter(|client| client.push(&event)).count();
        self.sent.fetch_add(sent as u64, Ordering::Relaxed);
        sent as u32
    }

    fn send(&self, realm: &ChannelRealm, client: &str, event: ChannelEvent) -> Result<(), ChannelError> {
        let is_sent = self.find(realm, client)?.push(&Arc::new(event));
        self.sent.fetch_add(u64::from(is_sent), Ordering::Relaxed);
        is_sent.then_some(()).ok_or(ChannelError::NotFound)
    }

    fn join(&self, realm: &ChannelRealm, client: &str, room: &str, most: usize) -> Result<(), ChannelError> {
        let mut state = self.state();
        let realm = state.realms.get_mut(realm).ok_or(ChannelError::NotFound)?;
        let present = realm.clients.get(client).ok_or(ChannelError::NotFound)?;
        if present.rooms.len() >= most && !present.rooms.contains(room) {
            return Err(ChannelError::Invalid(format!("the client is in {most} rooms, as many as it may")));
        }
        realm.join(client, room.to_owned());
        Ok(())
    }

    fn leave(&self, realm: &ChannelRealm, client: &str, room: &str) -> Result<(), ChannelError> {
        let mut state = self.state();
        let realm = state.realms.get_mut(realm).ok_or(ChannelError::NotFound)?;
        let present = realm.clients.get_mut(client).ok_or(ChannelError::NotFound)?;
        present.rooms.remove(room);
        realm.drop_from(client, room);
        Ok(())
    }

    fn close(&self, realm: &ChannelRealm, client: &str) -> Result<(), ChannelError> {
        self.find(realm, client)?.close(Why::Closed);
        Ok(())
    }
}

impl Realm {
    fn join(&mut self, client: &str, room: String) {
        if let Some(present) = self.clients.get_mut(client) {
            present.rooms.insert(room.clone());
            self.rooms.entry(room).or_default().insert(client.to_owned());
        }
    }

    fn drop_from(&mut self, client: &str, room: &str) {
        if let Some(ids) = self.rooms.get_mut(room) {
            ids.remove(client);
            if ids.is_empty() {
                self.rooms.remove(room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use atelier_inference::TenantId;
    use tokio::sync::mpsc;

    use super::super::client::{Link, Origin};
    use super::super::post::Letter;
    use super::*;
    use crate::config;

    type Outbox = mpsc::Receiver<Arc<ChannelEvent>>;

    fn realm(route: &str, tenant: &str) -> ChannelRealm {
        ChannelRealm { route: route.into(), tenant: TenantId::new(tenant).unwrap() }
    }

    fn client(realm: &ChannelRealm) -> (Arc<Client>, Outbox, mpsc::Receiver<Letter>) {
        let rules = config::Channels {
            socket_io: None,
            websocket: None,
            events: None,
            origins: Vec::new(),
            message_bytes: 1_024,
            buffered_events: 4,
            events_per_second: 5,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
        };
        let kind = ChannelKind::WebSocket;
        let origin = Origin { kind, realm: realm.clone(), key: None, rules: rules.into() };
        let (outbox, taken) = mpsc::channel(4);
        let (client, letters) = Client::new(origin, Link::Outbox(outbox), None);
        (client, taken, letters)
    }

    fn event(payload: &str) -> ChannelEvent {
        ChannelEvent { name: "news".into(), payload: payload.into() }
    }

    fn taken(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.try_recv().ok()).map(|event| event.payload.clone()).collect()
    }

    #[tokio::test]
    async fn a_room_is_its_realms_and_holds_whoever_entered_and_did_not_leave() {
        let (clients, ours, theirs) = (Clients::default(), realm("r", "a"), realm("r", "b"));
        let (one, mut one_gets, _kept) = client(&ours);
        let (two, mut two_gets, _also_kept) = client(&ours);
        let (other, mut other_gets, _kept_too) = client(&theirs);
        assert!(clients.enter(&one, vec!["us".into()], vec![event("first")]));
        assert!(clients.enter(&two, vec!["us".into()], Vec::new()));
        assert!(clients.enter(&other, vec!["us".into()], Vec::new()));
        assert_eq!(clients.publish(&ours, "us", event("1")), 2);
        assert_eq!(clients.leave(&ours, &two.id, "us"), Ok(()));
        assert_eq!(clients.publish(&ours, "us", event("2")), 1);
        assert_eq!(clients.publish(&realm("s", "a"), "us", event("3")), 0);
        assert_eq!(clients.send(&theirs, &one.id, event("4")), Err(ChannelError::NotFound));
        assert_eq!(
            (taken(&mut one_gets), taken(&mut two_gets)),
            (vec!["first".into(), "1".into(), "2".into()], vec!["1".into()])
        );
        assert_eq!(taken(&mut other_gets), Vec::<String>::new());
        clients.remove(&one, Why::Left);
        assert_eq!(
            (clients.publish(&ours, "us", event("5")), clients.connected()[&ChannelKind::WebSocket]),
            (0, 2)
        );
        clients.remove(&two, Why::Left);
        clients.remove(&other, Why::Left);
        assert!(clients.state().realms.is_empty(), "nothing is left of those who left");
    }

    #[tokio::test]
    async fn a_slow_client_is_ended_and_holds_nobody_up() {
        let (clients, ours) = (Clients::default(), realm("r", "a"));
        let (slow, _full, _kept) = client(&ours);
        let (quick, mut gets, _also_kept) = client(&ours);
        for client in [&slow, &quick] {
            clients.enter(client, vec!["us".into()], Vec::new());
        }
        for number in 0..4 {
            assert_eq!(clients.publish(&ours, "us", event(&number.to_string())), 2);
            taken(&mut gets);
        }
        assert_eq!(clients.publish(&ours, "us", event("4")), 1);
        assert_eq!(slow.closed().await, Why::Slow);
        assert_eq!((taken(&mut gets), clients.sent()), (vec!["4".to_owned()], 9));
    }

    #[tokio::test]
    async fn a_client_is_in_so_many_rooms_and_no_more() {
        let (clients, ours) = (Clients::default(), realm("r", "a"));
        let (one, _gets, _letters) = client(&ours);
        clients.enter(&one, vec!["1".into()], Vec::new());
        assert_eq!(clients.join(&ours, &one.id, "2", 2), Ok(()));
        assert_eq!(clients.join(&ours, &one.id, "1", 2), Ok(()));
        assert!(matches!(clients.join(&ours, &one.id, "3", 2), Err(ChannelError::Invalid(_))));
        assert_eq!(clients.join(&ours, "nobody", "1", 2), Err(ChannelError::NotFound));
    }

    #[tokio::test]
    async fn whose_key_is_gone_is_ended_and_at_the_end_everybody() {
        let (clients, ours, theirs) = (Clients::default(), realm("r", "a"), realm("r", "b"));
        let ((one, ..), (other, ..)) = (client(&ours), client(&theirs));
        for client in [&one, &other] {
            clients.enter(client, Vec::new(), Vec::new());
        }
        clients.keep_only(|client| client.origin.realm == ours);
        assert_eq!(other.closed().await, Why::Ended);
        clients.close_all();
        assert_eq!(one.closed().await, Why::Stopping);
        assert!(!clients.enter(&client(&ours).0, Vec::new(), Vec::new()));
    }
}
