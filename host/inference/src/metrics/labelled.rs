//! Counts apart by name, and a bound on the names: monitoring keeps a series for every name that it has ever seen, so
//! nobody may make names without end. Who comes when all names are taken counts with the others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The name under which everything counts that has none of its own.
pub const OTHER: &str = "other";

/// Something of each name.
#[derive(Debug)]
pub struct Labelled<T> {
    limit: usize,
    named: Mutex<BTreeMap<Arc<str>, Arc<T>>>,
    other: Arc<T>,
    is_full: AtomicBool,
}

impl<T: Default> Labelled<T> {
    /// Tells at most `limit` names apart.
    pub fn new(limit: usize) -> Self {
        let (named, other) = (Mutex::default(), Arc::default());
        Self { limit, named, other, is_full: AtomicBool::new(false) }
    }

    /// What counts for a name. It stays the same for as long as anybody holds it, so that no count ever goes down; a name
    /// that nobody holds any more gives way to a new one.
    pub fn get(&self, name: &str) -> Arc<T> {
        if name == OTHER {
            return self.others();
        }
        let mut named = self.named();
        if let Some(counts) = named.get(name) {
            return counts.clone();
        }
        if named.len() >= self.limit {
            named.retain(|_, counts| Arc::strong_count(counts) > 1);
        }
        if named.len() >= self.limit {
            return self.others();
        }
        named.entry(name.into()).or_default().clone()
    }

    /// Whether a name has counts of its own.
    pub fn has(&self, name: &str) -> bool {
        self.named().contains_key(name)
    }

    /// Every name with what counts for it; the others last, once there are any.
    pub fn all(&self) -> Vec<(Arc<str>, Arc<T>)> {
        let named = self.named().iter().map(|(name, counts)| (name.clone(), counts.clone())).collect();
        let others = self.is_full.load(Ordering::Relaxed).then(|| (OTHER.into(), self.other.clone()));
        [named, Vec::from_iter(others)].concat()
    }

    fn others(&self) -> Arc<T> {
        self.is_full.store(true, Ordering::Relaxed);
        self.other.clone()
    }

    fn named(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<T>>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Counter;
    use super::*;

    fn names(labelled: &Labelled<Counter>) -> Vec<String> {
        labelled.all().into_iter().map(|(name, _)| name.to_string()).collect()
    }

    #[test]
    fn a_thousand_names_are_as_many_as_may_be_told_apart_and_the_others_together() {
        let labelled = Labelled::<Counter>::new(3);
        let held: Vec<_> = (0..1_000).map(|number| labelled.get(&format!("name-{number}"))).collect();
        held.iter().for_each(|counter| counter.count());
        assert_eq!(names(&labelled), ["name-0", "name-1", "name-2", "other"]);
        let counts: Vec<u64> = labelled.all().iter().map(|(_, counter)| counter.get()).collect();
        assert_eq!(counts, [1, 1, 1, 997]);
        assert!(Arc::ptr_eq(&held[1], &labelled.get("name-1")) && !labelled.has("name-3"));
    }

    #[test]
    fn a_name_that_nobody_uses_gives_way_and_one_in_use_does_not() {
        let labelled = Labelled::<Counter>::new(2);
        let kept = labelled.get("kept");
        labelled.get("gone").count();
        assert_eq!(names(&labelled), ["gone", "kept"], "it may come back");
        let _new = labelled.get("new");
        assert_eq!(names(&labelled), ["kept", "new"]);
        assert!(Arc::ptr_eq(&kept, &labelled.get("kept")));
    }

    #[test]
    fn who_is_called_other_counts_with_the_others() {
        let labelled = Labelled::<Counter>::new(2);
        labelled.get(OTHER).count();
        assert_eq!(names(&labelled), ["other"]);
        assert_eq!(labelled.get(OTHER).get(), 1);
    }
}
