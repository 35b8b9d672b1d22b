//! The waiting line as a plain data structure: no threads, no clocks; costs and what is loaded come in as [`Outlook`].
//! Bounded in total and per tenant. Fair between tenants (`order.rs`), by priority within one (`line.rs`), and in the
//! order of arrival where neither decides; cancelled entries are dropped where they stand. When entries will start is
//! foretold in `course.rs`.

mod course;
mod line;
mod order;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use crate::measured::Outlook;
use crate::{Priority, TenantId};
pub(crate) use course::Course;
pub(crate) use order::Charge;
use order::{Added, Order};

/// What a tenant may take of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Its part of the engine's time, in proportion to the weights of the other tenants that want some.
    pub weight: NonZeroU32,
    /// Jobs of it that may wait; half of the queue's depth, and at least 1, when `None`.
    pub max_waiting: Option<usize>,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: NonZeroU32::MIN, max_waiting: None }
    }
}

impl Share {
    /// A share of that weight.
    pub fn of(weight: NonZeroU32) -> Self {
        Self { weight, ..Self::default() }
    }
}

/// What the queue has to know of an entry.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) tenant: TenantId,
    pub(crate) priority: Priority,
    /// The model's place in the catalog.
    pub(crate) model: usize,
    /// See [`crate::Job::work`].
    pub(crate) work: u64,
}

/// Why an entry was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The queue holds as many as it may.
    Queue,
    /// The tenant has this many, which is its own bound.
    Tenant(usize),
    /// The tenant has this many, which is what the depth leaves to one tenant.
    Half(usize),
}

/// A bounded, fair line of `T`.
pub(crate) struct Queue<T> {
    depth: usize,
    shares: BTreeMap<TenantId, Share>,
    order: Order,
    entries: BTreeMap<u64, (TenantId, T)>,
    numbers: u64,
}

impl<T> Queue<T> {
    /// An empty line of at most `depth` entries, in which the window lets an entry be passed at most `window` times.
    pub(crate) fn new(depth: usize, window: usize) -> Self {
        let (shares, entries) = Default::default();
        Self { depth, shares, order: Order::new(window), entries, numbers: 0 }
    }

    /// Adds an entry, unless there is no place for it.
    pub(crate) fn push(&mut self, place: &Place, entry: T) -> Result<(), Full> {
        let Place { tenant, priority, model, work } = place;
        if self.entries.len() >= self.depth {
            return Err(Full::Queue);
        }
        self.tenant_has_room(tenant)?;
        self.numbers += 1;
        let (number, weight) = (self.numbers, self.share(tenant).weight);
        self.order.push(tenant, *priority, Added { weight, number, model: *model, work: *work });
        self.entries.insert(number, (tenant.clone(), entry));
        Ok(())
    }

    /// The entry whose turn it is.
    pub(crate) fn peek(&self, outlook: &Outlook) -> Option<&T> {
        let number = self.order.peek(outlook)?;
        self.entries.get(&number).map(|(_, entry)| entry)
    }

    /// Takes the entry whose turn it is, the one of [`Queue::peek`]. Its charge has to be settled when it has run.
    pub(crate) fn pop(&mut self, outlook: &Outlook) -> Option<(T, Charge)> {
        let (slot, charge) = self.order.pop(outlook)?;
        let (_, entry) = self.entries.remove(&slot.number)?;
        Some((entry, charge))
    }

    /// Tells what an entry did cost, in nanoseconds.
    pub(crate) fn settle(&mut self, charge: Charge, cost: u64) {
        self.order.settle(charge, cost);
    }

    /// Takes out every entry for which `gone` holds, wherever it stands; the others keep their order.
    pub(crate) fn take_if(&mut self, gone: impl Fn(&T) -> bool) -> Vec<T> {
        let taken: BTreeMap<u64, (TenantId, T)> =
            self.entries.extract_if(.., |_, (_, entry)| gone(entry)).collect();
        let tenants: BTreeSet<&TenantId> = taken.values().map(|(tenant, _)| tenant).collect();
        for tenant in tenants {
            self.order.cancel(tenant, |number| taken.contains_key(&number));
        }
        taken.into_values().map(|(_, entry)| entry).collect()
    }

    /// The entries in the order in which they will be served if none comes, each with the nanoseconds until its start.
    /// Found by serving a copy of the order to its end.
    pub(crate) fn forecast(&self, outlook: &Outlook) -> Vec<(&T, u64)> {
        let (mut order, mut outlook) = (self.order.clone(), outlook.clone());
        let mut forecast = Vec::with_capacity(self.entries.len());
        while let Some((slot, _)) = order.pop(&outlook) {
            let start = outlook.start(slot.model, slot.work);
            forecast.extend(self.entries.get(&slot.number).map(|(_, entry)| (entry, start)));
        }
        forecast
    }

    /// The tenants' shares from now on; a tenant that is not named has the default one.
    pub(crate) fn set_shares(&mut self, shares: BTreeMap<TenantId, Share>) {
        self.shares = shares;
        let shares = &self.shares;
        self.order.weigh(|tenant| shares.get(tenant).copied().unwrap_or_default().weight);
    }

    /// The entry for which `is_it` holds.
    pub(crate) fn find(&self, is_it: impl Fn(&T) -> bool) -> Option<&T> {
        self.entries.values().map(|(_, entry)| entry).find(|entry| is_it(entry))
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many of a tenant wait.
    pub(crate) fn waiting(&self, tenant: &TenantId) -> usize {
        self.order.waiting(tenant)
    }

    fn share(&self, tenant: &TenantId) -> Share {
        self.shares.get(tenant).copied().unwrap_or_default()
    }

    fn tenant_has_room(&self, tenant: &TenantId) -> Result<(), Full> {
        let waiting = self.order.waiting(tenant);
        if let Some(bound) = self.share(tenant).max_waiting {
            return if waiting < bound { Ok(()) } else { Err(Full::Tenant(bound)) };
        }
        // where no tenants are told apart, there is nobody to leave room for
        let alone = self.shares.is_empty() && *tenant == TenantId::default();
        let bound = if alone { self.depth } else { (self.depth / 2).max(1) };
        if waiting < bound { Ok(()) } else { Err(Full::Half(bound)) }
    }
}
