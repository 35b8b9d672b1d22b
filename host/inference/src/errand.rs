//! A job that somebody else does than the worker thread: whoever sees to it holds the [`Errand`], whoever wants it the
//! [`Ticket`], as of any job. What is done, and where, is not known here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, oneshot};

use crate::events::{self, Event, EventWriter};
use crate::ticket::{CancelGuard, Outcome, Works};
use crate::{Error, JobId, Result, Ticket};

/// A job in the hands of whoever does it. Dropped before its end it was given up, which reads as cancelled.
pub struct Errand {
    events: EventWriter,
    outcome: Option<oneshot::Sender<Result<Outcome>>>,
    cancel: Arc<AtomicBool>,
    unwanted: Arc<Notify>,
}

impl Errand {
    /// A job, and the ticket for it. Dropping the ticket is noticed by [`Errand::unwanted`].
    pub fn begin(id: JobId) -> (Ticket, Errand) {
        let (events, reader) = events::channel();
        let (outcome, receiver) = oneshot::channel();
        let (cancel, unwanted) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let guard = CancelGuard { cancel: cancel.clone(), works: Works::Errand(unwanted.clone()) };
        let ticket = Ticket { id, events: reader, outcome: receiver, guard };
        (ticket, Errand { events, outcome: Some(outcome), cancel, unwanted })
    }

    /// Tells whoever wants the job what happens to it. Never waits.
    pub fn tell(&self, event: Event) {
        self.events.send(event);
    }

    /// Ends when nobody wants the job any more.
    pub async fn unwanted(&self) {
        while !self.cancel.load(Ordering::Relaxed) {
            self.unwanted.notified().await;
        }
    }

    /// The job's end.
    pub fn end(mut self, result: Result<Outcome>) {
        self.send(result);
    }

    fn send(&mut self, result: Result<Outcome>) {
        if let Some(outcome) = self.outcome.take() {
            // whoever wanted it may be gone
            drop(outcome.send(result));
        }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.send(Err(Error::Cancelled));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_ticket_is_noticed_and_a_dropped_errand_reads_as_cancelled() {
        let (ticket, errand) = Errand::begin(JobId::mint());
        errand.tell(Event::Started);
        drop(ticket);
        errand.unwanted().await;
        let (mut ticket, errand) = Errand::begin(JobId::mint());
        errand.tell(Event::Said { text: "a".into() });
        drop(errand);
        assert!(matches!(ticket.events.next().await, Some(Event::Said { .. })));
        assert!(ticket.events.next().await.is_none());
        assert!(matches!(ticket.finish().await, Err(Error::Cancelled)));
    }
}
