//! What the server asks for when it deploys a route: plain values, already resolved from the manifest. Nothing here has
//! behaviour; `deploy.rs` checks it.

use std::sync::Arc;

use atelier_inference::ModelId;
use bytes::Bytes;

use crate::{Limits, Origin, RouteMetrics};

/// A component's bytes and the name that people know it by.
#[derive(Debug, Clone)]
pub struct Code {
    /// As in the manifest: a path, or a name such as `builtin:prompt-assist`.
    pub name: String,
    /// The component in its binary form.
    pub bytes: Bytes,
}

/// A model that was granted and cannot be used yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsentModel {
    /// As in the manifest.
    pub id: ModelId,
    /// Where it comes from, as its card would have it.
    pub source: String,
    /// What brings it. Asking for the model is answered with that text.
    pub fix: String,
}

/// What a route's handler may use besides what every handler may. Of these its plugins may use the language models.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// Models that it may generate with; `grants.models` in the manifest.
    pub models: Vec<ModelId>,
    /// Models that were granted but are not here.
    pub absent: Vec<AbsentModel>,
    /// Servers that it may send requests to; `grants.outbound` in the manifest.
    pub outbound: Vec<Origin>,
    /// Servers that it may send requests to even where their names lead to this machine or its own network;
    /// `grants.outbound-private` in the manifest.
    pub outbound_private: Vec<Origin>,
    /// Buckets that it may keep keys in, of each tenant its own; `grants.buckets` in the manifest.
    pub buckets: Vec<String>,
    /// Containers that it may keep objects in, of each tenant its own; `grants.containers` in the manifest.
    pub containers: Vec<String>,
    /// Whether it may see how the machine fares; `grants.machine` in the manifest.
    pub machine: bool,
    /// Whether it may submit background jobs, of each tenant its own; `grants.jobs` in the manifest.
    pub jobs: bool,
    /// Who may be told of these; nobody when `None`, as without `route.webhooks` in the manifest.
    pub webhooks: Option<Webhooks>,
    /// Copies for other programs of which it may see how they fare; `grants.copies` in the manifest.
    pub copies: Vec<String>,
    /// Whether it may send to clients that stay connected; `grants.channels` in the manifest.
    pub channels: bool,
}

/// Whether an instance of a route's handler answers one request or several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reuse {
    /// Every request gets an instance of its own, in which nothing has run (`reuse = "none"`).
    #[default]
    None,
    /// An instance that has ended a request cleanly may answer the next one of the same tenant, and finds what the guest
    /// left in its memory (`reuse = "serial"`). [`Limits::reuse_requests`], [`Limits::reuse_age`] and
    /// [`Limits::reuse_idle`] bound its life.
    Serial,
    /// An instance answers several requests of the same tenant at a time, [`Limits::reuse_at_a_time`] at most, besides
    /// what `Serial` says (`reuse = "concurrent"`). For components of `wasi:http` 0.3 only.
    Concurrent,
}

/// Webhooks of a route's background jobs.
#[derive(Debug, Clone, Default)]
pub struct Webhooks {
    /// Servers that may be told though they are of this machine or its own network; `webhooks.private` in the manifest.
    pub private: Vec<Origin>,
    /// The variable with the secret that messages are signed with, where it is not set: until it is, nobody is told.
    pub unset: Option<String>,
}

/// One route: its handler, the plugins of each stage in order, and what all of them may do.
#[derive(Debug, Clone)]
pub struct RouteSpec {
    /// The route's name in messages, such as `/kuvagen`.
    pub route: String,
    /// The component that answers requests.
    pub handler: Code,
    /// The plugin that says what a command asks for.
    pub intent: Option<Code>,
    /// Plugins that rewrite prompts, in order.
    pub style: Vec<Code>,
    /// The plugin that chooses a model.
    pub select: Option<Code>,
    /// Plugins that work on finished pictures, in order.
    pub finish: Vec<Code>,
    /// What the handler may use, and of that its plugins the language models.
    pub grants: Grants,
    /// What one request may use up.
    pub limits: Limits,
    /// Bytes that the payload of an event may have, where clients connect to the route and stay (`channels.message-bytes` in the
    /// manifest): then the handler must receive what they do.
    pub channel_message_bytes: Option<usize>,
    /// Whether instances of the handler are used again; those of plugins never are.
    pub reuse: Reuse,
    /// What the handler reads through `wasi:config`.
    pub config: Vec<(String, String)>,
    /// Where the route's guests are counted, across deployments.
    pub metrics: Arc<RouteMetrics>,
}
