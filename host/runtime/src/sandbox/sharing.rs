//! A store whose guest works for several requests at a time. Each request is a task of the component model; whenever
//! the guest begins or goes on, the store turns to the request whose task that is. So whatever the guest asks of the host,
//! prints or computes is that request's. What belongs to no task is the store's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::GuestTaskId;
use wasmtime::{CallHook, Store};

use super::meter::Tick;
use super::{Meter, Sandbox, Served};
use crate::Failure;
use crate::context::Scope;
use crate::in_flight::Over;

/// The requests of a store.
#[derive(Default)]
pub(super) struct Sharing {
    /// In the order of their coming, until nothing that they began can be running.
    requests: Vec<Request>,
    /// Which request a task works for, by its place in that order. Tasks that have ended leave their numbers to later ones.
    tasks: BTreeMap<GuestTaskId, usize>,
    current: Option<usize>,
    /// Computing that is no request's; what the store's own meter adds up are the ends of many short slices.
    background: Option<Arc<Meter>>,
}

struct Request {
    served: Served,
    /// None when it is over.
    over: Option<Over>,
}

impl Sharing {
    pub(super) fn current(&self) -> Option<&Served> {
        self.current.and_then(|place| self.requests.get(place)).map(|request| &request.served)
    }

    pub(super) fn current_mut(&mut self) -> Option<&mut Served> {
        self.current.and_then(|place| self.requests.get_mut(place)).map(|request| &mut request.served)
    }
}

/// Lets a store turn to the request for which its guest works.
pub(crate) fn share(store: &mut Store<Sandbox>) {
    let sandbox = store.data_mut();
    let own = &sandbox.served.meter;
    sandbox.sharing.background = Some(Arc::new(own.next(own.tenant().clone(), Scope::default())));
    store.call_hook(|mut context, hook| {
        if let CallHook::CallingWasm | CallHook::ReturningFromHost = hook {
            // the oldest task is the one that the host began
            let task = context.async_call_stack()?.last();
            context.data_mut().turn_to_task(task);
        }
        Ok(())
    });
}

impl Sandbox {
    /// Takes a request in, before its task begins. Returns its place, for [`Sandbox::release`].
    pub(crate) fn admit(&mut self, task: GuestTaskId, meter: Arc<Meter>, over: Over) -> usize {
        meter.join(&self.served.meter, self.limiter.memory_bytes());
        let served = Served::new(self.host.clone(), self.route.clone(), meter);
        let place = self.sharing.requests.len();
        self.sharing.requests.push(Request { served, over: Some(over) });
        self.sharing.tasks.insert(task, place);
        place
    }

    /// The request has its answer; its task may go on.
    pub(crate) fn release(&mut self, place: usize) {
        if let Some(over) = self.sharing.requests.get_mut(place).and_then(|request| request.over.take()) {
            over.tell(Ok(()));
        }
    }

    /// No task runs any more. Whether none of them kept anything of its request.
    pub(crate) fn forget_requests(&mut self) -> bool {
        self.turn_to_task(None);
        self.sharing.tasks.clear();
        let requests = std::mem::take(&mut self.sharing.requests);
        requests.iter().all(|request| request.served.meter.is_clean())
    }

    /// The store goes, by the fault of the request for which the guest works. Tells all of them; the failure, when nobody
    /// is left to be told whose fault it is.
    pub(crate) fn break_off(&mut self, error: &wasmtime::Error) -> Option<Failure> {
        let faulty = self.meter().clone();
        let failure = faulty.judge(error);
        let culprit = self.sharing.current;
        let mut is_told = false;
        for (place, Request { served, over }) in self.sharing.requests.iter_mut().enumerate() {
            let own = if Some(place) == culprit {
                failure.clone()
            } else {
                served.meter.settle(|| Failure::InstanceLost { route: served.meter.route() })
            };
            if let Some(over) = over.take() {
                is_told |= Some(place) == culprit;
                over.tell(Err(own));
            }
        }
        (!is_told && faulty.first_report()).then_some(failure)
    }

    /// After a tick: charges it to the request for which the guest computes.
    pub(super) fn tick(&self) -> Tick {
        match self.sharing.current() {
            Some(request) => self.served.meter.tick_for(&request.meter),
            None => {
                self.served.meter.tick_for(self.sharing.background.as_ref().unwrap_or(&self.served.meter))
            }
        }
    }

    fn turn_to_task(&mut self, task: Option<GuestTaskId>) {
        let place = task.and_then(|task| self.sharing.tasks.get(&task).copied());
        if self.sharing.current == place {
            return;
        }
        self.sharing.current = place;
        let served = self.sharing.current().unwrap_or(&self.served);
        self.limiter.turn_to(served.meter.clone());
        self.output.turn_to(served.log.clone());
    }
}
