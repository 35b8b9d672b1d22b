//! Between the guest's types of `speech` and the domain's, field by field.

use atelier_inference::speech::{self as host, SpeechOptions, SpeechTask, languages};
use atelier_inference::{SpeechDelta, SpeechModel as HostModel};

use crate::bindings::speech::{Heard, Language, Request, Segment, SpeechModel, Task, Timestamps, Word};

/// What is left out keeps the domain's default.
impl From<Request> for SpeechOptions {
    fn from(request: Request) -> Self {
        let usual = Self::default();
        let count = |value: Option<u32>| value.map(|value| value as usize);
        Self {
            language: request.language,
            task: match request.task {
                Task::Transcribe => SpeechTask::Transcribe,
                Task::Translate => SpeechTask::Translate,
            },
            timestamps: match request.timestamps {
                Timestamps::None => host::Timestamps::None,
                Timestamps::Segments => host::Timestamps::Segments,
                Timestamps::Words => host::Timestamps::Words,
            },
            temperatures: if request.temperatures.is_empty() {
                usual.temperatures
            } else {
                request.temperatures
            },
            compression_ratio_threshold: request
                .compression_ratio_threshold
                .or(usual.compression_ratio_threshold),
            logprob_threshold: request.logprob_threshold.or(usual.logprob_threshold),
            no_speech_threshold: request.no_speech_threshold.or(usual.no_speech_threshold),
            initial_prompt: request.initial_prompt,
            condition_on_previous_text: request
                .condition_on_previous_text
                .unwrap_or(usual.condition_on_previous_text),
            beam_size: count(request.beam_size),
            patience: request.patience,
            length_penalty: request.length_penalty,
            best_of: count(request.best_of),
            seed: request.seed.unwrap_or(usual.seed),
            suppress_tokens: request.suppress_tokens,
            suppress_blank: usual.suppress_blank,
            max_initial_timestamp: request.max_initial_timestamp.or(usual.max_initial_timestamp),
            voice_only: request.voice_only.unwrap_or(usual.voice_only),
            clips: request.clips.into_iter().map(|clip| (clip.start, clip.end)).collect(),
        }
    }
}

pub(super) fn describe(model: &HostModel, loaded: bool) -> SpeechModel {
    let HostModel { card, languages, window_seconds, .. } = model;
    SpeechModel {
        id: card.id.to_string(),
        family: card.family.clone(),
        source: card.source.clone(),
        description: card.description.clone(),
        languages: languages.iter().map(ToString::to_string).collect(),
        window_seconds: *window_seconds,
        loaded,
        memory_bytes: card.memory_bytes,
        device: card.device.clone(),
    }
}

impl From<host::Language> for Language {
    fn from(host::Language { code, probability }: host::Language) -> Self {
        let name = languages::name(code).unwrap_or(code).into();
        Self { code: code.into(), name, probability }
    }
}

impl From<host::Segment> for Segment {
    fn from(segment: host::Segment) -> Self {
        Self {
            start: segment.start,
            end: segment.end,
            text: segment.text,
            tokens: segment.tokens,
            avg_logprob: segment.avg_logprob,
            compression_ratio: segment.compression_ratio,
            no_speech_prob: segment.no_speech_prob,
            temperature: segment.temperature,
            words: segment.words.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<host::Word> for Word {
    fn from(host::Word { word, start, end, probability }: host::Word) -> Self {
        Self { word, start, end, probability }
    }
}

impl From<SpeechDelta> for Heard {
    fn from(delta: SpeechDelta) -> Self {
        Self {
            text: delta.text,
            pending: delta.pending,
            segments: delta.segments.into_iter().map(Into::into).collect(),
            heard_seconds: delta.heard_seconds,
            total_seconds: delta.total_seconds,
        }
    }
}
