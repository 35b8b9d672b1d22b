//! On whose account a request runs. The server says who; the doors (`admission.rs`) look at the share and the priority,
//! `capabilities/job.rs` charges the quota before it makes a job. Nothing here knows keys or manifests.

use std::sync::Arc;
use std::time::Duration;

use atelier_inference::{Priority, TenantId};

use crate::Consumption;

/// A tenant, as far as the runtime cares.
#[derive(Clone)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// Its part of everything that runs at a time.
    pub share: Share,
    /// Who goes first among tenants that hold equally much of their shares.
    pub priority: Priority,
    /// What it may use up.
    pub quota: Arc<dyn Quota>,
    /// What its guests used up.
    pub consumption: Arc<Consumption>,
}

/// One tenant's part of what all of them share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// This tenant's shares; at least 1.
    pub own: u32,
    /// The shares of all tenants together; at least `own`.
    pub total: u32,
}

/// What a job uses up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Pictures.
    pub images: u64,
    /// Pixels times steps times pictures.
    pub pixel_steps: u64,
    /// Seconds of sound, each that was begun.
    pub audio_seconds: u64,
    /// Tokens read and written by language models.
    pub tokens: u64,
}

/// Background jobs of a tenant that may wait when nothing else is said.
pub const WAITING_JOBS: u64 = 1_000;

/// A tenant's allowance of work.
pub trait Quota: Send + Sync {
    /// Takes the work off the allowance before it is done, or says why not. Work that is cancelled later stays charged:
    /// some of it may have been done.
    fn charge(&self, work: Work) -> Result<(), Exceeded>;

    /// Gives back what was charged for work that never began, or that turned out to be less.
    fn refund(&self, work: Work);

    /// Bytes that may be kept in all buckets and containers and of all background jobs together; no limit when `None`, as it is unless an allowance says
    /// otherwise.
    fn stored_bytes(&self) -> Option<u64> {
        None
    }

    /// Background jobs that may wait at a time, at all routes together; 1,000 unless an allowance says otherwise.
    fn waiting_jobs(&self) -> u64 {
        WAITING_JOBS
    }
}

/// An allowance that is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// What is used up, with its configuration key; safe to show.
    pub reason: String,
    /// When there is an allowance again.
    pub retry_after: Duration,
}

/// No allowance, no limit: for requests that belong to nobody in a host without tenants.
struct Unmetered;

impl Quota for Unmetered {
    fn charge(&self, _: Work) -> Result<(), Exceeded> {
        Ok(())
    }

    fn refund(&self, _: Work) {}
}

impl Default for Tenant {
    /// The only tenant of a host that has none.
    fn default() -> Self {
        Self {
            id: TenantId::default(),
            share: Share { own: 1, total: 1 },
            priority: Priority::default(),
            quota: Arc::new(Unmetered),
            consumption: Arc::default(),
        }
    }
}

impl Share {
    /// How many of so many places belong to this tenant: never none.
    pub(crate) fn of(self, places: u32) -> u32 {
        let part = u64::from(places) * u64::from(self.own) / u64::from(self.total.max(1));
        u32::try_from(part).unwrap_or(places).clamp(1, places.max(1))
    }
}

impl std::fmt::Debug for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenant").field("id", &self.id).field("share", &self.share).finish_non_exhaustive()
    }
}
