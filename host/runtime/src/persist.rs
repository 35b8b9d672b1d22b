//! Polls work until it waits for somebody else. An instance's event loop now and then wakes itself and gives way in the
//! middle of what it could do at once; whoever looks then takes half an answer for the whole.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// How often in a row work is polled that wakes itself: it shares its thread with others.
const TURNS: usize = 8;

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
