//! The stage `intent` as plain types behind one trait, beside [`crate::Host`]. The fields mean what `wit/intent.wit` says of
//! the items of the same name.

use crate::host::StageError;

/// What a command asks for (`intent.action`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A new picture.
    Create,
    /// A change of the present picture.
    Edit,
    /// The picture before the present one.
    Undo,
    /// Nothing that has to do with pictures.
    None,
}

impl Action {
    /// Its name, as in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Edit => "edit",
            Self::Undo => "undo",
            Self::None => "none",
        }
    }
}

/// A command, understood (`intent.intention`). The host has held it against the rules of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/intent.wit")]
pub struct Intention {
    pub action: Action,
    pub target: String,
    pub prompt: String,
}

/// What a handler that takes commands asks of its host, besides [`crate::Host`].
#[expect(async_fn_in_trait, reason = "guests run on one thread")]
pub trait Interpret {
    /// Runs the intent stage.
    async fn interpret(&self, command: String) -> Result<Intention, StageError>;
}
