//! What comes of a chat.

/// The whole reply.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Reply {
    /// Its text, without a stop string or the model's mark of the end.
    pub text: String,
    /// Why it ends there.
    pub finish: Finish,
    /// Tokens that were read and written.
    pub usage: Usage,
    /// What it was drawn with: the same request with this seed has the same reply.
    pub seed: u64,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// The model said that it had ended.
    End,
    /// It had as many tokens as it might, or as the model can hold.
    Length,
    /// A stop string would have come next.
    StopString,
}

/// Tokens of a chat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Of the conversation, as it is written down for the model.
    pub prompt_tokens: u32,
    /// Of these, what was computed before for the same circle.
    pub cached_tokens: u32,
    /// That were written, the mark of the end included.
    pub reply_tokens: u32,
}
