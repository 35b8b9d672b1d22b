//! The side that faces the host: the only modules that name binding types.

mod client;
mod host;
mod http;

pub use host::Granted;
pub use http::serve;
