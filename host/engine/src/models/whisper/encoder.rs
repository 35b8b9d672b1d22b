//! The encoder: frames of a spectrogram to states, two frames each (transformers' `WhisperEncoder`).

use candle_core::{Result, Tensor};

use super::attention::{Attention, EPS, FeedForward};
use super::config::{FRAMES_PER_STATE, WhisperConfig};
use crate::kernels::{Activation, Conv1d, LayerNorm};
use crate::weights::Builder;

#[derive(Debug)]
pub(super) struct Encoder {
    conv1: Conv1d,
    conv2: Conv1d,
    activation: Activation,
    /// (positions, width); sinusoids, which files hold as they are.
    embed_positions: Tensor,
    layers: Vec<Layer>,
    layer_norm: LayerNorm,
}

/// Attention and a feed-forward part, each after a norm and beside a shortcut.
#[derive(Debug)]
struct Layer {
    self_attn_layer_norm: LayerNorm,
    self_attn: Attention,
    feed_forward: FeedForward,
}

impl Encoder {
    pub(super) fn load(config: &WhisperConfig, vb: Builder) -> Result<Self> {
        let (width, layers) = (config.d_model, vb.pp("layers"));
        let positions = (config.max_source_positions, width);
        Ok(Self {
            conv1: Conv1d::load(config.num_mel_bins, width, 1, vb.pp("conv1"))?,
            conv2: Conv1d::load(width, width, FRAMES_PER_STATE, vb.pp("conv2"))?,
            activation: config.activation(),
            embed_positions: vb.pp("embed_positions").get(positions, "weight")?,
            layers: (0..config.encoder_layers)
                .map(|index| Layer::load(config, layers.pp(index)))
                .collect::<Result<_>>()?,
            layer_norm: LayerNorm::load(width, EPS, vb.pp("layer_norm"))?,
        })
    }

    /// Windows (b, frames, bands) to (b, positions, width).
    pub(super) fn forward(&self, frames: &Tensor) -> Result<Tensor> {
        let x = self.activation.forward(&self.conv1.forward(frames)?)?;
        let x = self.activation.forward(&self.conv2.forward(&x)?)?;
        let mut hidden = x.broadcast_add(&self.embed_positions)?;
        for layer in &self.layers {
            hidden = layer.forward(&hidden)?;
        }
        self.layer_norm.forward(&hidden)
    }
}

impl Layer {
    fn load(config: &WhisperConfig, vb: Builder) -> Result<Self> {
        let (width, heads) = (config.d_model, config.encoder_attention_heads);
        Ok(Self {
            self_attn_layer_norm: LayerNorm::load(width, EPS, vb.pp("self_attn_layer_norm"))?,
            self_attn: Attention::load(width, heads, vb.pp("self_attn"))?,
            feed_forward: FeedForward::load(config, config.encoder_ffn_dim, &vb)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = (x + self.self_attn.to_itself(&self.self_attn_layer_norm.forward(x)?)?)?;
        self.feed_forward.forward(&x)
    }
}
