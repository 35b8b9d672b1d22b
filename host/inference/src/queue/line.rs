//! One tenant's line: priority and ageing. Knows nothing of other tenants; when the tenant's turn comes is decided in
//! `order.rs`.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use crate::Priority;

/// How often more urgent entries that came later may go before an entry; then it goes first. Enough that an urgent job
/// need not wait for a heap of old ones, few enough that a steady stream of urgent jobs never stops the others.
pub(super) const AGEING: u32 = 16;
/// One class per [`Priority`], in its order.
const CLASSES: usize = 3;
/// Virtual time is counted in parts of a nanosecond, so that no share makes a cost vanish.
const SCALE: u128 = 1 << 32;

/// An entry, as far as the order goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Its number: of two entries, the one that came later has the larger.
    pub(super) number: u64,
    /// Its model's place in the catalog.
    pub(super) model: usize,
    /// Its size; see [`crate::Job::work`].
    pub(super) work: u64,
    /// How often the reorder window let another entry go before it.
    pub(super) passed: usize,
    /// How often a more urgent entry that came later went before it.
    outranked: u32,
}

/// The entries of one tenant, and where the tenant stands among the others.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// The virtual time at which its next turn begins: what it was charged so far, divided by its share.
    pub(super) start: u128,
    /// Decides between equal `start`s: who had a turn longer ago goes first.
    pub(super) turn: u64,
    /// Entries that run.
    pub(super) running: u32,
    pub(super) weight: NonZeroU32,
    /// By priority, each in the order of the numbers.
    classes: [VecDeque<Slot>; CLASSES],
}

impl Line {
    pub(super) fn new(weight: NonZeroU32, start: u128) -> Self {
        Self { start, turn: 0, running: 0, weight, classes: Default::default() }
    }

    pub(super) fn push(&mut self, priority: Priority, number: u64, model: usize, work: u64) {
        let slot = Slot { number, model, work, passed: 0, outranked: 0 };
        self.classes[priority as usize].push_back(slot);
    }

    /// The entries from which the next one comes, in order: those of the most urgent class, unless an older entry has
    /// aged. Empty only when the line is.
    pub(super) fn front(&self) -> &VecDeque<Slot> {
        &self.classes[self.front_class()]
    }

    pub(super) fn front_mut(&mut self) -> &mut VecDeque<Slot> {
        let class = self.front_class();
        &mut self.classes[class]
    }

    /// Takes an entry of [`Line::front`]. Whoever is older and stays counts it.
    pub(super) fn serve(&mut self, index: usize) -> Option<Slot> {
        let class = self.front_class();
        let slot = self.classes[class].remove(index)?;
        self.classes[class].iter_mut().take(index).for_each(|older| older.passed += 1);
        for lower in &mut self.classes[..class] {
            let older = lower.partition_point(|other| other.number < slot.number);
            lower.iter_mut().take(older).for_each(|older| older.outranked += 1);
        }
        Some(slot)
    }

    /// Takes out the entries for which `gone` holds.
    pub(super) fn cancel(&mut self, gone: impl Fn(u64) -> bool) {
        self.classes.iter_mut().for_each(|class| class.retain(|slot| !gone(slot.number)));
    }

    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.classes.iter().all(VecDeque::is_empty)
    }

    /// What a cost in nanoseconds takes of the tenant's share.
    pub(super) fn scaled(&self, cost: u64) -> u128 {
        u128::from(cost) * SCALE / u128::from(self.weight.get())
    }

    /// Of a class, the first entry is the oldest and was outranked most, so looking at the first ones is enough.
    fn front_class(&self) -> usize {
        let first = |class: usize| Some((self.classes[class].front()?, class));
        let aged = (0..CLASSES).filter_map(first).filter(|(slot, _)| slot.outranked >= AGEING);
        let oldest = aged.min_by_key(|(slot, _)| slot.number);
        oldest.or_else(|| (0..CLASSES).rev().find_map(first)).map_or(0, |(_, class)| class)
    }
}
