//! The first-party media decoder: untrusted bytes in, plain pixels or samples out.
//!
//! The host runs this component in a store of its own, with limits on memory and time, so that a decoder's panic is a
//! trap, its hang a deadline and its bomb a memory limit. Nothing here knows of requests, files or the network.

pub mod audio;
pub mod picture;

#[cfg(target_arch = "wasm32")]
mod glue;
