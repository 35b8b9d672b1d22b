//! From the manifest's text to checked types. Each section has one function; each notes its problems and goes on with a
//! default, so that the next section is looked at as well. Looks at the file system only to see whether named files are
//! there; reads nothing of the process's environment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atelier_inference::ModelId;
use atelier_inference::speech::MAX_AUDIO_SECONDS;
use atelier_runtime::{Origin, Reuse};

use super::problem::{Place, did_you_mean};
use super::raw::{At, Document, Found, Table};
use super::signing::signing;
use super::template::Template;
use super::tenant::{self, Tenant};
use super::types::{
    CodeSource, Config, Engine, Grants, Limits, Log, LogFormat, Manifest, Model, Route, Server, Store,
    Telemetry, Tls,
};
use super::{Builtins, router_problem};
use super::{channels, copies, model, provider, release, reuse, webhooks};
use crate::client::Network;

const HOUR_MS: u64 = 3_600_000;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What makes an operator's key.
const ADMIN_VERB: &str = "atelier admin key new";
/// Beside the manifest, unless `store.data-dir` says otherwise.
const DATA_DIR: &str = ".atelier";

/// What references are resolved against.
pub(super) struct Context<'a> {
    pub(super) base: &'a Path,
    pub(super) builtins: &'a Builtins,
    pub(super) default_cache: Option<PathBuf>,
}

/// Reads everything; what is wrong is noted in the document.
pub(super) fn config(document: &Document<'_>, context: &Context<'_>) -> Config {
    let root = document.root();
    let server = server(root.table("server"), context);
    let log = log(root.table("log"), context);
    let telemetry = telemetry(root.table("telemetry"));
    let engine = engine(root.table("engine"));
    let signing = signing(root.table("signing"));
    let providers = provider::providers(root.tables("provider"), context);
    let models = model::models(root.tables("model"), &providers, context);
    let tenants = tenant::tenants(root.tables("tenant"));
    let (store, copies) = store(root.table("store"), &tenants, context);
    let known = Known { models: &models, tenants: &tenants, store: &store };
    let routes = routes(root.tables("route"), &known, context);
    copies::check(copies, &routes, &store);
    root.finish();
    let manifest = Manifest::Embedded;
    Config { manifest, server, log, telemetry, engine, store, signing, providers, models, tenants, routes }
}

fn server(table: Table<'_>, context: &Context<'_>) -> Server {
    let millis =
        |key, default, from| Duration::from_millis(table.number(key, from..=HOUR_MS).unwrap_or(default));
    let size = |key, default, from, to| table.number(key, from..=to).unwrap_or(default) as usize;
    let listen = table.parsed("listen", "an address such as \"127.0.0.1:8000\"");
    let server = Server {
        listen: listen.map_or(SocketAddr::from(([127, 0, 0, 1], 8_000)), |found| found.value),
        admin: admin(&table),
        admin_key_hash: tenant::hash(&table, "admin-key-hash", ADMIN_VERB).map(|found| found.value),
        admin_keys: tenant::keys(&table, "admin-keys", ADMIN_VERB, &mut BTreeMap::new()),
        max_connections: size("max-connections", 4_096, 1, 1_000_000),
        max_connections_per_ip: size("max-connections-per-ip", 256, 1, 1_000_000),
        max_channels: size("max-channels", 1_000, 1, 1_000_000),
        max_channels_per_ip: size("max-channels-per-ip", 32, 1, 1_000_000),
        trusted_proxies: trusted_proxies(&table),
        max_instances: size("max-instances", 128, 1, 10_000) as u32,
        max_waiting: size("max-waiting", 64, 0, 10_000),
        header_timeout: millis("header-timeout-ms", 10_000, 1),
        body_idle_timeout: millis("body-idle-timeout-ms", 30_000, 1),
        body_min_bytes_per_second: size("body-min-bytes-per-second", 1_024, 0, 1_000_000_000) as u32,
        write_idle_timeout: millis("write-idle-timeout-ms", 30_000, 1),
        header_bytes: size("header-bytes", 32 * 1_024, 8 * 1_024, 1_024 * 1_024),
        max_headers: size("max-headers", 100, 1, 1_000),
        url_bytes: size("url-bytes", 8 * 1_024, 64, 64 * 1_024),
        drain_delay: millis("drain-delay-ms", 0, 0),
        // with the moment that the admin address takes, within the 30 s that Kubernetes waits
        drain: millis("drain-ms", 25_000, 0),
        reload: table.boolean("reload").unwrap_or(true),
        log: table.text("log").map_or("info".into(), |found| found.value),
        log_format: table
            .parsed("log-format", "\"human\" or \"json\"")
            .map_or(LogFormat::Human, |found| found.value),
        tls: tls(&table, context),
    };
    table.finish();
    server
}

fn trusted_proxies(server: &Table<'_>) -> Vec<Network> {
    let network = |found: Found<String>| {
        let network = found.value.parse().ok();
        if network.is_none() {
            let text = format!("wants addresses or networks such as \"10.0.0.0/8\", not `{}`", found.value);
            server.problem(&found.at, text);
        }
        network
    };
    server.texts("trusted-proxies").into_iter().filter_map(network).collect()
}

fn tls(server: &Table<'_>, context: &Context<'_>) -> Option<Tls> {
    let table = server.table("tls");
    if !table.is_given() {
        return None;
    }
    let file = |key| {
        let Some(found) = table.text(key) else {
            table.missing(key, "write certificate = \"cert.pem\" and key = \"key.pem\"");
            return None;
        };
        let path = context.base.join(found.value);
        if !path.is_file() {
            table.problem(&found.at, format!("there is no file {}", path.display()));
        }
        Some(path)
    };
    let (certificate, key) = (file("certificate"), file("key"));
    table.finish();
    Some(Tls { certificate: certificate?, key: key? })
}

fn admin(table: &Table<'_>) -> Option<SocketAddr> {
    let default = Some(SocketAddr::from(([127, 0, 0, 1], 8_001)));
    let Some(found) = table.text("admin") else { return default };
    if found.value == "off" {
        return None;
    }
    let address = found.value.parse().ok();
    if address.is_none() {
        table.problem(&found.at, format!("wants an address or \"off\", not `{}`", found.value));
    }
    address.or(default)
}

fn log(table: Table<'_>, context: &Context<'_>) -> Log {
    let log = Log {
        file: table.text("file").map(|found| context.base.join(found.value)),
        max_bytes: table.bytes("max-bytes", 64 * 1_024..=16 * GIB).unwrap_or(64 * MIB),
        max_age: Duration::from_secs(table.number("max-age-s", 60..=366 * 86_400).unwrap_or(86_400)),
        keep: table.number("keep", 0..=1_000).unwrap_or(7) as usize,
    };
    table.finish();
    log
}

fn telemetry(table: Table<'_>) -> Telemetry {
    let telemetry = Telemetry {
        metric_labels: table.number("metric-labels", 1..=10_000).unwrap_or(200) as usize,
        otlp_endpoint: collector(&table),
        sample_ratio: table.fraction("sample-ratio").unwrap_or(1.0),
    };
    table.finish();
    telemetry
}

/// Where traces are sent. Without encryption: a collector beside the host carries them on.
fn collector(table: &Table<'_>) -> Option<http::Uri> {
    let found = table.text("otlp-endpoint")?;
    let uri = found.value.parse::<http::Uri>().ok();
    let is_plain = |uri: &http::Uri| {
        let named = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        uri.scheme_str() == Some("http") && named && uri.query().is_none()
    };
    let uri = uri.filter(is_plain);
    if uri.is_none() {
        table.problem(
            &found.at,
            "wants the http:// address of a collector near by, such as \"http://127.0.0.1:4318\"",
        );
    }
    uri
}

fn engine(table: Table<'_>) -> Engine {
    let engine = Engine {
        device: one_of(&table, "device", &["auto", "cpu", "cuda"]).unwrap_or("auto").to_owned(),
        precision: one_of(&table, "precision", &["f32", "bf16", "auto"]).unwrap_or("f32").to_owned(),
        queue_depth: table.number("queue-depth", 1..=10_000).unwrap_or(64) as usize,
        reorder_window: table.number("reorder-window", 0..=64).unwrap_or(4) as usize,
        conversations: table.number("conversations", 1..=64).unwrap_or(4) as usize,
        memory_bytes: table.bytes("memory-bytes", MIB..=16_384 * GIB),
    };
    table.finish();
    engine
}

fn store<'a>(table: Table<'a>, tenants: &[Tenant], context: &Context<'_>) -> (Store, Vec<copies::Asked<'a>>) {
    let named = table.text("cache-dir");
    let cache_dir = match named.as_ref().map(|found| found.value.as_str()) {
        Some("off") => None,
        Some(path) => Some(context.base.join(path)),
        None => context.default_cache.clone(),
    };
    let data = table.text("data-dir").map_or(DATA_DIR.to_owned(), |found| found.value);
    let (copies, asked) = copies::copies(table.tables("copy"), tenants);
    let store = Store {
        cache_dir,
        data_dir: (data != "off").then(|| context.base.join(data)),
        // one that serves, one that it would fall back to, and a new one
        versions_per_route: table.number("versions-per-route", 3..=100).unwrap_or(8) as usize,
        upload_bytes: table.bytes("upload-bytes", MIB..=1_024 * GIB).unwrap_or(GIB),
        audit_bytes: table.bytes("audit-bytes", 65_536..=GIB).unwrap_or(8 * MIB),
        values: values(&table),
        value_bytes: table.bytes("value-bytes", 1_024..=64 * MIB).unwrap_or(MIB),
        object_bytes: table.bytes("object-bytes", 1_024..=1_024 * GIB).unwrap_or(GIB),
        webhooks: table.number("webhooks", 1..=1_000_000).unwrap_or(10_000),
        copies,
    };
    table.finish();
    (store, asked)
}

/// Where buckets have their values, unless that is the data folder. An address may hold a password and is not repeated.
fn values(table: &Table<'_>) -> Option<Template> {
    let is_server = |text: &str| {
        let server = ["redis://", "unix://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        server.is_some_and(|server| !server.is_empty())
    };
    let what = "wants the address of a Redis server, such as \"redis://127.0.0.1:6379/0\"";
    copies::template(table, "values", what, is_server)
}

/// What a route may name.
struct Known<'a> {
    models: &'a [Model],
    tenants: &'a [Tenant],
    store: &'a Store,
}

fn routes(tables: Vec<Table<'_>>, known: &Known<'_>, context: &Context<'_>) -> Vec<Route> {
    let mut seen = BTreeSet::new();
    let mut routes: Vec<Route> = Vec::new();
    for mut table in tables {
        let name = name(&mut table, "route", "name", &mut seen);
        if let Some(route) = route(&table, name, known, context) {
            if let Some(text) = router_problem(&routes, &route) {
                table.problem(table.at(), text);
            }
            routes.push(route);
        }
        table.finish();
    }
    routes
}

fn route(table: &Table<'_>, name: Option<String>, known: &Known<'_>, context: &Context<'_>) -> Option<Route> {
    let one = |key| table.text(key).map(|found| code(table, &found, context));
    let many = |key| table.texts(key).iter().filter_map(|found| code(table, found, context)).collect();
    let component = one("component");
    if component.is_none() {
        table.missing("component", "write component = \"builtin:…\" or a .wasm file");
    }
    let route = (host(table), path(table), methods(table));
    let stages = (one("intent"), many("style"), one("select"), many("finish"));
    let owner = tenant::ownership(table, known.tenants);
    let release = (release::probe(table), release::trial(table));
    let reuse = reuse::reuse(table);
    let limits = limits(table, reuse);
    let channels = channels::channels(table);
    let rest = (env(table), grants(table, known), table.text_table("config"), owner);
    let ((host, path, methods), (intent, style, select, finish)) = (route, stages);
    let (env, grants, config, owner) = rest;
    let webhooks = webhooks::webhooks(table, grants.jobs);
    let (name, component, path) = (name?, component??, path?);
    let ((tenant, access), (probe, trial)) = (owner, release);
    Some(Route {
        name,
        host,
        path,
        methods,
        tenant,
        access,
        component,
        intent: intent.flatten(),
        style,
        select: select.flatten(),
        finish,
        env,
        grants,
        limits,
        channels,
        reuse,
        probe,
        trial,
        webhooks,
        config,
    })
}

pub(super) fn code(table: &Table<'_>, found: &Found<String>, context: &Context<'_>) -> Option<CodeSource> {
    if let Some(name) = found.value.strip_prefix("builtin:") {
        return builtin(table, &found.at, name, &context.builtins.components).map(CodeSource::Builtin);
    }
    let path = context.base.join(&found.value);
    if !path.is_file() {
        table.problem(&found.at, format!("there is no file {}", path.display()));
    }
    Some(CodeSource::File(path))
}

fn host(table: &Table<'_>) -> Option<String> {
    let found = table.text("host")?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    if found.value.is_empty() || !found.value.bytes().all(is_name) {
        let text =
            format!("wants a host name without port, such as \"images.example.org\", not `{}`", found.value);
        table.problem(&found.at, text);
    }
    Some(found.value.to_ascii_lowercase())
}

fn path(table: &Table<'_>) -> Option<String> {
    let Some(Found { value: path, at }) = table.text("path") else {
        table.missing("path", "write path = \"/\" or another prefix");
        return None;
    };
    let odd = |segment: &str| segment.is_empty() || segment == "." || segment == "..";
    let below = path.strip_prefix('/');
    let bad_segment = below.is_some_and(|below| !below.is_empty() && below.split('/').any(odd));
    if below.is_none() || bad_segment || path.contains(['?', '#', '%', ' ']) {
        let text =
            format!("wants whole segments such as \"/v1/images\", without a slash at the end, not `{path}`");
        table.problem(&at, text);
    }
    Some(path)
}

fn methods(table: &Table<'_>) -> Vec<http::Method> {
    let parse = |found: &Found<String>| {
        let upper = found.value.bytes().all(|byte| byte.is_ascii_uppercase());
        let method = http::Method::from_bytes(found.value.as_bytes()).ok().filter(|_| upper);
        if method.is_none() {
            table.problem(&found.at, format!("wants methods such as \"GET\", not `{}`", found.value));
        }
        method
    };
    table.texts("methods").iter().filter_map(parse).collect()
}

/// A lone `*` would hand over everything, and is refused.
fn env(table: &Table<'_>) -> Vec<String> {
    let keep = |found: Found<String>| {
        let stem = found.value.strip_suffix('*').unwrap_or(&found.value);
        if stem.is_empty() || stem.contains(['*', '=']) {
            let text = format!(
                "wants names such as \"HOST\" or beginnings such as \"REDIS_*\", not `{}`",
                found.value
            );
            table.problem(&found.at, text);
        }
        found.value
    };
    table.texts("env").into_iter().map(keep).collect()
}

fn grants(route: &Table<'_>, known: &Known<'_>) -> Grants {
    let (table, models) = (route.table("grants"), known.models);
    let granted = |found: Found<String>| {
        let id = ModelId::new(found.value);
        if !models.iter().any(|model| model.id == id) {
            let known: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
            let text = format!(
                "there is no model `{id}`; {}",
                hint(id.as_str(), &known, "add a [[model]] of that id")
            );
            table.problem(&found.at, text);
        }
        id
    };
    let origin = |found: Found<String>| {
        if let Err(text) = check_origin(&found.value) {
            table.problem(&found.at, text);
        }
        found.value
    };
    let granted: Vec<ModelId> = table.texts("models").into_iter().map(granted).collect();
    for model in models.iter().filter(|model| granted.contains(&model.id)) {
        if let Some(refiner) = model.refiner.as_ref().filter(|refiner| !granted.contains(refiner)) {
            let text =
                format!("`{}` is refined by `{refiner}`; add that to `grants.models` as well", model.id);
            table.problem(table.at(), text);
        }
        if let Some(fallback) = model.fallback.as_ref().filter(|fallback| !granted.contains(fallback)) {
            let text = format!(
                "`{fallback}` replies where `{}` cannot; add that to `grants.models` as well",
                model.id
            );
            table.problem(table.at(), text);
        }
    }
    let models = granted;
    let outbound = table.texts("outbound").into_iter().map(origin).collect();
    let outbound_private = table.texts("outbound-private").into_iter().map(origin).collect();
    let (buckets, containers) = (places(&table, "buckets", known), places(&table, "containers", known));
    let client_address = table.boolean("client-address").unwrap_or(false);
    let machine = table.boolean("machine").unwrap_or(false);
    let jobs = table.boolean("jobs").unwrap_or(false);
    let copies = copies::granted(&table, known.store);
    if jobs && known.store.data_dir.is_none() {
        let text =
            "`jobs` have no place: store.data-dir is \"off\"; name a folder there, or remove the grant";
        table.problem(table.at(), text);
    }
    let channels = table.boolean("channels").unwrap_or(false);
    table.finish();
    Grants {
        models,
        outbound,
        outbound_private,
        buckets,
        containers,
        client_address,
        machine,
        jobs,
        copies,
        channels,
    }
}

/// Names of what a route may keep things in.
fn places(grants: &Table<'_>, key: &'static str, known: &Known<'_>) -> Vec<String> {
    let name = |Found { value, at }: Found<String>| {
        if !is_name(&value) {
            let text = format!("wants names of up to 64 letters, digits, `-`, `_` and `.`, not `{value}`");
            grants.problem(&at, text);
        } else if known.store.data_dir.is_none() {
            let text = format!(
                "`{value}` has no place: store.data-dir is \"off\"; name a folder there, or remove the grant"
            );
            grants.problem(&at, text);
        }
        value
    };
    grants.texts(key).into_iter().map(name).collect()
}

pub(super) fn check_origin(text: &str) -> Result<(), String> {
    if text.contains('*') {
        return Err(format!("`{text}` is no origin: every server is named by itself"));
    }
    Origin::parse(text).map(drop).map_err(|error| error.to_string())
}

fn limits(route: &Table<'_>, reuse: Reuse) -> Limits {
    let table = route.table("limits");
    let limits = Limits {
        wall_ms: table.number("wall-ms", 1..=HOUR_MS),
        cpu_ms: table.number("cpu-ms", 1..=600_000),
        capability_wait_ms: table.number("capability-wait-ms", 1..=24 * HOUR_MS),
        memory_bytes: table.bytes("memory-bytes", 65_536..=4 * GIB),
        table_elements: table.number("table-elements", 1..=1_000_000),
        instances: table.number("instances", 1..=1_000),
        handles: table.number("handles", 1..=100_000),
        hostcall_bytes: table.bytes("hostcall-bytes", 1_024..=GIB),
        header_bytes: table.bytes("header-bytes", 1_024..=MIB),
        random_bytes: table.bytes("random-bytes", 1_024..=64 * MIB),
        log_bytes: table.bytes("log-bytes", 0..=64 * MIB),
        component_bytes: table.bytes("component-bytes", 1_024..=GIB),
        compile_ms: table.number("compile-ms", 1..=HOUR_MS),
        compile_memory_bytes: table.bytes("compile-memory-bytes", 16 * MIB..=64 * GIB),
        request_body_bytes: table.bytes("request-body-bytes", 0..=4 * GIB),
        response_body_bytes: table.bytes("response-body-bytes", 0..=64 * GIB),
        picture_bytes: table.bytes("picture-bytes", 65_536..=16 * GIB),
        audio_seconds: table.number("audio-seconds", 1..=MAX_AUDIO_SECONDS as u64),
        tokens: table.number("tokens", 1..=100_000_000),
        outbound_requests: table.number("outbound-requests", 0..=10_000),
        outbound_bytes: table.bytes("outbound-bytes", 0..=16 * GIB),
        outbound_connect_ms: table.number("outbound-connect-ms", 1..=HOUR_MS),
        outbound_first_byte_ms: table.number("outbound-first-byte-ms", 1..=HOUR_MS),
        outbound_between_bytes_ms: table.number("outbound-between-bytes-ms", 1..=HOUR_MS),
        jobs: table.number("jobs", 1..=1_000),
        job_ms: table.number("job-ms", 1..=24 * HOUR_MS),
        jobs_at_once: table.number("jobs-at-once", 1..=1_000),
        reuse_requests: table.number("reuse-requests", 1..=1_000_000),
        reuse_at_a_time: table.number("reuse-at-a-time", 1..=1_000),
        reuse_age_ms: table.number("reuse-age-ms", 1..=HOUR_MS),
        reuse_idle_ms: table.number("reuse-idle-ms", 1..=HOUR_MS),
    };
    reuse::check_limits(&table, reuse, &limits);
    table.finish();
    limits
}

/// The key by which a list element is known, unique among its kind; the table is called by it from then on.
pub(super) fn name(
    table: &mut Table<'_>,
    kind: &str,
    key: &'static str,
    seen: &mut BTreeSet<String>,
) -> Option<String> {
    let Some(Found { value, at }) = table.text(key) else {
        table.missing(key, &format!("every [[{kind}]] needs its own"));
        return None;
    };
    table.rename(format!("{kind}.{value}"));
    if !is_name(&value) {
        table.problem(&at, format!("wants up to 64 letters, digits, `-`, `_` and `.`, not `{value}`"));
    }
    if !seen.insert(value.clone()) {
        table.problem(&at, format!("the {kind} `{value}` is there already; give this one another {key}"));
    }
    Some(value)
}

/// Whether a text is fit to be a name in logs and addresses.
pub(crate) fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

pub(super) fn builtin(table: &Table<'_>, at: &At, name: &str, known: &[&str]) -> Option<String> {
    if known.contains(&name) {
        return Some(name.to_owned());
    }
    table.problem(at, format!("there is no builtin `{name}`; {}", hint(name, known, "name a file instead")));
    None
}

pub(super) fn one_of(table: &Table<'_>, key: &'static str, known: &[&'static str]) -> Option<&'static str> {
    let found = table.text(key)?;
    let value = known.iter().find(|name| **name == found.value).copied();
    if value.is_none() {
        table.problem(&found.at, format!("wants one of {}, not `{}`", known.join(", "), found.value));
    }
    value
}

pub(super) fn hint(wrong: &str, known: &[&str], otherwise: &str) -> String {
    match did_you_mean(wrong, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => otherwise.to_owned(),
        None => format!("known: {}; or {otherwise}", known.join(", ")),
    }
}

/// A problem that has no table, such as a manifest that cannot be read.
pub(super) fn whole_file(text: impl Into<String>) -> super::problem::Problem {
    super::problem::Problem { place: Place::File, key: String::new(), text: text.into() }
}
