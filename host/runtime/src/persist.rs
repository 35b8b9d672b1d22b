//! Polls work until it waits for somebody else. An instance's event loop now and then wakes itself and gives way in the
//! middle of what it could do at once; whoever looks then takes half an answer for the whole.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// How often in a row work is polled that wakes itself: it shares its thread with others. An instance wakes itself for each
/// request that it takes, and takes up to 16 in one go; with fewer turns than that the last of their answers went out in two
/// pieces, which cost a tenth of all the time.
const TURNS: usize = 64;

/// Wakes a task, but not while it is at work: it notices then by itself.
#[derive(Default)]
struct Bell {
    at_work: AtomicBool,
    rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        if !self.at_work.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

/// Polls one future's work.
pub(crate) struct Persistent {
    bell: Arc<Bell>,
    waker: Waker,
}

impl Persistent {
    pub(crate) fn new() -> Self {
        let bell = Arc::<Bell>::default();
        Self { waker: bell.clone().into(), bell }
    }

    /// Polls again at once what woke itself, unless it had to give way (`gave_way`).
    pub(crate) fn poll<W: Future>(
        &self,
        mut work: Pin<&mut W>,
        gave_way: impl Fn() -> bool,
        cx: &mut Context<'_>,
    ) -> Poll<W::Output> {
        let Bell { at_work, rung, task } = &*self.bell;
        task.register(cx.waker());
        at_work.store(true, Ordering::SeqCst);
        for _ in 0..TURNS {
            rung.store(false, Ordering::SeqCst);
            let polled = work.as_mut().poll(&mut Context::from_waker(&self.waker));
            if polled.is_ready() || gave_way() || !rung.load(Ordering::SeqCst) {
                at_work.store(false, Ordering::SeqCst);
                if polled.is_pending() && rung.load(Ordering::SeqCst) {
                    cx.waker().wake_by_ref();
                }
                return polled;
            }
        }
        at_work.store(false, Ordering::SeqCst);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;

    /// How often work is polled that wakes itself so often, and whether its task was woken for more.
    fn polls(wakes: usize) -> (usize, bool) {
        let (mut polls, task) = (0, Arc::<Bell>::default());
        let work = poll_fn(|cx| {
            polls += 1;
            if polls <= wakes {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        let waker = task.clone().into();
        let polled = Persistent::new().poll(pin!(work), || false, &mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        (polls, task.rung.load(Ordering::SeqCst))
    }

    #[test]
    fn an_instance_takes_all_requests_that_it_has_room_for_before_anybody_looks_at_its_answers() {
        let (requests, wakes_of_each) = (16, 3);
        assert_eq!(polls(requests * wakes_of_each), (requests * wakes_of_each + 1, false));
    }

    #[test]
    fn work_that_wakes_itself_for_ever_gives_way_and_is_polled_again() {
        assert_eq!(polls(usize::MAX), (TURNS, true));
    }
}
