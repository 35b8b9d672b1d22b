//! What may be asked of a chat, and whether a model can do it. Names are those of OpenAI's interface, and of llama.cpp's
//! where that has none; how a token is drawn follows llama.cpp's defaults.

use serde::Deserialize;

use super::{LanguageModel, ProvidedOptions, Schema, Turn};
use crate::image::within;
use crate::{Error, Result};

/// Most stop strings.
pub const MAX_STOPS: usize = 16;
/// Longest stop string: so much text is held back while it might be the beginning of one.
const MAX_STOP_BYTES: usize = 256;
/// Highest temperature, as in most interfaces to language models.
const MAX_TEMPERATURE: f64 = 2.0;
/// Tokens of a reply where nothing is said.
const DEFAULT_TOKENS: u32 = 512;
/// Weakest and strongest penalty: beyond these a model writes nothing but repetitions, or nothing that makes sense.
const PENALTIES: std::ops::RangeInclusive<f64> = 0.5..=2.0;

/// What a caller asks for, unchecked. `None` takes the default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatRequest {
    /// The conversation so far.
    pub turns: Vec<Turn>,
    /// Most tokens of the reply: 1 to the model's context length; 512, or that length where it is shorter.
    pub max_tokens: Option<u32>,
    /// From 0 to 2; 0 takes the likeliest token, and then nothing is drawn. 0.7.
    pub temperature: Option<f64>,
    /// So many of the likeliest tokens are drawn from; 0 for all. 40.
    pub top_k: Option<u32>,
    /// The likeliest tokens that together are so likely are drawn from, above 0 to 1 (arXiv 1904.09751); 1 for all. 0.95.
    pub top_p: Option<f64>,
    /// Tokens that are at least so likely, as a part of the likeliest one's likelihood, are drawn from, 0 to 1 (arXiv
    /// 2407.01082). 0.05.
    pub min_p: Option<f64>,
    /// Tokens that came before are so many times less likely, 0.5 to 2 (arXiv 1909.05858). 1: they are not.
    pub repeat_penalty: Option<f64>,
    /// Of what is drawn: the same seed gives the same reply. The host chooses one where there is none.
    pub seed: Option<u64>,
    /// Texts before which the reply ends, at most 16 of at most 256 bytes.
    pub stop: Vec<String>,
    /// A JSON schema that the reply is to fit.
    pub schema: Option<String>,
}

/// How a reply is written. Every value is decided and fits the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatOptions {
    /// Most tokens of the reply; at least 1.
    pub max_tokens: u32,
    /// 0 takes the likeliest token.
    pub temperature: f64,
    /// So many of the likeliest tokens are drawn from; 0 for all.
    pub top_k: u32,
    /// Above 0; 1 for all.
    pub top_p: f64,
    /// 0 for all.
    pub min_p: f64,
    /// 1 for none.
    pub repeat_penalty: f64,
    /// Of what is drawn.
    pub seed: u64,
    /// None is empty.
    pub stop: Vec<String>,
    /// What the reply is to fit.
    pub schema: Option<Schema>,
}

impl ChatRequest {
    /// The same options for a model that is served elsewhere: ranges are checked, and what was not asked stays open.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the option that does not make sense.
    pub(super) fn leave_open(self, model: &LanguageModel) -> Result<(Vec<Turn>, ProvidedOptions)> {
        self.check_stop_beside_schema()?;
        let options = ProvidedOptions {
            max_tokens: max_tokens(self.max_tokens, model)?,
            temperature: self
                .temperature
                .map(|value| within("temperature", value, MAX_TEMPERATURE))
                .transpose()?,
            top_k: self.top_k,
            top_p: self.top_p.map(top_p).transpose()?,
            min_p: self.min_p.map(|value| within("min-p", value, 1.0)).transpose()?,
            repeat_penalty: self.repeat_penalty.map(repeat_penalty).transpose()?,
            seed: self.seed,
            stop: stop(self.stop)?,
            schema: self.schema.as_deref().map(Schema::parse).transpose()?,
        };
        Ok((self.turns, options))
    }

    fn check_stop_beside_schema(&self) -> Result<()> {
        if self.schema.is_some() && !self.stop.is_empty() {
            return Err(Error::invalid(
                "stop",
                "would cut a reply that is to fit a schema; leave one of the two out",
            ));
        }
        Ok(())
    }

    /// Decides every option, and leaves the conversation.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the option that does not make sense, or not for this model.
    pub(super) fn decide(self, model: &LanguageModel) -> Result<(Vec<Turn>, ChatOptions)> {
        self.check_stop_beside_schema()?;
        let options = ChatOptions {
            max_tokens: max_tokens(self.max_tokens, model)?,
            temperature: within("temperature", self.temperature.unwrap_or(0.7), MAX_TEMPERATURE)?,
            top_k: top_k(self.top_k, model)?,
            top_p: top_p(self.top_p.unwrap_or(0.95))?,
            min_p: within("min-p", self.min_p.unwrap_or(0.05), 1.0)?,
            repeat_penalty: repeat_penalty(self.repeat_penalty.unwrap_or(1.0))?,
            // as for pictures: what the host chooses fits 32 bits, so that it survives every client's numbers
            seed: self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
            stop: stop(self.stop)?,
            schema: self.schema.as_deref().map(Schema::parse).transpose()?,
        };
        Ok((self.turns, options))
    }
}

fn max_tokens(wanted: Option<u32>, model: &LanguageModel) -> Result<u32> {
    let most = model.context_length.max(1);
    let tokens = wanted.unwrap_or(DEFAULT_TOKENS.min(most));
    if (1..=most).contains(&tokens) {
        return Ok(tokens);
    }
    let reason = format!("{tokens} is not within 1 to {most}, the context of model `{}`", model.card.id);
    Err(Error::invalid("max-tokens", reason))
}

/// The default is more than a tiny vocabulary has, which is no mistake of the caller's.
fn top_k(wanted: Option<u32>, model: &LanguageModel) -> Result<u32> {
    match wanted {
        None => Ok(40.min(model.vocabulary)),
        Some(count) if count <= model.vocabulary => Ok(count),
        Some(count) => {
            let reason = format!("{count} is more than the model's {} tokens; 0 for all", model.vocabulary);
            Err(Error::invalid("top-k", reason))
        }
    }
}

fn top_p(share: f64) -> Result<f64> {
    if share > 0.0 && share <= 1.0 {
        return Ok(share);
    }
    Err(Error::invalid("top-p", format!("{share} is not above 0 and at most 1")))
}

fn repeat_penalty(factor: f64) -> Result<f64> {
    if PENALTIES.contains(&factor) {
        return Ok(factor);
    }
    let (low, high) = (PENALTIES.start(), PENALTIES.end());
    Err(Error::invalid("repeat-penalty", format!("{factor} is not within {low} to {high}; 1 is none")))
}

fn stop(texts: Vec<String>) -> Result<Vec<String>> {
    let invalid = |reason| Err(Error::invalid("stop", reason));
    if texts.len() > MAX_STOPS {
        return invalid(format!("{} texts; at most {MAX_STOPS}", texts.len()));
    }
    match texts.iter().find(|text| !(1..=MAX_STOP_BYTES).contains(&text.len())) {
        Some(text) => invalid(format!("a text of {} bytes; each has 1 to {MAX_STOP_BYTES}", text.len())),
        None => Ok(texts),
    }
}
