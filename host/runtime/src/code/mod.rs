//! Components as machine code: compiled once per process and content, shared by every route that uses the same bytes,
//! and kept on disk for the next start. Knows digests and names; what a component is for is not known here.
//!
//! Compiling is the host's most expensive work on a stranger's behalf, so it happens in a child of limited time and memory
//! (`process.rs` starts it, `child.rs` is what it does, `wire.rs` what both say). `machine.rs` holds the two steps themselves,
//! `cache.rs` the results on disk.

mod cache;
mod child;
mod machine;
mod process;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use atelier_inference::metrics::Labelled;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

pub(crate) use cache::Cache;
pub use child::compile_for_parent;
pub use process::CompilerProgram;

use crate::metrics::{ComponentMetrics, Metrics, count};
use crate::{Code, Limits, LoadProblem, RouteSpec};

/// Compilations at a time: each uses every core by itself, and takes memory.
const COMPILERS: usize = 2;
/// Time by the clock for each unit of processor time: a child gives way to whoever serves, and is not refused for it.
const WALL_FACTOR: u32 = 4;
/// Refused components that are remembered, so that the same bytes are not tried with every reload.
const MAX_REMEMBERED: usize = 256;

/// A component ready to be linked.
pub(crate) struct Compiled {
    pub(crate) component: Component,
    pub(crate) digest: String,
    pub(crate) metrics: Arc<ComponentMetrics>,
}

impl Compiled {
    /// The beginning of the digest, by which metrics and log lines name a component.
    pub(crate) fn label(&self) -> &str {
        label(&self.digest)
    }
}

fn label(digest: &str) -> &str {
    digest.get(..ComponentMetrics::LABEL_DIGITS).unwrap_or(digest)
}

/// What compiling may take, and for whom it is done.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    route: String,
    cpu: Duration,
    memory_bytes: usize,
}

impl Bounds {
    pub(crate) fn of(spec: &RouteSpec) -> Self {
        Self::within(&spec.route, &spec.limits)
    }

    /// For whoever is named.
    pub(crate) fn within(route: &str, limits: &Limits) -> Self {
        Self { route: route.into(), cpu: limits.compile, memory_bytes: limits.compile_memory_bytes }
    }

    fn wall(&self) -> Duration {
        self.cpu.saturating_mul(WALL_FACTOR)
    }
}

/// Why there is no machine code.
#[derive(Debug, Clone, PartialEq, Eq)]
enum CompileError {
    /// The compiler's words.
    Refused(String),
    /// Too much processor time.
    Cpu,
    /// Too much time by the clock.
    Wall,
    /// Too much memory.
    Memory,
    /// The compiler itself failed.
    Gone(String),
}

impl CompileError {
    fn into_problem(self, name: &str, bounds: &Bounds) -> LoadProblem {
        let (name, route) = (name.to_owned(), bounds.route.clone());
        match self {
            Self::Refused(why) => LoadProblem::Broken { name, why },
            Self::Cpu => LoadProblem::CompileCpu { name, route, limit: bounds.cpu },
            Self::Wall => LoadProblem::CompileWall { name, route, limit: bounds.wall(), factor: WALL_FACTOR },
            Self::Memory => LoadProblem::CompileMemory { name, route, limit: bounds.memory_bytes },
            Self::Gone(why) => LoadProblem::CompilerGone { name, why },
        }
    }

    /// Whether the same bytes end in the same way, within these bounds, as they did within `then`.
    fn holds(&self, then: &Bounds, now: &Bounds) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Cpu => now.cpu <= then.cpu,
            Self::Memory => now.memory_bytes <= then.memory_bytes,
            // the machine was busy, or somebody ended the child: another time it may work
            Self::Wall | Self::Gone(_) => false,
        }
    }
}

/// A component that was refused, and within which bounds.
struct Remembered {
    digest: blake3::Hash,
    error: CompileError,
    bounds: Bounds,
}

/// Compiles, and remembers for as long as somebody uses the result.
pub(crate) struct Compiler {
    engine: Engine,
    cache: Option<Cache>,
    /// Without one, strangers' components are compiled in this process, which bounds time only.
    program: Option<CompilerProgram>,
    metrics: Arc<Metrics>,
    /// What was counted, by the beginning of the digest.
    components: Labelled<ComponentMetrics>,
    places: Arc<Semaphore>,
    /// By digest. The inner lock is held while compiling, so that nobody compiles the same bytes twice.
    known: Mutex<HashMap<blake3::Hash, Arc<tokio::sync::Mutex<Weak<Compiled>>>>>,
    /// The newest last.
    refused: Mutex<VecDeque<Remembered>>,
}

impl Compiler {
    pub(crate) fn new(
        engine: Engine,
        cache: Option<Cache>,
        program: Option<CompilerProgram>,
        metrics: Arc<Metrics>,
        components: Labelled<ComponentMetrics>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(COMPILERS));
        let (known, refused) = (Mutex::default(), Mutex::default());
        Self { engine, cache, program, metrics, components, places, known, refused }
    }

    /// What was counted of every component.
    pub(crate) fn components(&self) -> Vec<(Arc<str>, Arc<ComponentMetrics>)> {
        self.components.all()
    }

    /// The machine code of a stranger's bytes: from memory, from disk, or compiled now, within bounds.
    pub(crate) async fn compile(
        self: &Arc<Self>,
        code: &Code,
        bounds: &Bounds,
    ) -> Result<Arc<Compiled>, LoadProblem> {
        let digest = blake3::hash(&code.bytes);
        let slot = self.slot(digest);
        let mut slot = slot.lock().await;
        if let Some(compiled) = slot.upgrade() {
            return Ok(compiled);
        }
        let compiled = match self.remembered(digest, bounds) {
            Some(error) => Err(error),
            None => self.find_or_compile(code, digest, bounds).await,
        };
        let component = compiled.map_err(|error| error.into_problem(&code.name, bounds))?;
        let compiled = Arc::new(self.compiled(&code.name, component, digest));
        *slot = Arc::downgrade(&compiled);
        Ok(compiled)
    }

    /// The same for a component of our own, on this thread, which blocks.
    pub(crate) fn compile_own(&self, code: &Code) -> Result<Compiled, LoadProblem> {
        let broken = |why| LoadProblem::Broken { name: code.name.clone(), why };
        let digest = blake3::hash(&code.bytes);
        let component = match self.cached(&code.name, digest) {
            Some(component) => component,
            None => {
                let began = Instant::now();
                let machine_code = machine::compile(&self.engine, &code.bytes).map_err(broken)?;
                self.keep(&code.name, digest, &machine_code, began).map_err(broken)?
            }
        };
        Ok(self.compiled(&code.name, component, digest))
    }

    fn compiled(&self, name: &str, component: Component, digest: blake3::Hash) -> Compiled {
        let digest = digest.to_string();
        let label = label(&digest);
        let metrics = self.components.get(label);
        if self.components.has(label) {
            metrics.called(name);
        }
        Compiled { component, digest, metrics }
    }

    fn slot(&self, digest: blake3::Hash) -> Arc<tokio::sync::Mutex<Weak<Compiled>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // slots that nobody holds and whose code is gone
        known.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|c| c.strong_count() > 0)
        });
        known.entry(digest).or_default().clone()
    }

    async fn find_or_compile(
        self: &Arc<Self>,
        code: &Code,
        digest: blake3::Hash,
        bounds: &Bounds,
    ) -> Result<Component, CompileError> {
        let (compiler, name) = (self.clone(), code.name.clone());
        let cached = tokio::task::spawn_blocking(move || compiler.cached(&name, digest)).await;
        if let Some(component) = cached.map_err(|panic| CompileError::Gone(panic.to_string()))? {
            return Ok(component);
        }
        // waiting for a place costs the component nothing
        let place = self.places.clone().acquire_owned().await;
        let (compiler, owned, theirs) = (self.clone(), code.clone(), bounds.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _place = place;
            compiler.compile_cold(&owned, digest, &theirs)
        });
        let result = match &self.program {
            Some(_) => work.await,
            // past its time the thread is left to itself, but keeps its place
            None => match tokio::time::timeout(bounds.wall(), work).await {
                Ok(result) => result,
                Err(_) => Ok(Err(CompileError::Wall)),
            },
        };
        let result = result.unwrap_or_else(|panic| Err(CompileError::Gone(panic.to_string())));
        result.inspect_err(|error| self.remember(digest, error, bounds))
    }

    fn cached(&self, name: &str, digest: blake3::Hash) -> Option<Component> {
        let began = Instant::now();
        let component = self.cache.as_ref()?.get(&self.engine, name, digest)?;
        count(&self.metrics.cache_hits);
        self.metrics.loads.cached.record(began.elapsed());
        Some(component)
    }

    fn compile_cold(
        &self,
        code: &Code,
        digest: blake3::Hash,
        bounds: &Bounds,
    ) -> Result<Component, CompileError> {
        let began = Instant::now();
        let machine_code = match &self.program {
            Some(program) => process::compile(program, &code.bytes, &digest, bounds)?,
            None => machine::compile(&self.engine, &code.bytes).map_err(CompileError::Refused)?,
        };
        self.keep(&code.name, digest, &machine_code, began).map_err(CompileError::Refused)
    }

    /// Loads what was just compiled, and keeps it for the next start.
    fn keep(
        &self,
        name: &str,
        digest: blake3::Hash,
        machine_code: &[u8],
        began: Instant,
    ) -> Result<Component, String> {
        let component = machine::load(&self.engine, machine_code).map_err(|error| format!("{error:#}"))?;
        let took = began.elapsed();
        tracing::info!(component = name, ms = took.as_millis() as u64, "compiled");
        self.metrics.loads.compile.record(took);
        count(&self.metrics.cold_compiles);
        if let Some(cache) = &self.cache {
            cache.put(&self.engine, name, digest, machine_code);
        }
        Ok(component)
    }

    fn remembered(&self, digest: blake3::Hash, bounds: &Bounds) -> Option<CompileError> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let known = refused.iter().rev().find(|known| known.digest == digest)?;
        known.error.holds(&known.bounds, bounds).then(|| known.error.clone())
    }

    fn remember(&self, digest: blake3::Hash, error: &CompileError, bounds: &Bounds) {
        count(&self.metrics.refused_compiles);
        if !error.holds(bounds, bounds) {
            return;
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|known| known.digest != digest);
        if refused.len() == MAX_REMEMBERED {
            refused.pop_front();
        }
        refused.push_back(Remembered { digest, error: error.clone(), bounds: bounds.clone() });
    }
}
