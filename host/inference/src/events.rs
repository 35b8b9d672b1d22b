//! A job's events on their way to one reader. The worker never waits for the reader: when the buffer is full, the
//! oldest step or preview gives way, so a slow reader loses detail but always sees the newest state. Text is never lost: what
//! was not read yet is told together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::{Preview, SpeechDelta};

/// Most events kept for a reader; with previews of 256 KiB each this bounds a job's buffer at 16 MiB.
pub const MAX_EVENTS: usize = 64;

/// What happens to a job.
#[derive(Debug, Clone)]
pub enum Event {
    /// It waits; sent again whenever the position changes.
    Queued {
        /// Jobs ahead of it, those that run included.
        position: u32,
        /// Time until it is expected to start, once enough was measured.
        eta: Option<Duration>,
    },
    /// It left the queue.
    Started,
    /// A denoising step ended.
    Step {
        /// Steps done, from 1.
        step: u32,
        /// Steps in all.
        total: u32,
        /// Since the job began to run.
        elapsed: Duration,
    },
    /// An unfinished picture.
    Preview(Preview),
    /// More was heard, or written.
    Heard(SpeechDelta),
    /// More of a reply was written.
    Said {
        /// What was written since the last time. All of them, one after another, are the text of the reply.
        text: String,
    },
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    // held for a push or a pop only, never over an await or a step
    state: Mutex<State>,
    changed: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker's end.
pub(crate) struct EventWriter(Arc<Shared>);

/// The reader's end; at most one per job.
pub struct EventReader(Arc<Shared>);

pub(crate) fn channel() -> (EventWriter, EventReader) {
    let shared = Arc::new(Shared::default());
    (EventWriter(shared.clone()), EventReader(shared))
}

impl EventWriter {
    pub(crate) fn send(&self, event: Event) {
        let mut state = self.0.lock();
        let event = match (state.events.back_mut(), event) {
            // its reader was told already that there is something
            (Some(Event::Heard(last)), Event::Heard(next)) => return last.extend(next),
            (Some(Event::Said { text }), Event::Said { text: next }) => return text.push_str(&next),
            (_, event) => event,
        };
        if matches!(event, Event::Queued { .. }) {
            state.events.retain(|old| !matches!(old, Event::Queued { .. }));
        }
        if state.events.len() >= MAX_EVENTS {
            let detail = |old: &Event| matches!(old, Event::Step { .. } | Event::Preview(_));
            let oldest = state.events.iter().position(detail).unwrap_or(0);
            state.events.remove(oldest);
        }
        state.events.push_back(event);
        drop(state);
        self.0.changed.notify_one();
    }
}

impl Drop for EventWriter {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_one();
    }
}

impl EventReader {
    /// The next event; `None` once the job has ended and everything kept was read.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            {
                let mut state = self.0.lock();
                if let Some(event) = state.events.pop_front() {
                    return Some(event);
                }
                if state.closed {
                    return None;
                }
            }
            self.0.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str, heard_seconds: f64) -> Event {
        let pending = format!("after {text}");
        let (segments, total_seconds) = (Vec::new(), 9.0);
        Event::Heard(SpeechDelta { text: text.into(), pending, segments, heard_seconds, total_seconds })
    }

    #[tokio::test]
    async fn text_that_was_not_read_is_told_together_and_none_is_lost() {
        let (writer, mut reader) = channel();
        writer.send(Event::Started);
        (0..3 * MAX_EVENTS).for_each(|number| writer.send(heard("a", number as f64)));
        writer.send(heard("b", 8.0));
        assert!(matches!(reader.next().await, Some(Event::Started)));
        let Some(Event::Heard(delta)) = reader.next().await else { panic!("text was sent") };
        assert_eq!(delta.text, "a".repeat(3 * MAX_EVENTS) + "b");
        assert_eq!((delta.pending.as_str(), delta.heard_seconds), ("after b", 8.0));
        writer.send(heard("c", 8.5));
        drop(writer);
        assert!(matches!(reader.next().await, Some(Event::Heard(delta)) if delta.text == "c"));
        assert!(reader.next().await.is_none());
    }

    #[tokio::test]
    async fn what_was_said_is_told_together_as_well() {
        let (writer, mut reader) = channel();
        (0..3 * MAX_EVENTS).for_each(|_| writer.send(Event::Said { text: "ä".into() }));
        assert!(
            matches!(reader.next().await, Some(Event::Said { text }) if text == "ä".repeat(3 * MAX_EVENTS))
        );
        drop(writer);
        assert!(reader.next().await.is_none());
    }
}
