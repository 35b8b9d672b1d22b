//! Text from speech: what is asked (`options.rs`, `languages.rs`) is checked against a model and becomes a [`SpeechOrder`];
//! what comes of it is in `transcript.rs`, and as files in `format.rs`. Where another server has the model it is a
//! [`ProvidedSpeechOrder`] (`provided.rs`) of a file (`wav.rs`).

mod format;
pub mod languages;
mod options;
mod order;
mod provided;
mod transcript;
mod wav;

pub use format::TranscriptFormat;
pub use options::{SpeechOptions, SpeechTask, Timestamps};
pub use order::{MAX_AUDIO_SECONDS, SAMPLE_RATE, SpeechModel, SpeechOrder};
pub use provided::ProvidedSpeechOrder;
pub use transcript::{Language, Segment, SpeechDelta, Transcript, Word};
pub use wav::wav;
