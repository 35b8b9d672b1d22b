//! What may be asked of a transcription, and whether a model can do it. Names and defaults are those of OpenAI's
//! `transcribe`.

use serde::{Deserialize, Serialize};

use super::{SpeechModel, languages};
use crate::{Error, Result};

/// Most texts that are written side by side.
const MAX_TEXTS: usize = 16;
/// Highest temperature, as in most interfaces to language models.
const MAX_TEMPERATURE: f64 = 2.0;
/// Most temperatures that are tried on a window.
const MAX_TRIES: usize = 10;
/// Most pieces of audio that are named.
const MAX_CLIPS: usize = 1_000;
/// Longest prompt in bytes; guards the tokenizer. How many tokens a model reads, the engine says.
const MAX_PROMPT_BYTES: usize = 1 << 16;
/// Most candidates for each beam.
const MAX_PATIENCE: f64 = 10.0;

/// Options of a transcription, unchecked.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpeechOptions {
    /// A name or a code, such as `Finnish` or `fi`; recognised where there is none.
    pub language: Option<String>,
    /// What becomes of it.
    pub task: SpeechTask,
    /// Which times are wanted.
    pub timestamps: Timestamps,
    /// Tried one after another until a window's text is good enough. 0 takes the likeliest, others draw.
    pub temperatures: Vec<f64>,
    /// A text that zlib makes smaller than this is a repetition, and another temperature is tried.
    pub compression_ratio_threshold: Option<f64>,
    /// A text that is less likely than this, as the mean of its tokens' logarithms, is another reason.
    pub logprob_threshold: Option<f64>,
    /// A window that is more likely than this to hold no speech, and whose text is that unlikely, has none.
    pub no_speech_threshold: Option<f64>,
    /// Text that might come before the first window: names, spelling, style.
    pub initial_prompt: Option<String>,
    /// Whether each window is shown the text before it.
    pub condition_on_previous_text: bool,
    /// Texts that are followed side by side at temperature 0.
    pub beam_size: Option<usize>,
    /// How many times as many finished texts are waited for (arXiv 2204.05424).
    pub patience: Option<f64>,
    /// From 0 to 1: how much longer texts are preferred (arXiv 1609.08144, equation 14); by their length where there is none.
    pub length_penalty: Option<f64>,
    /// Texts that are drawn at other temperatures, of which the likeliest is taken.
    pub best_of: Option<usize>,
    /// Of what is drawn: the same seed gives the same text.
    pub seed: u64,
    /// Ids that are never written; those of `generation_config.json` where nothing is said.
    pub suppress_tokens: Option<Vec<u32>>,
    /// Whether a text may not begin with a space alone, or end at once.
    pub suppress_blank: bool,
    /// Latest begin of a window's first segment, in seconds.
    pub max_initial_timestamp: Option<f64>,
    /// Whether only what sounds like a voice is transcribed; audio without any then has no text.
    pub voice_only: bool,
    /// The pieces of audio that are transcribed, from and to in seconds; all of it where there are none.
    pub clips: Vec<(f64, f64)>,
}

/// What becomes of speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpeechTask {
    /// Text in its own language.
    #[default]
    Transcribe,
    /// English text.
    Translate,
}

/// Which times are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timestamps {
    /// None: a segment is a window.
    None,
    /// Of segments.
    #[default]
    Segments,
    /// Of words, and segments that begin and end with these.
    Words,
}

impl Default for SpeechOptions {
    fn default() -> Self {
        Self {
            language: None,
            task: SpeechTask::default(),
            timestamps: Timestamps::default(),
            temperatures: vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
            compression_ratio_threshold: Some(2.4),
            logprob_threshold: Some(-1.0),
            no_speech_threshold: Some(0.6),
            initial_prompt: None,
            condition_on_previous_text: true,
            beam_size: None,
            patience: None,
            length_penalty: None,
            best_of: None,
            seed: 0,
            suppress_tokens: None,
            suppress_blank: true,
            max_initial_timestamp: Some(1.0),
            voice_only: true,
            clips: Vec::new(),
        }
    }
}

fn invalid<T>(field: &'static str, reason: impl Into<String>) -> Result<T> {
    Err(Error::Invalid { field, reason: reason.into() })
}

impl SpeechOptions {
    /// The language's code, if one is named.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the option that does not make sense, or not for this model.
    pub(super) fn check(&self, model: &SpeechModel) -> Result<Option<&'static str>> {
        self.check_search()?;
        self.check_thresholds()?;
        self.check_clips()?;
        let vocabulary = model.vocabulary;
        if let Some(id) = self.suppress_tokens.iter().flatten().find(|id| **id >= vocabulary) {
            return invalid("suppress-tokens", format!("{id} is none of the model's {vocabulary} ids"));
        }
        // a token has one byte at least, so most texts need not be tokenized to be refused
        match self.initial_prompt.as_ref().map(String::len) {
            Some(bytes) if bytes > MAX_PROMPT_BYTES => {
                invalid("initial-prompt", format!("{bytes} bytes; at most {MAX_PROMPT_BYTES}"))
            }
            _ => self.check_language(model),
        }
    }

    fn check_search(&self) -> Result<()> {
        let is_count = |count: Option<usize>| count.is_none_or(|count| (1..=MAX_TEXTS).contains(&count));
        let temperatures = &self.temperatures;
        if temperatures.is_empty() || temperatures.len() > MAX_TRIES {
            return invalid("temperatures", format!("{} values; give 1 to {MAX_TRIES}", temperatures.len()));
        }
        if let Some(wrong) = temperatures.iter().find(|value| !(0.0..=MAX_TEMPERATURE).contains(*value)) {
            return invalid("temperatures", format!("{wrong} is not from 0 to {MAX_TEMPERATURE}"));
        }
        if !is_count(self.beam_size) || !is_count(self.best_of) {
            let field = if is_count(self.beam_size) { "best-of" } else { "beam-size" };
            return invalid(field, format!("1 to {MAX_TEXTS} texts are written side by side"));
        }
        if self.length_penalty.is_some_and(|penalty| !(0.0..=1.0).contains(&penalty)) {
            return invalid("length-penalty", "is from 0 to 1");
        }
        match (self.patience, self.beam_size) {
            (Some(_), None) => invalid("patience", "is that of a beam search; give a beam-size as well"),
            (Some(patience), Some(beams))
                if !(patience <= MAX_PATIENCE && (patience * beams as f64).round() >= 1.0) =>
            {
                invalid(
                    "patience",
                    format!("{patience} times {beams} beams must be 1 or more; {MAX_PATIENCE} is the most"),
                )
            }
            _ => Ok(()),
        }
    }

    fn check_thresholds(&self) -> Result<()> {
        for (field, value) in [
            ("compression-ratio-threshold", self.compression_ratio_threshold),
            ("logprob-threshold", self.logprob_threshold),
            ("no-speech-threshold", self.no_speech_threshold),
        ] {
            if value.is_some_and(|value| !value.is_finite()) {
                return invalid(field, "is not a number");
            }
        }
        match self.max_initial_timestamp {
            Some(seconds) if !(0.0..=30.0).contains(&seconds) => {
                invalid("max-initial-timestamp", "is within a window: from 0 to 30 seconds")
            }
            _ => Ok(()),
        }
    }

    fn check_clips(&self) -> Result<()> {
        if self.clips.len() > MAX_CLIPS {
            return invalid("clips", format!("{} pieces; at most {MAX_CLIPS}", self.clips.len()));
        }
        let mut last = 0.0;
        for (from, to) in &self.clips {
            if !(*from >= last && to > from && to.is_finite()) {
                return invalid(
                    "clips",
                    format!("{from} to {to}: each begins after the one before, and ends later"),
                );
            }
            last = *to;
        }
        Ok(())
    }

    fn check_language(&self, model: &SpeechModel) -> Result<Option<&'static str>> {
        let is_multilingual = !model.languages.is_empty();
        if !is_multilingual && self.task == SpeechTask::Translate {
            return invalid(
                "task",
                format!("model `{}` knows English only and translates nothing", model.card.id),
            );
        }
        let Some(named) = self.language.as_deref().filter(|name| !name.eq_ignore_ascii_case("auto")) else {
            return Ok((!is_multilingual).then_some("en"));
        };
        let Some(code) = languages::code(named) else {
            let known = known(model);
            let reason =
                format!("`{named}` is no language's name or code; model `{}` {known}", model.card.id);
            return invalid("language", reason);
        };
        let knows = if is_multilingual { model.languages.contains(&code) } else { code == "en" };
        match knows {
            true => Ok(Some(code)),
            false => {
                let (id, known) = (&model.card.id, known(model));
                invalid("language", format!("`{named}`: model `{id}` does not know it; it {known}"))
            }
        }
    }
}

/// Which languages a request may name.
fn known(model: &SpeechModel) -> String {
    match model.languages.is_empty() {
        true => "knows English only".into(),
        false => format!("knows {}, also by their English names, and `auto`", model.languages.join(", ")),
    }
}
