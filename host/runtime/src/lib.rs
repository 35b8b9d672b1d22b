//! The only crate that names wasmtime: it compiles components, links them to what their route grants, runs each
//! request in a sandbox of its own, and stops it at its limits.
//!
//! The way of a route, in the order of the files: a [`RouteSpec`] (`spec.rs`, `limits.rs`) is checked against what its
//! components import and export (`inspect.rs`), compiled or taken from the cache (`code/`), linked (`linker.rs`) and frozen
//! into a [`Deployment`] (`deployment.rs`). A request enters through [`Deployment::handle_for`] on a tenant's account
//! (`tenant.rs`), waits for its turn (`admission.rs`), gets a store (`sandbox/`), or one that waited for it (`reuse/`), and
//! is driven to its end or to its limit (`drive.rs`, `compute.rs`); what the guest imports is answered in `capabilities/`,
//! one file per WIT interface, on the generated types of `bindings/`. Jobs that outlive their requests are worked off in sandboxes
//! of their own (`background.rs`), and so is said how they read elsewhere (`view.rs`); clients that stay connected are received
//! likewise (`channels.rs`). What strangers send as pictures and recordings is read in a sandbox as well (`decoder.rs`). Models that
//! are served elsewhere are asked through plugins in sandboxes of their own (`provider/`).
//!
//! What a request used and what happened to it is kept in its [`RequestContext`] (`context/`), and counted by route,
//! component and tenant (`metrics/`).
//!
//! Requests come from the server as `http` types and leave as `http` types. No wasmtime type leaves this crate, and
//! nothing here knows a socket, a manifest file or an inference engine's insides.

mod admission;
mod background;
mod bindings;
mod body;
mod capabilities;
mod channels;
mod code;
mod compute;
mod context;
mod decoder;
mod deploy;
mod deployment;
mod drive;
mod engine;
mod error;
mod failure;
mod in_flight;
mod inspect;
mod limits;
mod linker;
mod machine;
mod maker;
mod metrics;
mod outbound;
mod persist;
mod provider;
mod recording;
mod reuse;
mod runtime;
mod sandbox;
mod spec;
mod stage;
mod tenant;
mod view;

pub use background::LEASE as JOB_LEASE;
pub use body::Body;
pub use channels::{
    ChannelClient, ChannelError, ChannelEvent, ChannelKind, ChannelPeer, ChannelRealm, ChannelWelcome,
    Channels,
};
pub use code::{CompilerProgram, compile_for_parent};
pub use context::{
    RequestContext, Span, SpanKind, SpanValue, TRACEPARENT, TRACESTATE, Trace, TraceParent, TraceParts,
    TraceSink, Usage,
};
pub use deployment::{Deployment, HttpVersion};
pub use error::{Error, LoadError, LoadProblem};
pub use failure::Failure;
pub use inspect::{Inspection, Kind, inspect};
pub use limits::Limits;
pub use metrics::{ComponentMetrics, Consumption, DoorStatus, LoadTimes, RouteMetrics, RuntimeMetrics};
pub use outbound::{Answered, Origin, OriginError, Post, PostError};
pub use provider::{
    Makes, ProvidedSpec, ProvidedStatus, ProviderLimits, ProviderSpec, ProviderStatus, Secret,
};
pub use recording::{AudioError, Recording};
pub use runtime::{Runtime, RuntimeConfig};
pub use spec::{AbsentModel, Code, Grants, Reuse, RouteSpec, Webhooks};
pub use tenant::{Exceeded, Quota, Share, Tenant, WAITING_JOBS, Work};
