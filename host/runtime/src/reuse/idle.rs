//! Instances that wait for another request, one at a time (`reuse = "serial"`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use atelier_inference::TenantId;
use futures::channel::oneshot;
use tokio::time::Instant;

use super::{Instance, SETTLE};
use crate::admission::{Door, Place};
use crate::{Limits, Reuse};

/// The instances of one deployment that wait.
pub(crate) struct Idle {
    reuse: Reuse,
    limits: Arc<Limits>,
    /// Where the instances of all deployments wait.
    places: Arc<Door>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest last.
    waiting: Vec<Waiting>,
    /// Whether somebody looks after those whose time is over.
    swept: bool,
}

struct Waiting {
    instance: Instance,
    tenant: TenantId,
    /// When it waits no longer.
    until: Instant,
    _place: Place,
}

impl Idle {
    pub(crate) fn new(reuse: Reuse, limits: Arc<Limits>, places: Arc<Door>) -> Arc<Self> {
        Arc::new(Self { reuse, limits, places, state: Mutex::default() })
    }

    /// Whether instances are kept at all.
    pub(crate) fn is_open(&self) -> bool {
        self.reuse == Reuse::Serial
    }

    /// The instance of this tenant that answered last.
    pub(crate) fn take(&self, tenant: &TenantId) -> Option<Instance> {
        if !self.is_open() {
            return None;
        }
        let now = Instant::now();
        let mut state = self.state();
        let newest = state.waiting.iter().rposition(|one| one.tenant == *tenant && one.until > now)?;
        Some(state.waiting.remove(newest).instance)
    }

    /// Keeps an instance whose guest is done, if it may be used again, once its answer has been taken (`taken`).
    pub(crate) async fn settle(self: &Arc<Self>, mut instance: Instance, taken: oneshot::Receiver<()>) {
        instance.answered += 1;
        let whole = matches!(tokio::time::timeout(SETTLE, taken).await, Ok(Ok(())));
        let now = Instant::now();
        let until = (instance.born + self.limits.reuse_age).min(now + self.limits.reuse_idle);
        let lasts = instance.answered < self.limits.reuse_requests && until > now;
        if !(whole && lasts && instance.meter().is_clean()) {
            return;
        }
        let tenant = instance.meter().tenant().clone();
        let Some(place) = self.places.try_enter(&tenant) else { return };
        instance.rest();
        let mut state = self.state();
        state.waiting.push(Waiting { instance, tenant: tenant.id.clone(), until, _place: place });
        if !std::mem::replace(&mut state.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Drops those whose time is over; when the next one's will be.
    fn drop_old(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.state();
        let old: Vec<Waiting> = state.waiting.extract_if(.., |one| one.until <= now).collect();
        let next = state.waiting.iter().map(|one| one.until).min();
        state.swept = next.is_some();
        drop(state);
        // giving a store back takes a while, which nobody should wait for
        drop(old);
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends with the last instance that waits, or with the deployment.
async fn sweep(idle: Weak<Idle>) {
    while let Some(next) = idle.upgrade().and_then(|idle| idle.drop_old()) {
        tokio::time::sleep_until(next).await;
    }
}
