//! The crate that owns Atelier's bytes at rest. For now it keeps private files that are authenticated when read
//! ([`SealedFiles`]); databases and object stores join with the features that need them.
//!
//! It must never know what the bytes mean: callers name them by a key and decide what to do when there are none.

mod error;
mod sealed;

pub use error::Error;
pub use sealed::SealedFiles;
