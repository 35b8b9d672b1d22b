//! Text from speech: what is asked (`options.rs`, `languages.rs`) is checked against a model and becomes a [`SpeechOrder`];
//! what comes of it is in `transcript.rs`, and as files in `format.rs`.

mod format;
pub mod languages;
mod options;
mod order;
mod transcript;

pub use format::TranscriptFormat;
pub use options::{SpeechOptions, SpeechTask, Timestamps};
pub use order::{MAX_AUDIO_SECONDS, SAMPLE_RATE, SpeechModel, SpeechOrder};
pub use transcript::{Language, Segment, SpeechDelta, Transcript, Word};
