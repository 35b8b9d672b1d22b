//! `[[store.copy]]`: what is copied where, for other programs to read. Addresses may take parts from the process's variables, which
//! are filled in when the host starts; secrets are named by their variables and never stand here.

use std::collections::BTreeSet;

use atelier_inference::TenantId;
use serde::Serialize;

use super::check::{hint, is_name, name};
use super::provider::is_variable;
use super::raw::{Found, Table};
use super::template::Template;
use super::tenant::Tenant;
use super::types::{Route, Store};

const REDIS: &str = "\"redis://127.0.0.1:6379/0\"";
const S3: &str = "\"s3://my-bucket\"";
/// Of a stream, where the manifest does not say: about 3 MB.
const ENTRIES: u64 = 10_000;
/// Some GB.
const MOST_ENTRIES: u64 = 10_000_000;

/// A copy.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoreCopy {
    /// Its name.
    pub id: String,
    /// Routes whose jobs are copied, to Redis.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<String>,
    /// Containers whose objects are copied, to S3.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
    /// Whose objects; everybody's when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// `redis://…`, `unix://…` or `s3://BUCKET`.
    pub to: Template,
    /// What a job or an object is called there.
    pub key: String,
    /// Of Redis.
    #[serde(flatten)]
    pub redis: RedisKeys,
    /// Of S3.
    #[serde(flatten)]
    pub s3: S3Keys,
}

/// What only copies of jobs have.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RedisKeys {
    /// Where each change is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The stream to which each turn of a job is added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// How many entries it has; there with the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_length: Option<u64>,
    /// The variable with the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
}

/// What only copies of objects have.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct S3Keys {
    /// Where the bucket is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Template>,
    /// A server other than Amazon's; Amazon's where that comes out empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Template>,
    /// The variable with the access key's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id_env: Option<String>,
    /// The variable with its secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key_env: Option<String>,
    /// The variable with what temporary keys come with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token_env: Option<String>,
    /// Whether objects are read there that are not here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read: bool,
}

/// A copy's table, while the routes are not known yet.
pub(super) struct Asked<'a> {
    table: Table<'a>,
    jobs: Vec<Found<String>>,
    containers: Vec<Found<String>>,
}

pub(super) fn copies<'a>(tables: Vec<Table<'a>>, tenants: &[Tenant]) -> (Vec<StoreCopy>, Vec<Asked<'a>>) {
    let (mut seen, mut copies, mut all) = (BTreeSet::new(), Vec::new(), Vec::new());
    for mut table in tables {
        let id = name(&mut table, "store.copy", "id", &mut seen);
        let (jobs, containers) = (table.texts("jobs"), table.texts("containers"));
        let asked = Asked { table, jobs, containers };
        copies.extend(copy(&asked, id, tenants));
        all.push(asked);
    }
    (copies, all)
}

fn copy(asked: &Asked<'_>, id: Option<String>, tenants: &[Tenant]) -> Option<StoreCopy> {
    let Asked { table, jobs, containers } = asked;
    let is_of_jobs = match (jobs.is_empty(), containers.is_empty()) {
        (false, true) => true,
        (true, false) => false,
        _ => {
            let text = "copies either jobs or objects; write `jobs = [\"a route\"]` for Redis, or `containers = [\"a container\"]` for S3";
            table.problem(table.at(), text);
            // what else is there cannot be judged
            let _ = (table.text("to"), table.text("key"));
            return None;
        }
    };
    let (redis, s3) = match is_of_jobs {
        true => (redis(table), S3Keys::default()),
        false => (RedisKeys::default(), s3(table)),
    };
    let tenant = if is_of_jobs { None } else { tenant(table, tenants) };
    // with a wrong address it still exists for the routes that name it; the problem keeps it from being used
    let to = to(table, is_of_jobs).unwrap_or_default();
    let key = match is_of_jobs {
        true => key_of_jobs(table),
        false => key_of_objects(table, containers.len() > 1, tenant.is_none() && !tenants.is_empty()),
    };
    let texts = |found: &[Found<String>]| found.iter().map(|found| found.value.clone()).collect();
    Some(StoreCopy { id: id?, jobs: texts(jobs), containers: texts(containers), tenant, to, key, redis, s3 })
}

fn redis(table: &Table<'_>) -> RedisKeys {
    let channel = table.text("channel");
    if let Some(found) = &channel {
        check_places(table, found, &["id", "tenant", "route", "key"]);
    }
    let (stream, stream_length) = stream(table).unzip();
    let channel = channel.map(|found| found.value);
    RedisKeys { channel, stream, stream_length, password_env: variable(table, "password-env", None) }
}

/// A stream and its length.
fn stream(table: &Table<'_>) -> Option<(String, u64)> {
    let length = table.number("stream-length", 1..=MOST_ENTRIES);
    let Some(found) = table.text("stream") else {
        if table.has("stream-length") {
            table
                .problem(table.at(), "`stream-length` is of no stream; name one with `stream`, or remove it");
        }
        return None;
    };
    check_places(table, &found, &["tenant", "route"]);
    if found.value.is_empty() {
        table.problem(&found.at, "wants the key of a stream, such as \"atelier:jobs\"");
    }
    Some((found.value, length.unwrap_or(ENTRIES)))
}

fn s3(table: &Table<'_>) -> S3Keys {
    let is_server = |text: &str| ["http://", "https://", "${"].iter().any(|start| text.starts_with(start));
    S3Keys {
        region: template(table, "region", "wants a region, such as \"us-east-1\"", |text| !text.is_empty()),
        endpoint: template(
            table,
            "endpoint",
            "wants the http or https address of a server, such as \"http://127.0.0.1:9000\"",
            is_server,
        ),
        access_key_id_env: variable(table, "access-key-id-env", Some("AWS_ACCESS_KEY_ID")),
        secret_access_key_env: variable(table, "secret-access-key-env", Some("AWS_SECRET_ACCESS_KEY")),
        session_token_env: variable(table, "session-token-env", Some("AWS_SESSION_TOKEN")),
        read: table.boolean("read").unwrap_or(false),
    }
}

fn to(table: &Table<'_>, is_of_jobs: bool) -> Option<Template> {
    let (schemes, what) = match is_of_jobs {
        true => (&["redis://", "unix://"][..], REDIS),
        false => (&["s3://"][..], S3),
    };
    let is_server = |text: &str| {
        let server = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
        server.is_some_and(|server| !server.is_empty())
    };
    table.missing("to", &format!("write to = {what} or another"));
    // an address may hold a password and is not repeated
    template(table, "to", &format!("wants an address such as {what}"), is_server)
}

/// A text with variables; `what` says what it should be.
pub(super) fn template(
    table: &Table<'_>,
    key: &'static str,
    what: &str,
    is_right: impl Fn(&str) -> bool,
) -> Option<Template> {
    let found = table.text(key)?;
    match Template::parse(&found.value) {
        Ok(template) if is_right(&found.value) => Some(template),
        Ok(_) => {
            table.problem(&found.at, what);
            None
        }
        Err(text) => {
            table.problem(&found.at, text);
            None
        }
    }
}

/// The name of a variable.
fn variable(table: &Table<'_>, key: &'static str, otherwise: Option<&str>) -> Option<String> {
    let Some(found) = table.text(key) else { return otherwise.map(str::to_owned) };
    if !is_variable(&found.value) {
        // not repeated: whoever mistakes it may have written the secret itself
        table.problem(
            &found.at,
            "wants the name of a variable, such as \"REDIS_PASSWORD\", and never the secret itself",
        );
    }
    Some(found.value)
}

fn tenant(table: &Table<'_>, tenants: &[Tenant]) -> Option<TenantId> {
    let found = table.text("tenant")?;
    let known: Vec<&str> = tenants.iter().map(|tenant| tenant.id.as_str()).collect();
    if !known.contains(&found.value.as_str()) {
        let hint = hint(&found.value, &known, "add a [[tenant]] of that id");
        table.problem(&found.at, format!("there is no tenant `{}`; {hint}", found.value));
    }
    TenantId::new(&found.value)
}

fn key_of_jobs(table: &Table<'_>) -> String {
    let Some(found) = table.text("key") else { return "job:{id}".into() };
    check_places(table, &found, &["id", "tenant", "route"]);
    if !found.value.contains("{id}") {
        table.problem(&found.at, "must hold `{id}`, or all jobs would be one hash; such as \"task:{id}\"");
    }
    found.value
}

/// Two objects never have one key: what makes them two is in it.
fn key_of_objects(table: &Table<'_>, are_many: bool, are_of_many: bool) -> String {
    let found = table.text("key");
    let key = found.as_ref().map_or("{name}", |found| &found.value).to_owned();
    if let Some(found) = &found {
        check_places(table, found, &["name", "tenant", "container"]);
    }
    let at = found.as_ref().map_or(table.at(), |found| &found.at);
    let wants = [
        (true, "{name}", "objects would be one"),
        (are_many, "{container}", "objects of several containers could be one"),
        (are_of_many, "{tenant}", "objects of several tenants could be one; or name one with `tenant`"),
    ];
    for (_, place, why) in wants.iter().filter(|(is_wanted, ..)| *is_wanted) {
        if !key.contains(place) {
            table.problem(at, format!("`key` must hold `{place}`, or {why}"));
        } else if *place != "{name}" && !is_apart(&key, place) {
            let fix = "stand before `{name}` in a step of its own, such as in";
            table.problem(at, format!("`{place}` must {fix} \"{place}/{{name}}\", or {why}"));
        }
    }
    key
}

/// Whether no other value can make up for another one in this place: it stands before the name, which may be anything, and alone
/// between slashes, which it has none of.
fn is_apart(key: &str, place: &str) -> bool {
    let before = key.split_once("{name}").map_or(key, |(before, _)| before);
    let mut steps = before.split('/').rev().skip(1);
    steps.any(|step| step.contains(place) && step.matches('{').count() == 1)
}

/// Braces that mean nothing are mistakes.
fn check_places(table: &Table<'_>, found: &Found<String>, known: &[&str]) {
    for part in found.value.split('{').skip(1) {
        let place = part.split_once('}').map(|(place, _)| place);
        if place.is_none_or(|place| !known.contains(&place)) {
            let known: Vec<_> = known.iter().map(|name| format!("{{{name}}}")).collect();
            table.problem(&found.at, format!("has places that are none; known: {}", known.join(", ")));
            return;
        }
    }
}

/// `grants.copies` of a route.
pub(super) fn granted(grants: &Table<'_>, store: &Store) -> Vec<String> {
    let known: Vec<&str> = store.copies.iter().map(|copy| copy.id.as_str()).collect();
    let name = |found: Found<String>| {
        if !known.contains(&found.value.as_str()) {
            let hint = hint(&found.value, &known, "add a [[store.copy]] of that id");
            grants.problem(&found.at, format!("there is no copy `{}`; {hint}", found.value));
        }
        found.value
    };
    grants.texts("copies").into_iter().map(name).collect()
}

/// Checks what copies name once the routes are known.
pub(super) fn check(asked: Vec<Asked<'_>>, routes: &[Route], store: &Store) {
    let jobs: Vec<&str> =
        routes.iter().filter(|route| route.grants.jobs).map(|route| route.name.as_str()).collect();
    let containers: Vec<&str> =
        routes.iter().flat_map(|route| &route.grants.containers).map(String::as_str).collect();
    for Asked { table, jobs: named_jobs, containers: named } in asked {
        if store.data_dir.is_none() {
            let text = "there is nothing to copy: store.data-dir is \"off\"; name a folder there, or remove the copy";
            table.problem(table.at(), text);
        }
        for found in named_jobs.iter().filter(|found| !jobs.contains(&found.value.as_str())) {
            let hint = hint(&found.value, &jobs, "grant it jobs");
            table.problem(&found.at, format!("no route `{}` has `grants.jobs`; {hint}", found.value));
        }
        for found in &named {
            if !is_name(&found.value) {
                let text = format!(
                    "wants names of up to 64 letters, digits, `-`, `_` and `.`, not `{}`",
                    found.value
                );
                table.problem(&found.at, text);
            } else if !containers.contains(&found.value.as_str()) {
                let hint = hint(&found.value, &containers, "grant it to one");
                table.problem(&found.at, format!("no route grants a container `{}`; {hint}", found.value));
            }
        }
        table.finish();
    }
}
