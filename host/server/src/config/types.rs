//! The checked configuration: what everyone else receives. Every reference in it resolves, every number is in range,
//! every path is absolute or relative to the process. Serializes to the manifest's own form, with secrets masked.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use atelier_inference::{ModelId, TenantId};
use atelier_runtime::Reuse;
use serde::Serialize;

use super::channels::Channels;
use super::copies::StoreCopy;
use super::elsewhere::Offer;
use super::hub::HubSource;
use super::model::Prediction;
use super::provider::{Provider, ProviderSource};
use super::release::{Probe, Trial};
use super::shown::{
    address_or_off, all_displayed, displayed, is_default, masked, maybe_displayed, millis, path_or_off,
    seconds, seconds_if_any,
};
use super::signing::Signing;
use super::template::Template;
use super::tenant::{Access, ApiKey, Tenant};
use super::webhooks::Webhooks;
use crate::catalog::Entry;
use crate::client::Network;
use crate::keys::KeyHash;

/// Everything that one host is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// Where it came from.
    #[serde(skip)]
    pub manifest: Manifest,
    /// Addresses and limits of the edge.
    pub server: Server,
    /// Where the log goes.
    pub log: Log,
    /// What monitoring sees.
    pub telemetry: Telemetry,
    /// The inference engine.
    pub engine: Engine,
    /// What the host keeps on disk.
    pub store: Store,
    /// Whose components are believed.
    #[serde(skip_serializing_if = "is_default")]
    pub signing: Signing,
    /// Who serves models elsewhere, in order.
    #[serde(rename = "provider", skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<Provider>,
    /// The models, in order.
    #[serde(rename = "model")]
    pub models: Vec<Model>,
    /// The tenants, in order.
    #[serde(rename = "tenant", skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<Tenant>,
    /// The routes, in order.
    #[serde(rename = "route")]
    pub routes: Vec<Route>,
}

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq)]
pub enum Manifest {
    /// A file.
    File(PathBuf),
    /// The manifest inside the binary.
    Embedded,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Server {
    /// Where routes are served.
    pub listen: SocketAddr,
    /// Where health, status and metrics are served; nowhere when `None`.
    #[serde(serialize_with = "address_or_off")]
    pub admin: Option<SocketAddr>,
    /// What the key of the admin address is known by, whose name is `admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_key_hash: Option<KeyHash>,
    /// Keys of the admin address, each under the name by which the audit log calls who has it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub admin_keys: Vec<ApiKey>,
    /// Connections at once; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// Connections at once of one client: an IPv4 address, or an IPv6 network of 64 bits.
    pub max_connections_per_ip: usize,
    /// Clients at once that stay connected (`channels` of routes).
    pub max_channels: usize,
    /// Of these, those that come from one address, as above.
    pub max_channels_per_ip: usize,
    /// Proxies whose word about a client's address counts, for components that may know it.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "all_displayed")]
    pub trusted_proxies: Vec<Network>,
    /// Components that run at once; a request beyond them waits for a moment and is then refused.
    pub max_instances: u32,
    /// Requests of one tenant that wait for a component to run; one more is refused at once.
    pub max_waiting: usize,
    /// From the first byte that is waited for to a request's last header.
    #[serde(rename = "header-timeout-ms", serialize_with = "millis")]
    pub header_timeout: Duration,
    /// Between two pieces of a request body.
    #[serde(rename = "body-idle-timeout-ms", serialize_with = "millis")]
    pub body_idle_timeout: Duration,
    /// Slowest average at which a body may arrive or be taken, beyond the idle timeouts; 0 when only these count.
    pub body_min_bytes_per_second: u32,
    /// For a client to take something of what was written.
    #[serde(rename = "write-idle-timeout-ms", serialize_with = "millis")]
    pub write_idle_timeout: Duration,
    /// All headers of a request together.
    pub header_bytes: usize,
    /// Headers of a request.
    pub max_headers: usize,
    /// Path and query of a request.
    pub url_bytes: usize,
    /// After a stop signal, how long requests are still accepted while readiness is off.
    #[serde(rename = "drain-delay-ms", serialize_with = "millis")]
    pub drain_delay: Duration,
    /// Then, how long running requests may take to finish.
    #[serde(rename = "drain-ms", serialize_with = "millis")]
    pub drain: Duration,
    /// Whether changed files are taken up while requests run.
    pub reload: bool,
    /// What is logged, in tracing's filter language. Libraries that would tell of headers or keys say no more than `info`
    /// unless they are named.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// The certificate with which routes are served; without encryption when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// `[server.tls]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// The certificate with those that vouch for it, in PEM form.
    pub certificate: PathBuf,
    /// Its private key, in PEM form.
    pub key: PathBuf,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// One readable line per event.
    Human,
    /// One JSON object per event.
    Json,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Log {
    /// The file that takes the log; standard error when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The size at which the file gives way to a new one.
    pub max_bytes: u64,
    /// The age at which it does.
    #[serde(rename = "max-age-s", serialize_with = "seconds")]
    pub max_age: Duration,
    /// Old files that stay.
    pub keep: usize,
}

/// `[telemetry]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Telemetry {
    /// Routes, tenants and components that metrics tell apart, of each so many; the others are counted together.
    pub metric_labels: usize,
    /// The collector that takes traces, such as `http://127.0.0.1:4318`; none are recorded when `None`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_displayed")]
    pub otlp_endpoint: Option<http::Uri>,
    /// The part, 0 to 1, of requests that begin a trace of their own.
    pub sample_ratio: f64,
}

/// `[engine]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Engine {
    /// `auto`, `cpu` or `cuda`.
    pub device: String,
    /// `f32`, `bf16` or `auto`.
    pub precision: String,
    /// Jobs that may wait.
    pub queue_depth: usize,
    /// How often a job may be passed by one whose model is loaded already; 0 for never.
    pub reorder_window: usize,
    /// Conversations of one language model that are answered side by side; 1 for one after the other.
    pub conversations: usize,
    /// Bytes for models and runs together; the engine's own proposal when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Store {
    /// Compiled components; compiled anew at each start when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<PathBuf>,
    /// What operators change while the host runs: uploaded components, which version serves, keys, the audit log; and what
    /// components keep in buckets and containers. Made with the first such change, or the first route that may keep
    /// something; neither is possible when `None`.
    #[serde(serialize_with = "path_or_off")]
    pub data_dir: Option<PathBuf>,
    /// Versions that are remembered of each route; the oldest goes first.
    pub versions_per_route: usize,
    /// All uploaded components together; the oldest that serves nowhere goes first.
    pub upload_bytes: u64,
    /// All files of the audit log together.
    pub audit_bytes: u64,
    /// The address of the Redis server that has the values of buckets; they are in the data folder when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Template>,
    /// A value in a bucket.
    pub value_bytes: u64,
    /// An object in a container.
    pub object_bytes: u64,
    /// Messages to webhooks that may wait, of each tenant.
    pub webhooks: u64,
    /// What is copied to servers that other programs read.
    #[serde(rename = "copy", skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<StoreCopy>,
}

/// `[[model]]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Model {
    /// Its name in requests.
    pub id: ModelId,
    /// Where its files are.
    #[serde(serialize_with = "displayed")]
    pub source: ModelSource,
    /// Another autoencoder: a single file, or a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae: Option<PathBuf>,
    /// What the denoiser predicts, where a single file does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Prediction>,
    /// What requests may lay beside its weights.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<Adapter>,
    /// ControlNets that requests may give pictures for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Control>,
    /// Files of words that its text encoders learn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<PathBuf>,
    /// Which other model ends its pictures when a request does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refiner: Option<ModelId>,
    /// The share of the schedule after which that one takes over, between 0 and 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refiner_share: Option<f64>,
    /// Of a provider's model: what it makes, and within which limits.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// Of a provider's model: which one does the work when it is not to be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<ModelId>,
    /// One sentence for people.
    pub description: String,
    /// Whether it stays in memory once it is loaded.
    pub pin: bool,
    /// Whether it is loaded at the start.
    pub preload: bool,
    /// After so long without a job it is unloaded; never when `None`.
    #[serde(
        rename = "idle-unload-s",
        serialize_with = "seconds_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub idle_unload: Option<Duration>,
}

/// A low-rank adapter (LoRA) of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Adapter {
    /// Its name in requests.
    pub id: String,
    /// A file, or a folder that diffusers or peft wrote.
    pub source: PathBuf,
}

/// A ControlNet of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Control {
    /// Its name in requests.
    pub id: String,
    /// A folder that diffusers wrote.
    pub source: PathBuf,
}

/// Where a model's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// Inside the binary.
    Builtin(String),
    /// A repository of the model hub, or a file of one.
    Hub(HubSource),
    /// A public model by its name.
    Catalog(&'static Entry),
    /// A folder.
    Folder(PathBuf),
    /// A single-file checkpoint.
    File(PathBuf),
    /// Another server.
    Provider(ProviderSource),
}

/// `[[route]]`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Route {
    /// Its name in logs and status.
    pub name: String,
    /// The host it answers for; any when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path it answers for, with everything below.
    pub path: String,
    /// The methods it answers; any when empty.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "all_displayed")]
    pub methods: Vec<http::Method>,
    /// Whose it is; nobody's when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Who may ask.
    pub access: Access,
    /// The handler.
    #[serde(serialize_with = "displayed")]
    pub component: CodeSource,
    /// The plugin of the stage `intent`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_displayed")]
    pub intent: Option<CodeSource>,
    /// Plugins of the stage `style`, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "all_displayed")]
    pub style: Vec<CodeSource>,
    /// The plugin of the stage `select`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_displayed")]
    pub select: Option<CodeSource>,
    /// Plugins of the stage `finish`, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "all_displayed")]
    pub finish: Vec<CodeSource>,
    /// Variables of the process that the component may see: names, or beginnings of names followed by `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// What it may use.
    #[serde(skip_serializing_if = "is_default")]
    pub grants: Grants,
    /// What it may use up; the runtime's defaults where nothing is set.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// Where clients connect that stay connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// Whether its instances answer several requests.
    #[serde(skip_serializing_if = "is_default")]
    pub reuse: Reuse,
    /// What a new version must answer before it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// How a new version is watched when it serves.
    #[serde(skip_serializing_if = "is_default")]
    pub trial: Trial,
    /// Who is told of its background jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Webhooks>,
    /// Its configuration.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "masked")]
    pub config: Vec<(String, String)>,
}

/// Where a component's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeSource {
    /// Inside the binary.
    Builtin(String),
    /// A file.
    File(PathBuf),
}

/// `grants` of a route: deny by default.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Grants {
    /// Models.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelId>,
    /// Origins, such as `https://api.example.org`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<String>,
    /// Origins whose names may lead to this machine or its own network.
    #[serde(rename = "outbound-private", skip_serializing_if = "Vec::is_empty")]
    pub outbound_private: Vec<String>,
    /// Buckets of keys, by the names by which the component opens them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<String>,
    /// Containers of objects, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
    /// Whether the component learns from where each request comes, in `x-forwarded-for`.
    #[serde(rename = "client-address", skip_serializing_if = "is_default")]
    pub client_address: bool,
    /// Whether the component may see how the machine fares.
    #[serde(skip_serializing_if = "is_default")]
    pub machine: bool,
    /// Background jobs.
    #[serde(skip_serializing_if = "is_default")]
    pub jobs: bool,
    /// Copies of which the component may see how they fare.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<String>,
    /// Sending to clients that stay connected to the route.
    #[serde(skip_serializing_if = "is_default")]
    pub channels: bool,
}

/// `limits` of a route.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each field is the manifest's key, described in the runtime's `Limits`")]
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability_wait_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_elements: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handles: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostcall_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compile_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compile_memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_body_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_body_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_connect_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_first_byte_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_between_bytes_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs_at_once: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse_requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse_at_a_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse_age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse_idle_ms: Option<u64>,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err("wants human or json"),
        }
    }
}

impl ModelSource {
    /// Where the model comes from, as clients may name it: a catalog's entry by its repository, where that alone is the model.
    pub fn origin(&self) -> String {
        let repo = match self {
            Self::Catalog(entry) => entry.only_repo(),
            _ => None,
        };
        repo.map_or_else(|| self.to_string(), |repo| format!("hub:{repo}"))
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::Hub(source) => write!(f, "hub:{source}"),
            Self::Catalog(entry) => write!(f, "catalog:{}", entry.name),
            Self::Folder(path) | Self::File(path) => write!(f, "{}", path.display()),
            Self::Provider(source) => write!(f, "provider:{}/{}", source.provider, source.name),
        }
    }
}

impl fmt::Display for CodeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Embedded => f.write_str("the embedded default"),
        }
    }
}

impl Server {
    /// Every key of the admin address. Without one, whoever reaches the address may look, and nobody may change anything.
    pub(crate) fn operators(&self) -> Vec<ApiKey> {
        let only = self.admin_key_hash.map(|hash| ApiKey { name: "admin".into(), hash });
        only.into_iter().chain(self.admin_keys.iter().cloned()).collect()
    }
}

impl Route {
    /// Every component and plugin of the route, the handler first.
    pub fn code(&self) -> impl Iterator<Item = &CodeSource> {
        let one = std::iter::once(&self.component).chain(&self.intent);
        one.chain(&self.style).chain(&self.select).chain(&self.finish)
    }
}

#[cfg(test)]
impl Route {
    /// An open route to a component that does not exist.
    pub(crate) fn for_tests(name: &str, path: &str) -> Self {
        Self {
            name: name.into(),
            host: None,
            path: path.into(),
            methods: Vec::new(),
            tenant: None,
            access: Access::Open,
            component: CodeSource::Builtin("any".into()),
            intent: None,
            style: Vec::new(),
            select: None,
            finish: Vec::new(),
            env: Vec::new(),
            grants: Grants::default(),
            limits: Limits::default(),
            channels: None,
            reuse: Reuse::default(),
            probe: None,
            trial: Trial::default(),
            webhooks: None,
            config: Vec::new(),
        }
    }
}
