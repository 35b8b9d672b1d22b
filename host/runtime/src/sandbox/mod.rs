//! One store: what a guest can see of the host, and what it may use up. Made for one request or one call of a plugin and
//! thrown away after it, so that nothing is left for the next guest to find; unless its route lets a handler's store turn
//! to another request of the same tenant, or work for several at a time (`sharing.rs`).

mod cpu;
mod held;
mod limiter;
mod logs;
mod meter;
mod orders;
mod sharing;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::metrics::RouteMetrics;
use crate::outbound::Outbound;
use crate::runtime::Host;
use crate::stage::Stages;
use crate::{Grants, Limits, Secret};

pub(crate) use held::Held;
pub(crate) use limiter::Limiter;
use logs::{Log, Output};
use meter::Tick;
pub(crate) use meter::{Meter, Wait};
pub(crate) use orders::HeldJob;
use sharing::Sharing;
pub(crate) use sharing::share;
pub(crate) use verdict::is_unset;

/// What every store of a route shares and nobody changes.
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    /// A digest of its code and configuration.
    pub(crate) identity: String,
    pub(crate) limits: Arc<Limits>,
    pub(crate) grants: Grants,
    pub(crate) config: WasiConfigVariables,
    /// Part of the configuration that is taken out of what the guest prints.
    pub(crate) secret: Option<Secret>,
    pub(crate) stages: Stages,
    /// Of an event's payload, where the route serves channels.
    pub(crate) channel_message_bytes: usize,
    pub(crate) metrics: Arc<RouteMetrics>,
    /// Plugins of this deployment that failed by their own making.
    pub(crate) plugin_failures: AtomicU64,
}

/// A store's data.
pub(crate) struct Sandbox {
    pub(crate) table: ResourceTable,
    pub(crate) host: Arc<Host>,
    pub(crate) route: Arc<Route>,
    /// The request for which the guest works, or nobody in particular.
    served: Served,
    /// Several of them.
    sharing: Sharing,
    output: Output,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    limiter: Limiter,
}

/// What a store keeps of one request.
struct Served {
    meter: Arc<Meter>,
    outbound: Outbound,
    log: Arc<Log>,
}

impl Served {
    fn new(host: Arc<Host>, route: Arc<Route>, meter: Arc<Meter>) -> Self {
        let (context, limit) = (meter.scope().context().clone(), route.limits.log_bytes);
        let log = Log::new(route.name.clone(), context, limit, route.secret.clone());
        Self { outbound: Outbound::new(host, route, meter.clone()), meter, log }
    }
}

impl Sandbox {
    /// A fresh store in which nothing has run.
    pub(crate) fn store(
        engine: &Engine,
        host: Arc<Host>,
        route: Arc<Route>,
        meter: Arc<Meter>,
    ) -> Store<Sandbox> {
        let limits = route.limits.clone();
        let mut store = Store::new(engine, Self::new(host, route, meter));
        store.limiter(|sandbox| &mut sandbox.limiter);
        store.set_hostcall_fuel(limits.hostcall_bytes);
        store.set_max_component_handles(limits.handles);
        // a deadline of 0 would call back at once
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            Ok(match context.data().tick() {
                Tick::GoOn => UpdateDeadline::Continue(1),
                Tick::GiveWay => UpdateDeadline::Yield(1),
                Tick::Stop => UpdateDeadline::Interrupt,
            })
        });
        store
    }

    fn new(host: Arc<Host>, route: Arc<Route>, meter: Arc<Meter>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(route.limits.handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(route.limits.header_bytes);
        let limiter = Limiter::new(meter.clone());
        let served = Served::new(host.clone(), route.clone(), meter);
        let output = Output::to(served.log.clone());
        let (wasi, sharing) = (wasi(&route, &output), Sharing::default());
        Self { table, wasi, http, served, sharing, output, limiter, host, route }
    }

    /// Counts what the request uses up for which the guest works.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.sharing.current().unwrap_or(&self.served).meter
    }

    /// The guest works for the request of this meter from now on.
    pub(crate) fn turn_to(&mut self, meter: Arc<Meter>) {
        self.limiter.turn_to(meter.clone());
        self.served = Served::new(self.host.clone(), self.route.clone(), meter);
        self.output.turn_to(self.served.log.clone());
    }

    /// Writes a message of the guest into the log of the request for which it works.
    pub(crate) fn say(&self, level: tracing::Level, severity: &str, context: &str, message: &str) {
        self.sharing.current().unwrap_or(&self.served).log.say(level, severity, context, message);
    }

    pub(crate) fn config(&mut self) -> WasiConfig<'_> {
        WasiConfig::from(&self.route.config)
    }
}

/// Clocks and random numbers; no files, no sockets, no environment, no arguments.
fn wasi(route: &Route, output: &Output) -> WasiCtx {
    WasiCtxBuilder::new()
        .stdout(output.stdout())
        .stderr(output.stderr())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(route.limits.random_bytes)
        .build()
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Sandbox {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let served = self.sharing.current_mut().unwrap_or(&mut self.served);
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut served.outbound }
    }
}
