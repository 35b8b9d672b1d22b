//! Instances that answer several requests at a time (`reuse = "concurrent"`). Requests of a tenant wait in one line; this file
//! calls an instance (`member.rs`) that has room (`load.rs`) and time, or makes a new one. What the guest asks of the host is
//! tied to the request for which it works (`sandbox/sharing.rs`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atelier_inference::TenantId;
use tokio::time::Instant;
use wasmtime_wasi_http::handler::ProxyPre;

use super::load::{Arrival, Load};
use super::member::Member;
use crate::metrics::{ComponentMetrics, count};
use crate::runtime::Host;
use crate::sandbox::{Meter, Route, Sandbox};

/// The instances of one deployment, each of which answers several requests at a time.
pub(crate) struct Shared {
    pub(super) host: Arc<Host>,
    pub(super) route: Arc<Route>,
    pre: Arc<ProxyPre<Sandbox>>,
    component: Arc<ComponentMetrics>,
    /// By tenant, as long as a tenant has any.
    crews: Mutex<BTreeMap<TenantId, Crew>>,
}

/// The instances of one tenant, and the requests that wait for whichever comes first. Few instances take many requests
/// each, one after the other while they are awake: waking one costs more than a short request.
#[derive(Default)]
struct Crew {
    waiting: VecDeque<Arrival>,
    open: Vec<Open>,
}

/// An instance that takes requests.
struct Open {
    load: Arc<Load>,
    until: Instant,
    /// Requests that it may still take.
    left: u32,
}

impl Shared {
    pub(crate) fn new(
        host: Arc<Host>,
        route: Arc<Route>,
        pre: Arc<ProxyPre<Sandbox>>,
        component: Arc<ComponentMetrics>,
    ) -> Arc<Self> {
        Arc::new(Self { host, route, pre, component, crews: Mutex::default() })
    }

    /// Lets a request wait for an instance, and sees to it that one comes.
    pub(crate) fn dispatch(self: &Arc<Self>, arrival: Arrival) {
        let mut crews = self.crews();
        let crew = crews.entry(arrival.meter.tenant().id.clone()).or_default();
        crew.waiting.push_back(arrival);
        crew.retire(Instant::now());
        self.call(crew);
    }

    /// The request that waited longest, for an instance that has room and time. The others are looked after when it pauses:
    /// it may compute for long now.
    pub(super) fn take(self: &Arc<Self>, load: &Arc<Load>) -> Option<Arrival> {
        let mut crews = self.crews();
        let crew = crews.get_mut(&load.own.tenant().id)?;
        if crew.waiting.is_empty() || !load.has_room(self.at_a_time()) {
            return None;
        }
        crew.retire(Instant::now());
        let one = crew.open.iter_mut().find(|one| Arc::ptr_eq(&one.load, load))?;
        one.left -= 1;
        if one.left == 0 {
            load.close();
        }
        count(&self.host.metrics.reused);
        crew.waiting.pop_front()
    }

    /// Calls an instance if a request of this tenant waits: the one that was called has gone, or computes.
    pub(super) fn look_after(self: &Arc<Self>, tenant: &TenantId) {
        if let Some(crew) = self.crews().get_mut(tenant) {
            self.call(crew);
        }
    }

    /// Calls an instance for the request that waited longest; where none is free, makes one.
    fn call(self: &Arc<Self>, crew: &mut Crew) {
        if crew.waiting.is_empty() {
            return;
        }
        if let Some(free) = crew.open.iter().find(|one| one.load.is_free(self.at_a_time())) {
            return free.load.call();
        }
        let Some(arrival) = crew.waiting.pop_front() else { return };
        let (tenant, limits, born) = (arrival.meter.tenant().clone(), &self.route.limits, Instant::now());
        let own = Meter::shared(self.route.clone(), tenant.clone(), self.component.clone());
        let load = Load::new(Arc::new(own));
        let (until, left) = (born + limits.reuse_age, limits.reuse_requests.saturating_sub(1));
        crew.open.push(Open { load: load.clone(), until, left });
        tokio::spawn(Member::new(self, tenant, load, until).work(self.pre.clone(), arrival));
    }

    /// The instance of this load takes no more requests.
    pub(super) fn close(&self, load: &Arc<Load>) {
        let (mut crews, tenant) = (self.crews(), &load.own.tenant().id);
        let Some(crew) = crews.get_mut(tenant) else { return };
        crew.open.retain(|one| !Arc::ptr_eq(&one.load, load));
        if crew.open.is_empty() && crew.waiting.is_empty() {
            crews.remove(tenant);
        }
    }

    fn at_a_time(&self) -> usize {
        self.route.limits.reuse_at_a_time as usize
    }

    fn crews(&self) -> MutexGuard<'_, BTreeMap<TenantId, Crew>> {
        self.crews.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crew {
    /// Lets instances end that have answered often enough or lived long enough.
    fn retire(&mut self, now: Instant) {
        self.open.retain(|one| {
            let lasts = one.left > 0 && one.until > now;
            if !lasts {
                one.load.close();
            }
            lasts
        });
    }
}

impl Drop for Shared {
    /// The deployment is gone: instances end with the requests that they have.
    fn drop(&mut self) {
        self.crews().values().flat_map(|crew| &crew.open).for_each(|one| one.load.close());
    }
}
