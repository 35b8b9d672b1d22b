//! Instances that answer several requests at a time (`reuse = "concurrent"`). This file chooses who answers: an instance of
//! the same tenant that has room (`load.rs`) and time, else a new one (`member.rs`). What the guest asks of the host is tied to
//! the request for which it works (`sandbox/sharing.rs`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;
use tokio::time::Instant;
use wasmtime_wasi_http::handler::{ProxyPre, Request};

use super::load::{Arrival, Load};
use super::member::Member;
use crate::Failure;
use crate::admission::Place;
use crate::drive::Answer;
use crate::metrics::{ComponentMetrics, count};
use crate::runtime::Host;
use crate::sandbox::{Meter, Route, Sandbox};

/// The instances of one deployment, each of which answers several requests at a time.
pub(crate) struct Shared {
    pub(super) host: Arc<Host>,
    pub(super) route: Arc<Route>,
    pre: Arc<ProxyPre<Sandbox>>,
    component: Arc<ComponentMetrics>,
    open: Mutex<Vec<Open>>,
}

/// An instance that takes requests.
struct Open {
    load: Arc<Load>,
    born: Instant,
    /// Requests that it was given.
    given: u32,
}

impl Shared {
    pub(crate) fn new(
        host: Arc<Host>,
        route: Arc<Route>,
        pre: Arc<ProxyPre<Sandbox>>,
        component: Arc<ComponentMetrics>,
    ) -> Arc<Self> {
        Arc::new(Self { host, route, pre, component, open: Mutex::default() })
    }

    /// Lets an instance answer, and waits until the request is over. One that nobody waits for any more, or that met a limit
    /// of its own, is given up: its jobs end, and its task gets nothing from the host any more.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        meter: Arc<Meter>,
        place: Place,
        request: Request,
        answer: Answer,
        taken: oneshot::Receiver<()>,
    ) -> Result<(), Failure> {
        let (over, end) = oneshot::channel();
        let mut unfinished = Unfinished(Some(meter.clone()));
        self.dispatch(Arrival { meter: meter.clone(), place, request, answer, taken, over });
        let ended = tokio::select! {
            biased;
            ended = end => ended,
            failure = meter.deadline() => return Err(failure),
        };
        unfinished.0 = None;
        ended.unwrap_or_else(|_| Err(meter.settle(|| Failure::InstanceLost { route: meter.route() })))
    }

    /// Gives a request to an instance that has room, or to a new one.
    pub(super) fn dispatch(self: &Arc<Self>, arrival: Arrival) {
        let (limits, born) = (&self.route.limits, Instant::now());
        let tenant = arrival.meter.tenant().clone();
        let mut open = self.open();
        open.retain(|one| {
            let lasts = one.given < limits.reuse_requests && one.born + limits.reuse_age > born;
            if !lasts {
                one.load.close();
            }
            lasts
        });
        let has_room = |one: &&mut Open| {
            one.load.own.tenant().id == tenant.id && one.load.has_room(limits.reuse_at_a_time)
        };
        if let Some(one) = open.iter_mut().find(has_room) {
            one.given += 1;
            count(&self.host.metrics.reused);
            return one.load.push(arrival);
        }
        let own = Meter::shared(self.route.clone(), tenant.clone(), self.component.clone());
        let load = Load::new(Arc::new(own));
        open.push(Open { load: load.clone(), born, given: 1 });
        drop(open);
        tokio::spawn(Member::new(self, tenant, load, born).work(self.pre.clone(), arrival));
    }

    /// The instance of this load takes no more requests.
    pub(super) fn close(&self, load: &Arc<Load>) {
        self.open().retain(|one| !Arc::ptr_eq(&one.load, load));
    }

    fn open(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    /// The deployment is gone: instances end with the requests that they have.
    fn drop(&mut self) {
        self.open().iter().for_each(|one| one.load.close());
    }
}

/// A request that is not over.
struct Unfinished(Option<Arc<Meter>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(meter) = &self.0 {
            meter.give_up();
        }
    }
}
