//! Instances that answer several requests, where a route allows it: one after the other (`idle.rs`), or several at a time
//! (`shared.rs`, `load.rs`, `member.rs`). The rules:
//!
//! 1. An instance answers only requests of the tenant and the deployment that it began with.
//! 2. It is used again only when its requests ended cleanly: no failure, a whole answer that was taken to its end, and
//!    nothing of the request (its body, a job, a call to a server) left in the guest's hands.
//! 3. What a request uses up is counted for that request; what the instance holds (memory, tables, handles, pictures) is
//!    counted together, for as long as it is held.
//! 4. An instance lives so long, waits so long and answers so often only (`limits.reuse-*`), and those that wait have
//!    places of their own, of which a tenant has its share, as everywhere.
//! 5. Where it answers several at a time: a trap, or too much computing, ends all of them; the others are told that it was not
//!    theirs. One that is given up ends alone as far as a guest can be stopped without the others: its jobs and what it
//!    waits for end, what it asks for next never comes, and the instance takes no more requests.

mod idle;
mod load;
mod member;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::Store;
use wasmtime_wasi_http::handler::{Proxy, ProxyPre};

use crate::context::Scope;
use crate::sandbox::{Meter, Sandbox};
pub(crate) use idle::Idle;
pub(crate) use load::Arrival;
pub(crate) use shared::Shared;

/// How long an instance waits, when its guest is done, for the client to take what is left of the answer. Longer is no
/// use: the answer needs the instance no more.
const SETTLE: Duration = Duration::from_secs(1);

/// A component's instance with its store.
pub(crate) struct Instance {
    pub(crate) store: Store<Sandbox>,
    pub(crate) proxy: Proxy,
    born: Instant,
    answered: u32,
}

impl Instance {
    /// A fresh one, for the request that the store was made for.
    pub(crate) async fn new(mut store: Store<Sandbox>, pre: &ProxyPre<Sandbox>) -> wasmtime::Result<Self> {
        let meter = store.data().meter().clone();
        let proxy = meter.instantiate(pre.instantiate_async(&mut store)).await?;
        Ok(Self { store, proxy, born: Instant::now(), answered: 0 })
    }

    /// What counts for the request that it works for, or worked for last.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        self.store.data().meter()
    }

    /// Turns to another request, which is counted by this meter.
    pub(crate) fn turn_to(&mut self, meter: Arc<Meter>) {
        self.store.data_mut().turn_to(meter);
        // the ticks that passed while it waited are nobody's
        self.store.set_epoch_deadline(1);
    }

    /// Lets go of the request that is over, so that its trace and its log can end.
    fn rest(&mut self) {
        let nobodys = self.meter().next(self.meter().tenant().clone(), Scope::default());
        self.store.data_mut().turn_to(Arc::new(nobodys));
    }
}
