//! Which models are in memory, which are pinned, and which gives way to another: the one that was not used for longest.
//! The only place that knows what is loaded. A plain table: no threads, no engine; time comes in from outside.

use std::time::{Duration, Instant};

use super::budget::{Budget, Lease, MemoryStatus, Purpose};
use super::{Keep, MemoryConfig, ModelState};
use crate::{Error, ModelCard, ModelId, ModelInfo, Result};

/// Every model of the catalog, in its order.
pub(crate) struct Residency {
    budget: Budget,
    models: Vec<Resident>,
}

/// A model, in memory or not.
pub(crate) struct Resident {
    pub(crate) id: ModelId,
    /// What it takes while it is loaded.
    pub(crate) bytes: u64,
    pub(crate) pinned: bool,
    /// When somebody last asked for it, or used it; `None` before that.
    pub(crate) used: Option<Instant>,
    pub(crate) idle_unload: Option<Duration>,
    /// Why it could not be loaded the last time, if so.
    pub(crate) problem: Option<String>,
    /// What a job of its own size takes.
    typical: u64,
    lease: Option<Lease>,
    is_loading: bool,
}

impl Resident {
    pub(crate) fn state(&self) -> ModelState {
        match (&self.lease, self.is_loading) {
            (Some(_), _) => ModelState::Loaded,
            (None, true) => ModelState::Loading,
            (None, false) => ModelState::Unloaded,
        }
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.lease.is_some()
    }
}

/// What is wanted of the memory: a model, and bytes for a run of it.
pub(crate) struct Demand {
    /// The model's place in the catalog.
    pub(crate) model: usize,
    /// What the run takes beside the model.
    pub(crate) run: u64,
    /// What wants it, for a refusal.
    pub(crate) what: String,
    /// What would help, for a refusal.
    pub(crate) fix: &'static str,
}

/// What a demand was given.
pub(crate) struct Grant {
    /// For the model, when it has yet to be loaded.
    pub(crate) model: Option<Lease>,
    pub(crate) run: Lease,
}

const FIX_MODEL: &str = "raise it, pin fewer models, or remove this one from the manifest";

impl Residency {
    /// The table with nothing loaded. `models` come with what a job of their own size takes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a model that cannot do an order of its own size within the budget, even when all
    /// models that are not pinned have given way, and for models that are to be loaded at the start and do not all fit.
    pub(crate) fn new(budget: u64, models: Vec<(ModelInfo, u64)>, config: &MemoryConfig) -> Result<Self> {
        let resident = |(info, typical): (ModelInfo, u64)| {
            let Keep { pinned, idle_unload, .. } = config.models.get(info.id()).copied().unwrap_or_default();
            let ModelCard { id, memory_bytes: bytes, .. } = info.card().clone();
            let (used, problem, lease) = (None, None, None);
            Resident { id, bytes, pinned, used, idle_unload, problem, typical, lease, is_loading: false }
        };
        let models = models.into_iter().map(resident).collect();
        let table = Self { budget: Budget::new(budget), models };
        table.check_models()?;
        table.check_preloads(config)?;
        Ok(table)
    }

    /// Whether every model can do an order of its own size beside those that are pinned.
    fn check_models(&self) -> Result<()> {
        (0..self.models.len()).try_for_each(|model| self.check(&self.own_demand(model)))
    }

    /// Whether no model that is loaded at the start gives way to the next one.
    fn check_preloads(&self, config: &MemoryConfig) -> Result<()> {
        let is_preloaded = |model: &&Resident| config.models.get(&model.id).is_some_and(|keep| keep.preload);
        let preloaded: Vec<&Resident> = self.models.iter().filter(is_preloaded).collect();
        let run = preloaded.iter().map(|model| model.typical).max().unwrap_or_default();
        let needed = sum(preloaded.iter().map(|model| model.bytes).chain([run]));
        let budget = self.budget.status().budget;
        if needed <= budget {
            return Ok(());
        }
        let ids: Vec<String> = preloaded.iter().map(|model| format!("`{}`", model.id)).collect();
        let what = format!("loading {} at the start", ids.join(", "));
        Err(Error::TooLarge { what, needed, budget, fix: "raise it, or give fewer models `preload`" })
    }

    /// What a model and a job of its own size take.
    pub(crate) fn own_demand(&self, model: usize) -> Demand {
        let resident = self.models.get(model);
        let run = resident.map_or(0, |resident| resident.typical);
        let what = resident.map_or_else(String::new, |resident| format!("model `{}`", resident.id));
        Demand { model, run, what, fix: FIX_MODEL }
    }

    /// Whether a demand can ever be met: with every model unloaded that is not pinned.
    ///
    /// # Errors
    /// [`Error::TooLarge`] with the bytes that it would take.
    pub(crate) fn check(&self, demand: &Demand) -> Result<()> {
        let (pinned, own) = (self.pinned_beside(demand.model), self.bytes(demand.model));
        let (needed, budget) = (sum([pinned, own, demand.run]), self.budget.status().budget);
        if needed <= budget {
            return Ok(());
        }
        let beside = if pinned > 0 { format!(", {pinned} for pinned models") } else { String::new() };
        let what = format!("{} ({own} bytes for the model, {} for the run{beside})", demand.what, demand.run);
        Err(Error::TooLarge { what, needed, budget, fix: demand.fix })
    }

    /// The models that have to give way to a demand, those unused for longest first; none when it fits as it is.
    pub(crate) fn in_the_way(&self, demand: &Demand) -> Vec<usize> {
        let own = if self.is_loaded(demand.model) { 0 } else { self.bytes(demand.model) };
        let missing = sum([own, demand.run]).saturating_sub(self.budget.status().free());
        let mut freed = 0;
        let enough = |model: &usize| {
            let is_wanted = freed < missing;
            freed = sum([freed, self.bytes(*model)]);
            is_wanted
        };
        self.removable(Some(demand.model)).into_iter().take_while(enough).collect()
    }

    /// Loaded models that are not pinned, but for `kept`; those unused for longest first.
    pub(crate) fn removable(&self, kept: Option<usize>) -> Vec<usize> {
        let may_go =
            |(place, model): &(usize, &Resident)| model.is_loaded() && !model.pinned && Some(*place) != kept;
        let mut removable: Vec<_> = self.models.iter().enumerate().filter(may_go).collect();
        removable.sort_by_key(|(_, model)| model.used);
        removable.into_iter().map(|(place, _)| place).collect()
    }

    /// Takes what a demand wants. Whoever is in its way has to be gone.
    pub(crate) fn grant(&mut self, demand: &Demand) -> Result<Grant> {
        let leases = || {
            let model = match self.is_loaded(demand.model) {
                true => None,
                false => Some(self.budget.lease(Purpose::Model, self.bytes(demand.model))?),
            };
            Some(Grant { model, run: self.budget.lease(Purpose::Run, demand.run)? })
        };
        match leases() {
            Some(grant) => Ok(grant),
            // a model was pinned since its job was taken: the check says so with the numbers
            None => Err(self.check(demand).err().unwrap_or_else(|| {
                Error::OutOfMemory(format!("{} found the memory taken; try again", demand.what))
            })),
        }
    }

    /// Takes bytes for one more run of a model that is in memory, where they are free: nothing gives way to it.
    pub(crate) fn lease_run(&self, model: usize, bytes: u64) -> Option<Lease> {
        self.is_loaded(model).then(|| self.budget.lease(Purpose::Run, bytes)).flatten()
    }

    /// The model is on its way into memory.
    pub(crate) fn begin_loading(&mut self, model: usize) {
        self.change(model, |model| model.is_loading = true);
    }

    /// The model is in memory from now on.
    pub(crate) fn enter(&mut self, model: usize, lease: Lease, now: Instant) {
        self.change(model, |model| {
            (model.lease, model.problem, model.used) = (Some(lease), None, Some(now));
            model.is_loading = false;
        });
    }

    /// The model is out of memory again.
    pub(crate) fn leave(&mut self, model: usize) {
        self.change(model, |model| model.lease = None);
    }

    /// The model could not be loaded.
    pub(crate) fn fail(&mut self, model: usize, problem: String) {
        self.change(model, |model| (model.problem, model.is_loading) = (Some(problem), false));
    }

    /// The model was used just now.
    pub(crate) fn touch(&mut self, model: usize, now: Instant) {
        self.change(model, |model| model.used = Some(now));
    }

    /// Pins a model, loaded or not.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when another model could not do an order of its own size any more.
    pub(crate) fn pin(&mut self, model: usize) -> Result<()> {
        let was_pinned = self.models.get(model).is_some_and(|model| model.pinned);
        self.change(model, |model| model.pinned = true);
        let checked = self.check_models();
        if checked.is_err() {
            self.change(model, |model| model.pinned = was_pinned);
        }
        checked
    }

    /// Lets a model give way again.
    pub(crate) fn unpin(&mut self, model: usize) {
        self.change(model, |model| model.pinned = false);
    }

    /// Models that were not used for as long as they may be idle.
    pub(crate) fn idle(&self, now: Instant) -> Vec<usize> {
        let is_due = |place: &usize| self.idle_left(*place, now).is_some_and(|left| left.is_zero());
        self.removable(None).into_iter().filter(is_due).collect()
    }

    /// Time until the next model was idle for long enough; `None` when there is none that may be.
    pub(crate) fn next_idle(&self, now: Instant) -> Option<Duration> {
        self.removable(None).into_iter().filter_map(|place| self.idle_left(place, now)).min()
    }

    fn idle_left(&self, model: usize, now: Instant) -> Option<Duration> {
        let model = self.models.get(model)?;
        Some(model.idle_unload?.saturating_sub(now.saturating_duration_since(model.used?)))
    }

    pub(crate) fn is_loaded(&self, model: usize) -> bool {
        self.models.get(model).is_some_and(Resident::is_loaded)
    }

    /// Every model, in the catalog's order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Resident> {
        self.models.iter()
    }

    pub(crate) fn is_pinned(&self, model: usize) -> bool {
        self.models.get(model).is_some_and(|model| model.pinned)
    }

    pub(crate) fn memory(&self) -> MemoryStatus {
        self.budget.status()
    }

    fn bytes(&self, model: usize) -> u64 {
        self.models.get(model).map_or(0, |model| model.bytes)
    }

    /// What pinned models take, loaded or not, but for one.
    fn pinned_beside(&self, model: usize) -> u64 {
        let others = self.models.iter().enumerate().filter(|(place, other)| *place != model && other.pinned);
        sum(others.map(|(_, other)| other.bytes))
    }

    fn change(&mut self, model: usize, change: impl FnOnce(&mut Resident)) {
        if let Some(model) = self.models.get_mut(model) {
            change(model);
        }
    }
}

/// A sum that does not overflow: sizes come from files.
fn sum(bytes: impl IntoIterator<Item = u64>) -> u64 {
    bytes.into_iter().fold(0, u64::saturating_add)
}
