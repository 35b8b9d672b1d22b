//! The worker's hands on the engine's models: brings them into memory and out of it, as the budget allows. The engine
//! loads and unloads when it is told to from here, and never by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::residency::Grant;
use super::{Demand, Lease};
use crate::engine::{Engine, HandOver, Run, StepState};
use crate::shared::Shared;
use crate::{Catalog, Error, Order, Result};

/// Owns the engine on behalf of the worker.
pub(crate) struct Loader {
    engine: Box<dyn Engine>,
    catalog: Catalog,
    shared: Arc<Shared>,
}

/// A model is in memory, and there is room for a run of it.
pub(crate) struct Ready {
    /// The run's memory: to be dropped after the run.
    pub(crate) lease: Lease,
    /// How long loading the model took; zero when it was in memory.
    pub(crate) load: Duration,
}

impl Loader {
    pub(crate) fn new(engine: Box<dyn Engine>, catalog: Catalog, shared: Arc<Shared>) -> Self {
        Self { engine, catalog, shared }
    }

    /// Makes room for a demand and loads its model if need be.
    pub(crate) fn ready(&mut self, demand: &Demand) -> Result<Ready> {
        let state = self.shared.lock();
        state.residency.check(demand)?;
        let in_the_way = state.residency.in_the_way(demand);
        drop(state);
        self.unload_all(in_the_way, "another model needs the memory");
        let Grant { model, run } = self.shared.lock().residency.grant(demand)?;
        let load = match model {
            Some(lease) => self.load(demand.model, lease)?,
            None => Duration::ZERO,
        };
        self.shared.lock().residency.touch(demand.model, Instant::now());
        Ok(Ready { lease: run, load })
    }

    /// The run of an order whose model is ready.
    pub(crate) fn begin(&mut self, order: &Order) -> Result<Box<dyn Run>> {
        self.engine.begin(order)
    }

    /// The next step of several runs at once.
    pub(crate) fn step_together(&mut self, runs: &mut [&mut dyn Run]) -> Vec<Result<StepState>> {
        self.engine.step_together(runs)
    }

    /// The run of an order whose refiner is ready.
    pub(crate) fn take_over(&mut self, order: &Order, left: HandOver) -> Result<Box<dyn Run>> {
        match order {
            Order::Image(order) => self.engine.take_over(order, left),
            Order::Speech(_) | Order::Chat(_) => {
                Err(Error::Failed("only pictures are handed over to another model".into()))
            }
        }
    }

    /// The model was used until now.
    pub(crate) fn touch(&self, model: usize) {
        self.shared.lock().residency.touch(model, Instant::now());
    }

    /// Loads a model for an operator, or at the start.
    pub(crate) fn preload(&mut self, model: usize) -> Result<()> {
        let demand = self.shared.lock().residency.own_demand(model);
        // the run's lease is given back at once: it was room for what loading needs for a moment
        let loaded = self.ready(&demand).map(drop);
        self.relieve(model, &loaded);
        loaded
    }

    /// Where memory ran out, whatever else may go, goes, so that the next job finds as much as there can be.
    pub(crate) fn relieve<T>(&mut self, model: usize, result: &Result<T>) {
        if matches!(result, Err(Error::OutOfMemory(_))) {
            let removable = self.shared.lock().residency.removable(Some(model));
            self.unload_all(removable, "memory ran out");
        }
    }

    /// Unloads what was idle for as long as it may be.
    pub(crate) fn unload_idle(&mut self) {
        let idle = self.shared.lock().residency.idle(Instant::now());
        self.unload_all(idle, "it was idle");
    }

    /// Unloads a model for an operator.
    pub(crate) fn unload_unpinned(&mut self, model: usize) -> Result<()> {
        if self.shared.lock().residency.is_pinned(model) {
            let id = self.catalog.at(model).map_or("", |info| info.id().as_str());
            return Err(Error::invalid("model", format!("`{id}` is pinned; unpin it first")));
        }
        self.unload(model, "an operator asked for it");
        Ok(())
    }

    /// Unloads a model; nothing where it is not loaded.
    fn unload(&mut self, model: usize, why: &str) {
        if !self.shared.lock().residency.is_loaded(model) {
            return;
        }
        if let Some(info) = self.catalog.at(model) {
            self.engine.unload(info.id());
            tracing::info!(model = %info.id(), "model unloaded: {why}");
        }
        // after the engine: its bytes are free only now
        self.shared.lock().residency.leave(model);
    }

    /// A model that was pinned since it was chosen stays.
    fn unload_all(&mut self, models: Vec<usize>, why: &str) {
        for model in models {
            if !self.shared.lock().residency.is_pinned(model) {
                self.unload(model, why);
            }
        }
    }

    /// A load that fails gives the lease back.
    fn load(&mut self, model: usize, lease: Lease) -> Result<Duration> {
        self.shared.lock().residency.begin_loading(model);
        let began = Instant::now();
        let loaded = self.catalog.at(model).map_or(Ok(()), |info| self.engine.load(info.id()));
        let took = began.elapsed();
        if let Some(metrics) = self.shared.models.get(model).filter(|_| loaded.is_ok()) {
            metrics.load.record(took);
        }
        let mut state = self.shared.lock();
        match &loaded {
            Ok(()) => state.residency.enter(model, lease, Instant::now()),
            Err(error) => state.residency.fail(model, error.to_string()),
        }
        loaded.map(|()| took)
    }
}
