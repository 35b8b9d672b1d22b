//! The crate that owns Atelier's bytes at rest. For now it keeps private files that are authenticated when read
//! ([`SealedFiles`]) and lines that are only ever added to ([`Journal`]); databases and object stores join with the
//! features that need them.
//!
//! It must never know what the bytes mean: callers name them by a key and decide what to do when there are none.

mod error;
mod journal;
mod sealed;

pub use error::Error;
pub use journal::Journal;
pub use sealed::SealedFiles;
