//! What a guest holds of the host's memory, beyond its own: pixels and samples behind handles. Counted for a store, however
//! many requests it serves, and given back when the last who holds a thing lets go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Everything that one store holds.
#[derive(Default)]
pub(super) struct Holdings {
    /// Of all pictures.
    pub(super) pixel_bytes: Amount,
    /// Of all recordings.
    pub(super) samples: Amount,
    /// Objects that are being read or written.
    pub(super) objects: Amount,
}

/// How much there is of one kind.
#[derive(Default, Clone)]
pub(super) struct Amount(Arc<AtomicU64>);

impl Amount {
    /// Takes more, if the sum is within the limit.
    pub(super) fn hold(&self, more: u64, limit: u64) -> Option<Held> {
        let fits = |held: u64| held.checked_add(more).filter(|sum| *sum <= limit);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Held { of: self.clone(), amount: more })
    }
}

/// A part of it; given back when dropped.
pub(crate) struct Held {
    of: Amount,
    amount: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_held_than_the_limit_and_what_is_dropped_is_free_again() {
        let amount = Amount::default();
        let first = amount.hold(6, 10).unwrap();
        assert!(amount.hold(5, 10).is_none());
        let _second = amount.hold(4, 10).unwrap();
        drop(first);
        assert!(amount.hold(u64::MAX, u64::MAX).is_none(), "a sum that overflows fits nowhere");
        assert!(amount.hold(6, 10).is_some());
    }
}
