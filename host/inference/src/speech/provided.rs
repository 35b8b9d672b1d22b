//! A request for a transcription of a model that is served elsewhere. What is asked is checked like any request, but nothing is
//! decided that was not asked. How our own models search for their text is nobody's business there, and refused by name.

use std::sync::Arc;

use super::{SpeechModel, SpeechOptions, SpeechOrder, languages};
use crate::{Error, ModelCard, ModelInfo, Result};

/// Speech that is to be written down elsewhere.
#[derive(Debug, Clone)]
pub struct ProvidedSpeechOrder {
    /// The whole order.
    pub order: SpeechOrder,
    /// What the text is drawn with, where that was asked.
    pub temperature: Option<f64>,
}

impl ProvidedSpeechOrder {
    /// Checks what is asked against a model.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the option and the fix, or `audio`.
    pub fn new(audio: Arc<[f32]>, options: SpeechOptions, model: &ModelInfo) -> Result<Self> {
        let id = &model.speech()?.card.id;
        let unknown = |field| {
            Err(Error::invalid(
                field,
                format!("`{id}` is served elsewhere and knows no such thing; leave it out"),
            ))
        };
        if let Some(field) = only_here(&options) {
            return unknown(field);
        }
        let temperature = match options.temperatures.as_slice() {
            several if *several == SpeechOptions::default().temperatures => None,
            [one] => Some(*one),
            _ => return unknown("temperatures"),
        };
        Ok(Self { order: SpeechOrder::new(audio, options, model)?, temperature })
    }
}

/// The first option that was changed and that only models of this host know.
fn only_here(options: &SpeechOptions) -> Option<&'static str> {
    let usual = SpeechOptions::default();
    let changed = [
        (
            "compression-ratio-threshold",
            options.compression_ratio_threshold != usual.compression_ratio_threshold,
        ),
        ("logprob-threshold", options.logprob_threshold != usual.logprob_threshold),
        ("no-speech-threshold", options.no_speech_threshold != usual.no_speech_threshold),
        (
            "condition-on-previous-text",
            options.condition_on_previous_text != usual.condition_on_previous_text,
        ),
        ("beam-size", options.beam_size.is_some()),
        ("patience", options.patience.is_some()),
        ("length-penalty", options.length_penalty.is_some()),
        ("best-of", options.best_of.is_some()),
        ("seed", options.seed != usual.seed),
        ("suppress-tokens", options.suppress_tokens.is_some()),
        ("suppress-blank", options.suppress_blank != usual.suppress_blank),
        ("max-initial-timestamp", options.max_initial_timestamp != usual.max_initial_timestamp),
        ("voice-only", options.voice_only != usual.voice_only),
        ("clips", !options.clips.is_empty()),
    ];
    changed.into_iter().find(|(_, is_changed)| *is_changed).map(|(field, _)| field)
}

impl SpeechModel {
    /// A model that is served elsewhere and is taken to know every language. How much it hears at a time, its server knows.
    pub fn elsewhere(card: ModelCard) -> Self {
        Self { card, languages: languages::codes().collect(), window_seconds: 30.0, vocabulary: u32::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelId;

    fn model() -> ModelInfo {
        let card = ModelCard {
            id: ModelId::new("far"),
            family: "openai".into(),
            source: "provider:openai/whisper-1".into(),
            description: String::new(),
            memory_bytes: 0,
            device: "elsewhere".into(),
        };
        SpeechModel::elsewhere(card).into()
    }

    fn order(options: SpeechOptions) -> Result<ProvidedSpeechOrder> {
        ProvidedSpeechOrder::new([0.0; 16].into(), options, &model())
    }

    #[test]
    fn what_was_not_asked_stays_open() {
        let made = order(SpeechOptions::default()).unwrap();
        assert_eq!((made.temperature, made.order.language), (None, None));
        let asked = SpeechOptions {
            temperatures: vec![0.2],
            language: Some("Finnish".into()),
            ..SpeechOptions::default()
        };
        let made = order(asked).unwrap();
        assert_eq!((made.temperature, made.order.language), (Some(0.2), Some("fi")));
    }

    #[test]
    fn how_this_host_searches_is_refused_by_name_elsewhere() {
        let usual = SpeechOptions::default;
        for (options, named) in [
            (SpeechOptions { temperatures: vec![0.0, 0.5], ..usual() }, "temperatures"),
            (SpeechOptions { beam_size: Some(5), ..usual() }, "beam-size"),
            (SpeechOptions { voice_only: false, ..usual() }, "voice-only"),
            (SpeechOptions { logprob_threshold: None, ..usual() }, "logprob-threshold"),
            (SpeechOptions { clips: vec![(0.0, 1.0)], ..usual() }, "clips"),
            (SpeechOptions { language: Some("Klingon".into()), ..usual() }, "language"),
        ] {
            match order(options) {
                Err(Error::Invalid { field, .. }) => assert_eq!(field, named),
                other => panic!("{named}: {other:?}"),
            }
        }
    }
}
