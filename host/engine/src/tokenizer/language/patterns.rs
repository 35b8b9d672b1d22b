//! How text is cut into words before pairs are merged: the patterns of the families, by which a `tokenizer.json` has them
//! and by the names that llama.cpp gave them. No other pattern is run, since some would take for ever.

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{Result, SplitDelimiterBehavior};

/// One of the patterns that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    /// GPT-2's, which the library has itself.
    Gpt2,
    /// Llama 3's, which is that of OpenAI's `cl100k`.
    Llama3,
    /// The same with digits one by one.
    Qwen2,
    /// OpenAI's `o200k`, of Phi 4 mini.
    Gpt4o,
    /// Mistral's of 2024.
    Tekken,
}

const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Pattern {
    /// By what `tokenizer.ggml.pre` says.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "gpt-2" => Some(Self::Gpt2),
            "llama-bpe" | "llama3" | "llama-v3" | "dbrx" | "smaug-bpe" => Some(Self::Llama3),
            "qwen2" | "deepseek-r1-qwen" => Some(Self::Qwen2),
            "gpt-4o" => Some(Self::Gpt4o),
            "tekken" => Some(Self::Tekken),
            _ => None,
        }
    }

    /// By the regular expression of a `tokenizer.json`.
    pub(super) fn of_expression(expression: &str) -> Option<Self> {
        let all = [Self::Llama3, Self::Qwen2, Self::Gpt4o, Self::Tekken];
        all.into_iter().find(|pattern| pattern.expression() == Some(expression))
    }

    /// None where the library has it.
    fn expression(self) -> Option<&'static str> {
        match self {
            Self::Gpt2 => None,
            Self::Llama3 => Some(LLAMA_3),
            Self::Qwen2 => Some(QWEN_2),
            Self::Gpt4o => Some(GPT_4O),
            Self::Tekken => Some(TEKKEN),
        }
    }

    /// Cuts text, and writes its bytes as the vocabularies do.
    pub(super) fn pre_tokenizer(self) -> Result<PreTokenizerWrapper> {
        let bytes = ByteLevel::new(false, true, self == Self::Gpt2);
        let Some(expression) = self.expression() else { return Ok(bytes.into()) };
        let expression = SplitPattern::Regex(expression.into());
        let split = Split::new(expression, SplitDelimiterBehavior::Isolated, false)?;
        Ok(Sequence::new(vec![split.into(), bytes.into()]).into())
    }
}
