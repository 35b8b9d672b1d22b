//! What a request orders of the host's models: jobs under way, and tokens to be written. A request's handler and the plugins
//! that it calls order together, so that a limit of the request is one limit, whoever orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The orders of one request.
#[derive(Default)]
pub(super) struct Orders {
    /// Under way.
    jobs: AtomicU32,
    /// In all, written or not.
    tokens: AtomicU64,
}

impl Orders {
    /// Reserves a job, unless there are `limit`.
    pub(super) fn hold_job(self: &Arc<Self>, limit: u32) -> Option<HeldJob> {
        let fits = |held: u32| (held < limit).then_some(held + 1);
        let held = self.jobs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        held.ok().map(|_| HeldJob(self.clone()))
    }

    pub(super) fn has_jobs(&self) -> bool {
        self.jobs.load(Ordering::Relaxed) > 0
    }

    /// Whether there are so many tokens left of `limit`, which are then taken.
    pub(super) fn take_tokens(&self, count: u64, limit: u64) -> bool {
        let fits = |taken: u64| taken.checked_add(count).filter(|sum| *sum <= limit);
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    pub(super) fn give_back_tokens(&self, count: u64) {
        self.tokens.fetch_sub(count, Ordering::Relaxed);
    }
}

/// A job held; given back when dropped.
pub(crate) struct HeldJob(Arc<Orders>);

impl Drop for HeldJob {
    fn drop(&mut self) {
        self.0.jobs.fetch_sub(1, Ordering::Relaxed);
    }
}
