//! Whisper (arXiv 2212.04356; transformers' `WhisperForConditionalGeneration`): windows of audio to text, token by token.
//!
//! Here are the network and its front end. Which tokens may follow which, and what they mean, is `transcribe`'s.

mod attention;
mod config;
mod decoder;
mod encoder;
mod fourier;
mod front_end;

use candle_core::{Device, Result as TensorResult, Tensor};

use crate::Result;
use crate::files::ModelFiles;
use crate::weights::{Builder, Weights};
use decoder::Decoder;
use encoder::Encoder;

pub(crate) use config::FRAMES_PER_STATE;
pub use config::WhisperConfig;
pub(crate) use decoder::at_position;
pub use decoder::{Heard, Texts};
pub(crate) use front_end::{FRAMES_PER_SECOND, HOP};
pub use front_end::{FrontEnd, Spectrogram, band_sums};

/// The folder of a model that has no parts: its own.
const FOLDER: &str = "";
/// Its weights' file, without extension.
const STEM: &str = "model";
/// A second name of the table of tokens, which some files have.
const TIED: &str = "proj_out.weight";

/// A Whisper with its weights. Nothing of a request is kept in it.
#[derive(Debug)]
pub struct WhisperNetwork {
    config: WhisperConfig,
    encoder: Encoder,
    decoder: Decoder,
    device: Device,
}

impl WhisperNetwork {
    /// Reads `config.json` and `model.safetensors`, its shards, or one GGUF file with the same names. Matrices stay in the
    /// precision of their file.
    #[doc(hidden)]
    pub fn open(files: &ModelFiles, device: &Device) -> Result<Self> {
        let config = WhisperConfig::read(files)?;
        let (network, _) = weights(files, device)?.build(|vb| Self::load(config, vb, device))?;
        Ok(network)
    }

    /// Bytes that it takes in memory, from the headers of its weights alone.
    pub(crate) fn bytes(files: &ModelFiles) -> Result<u64> {
        Ok(weights(files, &Device::Cpu)?.bytes())
    }

    fn load(config: WhisperConfig, vb: Builder, device: &Device) -> TensorResult<Self> {
        Ok(Self {
            encoder: Encoder::load(&config, vb.pp("encoder"))?,
            decoder: Decoder::load(&config, vb.pp("decoder"))?,
            config,
            device: device.clone(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &WhisperConfig {
        &self.config
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Windows of frames (b, frames, bands) to states (b, positions, width).
    pub fn encode(&self, frames: &Tensor) -> TensorResult<Tensor> {
        self.encoder.forward(frames)
    }

    /// States of windows as the decoder hears them; once for a window, however many texts are tried.
    pub fn hear(&self, states: &Tensor) -> TensorResult<Heard> {
        self.decoder.hear(states)
    }

    /// Empty texts, with room for the longest.
    pub fn texts(&self, rows: usize) -> TensorResult<Texts> {
        self.decoder.texts(rows, self.config.max_target_positions)
    }

    /// Adds tokens to the texts, as many to each, and gives their states (rows, n, width). Rows are of one window after the
    /// other, as many of each.
    ///
    /// # Errors
    /// An id beyond the vocabulary, or a text that grows too long.
    pub fn extend(&self, texts: &mut Texts, tokens: &[&[u32]], heard: &Heard) -> TensorResult<Tensor> {
        self.decoder.forward(tokens, texts, heard)
    }

    /// States (..., width) to how likely each token is to follow, before it is made a probability: (..., vocabulary).
    pub fn logits(&self, states: &Tensor) -> TensorResult<Tensor> {
        self.decoder.logits(states)
    }

    /// How much each token of a whole text asks for each position of its one window, by heads (layer, head): scores
    /// (heads, tokens, positions), and the states (tokens, width).
    pub fn align(
        &self,
        tokens: &[u32],
        heard: &Heard,
        heads: &[(usize, usize)],
    ) -> TensorResult<(Tensor, Tensor)> {
        self.decoder.align(tokens, heard, heads)
    }
}

fn weights(files: &ModelFiles, device: &Device) -> Result<Weights> {
    let weights = Weights::find(files, FOLDER, STEM, STEM, device)?.compact();
    Ok(weights.without_prefix("model.").without(TIED))
}
