//! What a message to a webhook says, and when it is sent again. Plain values: nothing here sends or keeps anything.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atelier_runtime::Answered;
use atelier_store::{JobState, Occasion, Sent};
use http::StatusCode;

use crate::config::Webhooks;

/// Pauses between attempts, as multiples of the first: with one of 5 s, that is 5 s, 30 s, 2 min, 10 min, 1 h, 2 h, 4 h, and then
/// 6 h each.
const PAUSES: [u32; 8] = [1, 6, 24, 120, 720, 1_440, 2_880, 4_320];
/// A pause is up to this part longer, so that messages that failed together do not come back together.
const JITTER: f64 = 0.2;
const DAY_S: u64 = 86_400;

/// The name by which a receiver knows a message that it has already.
pub(super) fn id(job: &str, occasion: Occasion) -> String {
    format!("msg_{job}_{}", occasion.name())
}

/// The body. `view` is a JSON object.
pub(super) fn body(occasion: Occasion, state: JobState, since_ms: u64, view: &str) -> String {
    let kind = match (occasion, state) {
        (Occasion::Begun, _) => "job.begun",
        (_, JobState::Failed) => "job.failed",
        (_, JobState::Cancelled) => "job.cancelled",
        _ => "job.completed",
    };
    format!("{{\"type\":\"{kind}\",\"timestamp\":\"{}\",\"data\":{view}}}", timestamp(since_ms))
}

/// What an answer, or none, means for a message that was sent `before` times before.
pub(super) fn outcome(
    answer: Option<&Answered>,
    before: u32,
    since_ms: u64,
    now_ms: u64,
    webhooks: &Webhooks,
) -> Sent {
    match answer.map(|answer| answer.status) {
        Some(status) if status.is_success() => return Sent::Delivered,
        Some(StatusCode::GONE) => return Sent::GivenUp,
        _ => {}
    }
    let step = PAUSES[(before as usize).min(PAUSES.len() - 1)];
    let pause = webhooks.pause.saturating_mul(step).mul_f64(1.0 + JITTER * rand::random::<f64>());
    let wanted = answer.and_then(|answer| retry_after(answer, now_ms)).unwrap_or_default();
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let next_ms = now_ms.saturating_add(millis(pause.max(wanted)));
    let end_ms = since_ms.saturating_add(millis(webhooks.give_up));
    if before.saturating_add(1) >= webhooks.attempts || next_ms > end_ms {
        return Sent::GivenUp;
    }
    Sent::Again(next_ms)
}

/// How long a server wants to be left alone: in seconds, or until a date.
fn retry_after(answer: &Answered, now_ms: u64) -> Option<Duration> {
    let text = answer.retry_after.as_ref()?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(at.saturating_sub(Duration::from_millis(now_ms)))
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A moment as ISO 8601 has it, in UTC: `2026-11-23T00:00:00.000Z`.
fn timestamp(ms: u64) -> String {
    let (seconds, millis) = (ms / 1_000, ms % 1_000);
    let (days, second) = (seconds / DAY_S, seconds % DAY_S);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a day since 1970, in the Gregorian calendar. Years are counted from March here, so that the day that
/// some have more is their last.
fn date(days: u64) -> (u64, u64, u64) {
    // from the first of March of the year 0; 400 years have 146,097 days
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOW: u64 = 1_763_856_000_000;

    fn webhooks() -> Webhooks {
        Webhooks::new("SECRET".into())
    }

    fn answer(status: u16, retry_after: Option<&str>) -> Answered {
        let retry_after = retry_after.map(|text| HeaderValue::from_str(text).unwrap());
        Answered { status: StatusCode::from_u16(status).unwrap(), retry_after }
    }

    /// Seconds until the next attempt.
    fn pause(answer: Option<&Answered>, before: u32) -> f64 {
        match outcome(answer, before, NOW, NOW, &webhooks()) {
            Sent::Again(at) => (at - NOW) as f64 / 1_000.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_body_is_json_with_type_time_and_the_jobs_view() {
        let text = body(Occasion::Ended, JobState::Failed, 1_763_856_000_123, "{\"id\": 1}");
        assert_eq!(
            text,
            "{\"type\":\"job.failed\",\"timestamp\":\"2025-11-23T00:00:00.123Z\",\"data\":{\"id\": 1}}"
        );
        for (occasion, state, kind) in [
            (Occasion::Begun, JobState::Processing, "job.begun"),
            (Occasion::Begun, JobState::Completed, "job.begun"),
            (Occasion::Ended, JobState::Completed, "job.completed"),
            (Occasion::Ended, JobState::Cancelled, "job.cancelled"),
        ] {
            let text = body(occasion, state, 0, "{}");
            assert!(text.starts_with(&format!("{{\"type\":\"{kind}\",")), "{text}");
        }
        assert_eq!(id("7", Occasion::Ended), "msg_7_ended");
    }

    #[test]
    fn moments_are_written_as_calendars_have_them() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_767_225_599_000, "2025-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(timestamp(ms), text);
        }
    }

    #[test]
    fn an_answer_of_2xx_is_the_end_and_so_is_410() {
        for status in [200, 202, 204] {
            let sent = outcome(Some(&answer(status, None)), 0, NOW, NOW, &webhooks());
            assert_eq!(sent, Sent::Delivered, "{status}");
        }
        let sent = outcome(Some(&answer(410, None)), 0, NOW, NOW, &webhooks());
        assert_eq!(sent, Sent::GivenUp);
    }

    #[test]
    fn whatever_else_is_tried_again_after_pauses_that_grow() {
        let wanted = [5.0, 30.0, 120.0, 600.0, 3_600.0, 7_200.0, 14_400.0, 21_600.0, 21_600.0];
        for (before, wanted) in wanted.into_iter().enumerate() {
            for status in [301, 302, 307, 400, 404, 429, 500, 503] {
                let pause = pause(Some(&answer(status, None)), before as u32);
                assert!((wanted..=wanted * 1.2 + 0.001).contains(&pause), "{status}: {pause} for {wanted}");
            }
        }
        assert!((5.0..=6.001).contains(&pause(None, 0)));
    }

    #[test]
    fn a_server_may_ask_for_a_longer_pause_and_for_no_shorter_one() {
        assert_eq!(pause(Some(&answer(503, Some("120"))), 0), 120.0);
        assert_eq!(pause(Some(&answer(429, Some("Sun, 23 Nov 2025 00:10:00 GMT"))), 0), 600.0);
        for text in ["0", "1", "Sun, 23 Nov 2014 00:10:00 GMT", "soon", "-1"] {
            assert!(pause(Some(&answer(503, Some(text))), 0) < 6.1, "{text}");
        }
    }

    #[test]
    fn after_so_many_attempts_or_a_day_it_is_given_up() {
        let (webhooks, refused) = (webhooks(), answer(500, None));
        let sent = |before, since| outcome(Some(&refused), before, since, NOW, &webhooks);
        assert!(matches!(sent(10, NOW), Sent::Again(_)));
        assert_eq!(sent(11, NOW), Sent::GivenUp, "the twelfth attempt was the last");
        assert!(matches!(sent(0, NOW - 86_390_000), Sent::Again(_)));
        assert_eq!(sent(0, NOW - 86_396_000), Sent::GivenUp, "the next one would come too late");
        for never in ["90000", "18446744073709551615"] {
            let late = answer(503, Some(never));
            assert_eq!(outcome(Some(&late), 0, NOW, NOW, &webhooks), Sent::GivenUp);
        }
    }
}
