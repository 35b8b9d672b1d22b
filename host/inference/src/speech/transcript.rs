//! What a transcription gives, at its end and on the way. Times are in seconds from the beginning of the audio.

/// All that was said.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct Transcript {
    /// The text of all segments.
    pub text: String,
    /// What language it is in; none where nothing was said and nobody named one.
    pub language: Option<Language>,
    /// In the order of time.
    pub segments: Vec<Segment>,
}

/// A language that was named or recognised.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Language {
    /// Whisper's code, such as `en`.
    pub code: &'static str,
    /// How likely it is, from 0 to 1; none where the request named it.
    pub probability: Option<f64>,
}

/// A piece of text, about a sentence.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Segment {
    /// When it begins.
    pub start: f64,
    /// When it ends.
    pub end: f64,
    /// With the space before its first word.
    pub text: String,
    /// Ids of the text, with those of timestamps.
    pub tokens: Vec<u32>,
    /// The logarithm of how likely a token was, on average over the window that the segment is from.
    pub avg_logprob: f64,
    /// How many times zlib makes the window's text smaller; repetitions are well above 2.
    pub compression_ratio: f64,
    /// How likely it is that the window holds no speech.
    pub no_speech_prob: f64,
    /// What the tokens were drawn with; 0 is the likeliest.
    pub temperature: f64,
    /// Where words were asked for.
    pub words: Vec<Word>,
}

/// A word with the punctuation around it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Word {
    /// With the space before it.
    pub word: String,
    /// When it begins.
    pub start: f64,
    /// When it ends.
    pub end: f64,
    /// How likely its tokens were, on average.
    pub probability: f64,
}

/// What one step has brought.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct SpeechDelta {
    /// Text that has come and will stay. All of them, one after another, are the text of the transcript.
    pub text: String,
    /// What is being written after that; it may still change or go.
    pub pending: String,
    /// Segments that are whole now.
    pub segments: Vec<Segment>,
    /// How far the audio has been heard.
    pub heard_seconds: f64,
    /// How long it is.
    pub total_seconds: f64,
}

impl SpeechDelta {
    /// Takes in what came right after it, so that a reader who was slow loses nothing.
    pub(crate) fn extend(&mut self, next: Self) {
        let Self { text, pending, segments, heard_seconds, total_seconds } = next;
        self.text.push_str(&text);
        self.segments.extend(segments);
        (self.pending, self.heard_seconds, self.total_seconds) = (pending, heard_seconds, total_seconds);
    }
}
