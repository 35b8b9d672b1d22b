//! What first-party handlers share: typed HTTP, one table of request fields, documentation pages that work offline,
//! server-sent events, and the host's capabilities as plain types behind one trait.
//!
//! A handler is written against [`Host`] and [`Request`] and tested natively with a fake host; only `wasm` names
//! binding types. Nothing here knows of any single API.

pub mod accept;
pub mod album;
pub mod assets;
pub mod channels;
pub mod copies;
pub mod docs;
#[cfg(feature = "fake")]
pub mod fake;
pub mod fastapi;
pub mod fields;
pub mod finishing;
pub mod host;
pub mod http;
pub mod intent;
pub mod jobs;
pub mod machine;
pub mod multipart;
pub mod origin;
pub mod settings;
pub mod speech;
pub mod sse;
pub mod storage;
pub mod tally;
pub mod time;
pub mod trouble;

#[cfg(target_arch = "wasm32")]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
pub mod wasm;

pub use album::Album;
pub use channels::Channels;
pub use copies::Copies;
pub use host::Host;
pub use http::{Headers, Reply, Request, Response};
pub use intent::Interpret;
pub use jobs::Jobs;
pub use machine::Machine;
pub use speech::Speech;
pub use storage::Storage;
