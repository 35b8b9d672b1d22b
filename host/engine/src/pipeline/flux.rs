//! FLUX's texts: what T5 and CLIP make of a prompt. Every block of the denoiser looks at T5's states; CLIP gives one vector
//! for the whole (`FluxPipeline.encode_prompt`).

use atelier_inference::{Emphasis, Precision};
use candle_core::Device;

use super::{Conditioning, Text, rows};
use crate::Result;
use crate::files::ModelFiles;
use crate::models::clip::{ClipTextEncoder, States};
use crate::models::flux;
use crate::models::t5::T5Encoder;
use crate::tokenizer::{ClipTokenizer, T5Tokenizer};
use crate::weights::Slots;

/// Both encoders with their tokenizers.
#[derive(Debug)]
pub struct FluxText {
    tokenizer: ClipTokenizer,
    text_encoder: ClipTextEncoder,
    tokenizer_2: T5Tokenizer,
    text_encoder_2: T5Encoder,
    /// Tokens for T5, padding included.
    length: usize,
}

impl FluxText {
    /// Reads `tokenizer/`, `text_encoder/`, `tokenizer_2/` and `text_encoder_2/`. That they fit each other and the denoiser
    /// was seen when the host started.
    #[doc(hidden)]
    pub fn open(files: &ModelFiles, device: &Device) -> Result<Self> {
        let (denoiser, _) = flux::describe(files, Precision::F32)?;
        Ok(Self {
            tokenizer: ClipTokenizer::open(files, "tokenizer")?,
            text_encoder: ClipTextEncoder::open(files, "text_encoder", device)?,
            tokenizer_2: T5Tokenizer::open(files)?,
            text_encoder_2: T5Encoder::open(files, device)?,
            length: denoiser.text_tokens(),
        })
    }

    /// Where adapters are attached to CLIP's layers.
    pub(super) fn slots(&self) -> &Slots {
        self.text_encoder.slots()
    }

    /// Encodes a prompt.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for one that T5 cannot see whole.
    pub fn condition(&self, prompt: &str) -> Result<Conditioning> {
        let states = self.text_encoder_2.forward(&self.tokenizer_2.row(prompt, self.length)?)?;
        let rows = rows(&self.tokenizer, prompt, Emphasis::None)?;
        let first = rows.first().map(|row| row.ids.clone()).unwrap_or_default();
        let pooled = self.text_encoder.forward(&[first], States::Normed(0))?.pooled;
        let seen = self.tokenizer.max_length - 2;
        let note = || {
            format!("CLIP sees the first {seen} tokens of the prompt, as in diffusers; T5 sees all of them")
        };
        let notes = (rows.len() > 1).then(note).into_iter().collect();
        Ok(Conditioning { prompt: Text { states, pooled: Some(pooled) }, negative: None, notes })
    }
}
