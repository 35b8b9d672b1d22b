//! What was done, counted. One mutex: what is counted waits for a disk.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Error;

/// Counts of one kind of storage since the start.
#[derive(Debug, Default)]
pub struct Counts(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    operations: BTreeMap<&'static str, u64>,
    errors: BTreeMap<&'static str, u64>,
    read_bytes: u64,
    written_bytes: u64,
}

impl Counts {
    /// Operations that ended, well or not, by their names.
    pub fn operations(&self) -> Vec<(&'static str, u64)> {
        self.sums().operations.iter().map(|(name, count)| (*name, *count)).collect()
    }

    /// Those that ended in an error, by [`Error::code`].
    pub fn errors(&self) -> Vec<(&'static str, u64)> {
        self.sums().errors.iter().map(|(name, count)| (*name, *count)).collect()
    }

    /// Bytes of values and objects that were handed out; of objects, those that were asked for.
    pub fn read_bytes(&self) -> u64 {
        self.sums().read_bytes
    }

    /// Bytes that were kept.
    pub fn written_bytes(&self) -> u64 {
        self.sums().written_bytes
    }

    pub(super) fn ended<R>(&self, operation: &'static str, result: &Result<R, Error>) {
        let mut sums = self.sums();
        *sums.operations.entry(operation).or_default() += 1;
        if let Err(error) = result {
            *sums.errors.entry(error.code()).or_default() += 1;
        }
    }

    pub(super) fn read(&self, bytes: u64) {
        self.sums().read_bytes += bytes;
    }

    pub(super) fn written(&self, bytes: u64) {
        self.sums().written_bytes += bytes;
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
