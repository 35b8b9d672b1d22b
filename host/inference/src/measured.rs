//! What was measured of each model, and what jobs will therefore cost. Knows no clocks: times come in from the worker. What
//! is loaded and what runs come in as well: [`Outlook`] is the copy of all that one decision of the queue goes by.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Kind;
use crate::queue::Course;

/// Nanoseconds per 1,000 units of work before the first job was measured. Only the proportions between waiting jobs
/// depend on it; no time is told to anybody before one was measured.
const NOMINAL_PACE: u64 = 1_000;

#[derive(Debug, Clone, Copy)]
struct Model {
    kind: Kind,
    /// Nanoseconds per 1,000 units of its kind's work; 0 before its first job.
    pace: u64,
    /// How long loading it took last, in nanoseconds.
    load: u64,
}

/// Paces and loads by the model's place in the catalog.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    models: Vec<Model>,
    /// Of all models of a kind together: stands in for a model that has not run yet.
    paces: BTreeMap<Kind, u64>,
}

impl Measured {
    pub(crate) fn new(models: impl IntoIterator<Item = Kind>) -> Self {
        let model = |kind| Model { kind, pace: 0, load: 0 };
        Self { models: models.into_iter().map(model).collect(), paces: BTreeMap::new() }
    }

    /// What a job will probably cost in nanoseconds of the worker, loading included where its model is not `loaded`; at
    /// least 1.
    fn cost(&self, model: usize, work: u64, loaded: bool) -> u64 {
        let model = self.models.get(model);
        let of_kind = || self.paces.get(&model?.kind).copied();
        let pace =
            model.map(|model| model.pace).filter(|pace| *pace > 0).or_else(of_kind).unwrap_or(NOMINAL_PACE);
        let run = u128::from(work) * u128::from(pace) / 1_000;
        let load = model.filter(|_| !loaded).map_or(0, |model| model.load);
        u64::try_from(run).unwrap_or(u64::MAX).saturating_add(load).max(1)
    }

    /// Whether anything was measured, so that costs may be told as times.
    pub(crate) fn is_known(&self) -> bool {
        !self.paces.is_empty()
    }

    /// Takes over what a finished job took.
    pub(crate) fn learn(&mut self, model: usize, work: u64, load: Duration, run: Duration) {
        let now = u64::try_from(run.as_nanos() * 1_000 / u128::from(work.max(1))).unwrap_or(u64::MAX);
        if let Some(model) = self.models.get_mut(model) {
            let of_kind = self.paces.entry(model.kind).or_default();
            *of_kind = average(*of_kind, now);
            model.pace = average(model.pace, now);
            if !load.is_zero() {
                model.load = nanos(load);
            }
        }
    }
}

/// What jobs will cost, which models are in memory, and what runs: as it is, or as it will be.
#[derive(Debug, Clone)]
pub(crate) struct Outlook {
    measured: Measured,
    /// By the model's place in the catalog.
    loaded: Vec<bool>,
    course: Course,
}

impl Outlook {
    pub(crate) fn new(measured: &Measured, loaded: impl IntoIterator<Item = bool>) -> Self {
        Self { measured: measured.clone(), loaded: loaded.into_iter().collect(), course: Course::new(1) }
    }

    /// The same with what runs.
    pub(crate) fn with(self, course: Course) -> Self {
        Self { course, ..self }
    }

    /// The batch that jobs of a model may be in, by the model; none where each runs alone.
    pub(crate) fn batch(&self, model: usize) -> Option<usize> {
        self.measured.models.get(model).filter(|own| own.kind == Kind::Language).map(|_| model)
    }

    /// When a job starts that is next, in nanoseconds from now. From then on it runs, and its model is in memory.
    pub(crate) fn start(&mut self, model: usize, work: u64) -> u64 {
        let start = self.course.start(self.batch(model), self.cost(model, work));
        self.assume_loaded(model);
        start
    }

    /// What a job will probably cost in nanoseconds of the worker, loading included; at least 1.
    pub(crate) fn cost(&self, model: usize, work: u64) -> u64 {
        self.measured.cost(model, work, self.is_loaded(model))
    }

    pub(crate) fn is_loaded(&self, model: usize) -> bool {
        self.loaded.get(model).copied().unwrap_or_default()
    }

    /// Takes it that the model is loaded, as it will be once a job of it has begun.
    pub(crate) fn assume_loaded(&mut self, model: usize) {
        self.loaded.get_mut(model).into_iter().for_each(|loaded| *loaded = true);
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
        let mut measured = Measured::new([Kind::Image; 2]);
        assert!(!measured.is_known());
        let cost = |measured: &Measured, model, work| measured.cost(model, work, false);
        assert_eq!(cost(&measured, 0, 2_000), 2 * cost(&measured, 0, 1_000), "proportions are right at once");
        measured.learn(0, 1_000, Duration::ZERO, SECOND);
        assert!(measured.is_known());
        assert_eq!(cost(&measured, 0, 500), 500_000_000);
        assert_eq!(
            cost(&measured, 1, 500),
            500_000_000,
            "a model that never ran is taken for an average one of its kind"
        );
        measured.learn(1, 1_000, Duration::ZERO, 10 * SECOND);
        assert_eq!(cost(&measured, 1, 1_000), 10_000_000_000);
        assert_eq!(cost(&measured, 0, 1_000), 1_000_000_000, "another model's pace is not its own");
    }

    #[test]
    fn a_kind_of_work_says_nothing_of_another() {
        let mut measured = Measured::new([Kind::Image, Kind::Speech]);
        let before = measured.cost(1, 1_000, true);
        measured.learn(0, 1_000, Duration::ZERO, 100 * SECOND);
        assert_eq!(measured.cost(1, 1_000, true), before);
    }

    #[test]
    fn loading_costs_only_while_the_model_is_not_loaded() {
        let mut measured = Measured::new([Kind::Image]);
        measured.learn(0, 1_000, SECOND, SECOND);
        let mut outlook = Outlook::new(&measured, [false]);
        assert_eq!(outlook.cost(0, 1_000), 2_000_000_000);
        outlook.assume_loaded(0);
        assert_eq!(outlook.cost(0, 1_000), 1_000_000_000);
        outlook.assume_loaded(7);
        assert!(!outlook.is_loaded(7), "a model outside the catalog is never loaded");
    }

    #[test]
    fn no_cost_is_nothing_and_none_overflows() {
        let mut measured = Measured::new([Kind::Image]);
        assert_eq!(measured.cost(0, 0, false), 1);
        measured.learn(0, 0, Duration::MAX, Duration::MAX);
        assert_eq!(measured.cost(0, u64::MAX, false), u64::MAX);
    }
}
