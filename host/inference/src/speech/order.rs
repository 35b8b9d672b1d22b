//! A request for a transcription becomes an order here, and only here is it checked.

use std::sync::Arc;

use super::SpeechOptions;
use crate::{Error, ModelCard, ModelInfo, Result};

/// Samples per second of the audio that models hear.
pub const SAMPLE_RATE: usize = 16_000;
/// Longest audio in seconds: its spectrogram has about 180 MB an hour, and nobody waits for more.
pub const MAX_AUDIO_SECONDS: usize = 4 * 60 * 60;

/// A model that writes down speech.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SpeechModel {
    /// What every model has.
    #[serde(flatten)]
    pub card: ModelCard,
    /// Codes of the languages that it tells apart, such as `fi`; none where it knows English only, and translates nothing.
    pub languages: Vec<&'static str>,
    /// Seconds that it hears at a time.
    pub window_seconds: f64,
    /// How many token ids it has.
    pub vocabulary: u32,
}

/// A transcription that fits its model.
#[derive(Debug, Clone)]
pub struct SpeechOrder {
    /// The model, as the catalog describes it.
    pub model: Arc<SpeechModel>,
    /// Samples at 16 kHz, of one channel, from -1 to 1.
    pub audio: Arc<[f32]>,
    /// Checked.
    pub options: SpeechOptions,
    /// The code of the language that was named.
    pub language: Option<&'static str>,
}

impl SpeechOrder {
    /// Checks what is asked against a model. The error names the option and the fix, or `audio`.
    pub fn new(audio: Arc<[f32]>, options: SpeechOptions, model: &ModelInfo) -> Result<Self> {
        let model = model.speech()?;
        let invalid = |reason| Err(Error::invalid("audio", reason));
        if audio.len() > MAX_AUDIO_SECONDS * SAMPLE_RATE {
            let seconds = audio.len() / SAMPLE_RATE;
            return invalid(format!(
                "{seconds} seconds; at most {MAX_AUDIO_SECONDS} are transcribed at a time"
            ));
        }
        if audio.iter().any(|sample| !sample.is_finite()) {
            return invalid("has samples that are no numbers".into());
        }
        let language = options.check(model)?;
        Ok(Self { model: model.clone(), audio, options, language })
    }

    /// How long the audio is.
    pub fn seconds(&self) -> f64 {
        self.audio.len() as f64 / SAMPLE_RATE as f64
    }

    /// Texts that are written side by side at most.
    pub fn texts(&self) -> usize {
        let SpeechOptions { beam_size, best_of, .. } = &self.options;
        beam_size.unwrap_or(1).max(best_of.unwrap_or(1))
    }

    /// What it is called where it does not fit.
    pub(crate) fn title(&self) -> String {
        format!("a transcription of {:.0} s", self.seconds())
    }

    /// Samples to be heard; what has no sound is not nothing, since it is looked at as well.
    pub fn work(&self) -> u64 {
        self.audio.len().max(1) as u64
    }
}
