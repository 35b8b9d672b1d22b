//! What a connection is busy with: requests from their head to the last byte of their answer. A connection that is busy
//! with nothing for too long is ended; HTTP/2 clients could otherwise keep one for ever by answering pings.
//! Answers that wait for their client lie here (`taken.rs`); those that wait for too long are thrown away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::taken::Parcel;

/// Between two looks at answers that wait, at least.
const LOOK: Duration = Duration::from_secs(1);

/// The requests of one connection.
#[derive(Clone, Default)]
pub(crate) struct Activity(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    running: usize,
    begun: u64,
    /// When the last request ended; none when there never was one.
    quiet: Option<Instant>,
    /// Not many, since a connection has so many streams.
    waiting: Vec<Waiting>,
}

/// An answer that waits for its client, and until when.
struct Waiting {
    number: u64,
    until: Instant,
    parcel: Parcel,
}

/// A request that a connection is busy with, until this is dropped.
pub(crate) struct Busy {
    pub(super) activity: Activity,
    /// Which of the connection's requests it is.
    pub(super) number: u64,
}

impl Activity {
    pub(crate) fn begin(&self) -> Busy {
        let mut state = self.state();
        state.running += 1;
        state.begun += 1;
        Busy { activity: self.clone(), number: state.begun }
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

    /// Keeps what there is of a request's answer while its client is waited for.
    pub(super) fn wait(&self, number: u64, until: Instant, parcel: Parcel) {
        self.state().waiting.push(Waiting { number, until, parcel });
    }

    /// Gives it back, unless it was thrown away.
    pub(super) fn take(&self, number: u64) -> Option<Parcel> {
        let mut state = self.state();
        let at = state.waiting.iter().position(|waiting| waiting.number == number)?;
        Some(state.waiting.swap_remove(at).parcel)
    }

    /// Ends when there was a request, and then none for so long. Meanwhile throws away answers that wait for too long, which none
    /// does before `silence` is over.
    pub(crate) async fn idle(&self, limit: Duration, silence: Duration) {
        let silence = silence.clamp(LOOK, limit);
        loop {
            self.throw_away();
            let now = Instant::now();
            let look = {
                let state = self.state();
                let end = state.quiet.filter(|_| state.running == 0).map(|since| since + limit);
                if end.is_some_and(|end| end <= now) {
                    return;
                }
                // one that begins to wait in the meantime is early enough then
                state.waiting.iter().map(|waiting| waiting.until).chain(end).fold(now + silence, Ord::min)
            };
            sleep_until(look).await;
        }
    }

    fn throw_away(&self) {
        let now = Instant::now();
        // dropped after the lock, which their ends take themselves
        let late: Vec<_> = self.state().waiting.extract_if(.., |waiting| waiting.until <= now).collect();
        if !late.is_empty() {
            tracing::debug!("{} answers were not taken in time (server.write-idle-timeout-ms)", late.len());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.running -= 1;
        state.quiet = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Version;
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::Frame;
    use tokio::time::timeout;

    use super::super::taken::Taken;
    use super::super::{BodyError, Pace, boxed};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_silent_until_its_first_request_and_idle_only_after_one() {
        let activity = Activity::default();
        timeout(2 * SECOND, activity.silence(SECOND)).await.unwrap();
        assert!(timeout(99 * SECOND, activity.idle(SECOND, SECOND)).await.is_err());
        let busy = activity.begin();
        assert!(timeout(99 * SECOND, activity.silence(SECOND)).await.is_err());
        assert!(timeout(99 * SECOND, activity.idle(SECOND, SECOND)).await.is_err());
        drop(busy);
        timeout(3 * SECOND, activity.idle(SECOND, SECOND)).await.unwrap();
        assert!(timeout(99 * SECOND, activity.silence(SECOND)).await.is_err());
    }

    /// Three frames of 20,000 bytes, given to hyper over a version of HTTP.
    fn answer(activity: &Activity, version: Version) -> Taken {
        let frames = (0..3).map(|_| Ok::<_, BodyError>(Frame::data(Bytes::from_static(&[7; 20_000]))));
        let pace = Pace { silence: 30 * SECOND, bytes_per_second: 1_024 };
        let body = boxed(StreamBody::new(futures::stream::iter(frames)));
        Taken::new(body, version, activity.begin(), pace)
    }

    async fn piece(answer: &mut Taken) -> Option<usize> {
        Some(answer.frame().await?.ok()?.into_data().unwrap().len())
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_taken_slowly_is_whole_and_one_that_is_not_taken_is_gone() {
        let activity = Activity::default();
        let (mut slow, mut deaf) = (answer(&activity, Version::HTTP_2), answer(&activity, Version::HTTP_2));
        let watch = activity.clone();
        let watching = tokio::spawn(async move { watch.idle(600 * SECOND, 30 * SECOND).await });
        let mut taken = Vec::new();
        while let Some(bytes) = piece(&mut slow).await {
            taken.push(bytes);
            sleep(32 * SECOND).await;
        }
        assert_eq!(taken, [16_384, 3_616].repeat(3));
        drop(slow);
        // hyper still holds the other one, and yet the connection is idle
        assert!(activity.state().running == 0 && activity.state().waiting.is_empty());
        assert!(deaf.frame().await.unwrap().is_err());
        timeout(700 * SECOND, watching).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn over_http_1_an_answer_stays_as_it_is() {
        let activity = Activity::default();
        let mut answer = answer(&activity, Version::HTTP_11);
        assert!(timeout(99 * SECOND, activity.idle(SECOND, SECOND)).await.is_err());
        assert_eq!(piece(&mut answer).await, Some(20_000));
        drop(answer);
        assert_eq!(activity.state().running, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_its_client_takes_back_leaves_nothing() {
        let activity = Activity::default();
        let mut answer = answer(&activity, Version::HTTP_2);
        assert_eq!(piece(&mut answer).await, Some(16_384));
        drop(answer);
        assert!(activity.state().running == 0 && activity.state().waiting.is_empty());
    }
}
