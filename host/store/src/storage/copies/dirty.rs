//! Which jobs' copies are behind, in memory: each job once, however often it changed, and no more of them than fit. When more
//! change, or the host has just begun, all known jobs are gone through instead, page by page.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::jobs::JobPlace;

/// Jobs that are remembered at a time: some tens of MB.
const MOST: usize = 100_000;

/// Jobs that wait to be copied.
pub(super) struct Dirty {
    state: Mutex<State>,
    pub(super) wake: Notify,
}

struct State {
    jobs: HashMap<Arc<str>, (JobPlace, Instant)>,
    /// The same by when they are due.
    order: BTreeSet<(Instant, Arc<str>)>,
    /// After which job to go on going through all of them; none when that is done.
    cursor: Option<String>,
}

impl Dirty {
    /// All jobs are behind.
    pub(super) fn new() -> Self {
        let state = State { jobs: HashMap::new(), order: BTreeSet::new(), cursor: Some(String::new()) };
        Self { state: Mutex::new(state), wake: Notify::new() }
    }

    /// A job is behind and due after so long; sooner, if it was due sooner already.
    pub(super) fn note(&self, place: JobPlace, after: Duration) {
        self.state().note(place, Instant::now() + after);
        self.wake.notify_one();
    }

    /// Jobs that are due, at most so many. They are not behind any more, until they are noted again.
    pub(super) fn take(&self, most: usize) -> Vec<JobPlace> {
        let (mut state, now) = (self.state(), Instant::now());
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((due, id)) = state.order.pop_first()
        {
            if due > now {
                state.order.insert((due, id));
                break;
            }
            taken.extend(state.jobs.remove(&id).map(|(place, _)| place));
        }
        taken
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.state().order.first().map(|(due, _)| *due)
    }

    /// After which job to look for more that may be behind, if there is room for them.
    pub(super) fn cursor(&self) -> Option<String> {
        let state = self.state();
        state.cursor.clone().filter(|_| state.jobs.len() < MOST / 2)
    }

    /// All jobs up to one were noted; up to the last when none is named. Whoever asked where to go on says where that was: it
    /// may have begun anew meanwhile.
    pub(super) fn advance(&self, from: &str, to: Option<String>) {
        let mut state = self.state();
        if state.cursor.as_deref() == Some(from) {
            state.cursor = to;
        }
    }

    /// How many are known to be behind.
    pub(super) fn len(&self) -> u64 {
        self.state().jobs.len() as u64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, place: JobPlace, due: Instant) {
        if let Some((_, known)) = self.jobs.get_mut(&place.id) {
            if due < *known {
                self.order.remove(&(*known, place.id.clone()));
                *known = due;
                self.order.insert((due, place.id));
            }
            return;
        }
        if self.jobs.len() >= MOST {
            // it is found when all are gone through
            self.cursor = Some(String::new());
            return;
        }
        self.order.insert((due, place.id.clone()));
        self.jobs.insert(place.id.clone(), (place, due));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(id: usize) -> JobPlace {
        JobPlace { owner: "a".into(), route: "r".into(), id: id.to_string().into() }
    }

    #[test]
    fn a_job_is_there_once_and_when_it_is_due_first() {
        let dirty = Dirty::new();
        dirty.note(place(1), Duration::from_secs(3_600));
        assert!(dirty.take(9).is_empty());
        dirty.note(place(1), Duration::ZERO);
        dirty.note(place(1), Duration::from_secs(3_600));
        dirty.note(place(2), Duration::ZERO);
        assert_eq!(dirty.take(1), [place(1)]);
        assert_eq!(dirty.take(9), [place(2)]);
        assert_eq!((dirty.len(), dirty.due()), (0, None));
    }

    #[test]
    fn what_is_too_much_is_found_by_going_through_all() {
        let dirty = Dirty::new();
        assert_eq!(dirty.cursor().as_deref(), Some(""));
        dirty.advance("", Some("5".into()));
        dirty.advance("", None);
        assert_eq!(dirty.cursor().as_deref(), Some("5"), "who was late says nothing");
        dirty.advance("5", None);
        assert_eq!(dirty.cursor(), None);
        (0..=MOST).for_each(|id| dirty.note(place(id), Duration::ZERO));
        assert_eq!((dirty.len(), dirty.cursor()), (MOST as u64, None), "there is no room to look for more");
        assert_eq!(dirty.take(MOST).len(), MOST);
        assert_eq!(dirty.cursor().as_deref(), Some(""));
    }
}
