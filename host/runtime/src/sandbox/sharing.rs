//! A store whose guest works for several requests at a time. Each request is a task of the component model; whenever
//! the guest begins or goes on, the store turns to the request whose task that is. So whatever the guest asks of the host,
//! prints or computes is that request's. What belongs to no task is the store's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::channel::oneshot;
use wasmtime::component::GuestTaskId;
use wasmtime::{CallHook, Store};

use super::meter::Tick;
use super::{Meter, Sandbox, Served};
use crate::Failure;
use crate::context::Scope;

/// Told how a request ended. A channel that is closed says that its store went for another's fault.
pub(crate) type Over = oneshot::Sender<Result<(), Failure>>;

/// The requests of a store.
#[derive(Default)]
pub(super) struct Sharing {
    /// By their tasks, until nothing that they began can be running.
    requests: BTreeMap<GuestTaskId, Request>,
    current: Option<GuestTaskId>,
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
        self.current.and_then(|task| self.requests.get(&task)).map(|request| &request.served)
    }

    pub(super) fn current_mut(&mut self) -> Option<&mut Served> {
        self.current.and_then(|task| self.requests.get_mut(&task)).map(|request| &mut request.served)
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
    /// Takes a request in, before its task begins.
    pub(crate) fn admit(&mut self, task: GuestTaskId, meter: Arc<Meter>, over: Over) {
        meter.join(&self.served.meter, self.limiter.memory_bytes());
        let served = Served::new(self.host.clone(), self.route.clone(), meter);
        self.sharing.requests.insert(task, Request { served, over: Some(over) });
        if self.sharing.current == Some(task) {
            // the number of a task that has ended
            self.sharing.current = None;
        }
    }

    /// The request has its answer; its task may go on.
    pub(crate) fn release(&mut self, task: GuestTaskId) {
        if let Some(over) = self.sharing.requests.get_mut(&task).and_then(|request| request.over.take()) {
            // whoever waited for it may be gone
            let _ = over.send(Ok(()));
        }
    }

    /// No task runs any more. Whether none of them kept anything of its request.
    pub(crate) fn forget_requests(&mut self) -> bool {
        self.turn_to_task(None);
        let requests = std::mem::take(&mut self.sharing.requests);
        requests.values().all(|request| request.served.meter.is_clean())
    }

    /// The store goes, by the fault of the request for which the guest works. Tells all of them; the failure, when nobody
    /// is left to be told whose fault it is.
    pub(crate) fn break_off(&mut self, error: &wasmtime::Error) -> Option<Failure> {
        let faulty = self.meter().clone();
        let failure = faulty.judge(error);
        let culprit = self.sharing.current;
        let mut is_told = false;
        for (task, Request { served, over }) in &mut self.sharing.requests {
            let own = if Some(*task) == culprit {
                failure.clone()
            } else {
                served.meter.settle(|| Failure::InstanceLost { route: served.meter.route() })
            };
            if let Some(over) = over.take() {
                is_told |= Some(*task) == culprit;
                let _ = over.send(Err(own));
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
        if self.sharing.current == task {
            return;
        }
        self.sharing.current = task.filter(|task| self.sharing.requests.contains_key(task));
        let served = self.sharing.current().unwrap_or(&self.served);
        self.limiter.turn_to(served.meter.clone());
        self.output.turn_to(served.log.clone());
    }
}
