//! Requests per second of a hello route through [`Deployment::handle`], with fresh stores, limits and metrics on, beside
//! wasmtime's own [`ProxyHandler`] set up as `wasmtime serve` does: the same guest, the same process, in turns. Prints
//! what reuse of instances brings, and one ratio per `wasi:http` generation; 1.0 or more is the bar. No sockets: the edge has its own benchmark.
//!
//! Build the guests first by running the tests: `cargo test --release -p atelier-runtime --test runtime`.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use atelier_inference::{
    Engine as Models, Error, Estimate, ModelId, ModelInfo, Order, QueueConfig, Run, Scheduler,
};
use atelier_runtime::{Code, Deployment, Grants, Limits, Reuse, RouteSpec, Runtime, RuntimeConfig};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreContextMut};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyHandler, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::{Error as HttpError, WasiHttpCtx, WasiHttpCtxView, WasiHttpView, p2, p3};

const CLIENTS: usize = 32;
const TURN: Duration = Duration::from_secs(2);
const TURNS: usize = 3;

#[expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a tokio runtime");
    runtime.block_on(async {
        for guest in ["plain2", "plain3"] {
            let [fresh, reused] = [ours(guest, Reuse::None).await, ours(guest, Reuse::Serial).await];
            let peer = Arc::new(peer(guest));
            let [mut our_best, mut reused_best, mut peer_best] = [0.0_f64; 3];
            for _ in 0..TURNS {
                our_best = our_best.max(measure(fresh.clone(), ask_ours).await);
                reused_best = reused_best.max(measure(reused.clone(), ask_ours).await);
                peer_best = peer_best.max(measure(peer.clone(), ask_peer).await);
            }
            let (gain, ratio) = (reused_best / our_best, our_best / peer_best);
            println!("{guest}: reuse = \"none\" {our_best:.0}/s, \"serial\" {reused_best:.0}/s, {gain:.2} times as much");
            println!("{guest}: atelier {our_best:.0}/s, ProxyHandler {peer_best:.0}/s, ratio {ratio:.2}");
        }
    });
}

/// Requests per second of so many clients, each with one request at a time.
async fn measure<S, F>(server: Arc<S>, ask: fn(Arc<S>) -> F) -> f64
where
    S: Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let began = Instant::now();
    let clients = (0..CLIENTS).map(|_| {
        let server = server.clone();
        tokio::spawn(async move {
            let mut answered = 0_u64;
            while began.elapsed() < TURN {
                ask(server.clone()).await;
                answered += 1;
            }
            answered
        })
    });
    let mut answered = 0;
    for client in clients.collect::<Vec<_>>() {
        answered += client.await.expect("a client");
    }
    answered as f64 / began.elapsed().as_secs_f64()
}

fn code(guest: &str) -> Code {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-guests/wasm32-wasip2/debug");
    let bytes =
        std::fs::read(folder.join(format!("{guest}.wasm"))).expect("the guests are built by the tests");
    Code { name: guest.into(), bytes: bytes.into() }
}

fn request() -> http::Request<Empty<Bytes>> {
    http::Request::get("http://localhost/").body(Empty::new()).expect("a request")
}

/// A hello route asks for no model.
struct NoModels;

impl Models for NoModels {
    fn models(&self) -> Vec<ModelInfo> {
        Vec::new()
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn estimate(&self) -> Estimate {
        Arc::new(|_| 0)
    }

    fn load(&mut self, _: &ModelId) -> atelier_inference::Result<()> {
        Err(Error::Failed("there are no models".into()))
    }

    fn unload(&mut self, _: &ModelId) {}

    fn begin(&mut self, _: &Order) -> atelier_inference::Result<Box<dyn Run>> {
        Err(Error::Failed("there are no models".into()))
    }
}

async fn ours(guest: &str, reuse: Reuse) -> Arc<Deployment> {
    let scheduler = Scheduler::start(Box::new(NoModels), QueueConfig { depth: 1, ..QueueConfig::default() })
        .expect("a scheduler");
    let runtime = Runtime::new(RuntimeConfig::default(), scheduler, code("decoder")).expect("a runtime");
    let spec = RouteSpec {
        route: "/".into(),
        handler: code(guest),
        intent: None,
        style: Vec::new(),
        select: None,
        finish: Vec::new(),
        grants: Grants::default(),
        limits: Limits::default(),
        channel_message_bytes: None,
        reuse,
        config: Vec::new(),
        metrics: Arc::default(),
    };
    runtime.deploy(spec).await.expect("a deployment")
}

async fn ask_ours(route: Arc<Deployment>) {
    let response = route.handle(request()).await.expect("an answer");
    response.into_body().collect().await.expect("a body");
}

async fn ask_peer(handler: Arc<ProxyHandler<Peer>>) {
    let request = request().map(|body| body.map_err(HttpError::from).boxed_unsync());
    let response = handler.handle((), request).await.expect("an answer");
    response.into_body().collect().await.expect("a body");
}

/// `wasmtime serve` in small: a pool of instances, one request each, no limits, no epochs.
struct Peer {
    engine: Engine,
    pre: ProxyPre<PeerStore>,
}

struct PeerStore {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
}

impl WasiView for PeerStore {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for PeerStore {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: Default::default() }
    }
}

fn peer(guest: &str) -> ProxyHandler<Peer> {
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::new()));
    let engine = Engine::new(&config).expect("an engine");
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI 0.2");
    wasmtime_wasi::p3::add_to_linker(&mut linker).expect("WASI 0.3");
    p2::add_only_http_to_linker_async(&mut linker).expect("HTTP 0.2");
    p3::add_to_linker(&mut linker).expect("HTTP 0.3");
    let component = Component::from_binary(&engine, &code(guest).bytes).expect("a component");
    let pre = linker.instantiate_pre(&component).expect("a linked component");
    let pre = match p3::bindings::ServicePre::new(pre.clone()) {
        Ok(pre) => ProxyPre::P3(pre),
        Err(_) => ProxyPre::P2(p2::bindings::ProxyPre::new(pre).expect("a handler")),
    };
    ProxyHandler::new(Peer { engine, pre })
}

struct OneRequest;

impl WorkerExpiration for OneRequest {
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>, _: WorkerStatus, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}

impl WorkerState for OneRequest {
    type StoreData = PeerStore;
    type RequestData = ();

    fn should_accept_request(&self, _: usize, total: usize) -> ShouldAccept {
        if total == 0 { ShouldAccept::Yes } else { ShouldAccept::Never }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, PeerStore>,
        (): (),
        _: wasmtime::component::GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(std::future::pending())
    }

    fn drop(&self, _: Store<PeerStore>, result: wasmtime::Result<()>) {
        result.expect("the guest does not fail");
    }
}

impl HandlerState for Peer {
    type StoreData = PeerStore;
    type WorkerExpiration = OneRequest;
    type WorkerState = OneRequest;

    async fn instantiate(&self) -> wasmtime::Result<Instance<PeerStore, OneRequest, OneRequest>> {
        let data = PeerStore {
            table: ResourceTable::new(),
            wasi: WasiCtxBuilder::new().build(),
            http: WasiHttpCtx::new(),
        };
        let mut store = Store::new(&self.engine, data);
        let proxy = self.pre.instantiate_async(&mut store).await?;
        Ok(Instance { store, proxy, view: PeerStore::http, expiration: OneRequest, state: OneRequest })
    }
}
