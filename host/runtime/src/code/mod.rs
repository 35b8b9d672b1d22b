//! Components as machine code: compiled once per process and content, shared by every route that uses the same bytes,
//! and kept on disk for the next start. Knows digests and names; what a component is for is not known here.

mod cache;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

pub(crate) use cache::Cache;

use crate::metrics::{Metrics, count};
use crate::{Code, LoadProblem};

/// Compilations at a time: each uses every core by itself.
const COMPILERS: usize = 2;

/// A component ready to be linked.
pub(crate) struct Compiled {
    pub(crate) component: Component,
    pub(crate) digest: String,
}

/// Compiles, and remembers for as long as somebody uses the result.
pub(crate) struct Compiler {
    engine: Engine,
    cache: Option<Cache>,
    metrics: Arc<Metrics>,
    timeout: Duration,
    places: Arc<Semaphore>,
    /// By digest. The inner lock is held while compiling, so that nobody compiles the same bytes twice.
    known: Mutex<HashMap<blake3::Hash, Arc<tokio::sync::Mutex<Weak<Compiled>>>>>,
}

impl Compiler {
    pub(crate) fn new(
        engine: Engine,
        cache: Option<Cache>,
        metrics: Arc<Metrics>,
        timeout: Duration,
    ) -> Self {
        let places = Arc::new(Semaphore::new(COMPILERS));
        Self { engine, cache, metrics, timeout, places, known: Mutex::default() }
    }

    /// The machine code of these bytes: from memory, from disk, or compiled now on a thread that may block.
    pub(crate) async fn compile(self: &Arc<Self>, code: &Code) -> Result<Arc<Compiled>, LoadProblem> {
        let digest = blake3::hash(&code.bytes);
        let slot = self.slot(digest);
        let mut slot = slot.lock().await;
        if let Some(compiled) = slot.upgrade() {
            return Ok(compiled);
        }
        let compiled = Arc::new(self.compile_apart(code, digest).await?);
        *slot = Arc::downgrade(&compiled);
        Ok(compiled)
    }

    fn slot(&self, digest: blake3::Hash) -> Arc<tokio::sync::Mutex<Weak<Compiled>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // slots that nobody holds and whose code is gone
        known.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|c| c.strong_count() > 0)
        });
        known.entry(digest).or_default().clone()
    }

    /// On a thread of its own. Past the timeout the thread is left to itself, but keeps its place in the line.
    async fn compile_apart(
        self: &Arc<Self>,
        code: &Code,
        digest: blake3::Hash,
    ) -> Result<Compiled, LoadProblem> {
        let (compiler, name, bytes) = (self.clone(), code.name.clone(), code.bytes.clone());
        let work = async move {
            let place = compiler.places.clone().acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let _place = place;
                compiler.compile_now(&name, &bytes, digest)
            })
            .await
        };
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(LoadProblem::Broken { name: code.name.clone(), why: panic.to_string() }),
            Err(_) => Err(LoadProblem::CompileTimeout { name: code.name.clone(), limit: self.timeout }),
        }
    }

    /// On this thread, which blocks.
    pub(crate) fn compile_now(
        &self,
        name: &str,
        bytes: &Bytes,
        digest: blake3::Hash,
    ) -> Result<Compiled, LoadProblem> {
        let cached = self.cache.as_ref().and_then(|cache| cache.get(&self.engine, name, digest));
        let component = match cached {
            Some(component) => {
                count(&self.metrics.cache_hits);
                component
            }
            None => self.compile_cold(name, bytes, digest)?,
        };
        Ok(Compiled { component, digest: digest.to_string() })
    }

    fn compile_cold(
        &self,
        name: &str,
        bytes: &Bytes,
        digest: blake3::Hash,
    ) -> Result<Component, LoadProblem> {
        let began = std::time::Instant::now();
        let component = Component::from_binary(&self.engine, bytes)
            .map_err(|error| LoadProblem::Broken { name: name.into(), why: format!("{error:#}") })?;
        tracing::info!(component = name, ms = began.elapsed().as_millis() as u64, "compiled");
        count(&self.metrics.cold_compiles);
        if let Some(cache) = &self.cache {
            cache.put(&self.engine, name, digest, &component);
        }
        Ok(component)
    }
}
