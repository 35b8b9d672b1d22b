//! The side that faces the host: the only modules that name binding types.
//!
//! Compiled for wasm alone. All else of a handler runs natively in its tests, so as little as possible is here.

mod album;
mod channels;
mod client;
mod copies;
mod host;
mod http;
mod intent;
mod jobs;
mod machine;
mod speech;
mod storage;

pub use channels::{receive, welcome};
pub use host::Granted;
pub use http::serve;
pub use jobs::{describe, work};
