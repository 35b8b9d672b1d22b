//! How much memory a transcription will take, told from the configuration alone, before anything is loaded. An upper bound
//! near the truth: `tests/memory.rs` holds it against what is really allocated. Counted along the forward passes of
//! `models/whisper`: whoever changes what these keep alive changes this as well.

use atelier_inference::SpeechOrder;
use atelier_inference::speech::Timestamps;

use crate::models::whisper::{FRAMES_PER_STATE, HOP, WhisperConfig};

/// Bytes of a value.
const VALUE: f64 = 4.0;
/// Of a layer beside its feed-forward part, in widths of the states: the shortcut, the norm, and what attention makes.
const LAYER: f64 = 8.0;
/// The feed-forward part before and after its activation.
const FEED_FORWARD: f64 = 2.0;
/// Of the two convolutions before the encoder, in widths for a frame.
const CONVOLUTIONS: f64 = 4.0;
/// Of the likelihoods of the next token: as the network gives them, as rules change them, as the search sorts them.
const LIKELIHOODS: f64 = 6.0;
/// Of the scores that words are aligned by.
const SCORES: f64 = 4.0;
/// Rows of the input that are packed at a time where a weight is in few bits, likewise what a thread packs for itself.
const PACKED_ROWS: f64 = 384.0;
const THREAD_BYTES: f64 = 1e6;

/// Tokens that say language and task, and begin a text.
const BEGINNING: f64 = 8.0;

/// What runs of one model take, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Footprint {
    /// Samples that are heard at a time.
    window: usize,
    /// Most tokens that come before a text, or are one.
    tokens: f64,
    /// For each sample: of the spectrogram, and of what tells voices from noise.
    sample: f64,
    /// The encoder at its widest, which is over before a text begins.
    encode: f64,
    /// What is heard of a window, as the decoder looks at it.
    heard: f64,
    /// For each text: its past, and the likelihoods of what may come next.
    text: f64,
    /// For each token that the decoder reads at once.
    token: f64,
    /// Words' alignment, which is done when texts are over.
    align: f64,
    /// Whatever is asked.
    fixed: f64,
}

impl Footprint {
    /// `heads` are looked at to align words.
    pub(super) fn new(config: &WhisperConfig, heads: usize) -> Self {
        let [width, positions, capacity, layers, vocabulary] = [
            config.d_model,
            config.max_source_positions,
            config.max_target_positions,
            config.decoder_layers,
            config.vocab_size,
        ]
        .map(|count| count as f64);
        let layer = |inner: usize| LAYER * width + FEED_FORWARD * inner as f64;
        let convolutions = CONVOLUTIONS * width * FRAMES_PER_STATE as f64;
        let widest = config.encoder_ffn_dim.max(config.decoder_ffn_dim) as f64;
        let threads = rayon::current_num_threads() as f64;
        Self {
            window: config.frames() * HOP,
            tokens: capacity / 2.0 + BEGINNING,
            sample: VALUE * (config.num_mel_bins as f64 + 4.0) / HOP as f64,
            encode: VALUE * positions * layer(config.encoder_ffn_dim).max(convolutions),
            heard: VALUE * 2.0 * layers * positions * width,
            text: VALUE * (2.0 * layers * capacity * width + LIKELIHOODS * vocabulary),
            token: VALUE * layer(config.decoder_ffn_dim),
            align: VALUE * SCORES * heads as f64 * (capacity / 2.0) * positions,
            fixed: VALUE * PACKED_ROWS * widest + THREAD_BYTES * threads,
        }
    }

    /// The most that a run takes at any time.
    pub(crate) fn bytes(&self, order: &SpeechOrder) -> u64 {
        let options = &order.options;
        let is_shown_text = options.initial_prompt.is_some()
            || options.condition_on_previous_text && order.audio.len() > self.window;
        let before = if is_shown_text { self.tokens } else { BEGINNING };
        let write = order.texts() as f64 * (self.text + before * self.token);
        // the text is read once more, alone
        let align = match options.timestamps {
            Timestamps::Words => self.align + self.text + self.tokens * self.token,
            Timestamps::None | Timestamps::Segments => 0.0,
        };
        let kept = self.sample * order.audio.len() as f64 + self.fixed;
        (kept + self.encode.max(self.heard + write.max(align))) as u64
    }
}
