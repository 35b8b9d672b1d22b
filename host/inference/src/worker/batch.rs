//! Conversations of one model side by side. Each has a run, memory, events, a cancel and an end of its own; what they share is
//! the worker, step by step.
//!
//! A round is one step of one conversation that still reads, and then one token of all those that write, which the engine
//! may compute together. Those that read take turns. So between two tokens of a reply lies at most one piece of another's
//! prompt, and one conversation that begins: a long prompt slows the others down and never stops them.
//!
//! Who joins, and when nobody does any more, is decided where the queue is (`State::join`). A step is charged to those who
//! took part in it, in equal parts.

use std::time::{Duration, Instant};

use super::Worker;
use super::end::Took;
use crate::engine::{Finished, Run, StepState};
use crate::memory::{Lease, Ready};
use crate::shared::Entry;
use crate::{Error, Result};

/// A conversation on its way.
struct Member {
    run: Box<dyn Run>,
    // made before the run, so dropped after it: the lease outlives what it stands for
    _lease: Lease,
    entry: Entry,
    took: Took,
}

impl Worker {
    /// Replies to a conversation, and to those whose turn comes meanwhile and who may be answered beside it.
    pub(super) fn converse(&mut self, first: Entry) {
        let model = first.model;
        let mut batch = Vec::from_iter(self.admit(first, None));
        while !batch.is_empty() {
            batch = self.dismiss(batch);
            let joining = self.line.0.lock().join(model);
            batch.extend(joining.and_then(|(entry, lease)| self.admit(entry, Some(lease))));
            self.step_one(&mut batch);
            self.step_together(&mut batch);
        }
    }

    /// Begins a conversation; none where it has ended with that. One without a lease is the first, and has its model
    /// brought into memory.
    fn admit(&mut self, entry: Entry, lease: Option<Lease>) -> Option<Member> {
        let began = self.announce(&entry);
        let begun = self.begin(&entry, lease);
        let mut took = Took { began, load: Duration::ZERO, work: began.elapsed() };
        match begun {
            Ok((Ready { lease, load }, run)) => {
                took.load = load;
                self.line.0.lock().spend(&entry.job.id, took.work);
                Some(Member { run, _lease: lease, entry, took })
            }
            Err(error) => {
                self.conclude(entry, took, Err(error));
                None
            }
        }
    }

    fn begin(&mut self, entry: &Entry, lease: Option<Lease>) -> Result<(Ready, Box<dyn Run>)> {
        if entry.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let ready = match lease {
            Some(lease) => Ready { lease, load: Duration::ZERO },
            None => self.loader.ready(&entry.own_demand())?,
        };
        let run = self.loader.begin(&entry.job.order)?;
        Ok((ready, run))
    }

    /// Ends those that nobody wants any more.
    fn dismiss(&mut self, batch: Vec<Member>) -> Vec<Member> {
        let (unwanted, wanted): (Vec<_>, _) =
            batch.into_iter().partition(|member| member.entry.is_cancelled());
        unwanted.into_iter().for_each(|member| self.part(member, Err(Error::Cancelled)));
        wanted
    }

    /// One step of the conversation that had to wait longest for one of its own.
    fn step_one(&mut self, batch: &mut Vec<Member>) {
        let Some(place) = batch.iter().position(|member| !member.run.can_join()) else { return };
        let mut member = batch.remove(place);
        let stepped = Instant::now();
        let state = member.run.next_step();
        let took = stepped.elapsed();
        batch.extend(self.follow(member, state, (took, took)));
    }

    /// One step of all conversations that can take it together.
    fn step_together(&mut self, batch: &mut Vec<Member>) {
        let (mut joined, others): (Vec<_>, _) =
            std::mem::take(batch).into_iter().partition(|member| member.run.can_join());
        *batch = others;
        if joined.is_empty() {
            return;
        }
        let mut runs: Vec<&mut dyn Run> = joined.iter_mut().map(|member| member.run.as_mut()).collect();
        let stepped = Instant::now();
        let mut states = self.loader.step_together(&mut runs).into_iter();
        let took = stepped.elapsed();
        let part = took / u32::try_from(joined.len()).unwrap_or(u32::MAX);
        for member in joined {
            let state = states.next().unwrap_or_else(|| {
                Err(Error::Failed("the engine left a run out of a step that several took together".into()))
            });
            batch.extend(self.follow(member, state, (took, part)));
        }
    }

    /// Tells what a step did, which took so long and of which so much is charged; gives the member back unless that was its end.
    fn follow(
        &mut self,
        mut member: Member,
        state: Result<StepState>,
        (took, part): (Duration, Duration),
    ) -> Option<Member> {
        member.took.work += part;
        let end = match state {
            Ok(StepState::Done(finished)) => Ok(finished),
            Ok(StepState::HandOver) => Err(Error::Failed("a reply cannot be handed over".into())),
            Ok(state) => {
                self.tell(&member.entry, member.entry.model, state, (took, member.took.began));
                self.line.0.lock().spend(&member.entry.job.id, member.took.work);
                return Some(member);
            }
            Err(error) => Err(error),
        };
        self.part(member, end);
        None
    }

    /// Ends a conversation; the others go on.
    fn part(&mut self, member: Member, result: Result<Finished>) {
        let Member { run, _lease: lease, entry, took } = member;
        drop(run);
        drop(lease);
        self.conclude(entry, took, result);
    }
}
