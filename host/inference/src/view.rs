//! What an operator, or a tenant for its own jobs, sees of the queue and may do there. Asked for one tenant, another
//! tenant's job does not exist.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::ledger::Counters;
use crate::metrics::ModelMetrics;
use crate::shared::Standing;
use crate::{JobId, ModelId, Priority, Scheduler, TenantId};

/// A job that waits or runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobStatus {
    /// The host's name of it.
    pub id: JobId,
    /// On whose account.
    pub tenant: TenantId,
    /// Its model.
    pub model: ModelId,
    /// Within its tenant.
    pub priority: Priority,
    /// Whether it runs.
    pub running: bool,
    /// Jobs of all tenants ahead of it, those that run included; 0 for those that run.
    pub position: u32,
    /// When it was submitted; serialized as milliseconds since 1970.
    #[serde(rename = "since_ms", serialize_with = "unix_millis")]
    pub since: SystemTime,
    /// Time until it starts, or ends if it runs; `None` before anything was measured. Serialized as milliseconds.
    #[serde(rename = "eta_ms", serialize_with = "millis")]
    pub eta: Option<Duration>,
}

/// What a tenant has in the queue and had of the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TenantStatus {
    /// Jobs that wait.
    pub waiting: usize,
    /// Whether a job runs.
    pub running: bool,
    /// How its jobs ended, and what they took.
    #[serde(flatten)]
    pub counters: Counters,
}

/// Every tenant of which a job was ever submitted, up to a bound.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TenantsStatus {
    /// By id; the first 1,024.
    pub tenants: BTreeMap<TenantId, TenantStatus>,
    /// The rest together.
    pub others: Counters,
}

impl Scheduler {
    /// Every job that runs or waits, in the order in which they will be served; only a tenant's own when one is given.
    pub fn jobs(&self, tenant: Option<&TenantId>) -> Vec<JobStatus> {
        let state = self.shared.lock();
        let course = state.course();
        let running = state.running.iter().enumerate().map(|(place, running)| JobStatus {
            id: running.id.clone(),
            tenant: running.tenant.clone(),
            model: running.model.clone(),
            priority: running.priority,
            running: true,
            position: 0,
            since: running.submitted,
            eta: state.measured.is_known().then(|| Duration::from_nanos(course.end(place))),
        });
        let waiting = state.standings().into_iter().map(|Standing { entry, position, eta }| JobStatus {
            id: entry.job.id.clone(),
            tenant: entry.job.tenant.clone(),
            model: entry.job.order.model().id.clone(),
            priority: entry.job.priority,
            running: false,
            position,
            since: entry.submitted,
            eta,
        });
        running.chain(waiting).filter(|job| tenant.is_none_or(|tenant| job.tenant == *tenant)).collect()
    }

    /// Cancels a job that waits or runs; false when there is none of that id, or it is not that tenant's.
    pub fn cancel(&self, id: &str, tenant: Option<&TenantId>) -> bool {
        let state = self.shared.lock();
        let is_it =
            |job: &JobId, of: &TenantId| job.as_str() == id && tenant.is_none_or(|tenant| tenant == of);
        let running = state.running.iter().find(|running| is_it(&running.id, &running.tenant));
        let cancel = match running {
            Some(running) => Some(running.cancel.clone()),
            None => {
                state.queue.find(|entry| is_it(&entry.job.id, &entry.job.tenant)).map(|e| e.cancel.clone())
            }
        };
        drop(state);
        let Some(cancel) = cancel else { return false };
        cancel.store(true, Ordering::Relaxed);
        self.shared.sweep();
        true
    }

    /// What was counted of each model, by name; of the first 256, and of the rest together.
    pub fn model_metrics(&self) -> Vec<(Arc<str>, Arc<ModelMetrics>)> {
        self.shared.model_names.all()
    }

    /// What each tenant has in the queue and had of the engine.
    pub fn tenants(&self) -> TenantsStatus {
        let state = self.shared.lock();
        let status = |(tenant, counters): (&TenantId, &Counters)| {
            let running = state.running.iter().any(|running| running.tenant == *tenant);
            let status = TenantStatus { waiting: state.queue.waiting(tenant), running, counters: *counters };
            (tenant.clone(), status)
        };
        let tenants = state.ledger.tenants.iter().map(status).collect();
        TenantsStatus { tenants, others: state.ledger.others }
    }
}

fn millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_millis() as u64).serialize(serializer)
}

fn unix_millis<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    serializer.serialize_u64(since.as_millis() as u64)
}
