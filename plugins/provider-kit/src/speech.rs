//! Speech at a server: requests and transcripts as plain values, those of `provider-speech` in `wit/provider.wit`, where each is
//! described, and what a provider has to say of its server's part.

use crate::{Ask, Error, Protocol};

/// Which times are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamps {
    /// None.
    None,
    /// Of segments, where the server tells them.
    Segments,
    /// Of words.
    Words,
}

/// What to write down, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeechRequest {
    /// The model's name at the server.
    pub model: String,
    /// A WAV file.
    pub audio: Vec<u8>,
    /// A code such as `fi`.
    pub language: Option<String>,
    /// Whether the text is to be English.
    pub is_translated: bool,
    /// Which times are wanted.
    pub timestamps: Timestamps,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// Text that might come before.
    pub prompt: Option<String>,
}

impl SpeechRequest {
    /// A recording, everything else left to the server.
    pub fn plain(model: &str, audio: &[u8]) -> Self {
        Self {
            model: model.into(),
            audio: audio.into(),
            language: None,
            is_translated: false,
            timestamps: Timestamps::Segments,
            temperature: None,
            prompt: None,
        }
    }
}

/// A word. Times are in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// Without spaces around it.
    pub word: String,
    /// When it begins.
    pub start: f64,
    /// When it ends.
    pub end: f64,
}

/// How sure a model is of a segment.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "each field is documented in wit/provider.wit")]
pub struct Certainty {
    pub avg_logprob: f64,
    pub compression_ratio: f64,
    pub no_speech_prob: f64,
    pub temperature: f64,
}

/// A piece of text. Times are in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// When it begins.
    pub start: f64,
    /// When it ends.
    pub end: f64,
    /// What was said.
    pub text: String,
    /// How sure the model is, if the server tells.
    pub certainty: Option<Certainty>,
}

/// All that was said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcript {
    /// The text.
    pub text: String,
    /// The code or name of the language that was recognised.
    pub language: Option<String>,
    /// None where the server tells no times.
    pub segments: Vec<Segment>,
    /// Where they were asked for.
    pub words: Vec<Word>,
    /// What a user should know.
    pub notes: Vec<String>,
}

/// A server that has models of speech as well.
pub trait Listens: Protocol {
    /// What to send for a request.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what the server's interface has no place for.
    fn ask_for_transcript(&self, request: &SpeechRequest) -> Result<Ask, Error>;

    /// The transcript of a whole answer whose status says that there is one.
    ///
    /// # Errors
    /// What the answer says went wrong, or that it makes no sense.
    fn transcript(&self, body: &[u8]) -> Result<Transcript, Error>;
}
