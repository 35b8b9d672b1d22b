//! What the runtime promises, tested with real guests: `tests/guests/` is a workspace of its own, built here for
//! wasm32-wasip2 on first use. One binary, since linking wasmtime is what takes time.
#![expect(clippy::unwrap_used, reason = "what a test cannot set up ends it")]

mod asking;
mod background;
mod bounds;
mod cache;
mod cancelling;
mod capabilities;
mod channels;
mod compiling;
mod concurrent;
mod copies;
mod kit;
mod language;
mod limits;
mod loading;
mod messages;
mod metrics;
mod outbound;
mod plugins;
mod providers;
mod recordings;
mod reuse;
mod serving;
mod speech;
mod storage;
mod tenants;
