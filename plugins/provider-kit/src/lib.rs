//! What providers of language models have in common. A provider says what its protocol is ([`Protocol`]), in plain values
//! that are tested natively; this crate reads its settings, sends what it asks, cuts what comes into events, and exports it
//! (`wasm`). It knows no server's protocol.

mod framing;
mod http;
mod protocol;
mod refusal;
mod reply;
mod settings;
mod values;

#[cfg(target_arch = "wasm32")]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
pub mod wasm;

pub use framing::Framing;
pub use http::{Answer, Ask};
pub use protocol::{Events, Protocol};
pub use refusal::{by_status, shown};
pub use reply::Following;
pub use settings::Settings;
pub use values::{End, Error, Finish, Part, Request, Role, Turn, Usage};
