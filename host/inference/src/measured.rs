//! What was measured of each model, and what jobs will therefore cost. Knows no clocks: times come in from the worker.

use std::time::Duration;

/// Nanoseconds per 1,000 units of work before the first job was measured. Only the proportions between waiting jobs
/// depend on it; no time is told to anybody before one was measured.
const NOMINAL_PACE: u64 = 1_000;

#[derive(Debug, Clone, Copy, Default)]
struct Model {
    loaded: bool,
    /// Nanoseconds per 1,000 units of work (pixels × steps × pictures); 0 before its first job.
    pace: u64,
    /// How long loading it took last, in nanoseconds.
    load: u64,
}

/// Paces and loads by the model's place in the catalog.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    models: Vec<Model>,
    /// Of all models together: stands in for a model that has not run yet. 0 before the first job.
    pace: u64,
}

impl Measured {
    pub(crate) fn new(models: usize) -> Self {
        Self { models: vec![Model::default(); models], pace: 0 }
    }

    /// What a job will probably cost in nanoseconds of the worker, loading included; at least 1.
    pub(crate) fn cost(&self, model: usize, work: u64) -> u64 {
        let model = self.models.get(model).copied().unwrap_or_default();
        let pace = [model.pace, self.pace].into_iter().find(|pace| *pace > 0).unwrap_or(NOMINAL_PACE);
        let run = u128::from(work) * u128::from(pace) / 1_000;
        let load = if model.loaded { 0 } else { model.load };
        u64::try_from(run).unwrap_or(u64::MAX).saturating_add(load).max(1)
    }

    /// Whether anything was measured, so that costs may be told as times.
    pub(crate) fn is_known(&self) -> bool {
        self.pace > 0
    }

    pub(crate) fn is_loaded(&self, model: usize) -> bool {
        self.models.get(model).is_some_and(|model| model.loaded)
    }

    pub(crate) fn set_loaded(&mut self, model: usize, loaded: bool) {
        if let Some(model) = self.models.get_mut(model) {
            model.loaded = loaded;
        }
    }

    /// Takes over what a finished job took.
    pub(crate) fn learn(&mut self, model: usize, work: u64, load: Duration, run: Duration) {
        let now = u64::try_from(run.as_nanos() * 1_000 / u128::from(work.max(1))).unwrap_or(u64::MAX);
        self.pace = average(self.pace, now);
        if let Some(model) = self.models.get_mut(model) {
            model.pace = average(model.pace, now);
            if !load.is_zero() {
                model.load = nanos(load);
            }
        }
    }
}

/// An average that forgets: each new value counts a third.
fn average(old: u64, new: u64) -> u64 {
    let average = if old == 0 { new } else { old / 3 * 2 + new / 3 };
    average.max(1)
}

/// A duration as nanoseconds; 584 years are enough.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_cost_follows_what_was_measured_of_the_model() {
        let mut measured = Measured::new(2);
        assert!(!measured.is_known());
        assert_eq!(measured.cost(0, 2_000), 2 * measured.cost(0, 1_000), "the proportions are right at once");
        measured.learn(0, 1_000, Duration::ZERO, SECOND);
        assert!(measured.is_known());
        assert_eq!(measured.cost(0, 500), 500_000_000);
        assert_eq!(measured.cost(1, 500), 500_000_000, "a model that never ran is taken for an average one");
        measured.learn(1, 1_000, Duration::ZERO, 10 * SECOND);
        assert_eq!(measured.cost(1, 1_000), 10_000_000_000);
        assert_eq!(measured.cost(0, 1_000), 1_000_000_000, "another model's pace is not its own");
    }

    #[test]
    fn loading_costs_only_while_the_model_is_not_loaded() {
        let mut measured = Measured::new(1);
        measured.learn(0, 1_000, SECOND, SECOND);
        assert_eq!(measured.cost(0, 1_000), 2_000_000_000);
        measured.set_loaded(0, true);
        assert_eq!(measured.cost(0, 1_000), 1_000_000_000);
        measured.set_loaded(7, true);
        assert!(!measured.is_loaded(7), "a model outside the catalog is never loaded");
    }

    #[test]
    fn no_cost_is_nothing_and_none_overflows() {
        let mut measured = Measured::new(1);
        assert_eq!(measured.cost(0, 0), 1);
        measured.learn(0, 0, Duration::MAX, Duration::MAX);
        assert_eq!(measured.cost(0, u64::MAX), u64::MAX);
    }
}
