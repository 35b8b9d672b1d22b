//! The first-party media decoder: untrusted bytes in, plain RGBA pixels out.
//!
//! The host runs this component in a store of its own, with limits on memory and time, so that a decoder's panic is a
//! trap, its hang a deadline and its bomb a memory limit. Nothing here knows of requests, files or the network.

mod decode;
mod jpeg;
mod sniff;

#[cfg(target_arch = "wasm32")]
mod glue;

pub use decode::{Decoded, Error, Limits, decode};
pub use sniff::{Format, sniff};
