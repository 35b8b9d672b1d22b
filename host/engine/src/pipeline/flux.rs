//! FLUX's texts: what T5 and CLIP make of a prompt. Every block of the denoiser looks at T5's states; CLIP gives one vector
//! for the whole (`FluxPipeline.encode_prompt`).

use atelier_inference::Emphasis;
use candle_core::{Device, Tensor};

use super::rows;
use crate::Result;
use crate::files::ModelFiles;
use crate::models::clip::{ClipTextEncoder, States};
use crate::models::flux::FluxConfig;
use crate::models::t5::T5Encoder;
use crate::tokenizer::{ClipTokenizer, T5Tokenizer};

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

/// A prompt as the denoiser sees it.
#[derive(Debug)]
pub struct FluxConditioning {
    /// T5's states: (1, tokens, width).
    pub states: Tensor,
    /// CLIP's pooled state: (1, width).
    pub pooled: Tensor,
    /// Says where CLIP did not see the whole text.
    pub note: Option<String>,
}

impl FluxText {
    /// Reads `tokenizer/`, `text_encoder/`, `tokenizer_2/` and `text_encoder_2/`, and holds them against each other and the
    /// denoiser: an id without a row or states of another width would be a tensor error in the middle of a job.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] names the part that does not fit.
    #[doc(hidden)]
    pub fn open(files: &ModelFiles, denoiser: &FluxConfig, device: &Device) -> Result<Self> {
        let text_encoder_2 = T5Encoder::open(files, device)?;
        let tokenizer_2 = T5Tokenizer::open(files)?;
        let (rows, width) = (text_encoder_2.config().vocab_size, text_encoder_2.config().d_model);
        if tokenizer_2.vocabulary() > rows {
            let reason = format!("has more than the {rows} ids that text_encoder_2 knows");
            return Err(files.malformed("tokenizer_2", reason));
        }
        if width != denoiser.joint_attention_dim {
            let reason = format!("d_model {width} is not the transformer's {}", denoiser.joint_attention_dim);
            return Err(files.malformed("text_encoder_2", reason));
        }
        Ok(Self {
            tokenizer: ClipTokenizer::open(files, "tokenizer")?,
            text_encoder: ClipTextEncoder::open(files, "text_encoder", device)?,
            tokenizer_2,
            text_encoder_2,
            length: denoiser.text_tokens(),
        })
    }

    /// Encodes a prompt.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for one that T5 cannot see whole.
    pub fn encode(&self, prompt: &str) -> Result<FluxConditioning> {
        let states = self.text_encoder_2.forward(&self.tokenizer_2.row(prompt, self.length)?)?;
        let rows = rows(&self.tokenizer, prompt, Emphasis::None)?;
        let first = rows.first().map(|row| row.ids.clone()).unwrap_or_default();
        let pooled = self.text_encoder.forward(&[first], States::Normed(0))?.pooled;
        let seen = self.tokenizer.max_length - 2;
        let note = (rows.len() > 1).then(|| {
            format!("CLIP sees the first {seen} tokens of the prompt, as in diffusers; T5 sees all of them")
        });
        Ok(FluxConditioning { states, pooled, note })
    }
}
