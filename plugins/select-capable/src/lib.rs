//! Chooses the model for a request: the one that was asked for, or else the first of those that can do it best.
//!
//! `choose` is a pure function of the request's hints and the candidates; it loads nothing and keeps nothing.

mod choose;
mod instruction;
mod taste;

#[cfg(target_arch = "wasm32")]
mod glue;

pub use choose::{Candidate, Choice, Wish, choose};
