//! What first-party plugins share that ask a language model: the question and its reply as plain types behind one trait,
//! and what makes a line of a text that nobody vouches for.
//!
//! A plugin is written against [`Talker`] and tested natively with a script in its place; only `wasm` names binding
//! types. Nothing here knows of any single plugin.

pub mod line;
pub mod talk;

#[cfg(target_arch = "wasm32")]
pub mod wasm;

pub use talk::{Model, Question, Reply, Silence, Talker};
