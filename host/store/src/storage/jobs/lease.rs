//! Who works on which job at the moment, in memory: the folder is one process's, and with it go all of its leases, so that
//! the next one finds only jobs that nobody works on. Times are of the steady clock: a clock that is set ends no lease.
//!
//! A lease that is not renewed ends: whoever had it panicked or hangs, and what it does later counts for nothing.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

/// All leases of one folder.
#[derive(Default)]
pub(in crate::storage) struct Leases {
    held: Mutex<Held>,
    /// Told when a job may be due, or a place free.
    pub(in crate::storage) changed: Notify,
    /// Jobs that waited when that was last counted.
    pub(super) waiting: AtomicU64,
}

#[derive(Default)]
struct Held {
    leases: HashMap<String, Lease>,
    /// When an owner at a route last had a turn, counted in turns.
    turns: HashMap<Line, u64>,
    granted: u64,
}

/// A route and an owner.
type Line = (String, String);

struct Lease {
    number: u64,
    line: Line,
    /// What is done, where its result will do for other jobs.
    work: Option<String>,
    until: Instant,
    progress: u8,
    message: String,
    stop: watch::Sender<bool>,
}

/// How much an owner has of a route: whoever has least goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Load {
    running: usize,
    turn: u64,
}

impl Leases {
    /// A lease for a job; its number, and what tells that the job was called off.
    pub(super) fn grant(
        &self,
        id: &str,
        line: Line,
        work: Option<String>,
        length: Duration,
    ) -> (u64, watch::Receiver<bool>) {
        let (stop, stopped) = watch::channel(false);
        let mut held = self.held();
        held.granted += 1;
        let number = held.granted;
        held.turns.insert(line.clone(), number);
        let until = Instant::now() + length;
        let lease = Lease { number, line, work, until, progress: 0, message: String::new(), stop };
        held.leases.insert(id.to_owned(), lease);
        (number, stopped)
    }

    /// What an owner has of a route.
    pub(super) fn load(&self, route: &str, owner: &str) -> Load {
        let held = self.held();
        let line = (route.to_owned(), owner.to_owned());
        let running = held.leases.values().filter(|lease| lease.line == line).count();
        Load { running, turn: held.turns.get(&line).copied().unwrap_or(0) }
    }

    /// Whether somebody does this work.
    pub(super) fn is_at_work(&self, work: &str) -> bool {
        self.held().leases.values().any(|lease| lease.work.as_deref() == Some(work))
    }

    /// Whether somebody does work of an owner at a route whose result will do for other jobs.
    pub(super) fn shares(&self, route: &str, owner: &str) -> bool {
        let is_theirs = |lease: &Lease| (lease.line.0.as_str(), lease.line.1.as_str()) == (route, owner);
        self.held().leases.values().any(|lease| lease.work.is_some() && is_theirs(lease))
    }

    /// Whether this lease stands.
    pub(super) fn stands(&self, id: &str, number: u64) -> bool {
        self.with(id, number, |_| ()).is_some()
    }

    /// Makes a lease as long as a new one. Whether it stood.
    pub(super) fn renew(&self, id: &str, number: u64, length: Duration) -> bool {
        self.with(id, number, |lease| lease.until = Instant::now() + length).is_some()
    }

    /// Keeps how far a job is. Whether the lease stood.
    pub(super) fn report(&self, id: &str, number: u64, progress: u8, message: String) -> bool {
        let report = |lease: &mut Lease| (lease.progress, lease.message) = (progress, message);
        self.with(id, number, report).is_some()
    }

    /// How far a job is that somebody works on.
    pub(super) fn progress(&self, id: &str) -> Option<(u8, String)> {
        self.held().leases.get(id).map(|lease| (lease.progress, lease.message.clone()))
    }

    /// Ends a lease, if it stands.
    pub(super) fn release(&self, id: &str, number: u64) {
        let mut held = self.held();
        if held.leases.get(id).is_some_and(|lease| lease.number == number) {
            held.leases.remove(id);
        }
    }

    /// Ends a lease of a job, or this one only, and tells whoever has it.
    pub(super) fn stop(&self, id: &str, number: Option<u64>) {
        let mut held = self.held();
        let is_meant = |lease: &Lease| number.is_none_or(|number| lease.number == number);
        if held.leases.get(id).is_some_and(is_meant)
            && let Some(lease) = held.leases.remove(id)
        {
            // whoever had it may have gone
            let _ = lease.stop.send(true);
        }
    }

    /// Leases that were not renewed in time.
    pub(super) fn overdue(&self) -> Vec<(String, u64)> {
        let (held, now) = (self.held(), Instant::now());
        let over = held.leases.iter().filter(|(_, lease)| lease.until <= now);
        over.map(|(id, lease)| (id.clone(), lease.number)).collect()
    }

    /// Jobs that somebody works on, with the numbers of their leases: of one route, or of all.
    pub(super) fn running(&self, route: Option<&str>) -> usize {
        let held = self.held();
        let of_route = |lease: &&Lease| route.is_none_or(|route| lease.line.0 == route);
        held.leases.values().filter(of_route).count()
    }

    fn with<R>(&self, id: &str, number: u64, change: impl FnOnce(&mut Lease) -> R) -> Option<R> {
        let mut held = self.held();
        held.leases.get_mut(id).filter(|lease| lease.number == number).map(change)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
