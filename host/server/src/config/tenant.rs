//! `[[tenant]]`, and who owns a route: the checked types, and the way to them. What the words do is decided in
//! `tenants/` and in the runtime's doors.

use std::collections::{BTreeMap, BTreeSet};

use atelier_inference::{Priority, TenantId};
use serde::Serialize;

use super::check::{hint, is_name, name};
use super::raw::{At, Found, Table};
use super::shown::is_default;
use crate::keys::{KeyHash, PREFIX};

/// What makes a tenant's key.
const TENANT_VERB: &str = "atelier tenant key new";
const DAY_LIMIT: u64 = 1_000_000_000_000_000;
/// Keys of one tenant.
pub(crate) const MAX_KEYS: usize = 64;

/// `[[tenant]]`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// Its part of what all tenants share, beside the others' parts.
    pub share: u32,
    /// Who goes first among tenants that hold equally much of their shares.
    pub priority: Priority,
    /// What it may use up.
    #[serde(skip_serializing_if = "is_default")]
    pub quotas: Quotas,
    /// The keys that act for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<ApiKey>,
}

/// A key of a tenant, as its hash.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ApiKey {
    /// Its name in logs.
    pub name: String,
    /// What it is known by.
    pub hash: KeyHash,
}

/// `quotas` of a tenant: no limit where nothing is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Quotas {
    /// Requests that begin in a second, on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u64>,
    /// Requests that may begin at once after a pause; as many as `requests-per-second` when nothing is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// Requests whose answers are not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_requests: Option<u64>,
    /// Pixels times steps of all pictures of a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_steps_per_day: Option<u64>,
    /// Pictures of a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_per_day: Option<u64>,
    /// Seconds of sound that are transcribed in a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_seconds_per_day: Option<u64>,
    /// Tokens that language models read and write in a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// Bytes in all buckets and containers and of all background jobs together: keys with their values, objects with their
    /// names, jobs with what they work on and make.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
    /// Background jobs that wait at a time, at all routes together; 1,000 when nothing is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_jobs: Option<u64>,
}

/// Who may ask a route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// Whoever has a key: of the route's tenant, or of any when the route has none.
    Key,
}

/// All tenants; hashes that two keys share are a problem, since a request must belong to one tenant.
pub(super) fn tenants(tables: Vec<Table<'_>>) -> Vec<Tenant> {
    let (mut seen, mut owners) = (BTreeSet::new(), BTreeMap::new());
    let mut tenants = Vec::new();
    for mut table in tables {
        let id = name(&mut table, "tenant", "id", &mut seen);
        let id = id.and_then(|id| tenant_id(&table, &id, &table.text("id")?.at));
        let (share, priority) = (table.number("share", 1..=1_000).unwrap_or(1) as u32, priority(&table));
        let keys = keys(&table, "keys", TENANT_VERB, &mut owners);
        let quotas = quotas(&table);
        table.finish();
        tenants.extend(id.map(|id| Tenant { id, share, priority, quotas, keys }));
    }
    tenants
}

fn tenant_id(table: &Table<'_>, id: &str, at: &At) -> Option<TenantId> {
    let checked = TenantId::new(id);
    if checked.is_none() && is_name(id) {
        table.problem(at, format!("wants 1 to 64 of a-z, 0-9, `-` and `_`, not `{id}`"));
    }
    checked
}

fn priority(table: &Table<'_>) -> Priority {
    table.parsed("priority", "one of low, normal, high").map_or(Priority::Normal, |found| found.value)
}

fn quotas(tenant: &Table<'_>) -> Quotas {
    let table = tenant.table("quotas");
    let quotas = Quotas {
        requests_per_second: table.number("requests-per-second", 1..=1_000_000),
        burst: table.number("burst", 1..=1_000_000),
        concurrent_requests: table.number("concurrent-requests", 1..=1_000_000),
        pixel_steps_per_day: table.number("pixel-steps-per-day", 1..=DAY_LIMIT),
        images_per_day: table.number("images-per-day", 1..=DAY_LIMIT),
        audio_seconds_per_day: table.number("audio-seconds-per-day", 1..=DAY_LIMIT),
        tokens_per_day: table.number("tokens-per-day", 1..=DAY_LIMIT),
        stored_bytes: table.bytes("stored-bytes", 0..=DAY_LIMIT),
        waiting_jobs: table.number("waiting-jobs", 0..=1_000_000),
    };
    if quotas.burst.is_some() && quotas.requests_per_second.is_none() {
        table.problem(table.at(), "`burst` bounds nothing without `requests-per-second`; set that as well");
    }
    table.finish();
    quotas
}

/// Keys of a tenant, or of the operators; `verb` makes one. No hash stands twice among all of `owners`.
pub(super) fn keys(
    holder: &Table<'_>,
    key: &'static str,
    verb: &str,
    owners: &mut BTreeMap<String, String>,
) -> Vec<ApiKey> {
    let tables = holder.tables(key);
    if tables.len() > MAX_KEYS {
        holder.problem(holder.at(), format!("has {} keys; at most {MAX_KEYS}", tables.len()));
    }
    let mut seen = BTreeSet::new();
    let mut keys = Vec::new();
    for table in tables {
        keys.extend(one_key(&table, verb, &mut seen, owners));
        table.finish();
    }
    keys
}

fn one_key(
    table: &Table<'_>,
    verb: &str,
    seen: &mut BTreeSet<String>,
    owners: &mut BTreeMap<String, String>,
) -> Option<ApiKey> {
    let (name, hash) = (table.text("name"), hash(table, "hash", verb));
    if name.is_none() {
        table.missing("name", "give the key a name by which the log calls it");
    }
    table.missing("hash", &format!("`{verb}` prints it"));
    let Found { value: name, at } = name?;
    if name.starts_with(PREFIX) {
        // names are logged, and so is this problem
        table.problem(&at, "is a key; write a name by which the log calls the key");
    } else if !is_name(&name) {
        table.problem(&at, format!("wants up to 64 letters, digits, `-`, `_` and `.`, not `{name}`"));
    } else if !seen.insert(name.clone()) {
        table.problem(&at, format!("there is a key `{name}` already; give this one another name"));
    }
    let Found { value: hash, at } = hash?;
    if let Some(other) = owners.insert(hash.to_string(), name.clone()) {
        table.problem(&at, format!("is the hash of key `{other}` as well; make a key of its own"));
    }
    Some(ApiKey { name, hash })
}

/// A key's hash. What stands there instead is not repeated: it may be the key.
pub(super) fn hash(table: &Table<'_>, key: &'static str, verb: &str) -> Option<Found<KeyHash>> {
    let Found { value, at } = table.text(key)?;
    match value.parse() {
        Ok(hash) => Some(Found { value: hash, at }),
        Err(_) => {
            let slip = if value.starts_with(PREFIX) { ", not the key itself" } else { "" };
            table.problem(&at, format!("wants the 64 hexadecimal digits that `{verb}` prints{slip}"));
            None
        }
    }
}

/// A route's owner and who may ask. Nothing is open that has an owner and does not say so: with its last key, a tenant's
/// routes close instead of opening.
pub(super) fn ownership(route: &Table<'_>, tenants: &[Tenant]) -> (Option<TenantId>, Access) {
    let owner = route.text("tenant").and_then(|found| owner(route, &found, tenants));
    let by_default = if owner.is_some() { Access::Key } else { Access::Open };
    let access = route.parsed("access", "\"open\" or \"key\"").map_or(by_default, |found| found.value);
    (owner, access)
}

fn owner(route: &Table<'_>, found: &Found<String>, tenants: &[Tenant]) -> Option<TenantId> {
    let owner = TenantId::new(&found.value);
    if !tenants.iter().any(|tenant| tenant.id.as_str() == found.value) {
        let known: Vec<&str> = tenants.iter().map(|tenant| tenant.id.as_str()).collect();
        let hint = hint(&found.value, &known, "add a [[tenant]] of that id");
        route.problem(&found.at, format!("there is no tenant `{}`; {hint}", found.value));
    }
    owner
}

impl std::str::FromStr for Access {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "open" => Ok(Self::Open),
            "key" => Ok(Self::Key),
            _ => Err("wants open or key"),
        }
    }
}
