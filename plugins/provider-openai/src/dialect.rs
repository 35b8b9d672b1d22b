//! Whose form of the interface it is: they differ in what they take besides.

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// OpenAI, and whoever takes nothing else.
    OpenAi,
    /// llama.cpp's server (`llama-server`).
    LlamaCpp,
    /// vLLM.
    Vllm,
}

impl Dialect {
    /// As in the manifest; the first is what is meant without a word.
    pub(crate) const NAMES: [(&str, Self); 3] =
        [("openai", Self::OpenAi), ("llama.cpp", Self::LlamaCpp), ("vllm", Self::Vllm)];

    /// For messages.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI's interface",
            Self::LlamaCpp => "llama.cpp's server",
            Self::Vllm => "vLLM",
        }
    }

    /// What the most tokens of a reply are called.
    pub(crate) fn max_tokens(self) -> &'static str {
        match self {
            // OpenAI's newer models refuse the older name, which counts no thoughts
            Self::OpenAi => "max_completion_tokens",
            Self::LlamaCpp | Self::Vllm => "max_tokens",
        }
    }

    /// What the penalty for repetition is called, where there is one.
    pub(crate) fn repeat_penalty(self) -> &'static str {
        match self {
            Self::Vllm => "repetition_penalty",
            Self::OpenAi | Self::LlamaCpp => "repeat_penalty",
        }
    }

    /// Options that it has no place for.
    pub(crate) fn lacks(self) -> &'static [&'static str] {
        match self {
            Self::OpenAi => &["top-k", "min-p", "repeat-penalty"],
            Self::LlamaCpp | Self::Vllm => &[],
        }
    }

    /// Most stop strings.
    pub(crate) fn most_stops(self) -> usize {
        match self {
            Self::OpenAi => 4,
            Self::LlamaCpp | Self::Vllm => usize::MAX,
        }
    }
}
