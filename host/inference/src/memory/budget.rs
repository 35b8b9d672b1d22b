//! A number of bytes, and leases of it that are given back when dropped. Knows neither models nor jobs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The budget and what is taken of it, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct MemoryStatus {
    /// What may be taken: `engine.memory-bytes`, or what the engine proposed.
    pub budget: u64,
    /// Taken by the models that are loaded.
    pub models: u64,
    /// Taken by the jobs that run.
    pub runs: u64,
}

impl MemoryStatus {
    /// What may still be taken.
    pub fn free(&self) -> u64 {
        self.budget.saturating_sub(self.models).saturating_sub(self.runs)
    }

    fn taken_for(&mut self, purpose: Purpose) -> &mut u64 {
        match purpose {
            Purpose::Model => &mut self.models,
            Purpose::Run => &mut self.runs,
        }
    }
}

/// What a lease is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Model,
    Run,
}

/// Bytes that all leases share. A clone is the same budget.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Mutex<MemoryStatus>>);

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(MemoryStatus { budget: bytes, ..MemoryStatus::default() })))
    }

    /// The budget at this moment.
    pub(crate) fn status(&self) -> MemoryStatus {
        *self.lock()
    }

    /// Takes bytes, unless so many are not free.
    pub(crate) fn lease(&self, purpose: Purpose, bytes: u64) -> Option<Lease> {
        let mut status = self.lock();
        if bytes > status.free() {
            return None;
        }
        *status.taken_for(purpose) += bytes;
        drop(status);
        Some(Lease { budget: self.clone(), purpose, bytes })
    }

    fn lock(&self) -> MutexGuard<'_, MemoryStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a budget, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: Budget,
    purpose: Purpose,
    bytes: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        *self.budget.lock().taken_for(self.purpose) -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_given_back_when_it_is_dropped() {
        let budget = Budget::new(100);
        let model = budget.lease(Purpose::Model, 60).unwrap();
        let run = budget.lease(Purpose::Run, 40).unwrap();
        assert_eq!(budget.status(), MemoryStatus { budget: 100, models: 60, runs: 40 });
        drop(model);
        assert_eq!((budget.status().models, budget.status().free()), (0, 60));
        drop(run);
        assert_eq!(budget.status().free(), 100);
    }

    #[test]
    fn one_byte_more_than_is_free_is_not_given() {
        let budget = Budget::new(100);
        let _held = budget.lease(Purpose::Model, 60).unwrap();
        assert!(budget.lease(Purpose::Run, 41).is_none());
        assert!(budget.lease(Purpose::Run, u64::MAX).is_none());
        assert_eq!(budget.status().runs, 0, "a refusal takes nothing");
        assert!(budget.lease(Purpose::Run, 40).is_some());
    }
}
