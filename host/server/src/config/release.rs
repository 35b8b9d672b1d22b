//! `probe` and `trial` of a route: what a new version must do before it serves, and how long it is watched then. The
//! checked types, and the way to them; `versions/` does what they say.

use std::time::Duration;

use http::StatusCode;
use serde::{Serialize, Serializer};

use super::raw::{Found, Table};

/// Longest wait for a probe's answer, in milliseconds.
const PROBE_LIMIT_MS: u64 = 600_000;
const DAY_S: u64 = 86_400;

/// `probe` of a route: a request that a new version must answer before it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Probe {
    /// Path and query, below the route's own path.
    pub path: String,
    /// The status that is wanted.
    #[serde(serialize_with = "number")]
    pub status: StatusCode,
    /// For the whole answer.
    #[serde(rename = "timeout-ms", serialize_with = "super::shown::millis")]
    pub timeout: Duration,
}

/// `trial` of a route: a new version that fails this often before its trial is over is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Trial {
    /// Failures of the guest's own making: traps and limits. None is ever too many when 0.
    pub failures: u64,
    /// The trial is over after so many answers,
    pub requests: u64,
    /// or after this time, whichever comes first.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub time: Duration,
}

impl Default for Trial {
    fn default() -> Self {
        Self { failures: 3, requests: 100, time: Duration::from_secs(60) }
    }
}

pub(super) fn probe(route: &Table<'_>) -> Option<Probe> {
    let table = route.table("probe");
    if !table.is_given() {
        return None;
    }
    let path = table.text("path");
    if path.is_none() {
        table.missing("path", "write path = \"/\" or another path below the route's own");
    }
    let path = path.and_then(|found| probe_path(&table, found));
    let status = table.number("status", 200..=599).unwrap_or(200);
    let timeout = table.number("timeout-ms", 1..=PROBE_LIMIT_MS).unwrap_or(5_000);
    table.finish();
    Some(Probe {
        path: path?,
        status: StatusCode::from_u16(status as u16).unwrap_or(StatusCode::OK),
        timeout: Duration::from_millis(timeout),
    })
}

fn probe_path(table: &Table<'_>, Found { value, at }: Found<String>) -> Option<String> {
    if value.starts_with('/') && value.parse::<http::uri::PathAndQuery>().is_ok() {
        return Some(value);
    }
    table.problem(&at, format!("wants a path such as \"/health\" or \"/?size=1\", not `{value}`"));
    None
}

pub(super) fn trial(route: &Table<'_>) -> Trial {
    let (table, default) = (route.table("trial"), Trial::default());
    let trial = Trial {
        failures: table.number("failures", 0..=1_000_000).unwrap_or(default.failures),
        requests: table.number("requests", 1..=1_000_000).unwrap_or(default.requests),
        time: table.number("seconds", 1..=DAY_S).map_or(default.time, Duration::from_secs),
    };
    if trial.failures > trial.requests {
        let text = format!(
            "{} failures never happen within {} requests; raise `requests`, or set `failures` to 0 for no trial",
            trial.failures, trial.requests
        );
        table.problem(table.at(), text);
    }
    table.finish();
    trial
}

fn number<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}
