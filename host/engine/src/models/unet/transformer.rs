//! The transformer inside of the denoiser (diffusers' `Transformer2DModel` and `BasicTransformerBlock`): pixels look at
//! each other, then at the text.

use atelier_inference::Precision;
use candle_core::{Result, Tensor};

use super::config::AttentionConfig;
use crate::kernels::{GroupNorm, LayerNorm, Linear, Mask, attention, geglu, to_pixels, to_tokens};
use crate::weights::Builder;

/// Of the group norm before the projection, whatever the configuration says for the others.
const NORM_EPS: f64 = 1e-6;
/// torch's default, which no configuration changes.
const LAYER_NORM_EPS: f64 = 1e-5;

/// Transformer blocks over all pixels of a feature map.
#[derive(Debug)]
pub(crate) struct SpatialTransformer {
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

impl SpatialTransformer {
    pub(crate) fn load(channels: usize, config: &AttentionConfig, vb: Builder) -> Result<Self> {
        // Stable Diffusion 2 wrote the same projection as a linear layer; only the shape of the weight differs
        let projection = if config.use_linear_projection { Linear::load } else { Linear::load_conv1x1 };
        let blocks = vb.pp("transformer_blocks");
        Ok(Self {
            norm: GroupNorm::load(config.groups, channels, NORM_EPS, vb.pp("norm"))?,
            proj_in: projection(channels, channels, vb.pp("proj_in"))?,
            blocks: (0..config.layers)
                .map(|index| TransformerBlock::load(channels, config, blocks.pp(index)))
                .collect::<Result<_>>()?,
            proj_out: projection(channels, channels, vb.pp("proj_out"))?,
        })
    }

    /// `x` (b, c, h, w) and the text's states (b, tokens, context width) to (b, c, h, w).
    pub(crate) fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let (.., height, width) = x.dims4()?;
        let mut hidden = self.proj_in.forward(&to_tokens(&self.norm.forward(x)?)?)?; // (b, h * w, c)
        for block in &self.blocks {
            hidden = block.forward(&hidden, context)?;
        }
        x + to_pixels(&self.proj_out.forward(&hidden)?, height, width)?
    }
}

/// Self-attention, cross-attention and a gated feed-forward, each after a norm and beside a shortcut.
#[derive(Debug)]
struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
}

impl TransformerBlock {
    /// `ff_in` makes value and gate at once, so it is twice as wide as what it feeds.
    fn load(width: usize, config: &AttentionConfig, vb: Builder) -> Result<Self> {
        let inner = 4 * width;
        let net = vb.pp("ff").pp("net");
        Ok(Self {
            norm1: LayerNorm::load(width, LAYER_NORM_EPS, vb.pp("norm1"))?,
            attn1: Attention::load(width, width, config.heads, vb.pp("attn1"))?,
            norm2: LayerNorm::load(width, LAYER_NORM_EPS, vb.pp("norm2"))?,
            attn2: Attention::load(width, config.context_width, config.heads, vb.pp("attn2"))?,
            norm3: LayerNorm::load(width, LAYER_NORM_EPS, vb.pp("norm3"))?,
            ff_in: Linear::load(width, 2 * inner, net.pp(0).pp("proj"))?,
            ff_out: Linear::load(inner, width, net.pp(2))?,
        })
    }

    fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let normed = self.norm1.forward(x)?;
        let x = (x + self.attn1.forward(&normed, &normed)?)?;
        let x = (&x + self.attn2.forward(&self.norm2.forward(&x)?, context)?)?;
        let inner = geglu(&self.ff_in.forward(&self.norm3.forward(&x)?)?)?;
        x + self.ff_out.forward(&inner)?
    }
}

/// Queries from the pixels; keys and values from the pixels or the text, whichever `context` is.
#[derive(Debug)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
    precision: Precision,
}

impl Attention {
    fn load(width: usize, context_width: usize, heads: usize, vb: Builder) -> Result<Self> {
        Ok(Self {
            to_q: Linear::load_no_bias(width, width, vb.pp("to_q"))?,
            to_k: Linear::load_no_bias(context_width, width, vb.pp("to_k"))?,
            to_v: Linear::load_no_bias(context_width, width, vb.pp("to_v"))?,
            to_out: Linear::load(width, width, vb.pp("to_out").pp(0))?,
            heads,
            precision: vb.precision(),
        })
    }

    fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let (q, k, v) = (self.to_q.forward(x)?, self.to_k.forward(context)?, self.to_v.forward(context)?);
        self.to_out.forward(&attention(&q, &k, &v, self.heads, Mask::None, self.precision)?)
    }
}
