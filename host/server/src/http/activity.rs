//! What a connection is busy with: requests from their head to the last byte of their answer. A connection that is busy
//! with nothing for too long is ended; HTTP/2 clients could otherwise keep one for ever by answering pings.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

/// The requests of one connection.
#[derive(Clone, Default)]
pub(crate) struct Activity(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    running: usize,
    /// When the last request ended; none when there never was one.
    quiet: Option<Instant>,
}

/// A request that a connection is busy with, until this is dropped.
pub(crate) struct Busy(Activity);

impl Activity {
    pub(crate) fn begin(&self) -> Busy {
        self.state().running += 1;
        Busy(self.clone())
    }

    /// Ends when no request has begun within `first`.
    pub(crate) async fn silence(&self, first: Duration) {
        sleep(first).await;
        let heard = {
            let state = self.state();
            state.running > 0 || state.quiet.is_some()
        };
        if heard {
            std::future::pending().await
        }
    }

    /// Ends when there was a request, and then none for so long.
    pub(crate) async fn idle(&self, limit: Duration) {
        loop {
            let quiet = {
                let state = self.state();
                state.quiet.filter(|_| state.running == 0)
            };
            match quiet {
                Some(since) if since.elapsed() >= limit => return,
                Some(since) => sleep_until(since + limit).await,
                None => sleep(limit).await,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running -= 1;
        state.quiet = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_silent_until_its_first_request_and_idle_only_after_one() {
        let activity = Activity::default();
        timeout(2 * SECOND, activity.silence(SECOND)).await.unwrap();
        assert!(timeout(99 * SECOND, activity.idle(SECOND)).await.is_err());
        let busy = activity.begin();
        assert!(timeout(99 * SECOND, activity.silence(SECOND)).await.is_err());
        assert!(timeout(99 * SECOND, activity.idle(SECOND)).await.is_err());
        drop(busy);
        timeout(3 * SECOND, activity.idle(SECOND)).await.unwrap();
        assert!(timeout(99 * SECOND, activity.silence(SECOND)).await.is_err());
    }
}
