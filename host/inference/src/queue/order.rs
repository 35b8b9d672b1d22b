//! Whose turn it is: start-time fair queueing over tenants (Goyal, Vin and Cheng, 1996), with a window that prefers
//! models which are loaded. A plain value: cloning it and serving the clone to its end tells the order that will be.
//!
//! Each tenant has a line with a virtual start time, which moves on by cost over share whenever one of its entries is
//! served; the line with the smallest start is next. So two tenants that both wait get work in the proportion of their
//! shares, within twice the sum of one turn of each. Entries that run side by side are charged what they will probably cost
//! until their ends, and then two tenants may be as many turns apart. Virtual time never runs backwards and a line that
//! comes back from idling starts at the present, so idling earns nothing.
//!
//! The window: when the next entry's model is not loaded, the first of the entries behind it whose model is loaded may go
//! before it. Another tenant's entry may do so only while its line starts before the second turn of every line that it
//! passes, so nobody falls back by more than one turn; and every entry is passed at most `window` times in all.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use super::line::{Line, Slot};
use crate::measured::Outlook;
use crate::{Priority, TenantId};

/// Idle tenants whose last turn is still held against them; beyond it, whoever owes least is forgiven.
pub(super) const MAX_DEBTS: usize = 1_024;

/// What a tenant was charged for an entry, to be corrected once the real cost is known.
#[derive(Debug)]
pub(crate) struct Charge {
    tenant: TenantId,
    amount: u128,
}

/// Lines in the order of their turns.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) lines: BTreeMap<TenantId, Line>,
    /// Lines with entries.
    due: BTreeSet<Due>,
    /// Lines with neither entries nor running jobs, which still owe.
    idle: BTreeSet<Due>,
    /// The largest start of a turn so far.
    now: u128,
    turns: u64,
    running: usize,
    pub(super) window: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    start: u128,
    turn: u64,
    tenant: TenantId,
}

/// An entry that goes next.
struct Choice {
    tenant: TenantId,
    /// Its place in the front of its line.
    index: usize,
    /// Tenants whose first entries it passes.
    passed: Vec<TenantId>,
}

impl Order {
    pub(super) fn new(window: usize) -> Self {
        let (lines, due, idle) = Default::default();
        Self { lines, due, idle, now: 0, turns: 0, running: 0, window }
    }

    /// Entries of a tenant that wait.
    pub(super) fn waiting(&self, tenant: &TenantId) -> usize {
        self.lines.get(tenant).map_or(0, Line::len)
    }

    pub(super) fn push(&mut self, tenant: &TenantId, priority: Priority, add: Added) {
        let (now, turn) = (self.now, self.next_turn());
        let line = || Line::new(add.weight, now);
        self.lines.entry(tenant.clone()).or_insert_with(line);
        self.change(tenant, |line| {
            if line.is_empty() {
                line.start = line.start.max(now);
                line.turn = turn;
            }
            line.push(priority, add.number, add.model, add.work);
        });
    }

    /// The number of the next entry.
    pub(super) fn peek(&self, outlook: &Outlook) -> Option<u64> {
        let Choice { tenant, index, .. } = self.choose(outlook)?;
        Some(self.lines.get(&tenant)?.front().get(index)?.number)
    }

    /// Takes the next entry and charges its tenant what it will probably cost.
    pub(super) fn pop(&mut self, outlook: &Outlook) -> Option<(Slot, Charge)> {
        let first = self.due.first()?.start;
        let Choice { tenant, index, passed } = self.choose(outlook)?;
        for tenant in &passed {
            let front = self.lines.get_mut(tenant).and_then(|line| line.front_mut().front_mut());
            front.into_iter().for_each(|slot| slot.passed += 1);
        }
        self.now = self.now.max(first);
        self.running += 1;
        let turn = self.next_turn();
        let served = self.change(&tenant, |line| {
            let slot = line.serve(index)?;
            let amount = line.scaled(outlook.cost(slot.model, slot.work));
            line.start += amount;
            line.turn = turn;
            line.running += 1;
            Some((slot, amount))
        });
        self.forgive();
        let (slot, amount) = served??;
        Some((slot, Charge { tenant, amount }))
    }

    /// Replaces what a tenant was charged by what the entry did cost.
    pub(super) fn settle(&mut self, charge: Charge, cost: u64) {
        self.running -= 1;
        if self.running == 0 && self.due.is_empty() {
            // nobody waits: the next to come begin as equals
            *self = Self::new(self.window);
            return;
        }
        self.change(&charge.tenant, |line| {
            line.running -= 1;
            line.start = line.start.saturating_sub(charge.amount) + line.scaled(cost.max(1));
        });
        self.forgive();
    }

    /// Takes out the entries for which `gone` holds.
    pub(super) fn cancel(&mut self, tenant: &TenantId, gone: impl Fn(u64) -> bool) {
        self.change(tenant, |line| line.cancel(gone));
        self.forgive();
    }

    /// New shares; they count from the next turn on.
    pub(super) fn weigh(&mut self, weight: impl Fn(&TenantId) -> NonZeroU32) {
        self.lines.iter_mut().for_each(|(tenant, line)| line.weight = weight(tenant));
    }

    fn choose(&self, outlook: &Outlook) -> Option<Choice> {
        let first = self.due.first()?;
        let head = Choice { tenant: first.tenant.clone(), index: 0, passed: Vec::new() };
        let loaded = self.loaded_head(outlook).or_else(|| self.loaded_behind(&first.tenant, outlook));
        Some(loaded.unwrap_or(head))
    }

    /// The first line, in the order of turns, whose first entry's model is loaded, if it may pass those before it.
    fn loaded_head(&self, outlook: &Outlook) -> Option<Choice> {
        let (mut passed, mut horizon) = (Vec::new(), u128::MAX);
        for due in &self.due {
            let line = self.lines.get(&due.tenant)?;
            let slot = line.front().front()?;
            if due.start > horizon {
                return None;
            }
            if outlook.is_loaded(slot.model) {
                return Some(Choice { tenant: due.tenant.clone(), index: 0, passed });
            }
            if slot.passed >= self.window || passed.len() >= self.window {
                return None;
            }
            horizon = horizon.min(due.start + line.scaled(outlook.cost(slot.model, slot.work)));
            passed.push(due.tenant.clone());
        }
        None
    }

    /// An entry of the line whose turn it is, behind the first, of the same priority.
    fn loaded_behind(&self, tenant: &TenantId, outlook: &Outlook) -> Option<Choice> {
        let front = self.lines.get(tenant)?.front();
        let index = front.iter().take(self.window + 1).position(|slot| outlook.is_loaded(slot.model))?;
        let all_may_wait = front.iter().take(index).all(|slot| slot.passed < self.window);
        all_may_wait.then(|| Choice { tenant: tenant.clone(), index, passed: Vec::new() })
    }

    /// Changes a line and puts it where it belongs.
    fn change<R>(&mut self, tenant: &TenantId, change: impl FnOnce(&mut Line) -> R) -> Option<R> {
        let line = self.lines.get_mut(tenant)?;
        let due = |line: &Line| Due { start: line.start, turn: line.turn, tenant: tenant.clone() };
        let before = due(line);
        self.due.remove(&before);
        self.idle.remove(&before);
        let changed = change(line);
        if !line.is_empty() {
            self.due.insert(due(line));
        } else if line.running == 0 {
            self.idle.insert(due(line));
        }
        Some(changed)
    }

    /// Forgets idle lines that owe nothing any more, and the smallest debts where there are too many.
    fn forgive(&mut self) {
        while let Some(least) = self.idle.first()
            && (least.start <= self.now || self.idle.len() > MAX_DEBTS)
        {
            self.lines.remove(&least.tenant);
            self.idle.pop_first();
        }
    }

    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }
}

/// What is new of an entry.
pub(super) struct Added {
    pub(super) weight: NonZeroU32,
    pub(super) number: u64,
    pub(super) model: usize,
    pub(super) work: u64,
}
