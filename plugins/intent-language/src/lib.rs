//! Says what a command asks for, as a language model of the route understands it, in any language that the model knows.
//!
//! A command goes `interpret` (made one line, bounded) → the model, held to a schema → `answer` (read strictly, and made to fit
//! the rules of `wit/intent.wit`). Neither the command nor the reply is ever followed: the one is a turn of the user's, the
//! other is data.

mod answer;
mod interpret;

#[cfg(target_arch = "wasm32")]
mod glue;

pub use answer::{Action, Intention};
pub use interpret::{Trouble, interpret};
