//! How jobs ended, in all and per tenant. Bounded: beyond [`MAX_TENANTS`] the newcomers are counted together.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::TenantId;

/// Tenants that are counted apart; a bound on memory and on what monitoring has to keep.
pub(crate) const MAX_TENANTS: usize = 1_024;

/// How many jobs came, and how they ended, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Taken into the queue.
    pub submitted: u64,
    /// With what was ordered.
    pub completed: u64,
    /// With an error.
    pub failed: u64,
    /// Before their end, waiting or running.
    pub cancelled: u64,
    /// Not taken, since the queue was full.
    pub refused: u64,
    /// Steps done, of all jobs: of denoising, or tokens written.
    pub steps: u64,
    /// Time of the worker in milliseconds, loading of models included.
    #[serde(rename = "work_ms", serialize_with = "millis")]
    pub work: Duration,
}

fn millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) total: Counters,
    pub(crate) tenants: BTreeMap<TenantId, Counters>,
    /// Of all tenants that found no place of their own.
    pub(crate) others: Counters,
}

impl Ledger {
    /// Counts something of a tenant, for it and in all.
    pub(crate) fn count(&mut self, tenant: &TenantId, add: impl Fn(&mut Counters)) {
        add(&mut self.total);
        if let Some(counters) = self.tenants.get_mut(tenant) {
            add(counters);
        } else if self.tenants.len() < MAX_TENANTS {
            add(self.tenants.entry(tenant.clone()).or_default());
        } else {
            add(&mut self.others);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_more_than_fit_is_counted_with_the_others() {
        let mut ledger = Ledger::default();
        for number in 0..=MAX_TENANTS {
            let tenant = TenantId::new(&format!("tenant-{number}")).unwrap();
            ledger.count(&tenant, |counters| counters.completed += 1);
            ledger.count(&tenant, |counters| counters.work += Duration::from_millis(2));
        }
        assert_eq!(ledger.tenants.len(), MAX_TENANTS);
        assert!(ledger.tenants.values().all(|counters| counters.completed == 1));
        assert_eq!((ledger.others.completed, ledger.total.completed), (1, MAX_TENANTS as u64 + 1));
        assert_eq!(ledger.others.work, Duration::from_millis(2));
    }
}
