//! `webhooks` of a route: how those are told of its background jobs who want to know. Names the variable that holds the secret and
//! does not read it; that is done when the route is deployed. One that is not set keeps no route from loading.

use std::time::Duration;

use serde::Serialize;

use super::check::check_origin;
use super::provider::is_variable;
use super::raw::{Found, Table};

const HOUR_MS: u64 = 3_600_000;
const WEEK_S: u64 = 604_800;

/// `webhooks` of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Webhooks {
    /// The variable of the process with the secret, or several apart by spaces, by which messages are signed.
    pub secret_env: String,
    /// Origins that may be told though they are of this machine or its own network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub private: Vec<String>,
    /// For one message and its answer.
    #[serde(rename = "timeout-ms", serialize_with = "super::shown::millis")]
    pub timeout: Duration,
    /// How often a message is sent at most.
    pub attempts: u32,
    /// How long a message is sent again at most, beginning with what there is to tell.
    #[serde(rename = "give-up-s", serialize_with = "super::shown::seconds")]
    pub give_up: Duration,
    /// Until it is sent for the second time; the pauses after that grow with this one.
    #[serde(rename = "pause-ms", serialize_with = "super::shown::millis")]
    pub pause: Duration,
}

impl Webhooks {
    /// Signed with the secret of a variable, and patient as usual.
    pub(crate) fn new(secret_env: String) -> Self {
        Self {
            secret_env,
            private: Vec::new(),
            timeout: Duration::from_secs(15),
            attempts: 12,
            give_up: Duration::from_secs(86_400),
            pause: Duration::from_secs(5),
        }
    }
}

pub(super) fn webhooks(route: &Table<'_>, has_jobs: bool) -> Option<Webhooks> {
    let table = route.table("webhooks");
    if !table.is_given() {
        return None;
    }
    if !has_jobs {
        table.problem(table.at(), "tell of background jobs; add `jobs = true` to `grants` of the route");
    }
    let secret_env = secret_env(&table);
    let origin = |found: Found<String>| {
        if let Err(text) = check_origin(&found.value) {
            table.problem(&found.at, text);
        }
        found.value
    };
    let usual = Webhooks::new(secret_env.clone().unwrap_or_default());
    let webhooks = Webhooks {
        private: table.texts("private").into_iter().map(origin).collect(),
        timeout: table.number("timeout-ms", 1..=120_000).map_or(usual.timeout, Duration::from_millis),
        attempts: table.number("attempts", 1..=100).map_or(usual.attempts, |attempts| attempts as u32),
        give_up: table.number("give-up-s", 1..=WEEK_S).map_or(usual.give_up, Duration::from_secs),
        pause: table.number("pause-ms", 1..=HOUR_MS).map_or(usual.pause, Duration::from_millis),
        ..usual
    };
    table.finish();
    secret_env.map(|_| webhooks)
}

fn secret_env(table: &Table<'_>) -> Option<String> {
    let Some(found) = table.text("secret-env") else {
        table.missing("secret-env", "write secret-env = \"WEBHOOK_SECRET\" or another variable's name");
        return None;
    };
    if !is_variable(&found.value) {
        // not repeated: whoever mistakes it may have written the secret itself
        let text = "wants the name of a variable such as \"WEBHOOK_SECRET\", and never the secret itself";
        table.problem(&found.at, text);
    }
    Some(found.value)
}
