//! A request for a reply becomes an order here, and only here is it checked.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ChatOptions, ChatRequest, Circle};
use crate::{Error, ModelCard, ModelInfo, Result, TenantId};

/// Most turns of a conversation.
pub const MAX_TURNS: usize = 256;
/// Longest conversation in bytes of text; guards the tokenizer. How many tokens a model holds, the engine says.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// Bytes that a token of a prompt stands for, about, in most languages and models.
const BYTES_A_TOKEN: u32 = 4;
/// Tokens of a prompt, read many at a time, that take as long as one that is written, about.
const READ_A_WRITTEN: u64 = 8;

/// A model that replies to a conversation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LanguageModel {
    /// What every model has.
    #[serde(flatten)]
    pub card: ModelCard,
    /// Tokens of the conversation and the reply together.
    pub context_length: u32,
    /// How many token ids it has.
    pub vocabulary: u32,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Says beforehand how the assistant is to be; only the first turn can.
    System,
    /// Who asks.
    User,
    /// The model.
    Assistant,
}

/// What somebody said.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What; never more than text, whatever it looks like.
    pub text: String,
}

/// A conversation that fits its model, and wants a reply.
#[derive(Debug, Clone)]
pub struct ChatOrder {
    /// The model, as the catalog describes it.
    pub model: Arc<LanguageModel>,
    /// The last one is the user's.
    pub turns: Vec<Turn>,
    /// Decided.
    pub options: ChatOptions,
    /// Who may use again what is computed for it.
    pub circle: Circle,
}

impl ChatOrder {
    /// Checks what is asked against a model. The error names the option and the fix, or `turns`.
    pub fn new(request: ChatRequest, model: &ModelInfo) -> Result<Self> {
        let model = model.language()?;
        let (turns, options) = request.decide(model)?;
        check_turns(&turns)?;
        let circle = Circle::new(&TenantId::default(), "");
        Ok(Self { model: model.clone(), turns, options, circle })
    }

    /// The same order of another circle; without this, of those that belong to nobody.
    pub fn within(self, circle: Circle) -> Self {
        Self { circle, ..self }
    }

    /// Tokens of the conversation, about: the model's tokenizer counts them when the job runs.
    pub fn prompt_tokens(&self) -> u32 {
        let bytes: usize = self.turns.iter().map(|turn| turn.text.len()).sum();
        u32::try_from(bytes).unwrap_or(u32::MAX).div_ceil(BYTES_A_TOKEN)
    }

    /// What it is called where it does not fit.
    pub(crate) fn title(&self) -> String {
        format!("a reply of up to {} tokens", self.options.max_tokens)
    }

    /// Tokens that are written at most, and what reading the conversation takes, in such tokens.
    pub fn work(&self) -> u64 {
        u64::from(self.options.max_tokens) + u64::from(self.prompt_tokens()) / READ_A_WRITTEN
    }
}

/// Whether a conversation is one that can be replied to.
pub(super) fn check_turns(turns: &[Turn]) -> Result<()> {
    let invalid = |reason: String| Err(Error::invalid("turns", reason));
    if turns.len() > MAX_TURNS {
        return invalid(format!("{} turns; at most {MAX_TURNS}", turns.len()));
    }
    let bytes: usize = turns.iter().map(|turn| turn.text.len()).sum();
    if bytes > MAX_TEXT_BYTES {
        return invalid(format!("{bytes} bytes of text; at most {MAX_TEXT_BYTES}"));
    }
    if let Some(place) = turns.iter().skip(1).position(|turn| turn.role == Role::System) {
        return invalid(format!("turn {} is the system's; only the first may be", place + 2));
    }
    match turns.last() {
        Some(Turn { role: Role::User, .. }) => Ok(()),
        _ => invalid("the last turn is to be the user's: it is what is replied to".into()),
    }
}
