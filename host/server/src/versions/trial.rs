//! How a new version does at first: its answers and failures are counted until it has proven itself or failed too often.
//! The slot that served before is held until then, so that going back takes one swap of a pointer and no compiler.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use atelier_runtime::{Deployment, Failure};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use crate::config;
use crate::live::Slot;

/// The trial of one version.
pub(crate) struct Trial {
    rules: config::Trial,
    /// What served before, and serves again if the trial fails.
    pub(super) before: Arc<Slot>,
    answers: AtomicU64,
    failures: AtomicU64,
    /// As the deployment counts them.
    plugin_failures: AtomicU64,
    /// The first failure's code.
    first: OnceLock<&'static str>,
    decided: Notify,
}

/// How a trial ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The version stays.
    Proven,
    /// It goes, for this reason.
    Failed(String),
}

impl Trial {
    pub(super) fn new(rules: config::Trial, before: Arc<Slot>) -> Self {
        Self {
            rules,
            before,
            answers: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            plugin_failures: AtomicU64::new(0),
            first: OnceLock::new(),
            decided: Notify::new(),
        }
    }

    /// Counts one answer, or the failure that came instead.
    pub(crate) fn count(&self, failure: Option<&Failure>, deployment: &Deployment) {
        self.note(failure, deployment.plugin_failures());
    }

    fn note(&self, failure: Option<&Failure>, plugin_failures: u64) {
        let answers = self.answers.fetch_add(1, Ordering::Relaxed) + 1;
        self.plugin_failures.fetch_max(plugin_failures, Ordering::Relaxed);
        self.failed(failure);
        if self.has_failed() || answers >= self.rules.requests {
            self.decided.notify_one();
        }
    }

    fn failed(&self, failure: Option<&Failure>) {
        let Some(failure) = failure.filter(|failure| failure.is_guests_own()) else { return };
        self.failures.fetch_add(1, Ordering::Relaxed);
        // only the first is told of
        let _ = self.first.set(failure.code());
        if self.has_failed() {
            self.decided.notify_one();
        }
    }

    fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed) + self.plugin_failures.load(Ordering::Relaxed)
    }

    fn has_failed(&self) -> bool {
        self.rules.failures > 0 && self.failures() >= self.rules.failures
    }

    /// Waits for the end.
    pub(super) async fn verdict(&self) -> Verdict {
        // either way, the counts decide
        let _ = tokio::time::timeout(self.rules.time, self.decided.notified()).await;
        if !self.has_failed() {
            return Verdict::Proven;
        }
        let code = self.first.get().copied().unwrap_or("plugin_failure");
        let (failures, answers) = (self.failures(), self.answers.load(Ordering::Relaxed));
        Verdict::Failed(format!(
            "{failures} failures in its first {answers} answers, the first a {code} (trial.failures is {})",
            self.rules.failures
        ))
    }
}

/// An answer's body while a trial lasts: a guest can fail after its head.
pub(crate) struct Watched {
    body: atelier_runtime::Body,
    trial: Arc<Trial>,
}

impl Watched {
    pub(crate) fn new(body: atelier_runtime::Body, trial: Arc<Trial>) -> Self {
        Self { body, trial }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Err(failure)) = &frame {
            self.trial.failed(Some(failure));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn trial(failures: u64) -> Trial {
        during(failures, Duration::from_secs(3_600))
    }

    fn during(failures: u64, time: Duration) -> Trial {
        let rules = config::Trial { failures, requests: 10, time };
        Trial::new(rules, Arc::new(Slot::empty_for_tests()))
    }

    fn trap() -> Failure {
        Failure::Trap { route: "a".into(), detail: "secret".into() }
    }

    fn busy() -> Failure {
        Failure::Saturated { limit: 1, retry_after: Duration::ZERO }
    }

    #[tokio::test]
    async fn so_many_failures_end_a_trial_at_once_and_one_less_does_not() {
        let failing = trial(3);
        for failure in [None, Some(trap()), Some(busy()), Some(trap())] {
            failing.note(failure.as_ref(), 0);
        }
        assert!(!failing.has_failed(), "what the host refuses is not the guest's failure");
        failing.note(Some(&trap()), 0);
        let Verdict::Failed(reason) = failing.verdict().await else { panic!("not failed") };
        assert!(reason.starts_with("3 failures in its first 5 answers, the first a guest_trap"), "{reason}");
        assert!(!reason.contains("secret"));
    }

    #[tokio::test]
    async fn plugins_that_fail_behind_good_answers_count() {
        let failing = trial(2);
        failing.note(None, 1);
        failing.note(None, 2);
        assert!(
            matches!(failing.verdict().await, Verdict::Failed(reason) if reason.contains("plugin_failure"))
        );
    }

    #[tokio::test]
    async fn a_version_has_proven_itself_after_so_many_answers_or_so_long() {
        let many = trial(3);
        (0..10).for_each(|_| many.note(None, 0));
        assert_eq!(many.verdict().await, Verdict::Proven);
        assert_eq!(during(3, Duration::ZERO).verdict().await, Verdict::Proven, "by time alone");
        let tolerant = trial(0);
        (0..10).for_each(|_| tolerant.note(Some(&trap()), 0));
        assert_eq!(tolerant.verdict().await, Verdict::Proven, "0 switches it off");
    }
}
