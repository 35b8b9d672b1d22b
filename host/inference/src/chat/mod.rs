//! Replies of language models: what is asked (`options.rs`, `schema.rs`) is checked against a model and becomes a
//! [`ChatOrder`] (`order.rs`), or a [`ProvidedOrder`] where another server has the model (`provided.rs`, whose replies are held to
//! their schema in `fit.rs`); what comes of it is in `reply.rs`. Nothing here knows tokens by name: how text is cut into
//! them, and how a conversation is written down for a model, is the engine's matter.

mod circle;
mod fit;
mod options;
mod order;
mod provided;
mod reply;
mod schema;

pub use circle::Circle;
pub use options::{ChatOptions, ChatRequest, MAX_STOPS};
pub use order::{ChatOrder, LanguageModel, MAX_TEXT_BYTES, MAX_TURNS, Role, Turn};
pub use provided::{ProvidedOptions, ProvidedOrder};
pub use reply::{Finish, Reply, Usage};
pub use schema::{MAX_SCHEMA_BYTES, Property, Schema, Shape};
