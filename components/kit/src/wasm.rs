//! The side that faces the host: the only modules that name binding types.
//!
//! Compiled for wasm alone. All else of a handler runs natively in its tests, so as little as possible is here.

mod album;
mod client;
mod host;
mod http;
mod intent;
mod machine;
mod speech;
mod storage;

pub use host::Granted;
pub use http::serve;
