//! What one tenant has used, and whether it may use more. An account outlives reloads, so that a changed manifest gives
//! nobody a second allowance; the quotas that it is held against come with each request from the manifest that stands.
//! Usage is kept in memory: a day begins at midnight UTC, and anew when the process starts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use atelier_inference::TenantId;
use atelier_runtime::{Exceeded, Quota, WAITING_JOBS, Work};
use serde::Serialize;

use super::rate::Rate;
use crate::config::Quotas;
use crate::metrics::TenantCounts;

const DAY_S: u64 = 86_400;

/// Since 1970, by a clock that never jumps: the wall clock is read once.
fn now() -> Duration {
    static START: LazyLock<(Duration, Instant)> =
        LazyLock::new(|| (SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), Instant::now()));
    START.0 + START.1.elapsed()
}

/// A quota that a request or a job meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OverQuota {
    /// Whose.
    pub(crate) tenant: TenantId,
    /// Its key below `tenant.quotas`.
    pub(crate) key: &'static str,
    /// The limit.
    pub(crate) limit: u64,
    /// When there is room again.
    pub(crate) retry_after: Duration,
}

impl OverQuota {
    /// What is used up; safe to show.
    pub(crate) fn reason(&self) -> String {
        let Self { tenant, key, limit, .. } = self;
        format!("tenant `{tenant}` has reached its quota of {limit} (tenant.quotas.{key})")
    }
}

/// One tenant's usage.
#[derive(Debug, Default)]
pub(crate) struct Account {
    state: Mutex<State>,
    requests: AtomicU64,
    refused: AtomicU64,
    /// What monitoring sees, perhaps of several tenants together.
    counts: Arc<TenantCounts>,
}

#[derive(Debug, Default)]
struct State {
    /// When the next request is due, for the rate.
    due: Duration,
    running: u64,
    /// How long a request takes.
    mean: Duration,
    /// Since 1970.
    day: u64,
    /// Work since then.
    used: Work,
}

/// What operators see of an account.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Usage {
    /// Requests since the start.
    pub(crate) requests: u64,
    /// Requests and jobs that met a quota, since the start.
    pub(crate) refused: u64,
    /// Requests whose answers are not complete.
    pub(crate) in_flight: u64,
    /// Pictures since midnight.
    pub(crate) images_today: u64,
    /// Pixels times steps since midnight.
    pub(crate) pixel_steps_today: u64,
    /// Seconds of sound since midnight.
    pub(crate) audio_seconds_today: u64,
    /// Tokens of conversations and replies since midnight.
    pub(crate) tokens_today: u64,
}

/// A tenant's account with the quotas of one manifest.
#[derive(Debug, Clone)]
pub(crate) struct Purse {
    tenant: TenantId,
    quotas: Quotas,
    rate: Option<Rate>,
    account: Arc<Account>,
}

/// A request that has begun; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Begun {
    account: Arc<Account>,
    since: Instant,
}

impl Account {
    pub(crate) fn new(counts: Arc<TenantCounts>) -> Self {
        Self { counts, ..Self::default() }
    }

    /// The usage now.
    pub(crate) fn usage(&self) -> Usage {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut state = self.state();
        state.turn_page(now());
        Usage {
            requests: get(&self.requests),
            refused: get(&self.refused),
            in_flight: state.running,
            images_today: state.used.images,
            pixel_steps_today: state.used.pixel_steps,
            audio_seconds_today: state.used.audio_seconds,
            tokens_today: state.used.tokens,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn turn_page(&mut self, now: Duration) {
        let day = now.as_secs() / DAY_S;
        if day != self.day {
            (self.day, self.used) = (day, Work::default());
        }
    }
}

impl Purse {
    pub(crate) fn new(tenant: TenantId, quotas: Quotas, account: Arc<Account>) -> Self {
        let rate = quotas.requests_per_second.map(|rate| Rate::new(rate, quotas.burst.unwrap_or(rate)));
        Self { tenant, quotas, rate, account }
    }

    /// The account, for the next manifest.
    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Lets a request begin, or says which quota it meets.
    pub(crate) fn begin(&self) -> Result<Begun, OverQuota> {
        self.begin_at(now())
    }

    fn begin_at(&self, now: Duration) -> Result<Begun, OverQuota> {
        let mut state = self.account.state();
        if let Some(limit) = self.quotas.concurrent_requests.filter(|limit| state.running >= *limit) {
            // one of so many ends after a part of the time that one takes
            let retry_after = state.mean / u32::try_from(limit).unwrap_or(u32::MAX);
            return Err(self.over("concurrent-requests", limit, retry_after));
        }
        if let Some(rate) = &self.rate {
            let limit = self.quotas.requests_per_second.unwrap_or_default();
            state.due =
                rate.next(state.due, now).map_err(|early| self.over("requests-per-second", limit, early))?;
        }
        state.running += 1;
        self.account.requests.fetch_add(1, Ordering::Relaxed);
        Ok(Begun { account: self.account.clone(), since: Instant::now() })
    }

    fn charge_at(&self, work: Work, now: Duration) -> Result<(), OverQuota> {
        let mut state = self.account.state();
        state.turn_page(now);
        let tomorrow = Duration::from_secs((state.day + 1) * DAY_S).saturating_sub(now);
        let fits = |limit: Option<u64>, used: u64, more: u64, key| match limit {
            Some(limit) if used.saturating_add(more) > limit => Err(self.over(key, limit, tomorrow)),
            _ => Ok(used.saturating_add(more)),
        };
        let (quotas, used) = (&self.quotas, state.used);
        state.used = Work {
            images: fits(quotas.images_per_day, used.images, work.images, "images-per-day")?,
            pixel_steps: fits(
                quotas.pixel_steps_per_day,
                used.pixel_steps,
                work.pixel_steps,
                "pixel-steps-per-day",
            )?,
            audio_seconds: fits(
                quotas.audio_seconds_per_day,
                used.audio_seconds,
                work.audio_seconds,
                "audio-seconds-per-day",
            )?,
            tokens: fits(quotas.tokens_per_day, used.tokens, work.tokens, "tokens-per-day")?,
        };
        Ok(())
    }

    fn over(&self, key: &'static str, limit: u64, retry_after: Duration) -> OverQuota {
        self.account.refused.fetch_add(1, Ordering::Relaxed);
        self.account.counts.over_quota.count();
        OverQuota { tenant: self.tenant.clone(), key, limit, retry_after }
    }
}

impl Quota for Purse {
    fn charge(&self, work: Work) -> Result<(), Exceeded> {
        let told = |over: OverQuota| Exceeded { reason: over.reason(), retry_after: over.retry_after };
        self.charge_at(work, now()).map_err(told)
    }

    fn refund(&self, work: Work) {
        let used = &mut self.account.state().used;
        used.images = used.images.saturating_sub(work.images);
        used.pixel_steps = used.pixel_steps.saturating_sub(work.pixel_steps);
        used.audio_seconds = used.audio_seconds.saturating_sub(work.audio_seconds);
        used.tokens = used.tokens.saturating_sub(work.tokens);
    }

    fn stored_bytes(&self) -> Option<u64> {
        self.quotas.stored_bytes
    }

    fn waiting_jobs(&self) -> u64 {
        self.quotas.waiting_jobs.unwrap_or(WAITING_JOBS)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut state = self.account.state();
        state.running -= 1;
        // the newest request counts an eighth, the first one all
        let (mean, newest) = (state.mean, self.since.elapsed());
        state.mean = if mean.is_zero() { newest } else { (mean * 7 + newest) / 8 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purse(quotas: Quotas) -> Purse {
        Purse::new(TenantId::default(), quotas, Arc::default())
    }

    fn at(day: u64, second: u64) -> Duration {
        Duration::from_secs(day * DAY_S + second)
    }

    #[test]
    fn requests_beyond_the_rate_are_told_the_key_and_when_to_come_back() {
        let purse = purse(Quotas { requests_per_second: Some(1), burst: Some(2), ..Quotas::default() });
        let _held = [purse.begin_at(at(1, 0)).unwrap(), purse.begin_at(at(1, 0)).unwrap()];
        let over = purse.begin_at(at(1, 0)).unwrap_err();
        assert_eq!((over.key, over.limit, over.retry_after.as_secs()), ("requests-per-second", 1, 1));
        assert!(over.reason().contains("tenant.quotas.requests-per-second"), "{}", over.reason());
        assert!(purse.begin_at(at(1, 1)).is_ok());
        assert_eq!((purse.account.usage().requests, purse.account.usage().refused), (3, 1));
    }

    #[test]
    fn a_request_counts_until_it_is_dropped_and_a_refused_one_costs_no_rate() {
        let quotas = Quotas {
            concurrent_requests: Some(1),
            requests_per_second: Some(1),
            burst: Some(2),
            ..Quotas::default()
        };
        let purse = purse(quotas);
        let held = purse.begin_at(at(1, 0)).unwrap();
        assert_eq!(purse.begin_at(at(1, 0)).unwrap_err().key, "concurrent-requests");
        assert_eq!(purse.account.usage().in_flight, 1);
        drop(held);
        assert!(purse.begin_at(at(1, 0)).is_ok(), "the burst of two still has one");
        assert_eq!(purse.account.usage().in_flight, 0);
    }

    #[test]
    fn a_day_has_its_allowance_and_the_next_one_another() {
        let purse = purse(Quotas { images_per_day: Some(3), ..Quotas::default() });
        let work = |images| Work { images, pixel_steps: 10, ..Work::default() };
        assert!(purse.charge_at(work(3), at(5, 100)).is_ok());
        let over = purse.charge_at(work(1), at(5, DAY_S - 7)).unwrap_err();
        assert_eq!((over.key, over.limit, over.retry_after.as_secs()), ("images-per-day", 3, 7));
        assert!(purse.charge_at(work(1), at(6, 0)).is_ok());
    }

    #[test]
    fn work_that_fits_one_quota_and_not_the_other_is_charged_to_neither() {
        let quotas = Quotas { images_per_day: Some(10), pixel_steps_per_day: Some(100), ..Quotas::default() };
        let purse = purse(quotas);
        let over =
            purse.charge_at(Work { images: 1, pixel_steps: 101, ..Work::default() }, at(1, 0)).unwrap_err();
        assert_eq!(over.key, "pixel-steps-per-day");
        assert!(purse.charge_at(Work { images: 10, pixel_steps: 100, ..Work::default() }, at(1, 0)).is_ok());
    }

    #[test]
    fn sound_has_an_allowance_of_its_own() {
        let purse = purse(Quotas { audio_seconds_per_day: Some(60), ..Quotas::default() });
        let work = |audio_seconds| Work { audio_seconds, ..Work::default() };
        purse.charge_at(work(40), at(1, 0)).unwrap();
        assert_eq!(purse.charge_at(work(21), at(1, 0)).unwrap_err().key, "audio-seconds-per-day");
        purse.charge_at(work(20), at(1, 0)).unwrap();
        purse.charge_at(Work { images: 1, ..work(0) }, at(1, 0)).unwrap();
    }

    #[test]
    fn tokens_have_one_as_well_and_those_that_were_not_used_come_back() {
        let purse = purse(Quotas { tokens_per_day: Some(100), ..Quotas::default() });
        let work = |tokens| Work { tokens, ..Work::default() };
        purse.charge(work(90)).unwrap();
        let over = purse.charge(work(11)).unwrap_err();
        assert!(over.reason.contains("tenant.quotas.tokens-per-day"), "{}", over.reason);
        purse.refund(work(80));
        purse.charge(work(90)).unwrap();
        assert_eq!(purse.account.usage().tokens_today, 100);
    }

    #[test]
    fn what_never_began_is_given_back() {
        let purse = purse(Quotas { images_per_day: Some(1), ..Quotas::default() });
        let work = Work { images: 1, pixel_steps: 1, ..Work::default() };
        purse.charge(work).unwrap();
        purse.charge(work).unwrap_err();
        purse.refund(work);
        purse.charge(work).unwrap();
    }

    #[test]
    fn new_quotas_meet_the_old_usage() {
        let before = purse(Quotas::default());
        before.charge(Work { images: 5, pixel_steps: 5, ..Work::default() }).unwrap();
        let quotas = Quotas { images_per_day: Some(5), ..Quotas::default() };
        let after = Purse::new(TenantId::default(), quotas, before.account.clone());
        assert!(after.charge(Work { images: 1, pixel_steps: 1, ..Work::default() }).is_err());
    }
}
