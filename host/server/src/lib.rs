//! Atelier's edge and composition root. What a request meets, in order: `http/` (sockets and their limits), `edge.rs`
//! (checks, routing, hand-over), `live.rs` (the table of routes behind one pointer), then the runtime crate. Around it:
//!
//! - `config/` reads and checks `atelier.toml`; `router.rs` says which route answers
//! - `app.rs` puts everything together; `deploy.rs` makes deployments, `watch.rs` and `reload.rs` see what changed, and
//!   `versions/` replaces, remembers and takes back what serves
//! - `vault.rs` keeps what operators changed while the host ran; `signing.rs` says whose components are believed
//! - `keys.rs`, `roster.rs` and `tenants/` say who asks, and what is left of the allowance
//! - `failure.rs` turns every error into an answer, once; `admin/` is the operators' address, `metrics/` counts
//! - `channels/` has the clients that stay connected, and their rooms
//! - `client.rs` says where a request comes from, to components that may know
//! - `manager.rs` tells systemd how the process is doing
//! - `hub/` finds and fetches models; `cli/` is the binary's verbs; `terminal.rs` is all that prints
//!
//! Nothing here knows wasm or tensors.

mod admin;
pub mod app;
mod background;
pub mod catalog;
mod channels;
pub mod cli;
mod client;
pub mod config;
mod copies;
mod deploy;
mod edge;
mod failure;
mod http;
pub mod hub;
mod jobs;
mod keys;
mod live;
mod manager;
mod metrics;
mod providers;
mod reload;
mod rollout;
mod roster;
pub mod router;
mod shelf;
mod signing;
mod telemetry;
mod tenants;
mod terminal;
mod vault;
mod versions;
mod watch;
mod webhooks;
mod weights;
