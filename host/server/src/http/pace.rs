//! How slow a client may be, in either direction: so long in silence, and so many bytes a second on average while it is
//! waited for. A client begins with credit for one silence; waiting uses it up, bytes earn it back, and there is never
//! more of it than that. So neither one byte now and then nor a quick start buys a slow end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::config::Server;

/// The limits of one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Longest silence.
    pub(crate) silence: Duration,
    /// Fewest bytes a second; 0 when only silence counts.
    pub(crate) bytes_per_second: u32,
}

impl Pace {
    /// How slowly request bodies may arrive.
    pub(crate) fn of_bodies(server: &Server) -> Self {
        Self { silence: server.body_idle_timeout, bytes_per_second: server.body_min_bytes_per_second }
    }

    /// How long a client may take at most over so many bytes, where nothing is heard of it before their end.
    pub(crate) fn at_most(&self, bytes: usize) -> Duration {
        self.silence + self.worth(bytes).unwrap_or_default()
    }

    /// The time for which so many bytes are enough; none where they do not count.
    fn worth(&self, bytes: usize) -> Option<Duration> {
        (bytes as u64 * 1_000_000).checked_div(self.bytes_per_second.into()).map(Duration::from_micros)
    }
}

/// How a client is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// Nothing at all.
    Silent,
    /// Too little.
    Slow,
}

/// Watches one direction.
pub(crate) struct Watch {
    pace: Pace,
    credit: Duration,
    /// Since when the client is waited for, and how much longer.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Watch {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, credit: pace.silence, waiting: None }
    }

    /// The client is waited for; ready once it is too late.
    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Late> {
        let credit = self.credit;
        let begin = || (Instant::now(), Box::pin(sleep(credit)));
        let (since, clock) = self.waiting.get_or_insert_with(begin);
        ready!(clock.as_mut().poll(cx));
        Poll::Ready(if since.elapsed() >= self.pace.silence { Late::Silent } else { Late::Slow })
    }

    /// So many bytes went through.
    pub(crate) fn moved(&mut self, bytes: usize) {
        let waited = self.waiting.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
        let earned = self.pace.worth(bytes).unwrap_or(self.pace.silence);
        self.credit = (self.credit.saturating_sub(waited) + earned).min(self.pace.silence);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    const PACE: Pace = Pace { silence: Duration::from_secs(30), bytes_per_second: 1_000 };

    /// How a client that sends so many bytes every so often ends within an hour, if it does, and when.
    async fn drip(watch: &mut Watch, bytes: usize, every: Duration) -> Option<(Late, Duration)> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3_600) {
            if let Ok(late) = timeout(every, poll_fn(|cx| watch.poll_late(cx))).await {
                return Some((late, began.elapsed()));
            }
            watch.moved(bytes);
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_at_its_limit() {
        let (late, after) = drip(&mut Watch::new(PACE), 0, Duration::from_secs(60)).await.unwrap();
        assert_eq!((late, after.as_secs()), (Late::Silent, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drip_ends_soon_and_a_steady_stream_does_not() {
        let second = Duration::from_secs(1);
        let (late, after) = drip(&mut Watch::new(PACE), 10, second).await.unwrap();
        assert_eq!(late, Late::Slow);
        assert!((30..32).contains(&after.as_secs()), "{after:?}");
        assert_eq!(drip(&mut Watch::new(PACE), 1_000, second).await, None);
        assert_eq!(drip(&mut Watch::new(PACE), 20_000, 20 * second).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_start_buys_no_slow_end() {
        let mut watch = Watch::new(PACE);
        watch.moved(1 << 30);
        let (late, after) = drip(&mut watch, 10, Duration::from_secs(1)).await.unwrap();
        assert!(late == Late::Slow && after.as_secs() < 32, "{late:?} {after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_only_silence_counts() {
        let mut watch = Watch::new(Pace { bytes_per_second: 0, ..PACE });
        assert_eq!(drip(&mut watch, 1, Duration::from_secs(29)).await, None);
    }
}
