//! How many may be connected: all together, and of each address. A seat is taken before anything is asked or answered, and given
//! back when the last that belongs to the connection is gone.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Server;
use crate::failure::Refusal;
use crate::http::{Peers, Place};

/// All seats of the host.
pub(super) struct Seats {
    free: Arc<Semaphore>,
    all: usize,
    peers: Arc<Peers>,
    of_one: usize,
}

/// One of them.
pub(super) struct Seat {
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

impl Seats {
    pub(super) fn new(server: &Server) -> Self {
        let &Server { max_channels: all, max_channels_per_ip: of_one, .. } = server;
        let peers = Peers::new(of_one, "server.max-channels-per-ip");
        Self { free: Arc::new(Semaphore::new(all)), all, peers, of_one }
    }

    /// A seat for a client at this address.
    pub(super) fn take(&self, address: IpAddr) -> Result<Seat, Refusal> {
        let place = self.peers.enter(address);
        let place = place.ok_or(Refusal::ClientsOfAddress { limit: self.of_one })?;
        let permit = self.free.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Refusal::Clients { limit: self.all })?;
        Ok(Seat { _permit: permit, _place: place })
    }
}
