//! [`Speech`] on the bindings: one short method for each import, and the conversions of their types.

use super::Granted;
use super::host::generation_error;
use crate::bindings::atelier::host::{audio, speech};
use crate::host::GenerationError;
use crate::speech::{
    AudioError, Language, Segment, Speech, SpeechEvent, SpeechModel, SpeechOrder, Task, Timestamps,
    Transcript, Transcription, Word,
};

/// A job of `speech`, and its events until they end.
pub struct RunningTranscription {
    job: speech::Transcription,
    events: wit_bindgen::StreamReader<speech::Event>,
}

impl Transcription for RunningTranscription {
    async fn next_event(&mut self) -> Option<SpeechEvent> {
        self.events.next().await.map(event)
    }

    async fn outcome(self) -> Result<Transcript, GenerationError> {
        self.job.outcome().await.map(transcript).map_err(generation_error)
    }
}

impl Speech for Granted {
    type Recording = audio::Recording;
    type Transcription = RunningTranscription;

    async fn speech_models(&self) -> Vec<SpeechModel> {
        let models = speech::models().await.into_iter();
        let model = |speech::SpeechModel { id, description, languages, .. }: speech::SpeechModel| {
            SpeechModel { id, description, languages }
        };
        models.map(model).collect()
    }

    async fn recording(&self, bytes: Vec<u8>) -> Result<audio::Recording, AudioError> {
        audio::Recording::decode(bytes).await.map_err(audio_error)
    }

    async fn transcribe(
        &self,
        order: SpeechOrder,
        recording: &audio::Recording,
    ) -> Result<RunningTranscription, GenerationError> {
        let job = speech::transcribe(request(order), recording).await.map_err(generation_error)?;
        // the host gives out one stream per job, so it is kept beside the handle
        let events = job.events();
        Ok(RunningTranscription { job, events })
    }
}

fn request(order: SpeechOrder) -> speech::Request {
    speech::Request {
        model: order.model,
        language: order.language,
        task: match order.task {
            Task::Transcribe => speech::Task::Transcribe,
            Task::Translate => speech::Task::Translate,
        },
        timestamps: match order.timestamps {
            Timestamps::Segments => speech::Timestamps::Segments,
            Timestamps::Words => speech::Timestamps::Words,
        },
        temperatures: order.temperatures,
        initial_prompt: order.initial_prompt,
        // no first-party handler offers these
        compression_ratio_threshold: None,
        logprob_threshold: None,
        no_speech_threshold: None,
        condition_on_previous_text: None,
        beam_size: None,
        patience: None,
        length_penalty: None,
        best_of: None,
        seed: None,
        suppress_tokens: None,
        max_initial_timestamp: None,
        voice_only: None,
        clips: Vec::new(),
    }
}

fn event(event: speech::Event) -> SpeechEvent {
    match event {
        speech::Event::Queued(it) => SpeechEvent::Queued { position: it.position, eta_ms: it.eta_ms },
        speech::Event::Started => SpeechEvent::Started,
        speech::Event::Heard(it) => SpeechEvent::Heard {
            text: it.text,
            heard_seconds: it.heard_seconds,
            total_seconds: it.total_seconds,
        },
    }
}

fn transcript(found: speech::Transcript) -> Transcript {
    let language = found.language.map(|speech::Language { code, name, probability }| Language {
        code,
        name,
        probability,
    });
    Transcript {
        text: found.text,
        language,
        segments: found.segments.into_iter().map(segment).collect(),
        seconds: found.seconds,
        model: found.model,
        notes: found.notes,
    }
}

fn segment(found: speech::Segment) -> Segment {
    let word = |speech::Word { word, start, end, .. }: speech::Word| Word { word, start, end };
    Segment {
        start: found.start,
        end: found.end,
        text: found.text,
        tokens: found.tokens,
        avg_logprob: found.avg_logprob,
        compression_ratio: found.compression_ratio,
        no_speech_prob: found.no_speech_prob,
        temperature: found.temperature,
        words: found.words.into_iter().map(word).collect(),
    }
}

/// Three kinds of fault lie in the client's bytes, one in how many they are, and one anywhere else.
fn audio_error(error: audio::Error) -> AudioError {
    use audio::Error::{Invalid, Malformed, Other, TooLarge, Unsupported};
    match error {
        Unsupported(text) | Malformed(text) | Invalid(text) => AudioError::Refused(text),
        TooLarge(text) => AudioError::TooLarge(text),
        Other(text) => AudioError::Failed(text),
    }
}
