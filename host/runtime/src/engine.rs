//! The one wasmtime engine of the process and its clock. Every component of every route is compiled by this engine:
//! mixing engines mixes up types. The clock is one thread that ticks every [`TICK`]; at each tick a computing guest
//! gives up its thread and its CPU time is looked at.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::Error;

/// Between two looks at a computing guest.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Core instances, tables and memories that one component may be made of, on average, in a full pool.
const CORES_PER_INSTANCE: u32 = 8;
const TABLES_PER_INSTANCE: u32 = 4;
const MEMORIES_PER_INSTANCE: u32 = 3;
/// Pictures that are decoded at a time, at most; each takes an instance.
pub(crate) const MAX_DECODERS: usize = 16;
/// The same for recordings, which take longer: pictures do not wait for them.
pub(crate) const MAX_AUDIO_DECODERS: usize = 8;
/// Dirty bytes of a linear memory, a stack and a table that are wiped by hand for the next instance instead of being given
/// back to the kernel: half the cost of a short request (measured with `benches/hello.rs`).
const KEEP_MEMORY: usize = 512 * 1024;
const KEEP_STACK: usize = 64 * 1024;
const KEEP_TABLE: usize = 64 * 1024;
/// The largest linear memory that a route may allow.
pub(crate) const MAX_MEMORY_BYTES: usize = 1 << 32;
/// The most table elements that a route may allow, and that one table may have.
const MAX_TABLE_ELEMENTS: usize = 1_000_000;
/// Address space that a pool must be able to reserve, as a probe for machines with few address bits.
const PROBE_BYTES: usize = 1 << 42;

/// The engine, and whether its instances come from a pool.
pub(crate) struct SharedEngine {
    pub(crate) engine: Engine,
    pub(crate) pooled: bool,
    /// Requests that a pool has room for.
    pub(crate) max_instances: u32,
}

impl SharedEngine {
    /// Sets the engine up for `max_instances` requests at a time.
    pub(crate) fn new(max_instances: u32) -> Result<Self, Error> {
        // a guest may ask for an error of a stream as a text, and would be shown the host's own stack
        wasmtime::error::disable_backtrace();
        let (engine, pooled) = pooled(max_instances)?;
        start_ticker(&engine)?;
        Ok(Self { engine, pooled, max_instances })
    }
}

/// An engine for a process that compiles and runs nothing: the same configuration, without room for instances and without a
/// clock. What it compiles is what the process's engine loads. The error is the engine's words.
pub(crate) fn for_compiling() -> Result<Engine, String> {
    Engine::new(&config()).map_err(|error| format!("{error:#}"))
}

fn pooled(max_instances: u32) -> Result<(Engine, bool), Error> {
    if has_address_space() {
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(max_instances)));
        match Engine::new(&config) {
            Ok(engine) => return Ok((engine, true)),
            Err(error) => {
                tracing::warn!(%error, "no pool of instances; each request allocates its own, which is slower")
            }
        }
    } else {
        tracing::warn!(
            "too little address space for a pool of instances; each request allocates its own, which is slower"
        );
    }
    let engine = Engine::new(&config()).map_err(|error| Error::Engine(format!("{error:#}")))?;
    Ok((engine, false))
}

fn config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    // stacks of tenants who do not know each other are wiped between requests
    config.async_stack_zeroing(true);
    config.memory_init_cow(true);
    config.cranelift_opt_level(wasmtime::OptLevel::Speed);
    config
}

/// Instances that may wait for another request, of all routes: half as many as may run.
pub(crate) fn idle_places(max_instances: u32) -> u32 {
    max_instances.div_ceil(2)
}

/// Room for every request, with a plugin beside each, for instances that wait, and for the decoders.
fn pool(max_instances: u32) -> PoolingAllocationConfig {
    let busy = max_instances.saturating_mul(2);
    let decoders = (MAX_DECODERS + MAX_AUDIO_DECODERS) as u32;
    let instances = busy.saturating_add(idle_places(max_instances)).saturating_add(decoders);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORES_PER_INSTANCE))
        .total_memories(instances.saturating_mul(MEMORIES_PER_INSTANCE))
        .total_tables(instances.saturating_mul(TABLES_PER_INSTANCE))
        .total_stacks(instances.saturating_mul(2))
        .max_memory_size(MAX_MEMORY_BYTES)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .async_stack_keep_resident(KEEP_STACK)
        .table_keep_resident(KEEP_TABLE)
        .max_unused_warm_slots(max_instances);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        // the kernel tells which pages are dirty; without that, wiping would touch all of them
        pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(KEEP_MEMORY);
    }
    pool
}

#[expect(unsafe_code, reason = "reserving address space to see whether there is enough")]
fn has_address_space() -> bool {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a fresh anonymous mapping without access rights overlaps nothing and is given back before anyone sees it
    unsafe {
        match mmap_anonymous(std::ptr::null_mut(), PROBE_BYTES, ProtFlags::empty(), flags) {
            Ok(address) => munmap(address, PROBE_BYTES).is_ok(),
            Err(_) => false,
        }
    }
}

/// Ticks since the clock began.
static TICKS: AtomicU64 = AtomicU64::new(0);

/// The time in ticks: what guests on their way are measured with, since a system clock costs microseconds on some machines.
pub(crate) fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// The clock ends with the engine.
fn start_ticker(engine: &Engine) -> Result<(), Error> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            TICKS.fetch_add(1, Ordering::Relaxed);
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new().name("epoch".into()).spawn(tick).map(drop).map_err(Error::Thread)
}

static SHARED: OnceLock<Result<SharedEngine, String>> = OnceLock::new();

/// The process's engine: made by whoever comes first, with that one's number of instances.
pub(crate) fn shared(max_instances: u32) -> Result<&'static SharedEngine, Error> {
    let make = || SharedEngine::new(max_instances).map_err(|error| error.to_string());
    SHARED.get_or_init(make).as_ref().map_err(|error| Error::Engine(error.clone()))
}

/// Requests that the process's engine has room for; 0 before there is one.
pub(crate) fn room() -> u32 {
    SHARED.get().and_then(|shared| shared.as_ref().ok()).map_or(0, |shared| shared.max_instances)
}
