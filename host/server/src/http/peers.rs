//! How many connections each client has, so that one client cannot take them all. A client is an IPv4 address, or the
//! network of 64 bits that one customer gets in IPv6. Counts and refuses; says so in the log now and then only.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines in the log.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The connections of one listener, or of one kind, by client.
pub(crate) struct Peers {
    limit: usize,
    /// The limit's key.
    key: &'static str,
    /// Never longer than there are connections.
    counts: Mutex<HashMap<IpAddr, usize>>,
    accepted: AtomicU64,
    refused: AtomicU64,
    told: Mutex<Option<Instant>>,
}

/// One connection's place; given back when dropped.
pub(crate) struct Place {
    peers: Arc<Peers>,
    client: IpAddr,
}

impl Peers {
    pub(crate) fn new(limit: usize, key: &'static str) -> Arc<Self> {
        let (accepted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { limit, key, counts: Mutex::default(), accepted, refused, told: Mutex::default() })
    }

    /// A place for one more connection of a client, unless it has too many.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let client = client(address);
        let mut counts = self.counts();
        let count = counts.entry(client).or_default();
        if *count >= self.limit {
            drop(counts);
            self.refuse(client);
            return None;
        }
        *count += 1;
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Some(Place { peers: self.clone(), client })
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.counts().values().sum()
    }

    /// Connections that were taken so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections that were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn refuse(&self, client: IpAddr) {
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(
                %client,
                refused,
                "connections refused: the client has {} already ({})",
                self.limit,
                self.key
            );
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.peers.counts();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_client_has_so_many_places_and_no_more_and_others_have_theirs() {
        let peers = Peers::new(2, "a.key");
        let first = peers.enter(ip("192.0.2.1"));
        let second = peers.enter(ip("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some() && peers.enter(ip("192.0.2.1")).is_none());
        let third = peers.enter(ip("192.0.2.2"));
        assert!(third.is_some());
        assert_eq!((peers.open(), peers.accepted(), peers.refused()), (3, 3, 1));
        drop(second);
        assert!(peers.enter(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        let peers = Peers::new(1, "a.key");
        let _place = peers.enter(ip("2001:db8:1:2::1"));
        assert!(peers.enter(ip("2001:db8:1:2:ffff::9")).is_none());
        assert!(peers.enter(ip("2001:db8:1:3::1")).is_some());
    }

    #[test]
    fn clients_that_left_are_forgotten() {
        let peers = Peers::new(1, "a.key");
        drop((0..100).map(|n| peers.enter(IpAddr::from([10, 0, 0, n]))).collect::<Vec<_>>());
        assert!(peers.counts().is_empty());
    }
}
