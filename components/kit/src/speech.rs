//! The capabilities `audio` and `speech` as plain types behind one trait, beside [`crate::Host`]: what a handler asks that
//! writes down what is said. The fields mean what `wit/audio.wit` and `wit/speech.wit` say of the items of the same name.

use crate::host::GenerationError;

/// A model that writes down speech (`speech.speech-model`).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each field is documented in wit/speech.wit")]
pub struct SpeechModel {
    pub id: String,
    pub description: String,
    pub languages: Vec<String>,
}

/// What becomes of speech (`speech.task`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// Text in its own language.
    #[default]
    Transcribe,
    /// English text.
    Translate,
}

/// Which times are wanted (`speech.timestamps`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamps {
    /// Of segments.
    #[default]
    Segments,
    /// Of words, and of segments that begin and end with these.
    Words,
}

/// What to transcribe, and how (`speech.request`). What first-party handlers do not offer is left out.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "each field is documented in wit/speech.wit")]
pub struct SpeechOrder {
    pub model: String,
    pub language: Option<String>,
    pub task: Task,
    pub timestamps: Timestamps,
    pub temperatures: Vec<f64>,
    pub initial_prompt: Option<String>,
}

/// A language that was named or recognised (`speech.language`).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each field is documented in wit/speech.wit")]
pub struct Language {
    pub code: String,
    pub name: String,
    pub probability: Option<f64>,
}

/// A word with the punctuation around it (`speech.word`).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each field is documented in wit/speech.wit")]
pub struct Word {
    pub word: String,
    pub start: f64,
    pub end: f64,
}

/// A piece of text, about a sentence (`speech.segment`).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each field is documented in wit/speech.wit")]
pub struct Segment {
    pub start: f64,
    pub end: f64,
    pub text: String,
    pub tokens: Vec<u32>,
    pub avg_logprob: f64,
    pub compression_ratio: f64,
    pub no_speech_prob: f64,
    pub temperature: f64,
    pub words: Vec<Word>,
}

/// All that was said (`speech.transcript`).
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "each field is documented in wit/speech.wit")]
pub struct Transcript {
    pub text: String,
    pub language: Option<Language>,
    pub segments: Vec<Segment>,
    pub seconds: f64,
    pub model: String,
    pub notes: Vec<String>,
}

/// What happens to a transcription (`speech.event`).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each case is documented in wit/speech.wit")]
pub enum SpeechEvent {
    Queued { position: u32, eta_ms: Option<u64> },
    Started,
    Heard { text: String, heard_seconds: f64, total_seconds: f64 },
}

/// Why a recording could not be read. The texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudioError {
    /// The bytes are not acceptable: the client's to mend.
    Refused(String),
    /// There are too many bytes or seconds; the text names the limit.
    TooLarge(String),
    /// Anything else.
    Failed(String),
}

/// A transcription in the host. Dropping it cancels the work before its next step.
#[expect(async_fn_in_trait, reason = "guests run on one thread")]
pub trait Transcription {
    /// The next event; none when the job has ended.
    async fn next_event(&mut self) -> Option<SpeechEvent>;
    /// Waits for the end.
    async fn outcome(self) -> Result<Transcript, GenerationError>;
}

/// What a handler that listens asks of its host, besides [`crate::Host`].
#[expect(async_fn_in_trait, reason = "guests run on one thread")]
pub trait Speech {
    /// A handle to a recording whose samples stay in the host.
    type Recording;
    /// A running job.
    type Transcription: Transcription;

    /// The models of speech granted to the route.
    async fn speech_models(&self) -> Vec<SpeechModel>;
    /// Reads an untrusted recording.
    async fn recording(&self, bytes: Vec<u8>) -> Result<Self::Recording, AudioError>;
    /// Queues a job.
    async fn transcribe(
        &self,
        order: SpeechOrder,
        recording: &Self::Recording,
    ) -> Result<Self::Transcription, GenerationError>;
}
