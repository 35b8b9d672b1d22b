//! Has a language model say what a prompt leaves unsaid. What the model writes is a prompt or it is nothing: where it is no
//! line that could be one, the prompt stays as it was.

mod enhance;

#[cfg(target_arch = "wasm32")]
mod glue;

pub use enhance::{Trouble, enhance};
