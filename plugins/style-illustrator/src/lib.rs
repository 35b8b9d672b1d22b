//! Says what a prompt leaves unsaid, without a language model: setting, light, medium, colours. What the user wrote
//! stays as it is, the same prompt always becomes the same, and a styled prompt is styled no further.
//!
//! `nano` knows the little world of `atelier-nano`, `general` the words that larger models were trained on; `text`
//! finds words, and `lot` draws from lists by the prompt itself.

mod general;
mod lot;
mod nano;
mod style;
mod text;

#[cfg(target_arch = "wasm32")]
mod glue;

pub use style::style;
