//! How a server fares that copies go to: what it did last, since when, and when it is tried again. Reasons are said in words of
//! our own: what a server or a library says may name addresses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::Error;

/// Pauses after failures: the first, and the longest. Each is twice the one before, and cut by up to half at random, so that many
/// hosts do not come back together.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// With this begins what is said of a server that answered, but not as it should.
pub(super) const ANSWERS: &str = "it answers";

/// How a server fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// Nobody has asked it yet.
    Unknown,
    /// It answered last.
    Connected,
    /// It did not answer last, or with an error.
    Degraded,
}

impl ServiceState {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Connected => "connected",
            Self::Degraded => "degraded",
        }
    }
}

/// What is known of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceStatus {
    /// The copy's name.
    pub id: String,
    /// `redis` or `s3`.
    pub kind: &'static str,
    /// How it fares.
    pub state: ServiceState,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Why it is degraded; names no address and no secret.
    pub reason: Option<String>,
    /// What waits to be copied.
    pub waiting: u64,
    /// Copies that were written or removed.
    pub copied: u64,
    /// Tries that failed.
    pub failed: u64,
}

/// A server.
pub(super) struct Service {
    id: String,
    kind: &'static str,
    heard: Mutex<Heard>,
    copied: AtomicU64,
    failed: AtomicU64,
    /// Told when it answers again.
    pub(super) is_back: Notify,
    turns: watch::Sender<u64>,
    /// Held by who asks how it fares: others wait for that answer.
    pub(super) asking: tokio::sync::Mutex<()>,
}

struct Heard {
    state: ServiceState,
    since: SystemTime,
    reason: Option<String>,
    /// When it last did anything, or nothing for too long.
    last: Option<Instant>,
    /// In a row.
    failures: u32,
    /// Not to be tried before.
    pause_until: Option<Instant>,
}

impl Service {
    pub(super) fn new(id: &str, kind: &'static str, turns: watch::Sender<u64>) -> Self {
        let heard = Heard {
            state: ServiceState::Unknown,
            since: SystemTime::now(),
            reason: None,
            last: None,
            failures: 0,
            pause_until: None,
        };
        Self {
            id: id.to_owned(),
            kind,
            heard: Mutex::new(heard),
            copied: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            is_back: Notify::new(),
            turns,
            asking: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// It answered as it should.
    pub(super) fn answered(&self) {
        let was = self.turn(ServiceState::Connected, None, |heard| {
            (heard.failures, heard.pause_until) = (0, None);
        });
        if was == ServiceState::Degraded {
            self.is_back.notify_one();
        }
    }

    /// It answered, and copies were written.
    pub(super) fn wrote(&self, copies: u64) {
        self.copied.fetch_add(copies, Ordering::Relaxed);
        self.answered();
    }

    /// It did not, and is left alone for a while.
    pub(super) fn failed(&self, reason: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.turn(ServiceState::Degraded, Some(reason), |heard| {
            // what was under way when the pause began, or asked during it, makes it no longer
            if heard.pause_until.is_none_or(|until| until <= Instant::now()) {
                heard.failures = heard.failures.saturating_add(1);
                heard.pause_until = Some(Instant::now() + pause(heard.failures));
            }
        });
    }

    /// Until when it is left alone, if that is not over.
    pub(super) fn pause(&self) -> Option<Instant> {
        self.heard().pause_until.filter(|until| *until > Instant::now())
    }

    pub(super) fn is_degraded(&self) -> bool {
        self.heard().state == ServiceState::Degraded
    }

    /// That it cannot be asked.
    pub(super) fn away(&self, why: String) -> Error {
        Error::Away { id: self.id.clone(), why }
    }

    /// Why it is left alone, where it gave no answer at all: one that refuses something may do the rest.
    pub(super) fn silence(&self) -> Option<String> {
        let heard = self.heard();
        heard.pause_until.filter(|until| *until > Instant::now())?;
        heard.reason.clone().filter(|reason| !reason.starts_with(ANSWERS))
    }

    /// Whether it refused something last.
    pub(super) fn refuses(&self) -> bool {
        self.heard().reason.as_ref().is_some_and(|reason| reason.starts_with(ANSWERS))
    }

    /// Whether copies were written and nothing failed since.
    pub(super) fn is_writing(&self) -> bool {
        self.copied.load(Ordering::Relaxed) > 0 && self.heard().state == ServiceState::Connected
    }

    /// Whether nothing was heard for so long.
    pub(super) fn is_silent(&self, long: Duration) -> bool {
        self.heard().last.is_none_or(|last| last.elapsed() >= long)
    }

    pub(super) fn status(&self, waiting: u64) -> ServiceStatus {
        let heard = self.heard();
        ServiceStatus {
            id: self.id.clone(),
            kind: self.kind,
            state: heard.state,
            since_ms: heard.since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            reason: heard.reason.clone(),
            waiting,
            copied: self.copied.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// How it fares from now on; how it did before.
    fn turn(
        &self,
        state: ServiceState,
        reason: Option<String>,
        change: impl FnOnce(&mut Heard),
    ) -> ServiceState {
        let mut heard = self.heard();
        let was = heard.state;
        (heard.state, heard.reason, heard.last) = (state, reason, Some(Instant::now()));
        change(&mut heard);
        if was != state {
            heard.since = SystemTime::now();
            drop(heard);
            self.turns.send_modify(|turns| *turns += 1);
        }
        was
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After so many failures in a row.
pub(super) fn pause(failures: u32) -> Duration {
    let whole = FIRST_PAUSE * 2_u32.pow(failures.saturating_sub(1).min(6));
    let whole = whole.min(LONGEST_PAUSE);
    let [chance, ..] = uuid::Uuid::new_v4().into_bytes();
    whole.mul_f64(1.0 - f64::from(chance) / 512.0)
}

/// Asks a server how it fares, unless something was heard of it within `believed`; for at most `limit`. Of those who want to
/// know at the same time one asks, so that a server that hangs has one question, however many are interested.
pub(super) async fn ask(
    service: &Service,
    believed: Duration,
    limit: Duration,
    question: impl Future<Output = Result<(), String>>,
) {
    let until = Instant::now() + limit;
    let Ok(_asking) = tokio::time::timeout_at(until, service.asking.lock()).await else { return };
    if !service.is_silent(believed) {
        return;
    }
    match tokio::time::timeout_at(until, question).await {
        Ok(Ok(())) => service.answered(),
        Ok(Err(reason)) => service.failed(reason),
        Err(_) => service.failed(no_answer(limit)),
    }
}

/// A reason.
pub(super) fn no_answer(limit: Duration) -> String {
    format!("no answer within {} s", limit.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_are_not_all_the_same() {
        for (failures, whole) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1_000, 60)] {
            let pauses: Vec<_> = (0..64).map(|_| pause(failures)).collect();
            let whole = Duration::from_secs(whole);
            assert!(pauses.iter().all(|pause| *pause <= whole && *pause > whole / 2), "{failures}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{failures}");
        }
    }

    #[test]
    fn a_server_is_what_it_did_last() {
        let service = Service::new("a", "s3", watch::Sender::new(0));
        assert_eq!(service.status(0).state, ServiceState::Unknown);
        assert!(service.is_silent(Duration::ZERO) && service.pause().is_none());
        service.failed("no connection".into());
        let status = service.status(3);
        assert_eq!((status.state, status.waiting), (ServiceState::Degraded, 3));
        assert_eq!(status.reason.as_deref(), Some("no connection"));
        assert!(service.pause().is_some() && !service.is_silent(Duration::from_secs(60)));
        service.wrote(2);
        let status = service.status(0);
        assert_eq!((status.state, status.reason, status.copied), (ServiceState::Connected, None, 2));
        assert!(service.pause().is_none() && service.is_writing());
        assert_eq!(*service.turns.borrow(), 2);
    }
}
