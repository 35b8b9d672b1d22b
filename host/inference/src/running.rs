//! The jobs that the worker has: one alone, or conversations of one model side by side. Who joins these is decided here, between
//! the queue, whose turn it is, and the memory, which has room or has not.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use crate::measured::nanos;
use crate::memory::Lease;
use crate::queue::{Charge, Course};
use crate::shared::{Entry, State};
use crate::{JobId, ModelId, Priority, TenantId};

/// A job that the worker has.
pub(crate) struct Running {
    pub(crate) id: JobId,
    pub(crate) tenant: TenantId,
    pub(crate) priority: Priority,
    pub(crate) model: ModelId,
    /// The place in the catalog of that model, or of the refiner once it has taken over.
    pub(crate) place: usize,
    /// The batch that it is in, by the model; none where it runs alone.
    pub(crate) batch: Option<usize>,
    pub(crate) submitted: SystemTime,
    /// What it will probably take of the worker.
    pub(crate) estimate: Duration,
    /// What it took of that until `seen`.
    pub(crate) spent: Duration,
    pub(crate) seen: Instant,
    pub(crate) cancel: Arc<AtomicBool>,
    /// To be settled when it ends.
    pub(crate) charge: Charge,
}

impl Running {
    /// What it will probably still take of the worker, which so many jobs share.
    fn left(&self, sharing: usize) -> Duration {
        let since = self.seen.elapsed() / u32::try_from(sharing).unwrap_or(u32::MAX).max(1);
        self.estimate.saturating_sub(self.spent).saturating_sub(since)
    }
}

impl State {
    /// The jobs that run, in their order, and what they will probably still take.
    pub(crate) fn course(&self) -> Course {
        let mut course = Course::new(self.conversations);
        for running in &self.running {
            course.run(running.batch, nanos(running.left(self.running.len())));
        }
        course
    }

    /// Takes the next job out of the line; it runs from now on.
    pub(crate) fn take(&mut self) -> Option<Entry> {
        let outlook = self.outlook();
        let (entry, charge) = self.queue.pop(&outlook)?;
        let Entry { job, model, submitted, cancel, .. } = &entry;
        self.running.push(Running {
            id: job.id.clone(),
            tenant: job.tenant.clone(),
            priority: job.priority,
            model: job.order.model().id.clone(),
            place: *model,
            batch: outlook.batch(*model),
            submitted: *submitted,
            estimate: Duration::from_nanos(outlook.cost(*model, job.order.work())),
            spent: Duration::ZERO,
            seen: Instant::now(),
            cancel: cancel.clone(),
            charge,
        });
        self.tell_positions();
        Some(entry)
    }

    /// Takes the next job out of the line if it may run beside those of a model's batch, with the memory of its run: where
    /// there is a place, where it is of the batch, and where its memory is free. Nobody joins while anything else is due, be
    /// it another's turn, a command or a model that was idle for long enough: so a batch comes to its end, however many
    /// want to join it.
    pub(crate) fn join(&mut self, batch: usize) -> Option<(Entry, Lease)> {
        if self.queue.len() == 0 || self.running.len() >= self.conversations || self.is_move_due() {
            return None;
        }
        let outlook = self.outlook();
        let next = self.queue.peek(&outlook).filter(|next| outlook.batch(next.model) == Some(batch))?;
        let lease = self.residency.lease_run(batch, next.memory)?;
        Some((self.take()?, lease))
    }

    /// Whether the worker is to load or unload something before the next job.
    fn is_move_due(&self) -> bool {
        let idle = self.residency.next_idle(Instant::now());
        !self.commands.is_empty() || idle.is_some_and(|left| left.is_zero())
    }

    /// A job took so much of the worker so far.
    pub(crate) fn spend(&mut self, id: &JobId, spent: Duration) {
        let now = Instant::now();
        for running in &mut self.running {
            running.seen = now;
            if running.id == *id {
                running.spent = spent;
                // what runs is not idle
                self.residency.touch(running.place, now);
            }
        }
    }
}
