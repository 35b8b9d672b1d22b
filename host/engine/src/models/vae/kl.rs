//! The autoencoder of latent diffusion (arXiv 2112.10752; diffusers' `AutoencoderKL`).
//!
//! Pictures (b, 3, h, w) and latents (b, c, h / factor, w / factor), where the factor is 8 with four levels. Both
//! halves have resnets and one attention over all pixels at the smallest size. The caller scales the latents.

use atelier_inference::Precision;
use candle_core::{D, Result, Tensor};

use super::Encoded;
use super::config::KlConfig;
use crate::kernels::{Conv2d, GroupNorm, Linear, Mask, Window, attention, to_pixels, to_tokens};
use crate::models::blocks::{Norm, ResnetBlock, Upsample};
use crate::weights::Builder;

/// Of every norm; diffusers fixes it and writes it nowhere.
const EPS: f64 = 1e-6;
/// The logarithm of the variance is kept within these.
const LOGVAR_RANGE: (f32, f32) = (-30.0, 20.0);

/// Encoder, decoder and the 1x1 convolutions between them.
#[derive(Debug)]
pub(crate) struct AutoencoderKl {
    encoder: Encoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    decoder: Decoder,
}

impl AutoencoderKl {
    pub(crate) fn load(config: &KlConfig, vb: Builder) -> Result<Self> {
        let latents = config.latent_channels;
        let quant = || Conv2d::load(2 * latents, 2 * latents, Window::ONE, vb.pp("quant_conv"));
        let post_quant = || Conv2d::load(latents, latents, Window::ONE, vb.pp("post_quant_conv"));
        Ok(Self {
            encoder: Encoder::load(config, vb.pp("encoder"))?,
            quant_conv: config.use_quant_conv.then(quant).transpose()?,
            post_quant_conv: config.use_post_quant_conv.then(post_quant).transpose()?,
            decoder: Decoder::load(config, vb.pp("decoder"))?,
        })
    }

    /// (b, 3, h, w) to a distribution: the encoder gives means and logarithms of variances, channel after channel.
    pub(crate) fn encode(&self, picture: &Tensor) -> Result<Encoded> {
        let moments = through(&self.quant_conv, self.encoder.forward(picture)?)?;
        let moments = moments.chunk(2, 1)?; // (b, latents, h, w), twice
        let (low, high) = LOGVAR_RANGE;
        let deviation = (moments[1].clamp(low, high)? * 0.5)?.exp()?;
        Ok(Encoded::Posterior { mean: moments[0].contiguous()?, deviation })
    }

    /// Unscaled latents to (b, 3, h, w).
    pub(crate) fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        self.decoder.forward(&through(&self.post_quant_conv, latents.clone())?)
    }
}

/// Some relatives have no 1x1 convolutions there.
fn through(conv: &Option<Conv2d>, x: Tensor) -> Result<Tensor> {
    match conv {
        Some(conv) => conv.forward(&x),
        None => Ok(x),
    }
}

fn norm(config: &KlConfig) -> Norm {
    Norm { groups: config.norm_num_groups, eps: EPS }
}

/// Resnets of one size: the first may change the width.
fn resnets(count: usize, inputs: usize, outputs: usize, norm: Norm, vb: Builder) -> Result<Vec<ResnetBlock>> {
    let width = |index| if index == 0 { inputs } else { outputs };
    (0..count).map(|index| ResnetBlock::load(width(index), outputs, None, norm, vb.pp(index))).collect()
}

fn run(resnets: &[ResnetBlock], x: Tensor) -> Result<Tensor> {
    resnets.iter().try_fold(x, |x, resnet| resnet.forward(&x, None))
}

/// Picture to (b, 2 * latents, h, w): each level halves the size, the last does not.
#[derive(Debug)]
struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<(Vec<ResnetBlock>, Option<Conv2d>)>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn load(config: &KlConfig, vb: Builder) -> Result<Self> {
        let widths = &config.block_out_channels;
        let (first, last) = (widths[0], widths[widths.len() - 1]);
        let down_block = |index: usize| {
            let (vb, outputs) = (vb.pp("down_blocks").pp(index), widths[index]);
            let inputs = widths[index.saturating_sub(1)];
            let conv = || {
                Conv2d::load(outputs, outputs, Window::HALF_UNPADDED, vb.pp("downsamplers").pp(0).pp("conv"))
            };
            let resnets = resnets(config.layers_per_block, inputs, outputs, norm(config), vb.pp("resnets"))?;
            Ok((resnets, (index + 1 < widths.len()).then(conv).transpose()?))
        };
        Ok(Self {
            conv_in: Conv2d::load(config.in_channels, first, Window::SAME, vb.pp("conv_in"))?,
            down_blocks: (0..widths.len()).map(down_block).collect::<Result<_>>()?,
            mid_block: MidBlock::load(last, norm(config), vb.pp("mid_block"))?,
            conv_norm_out: GroupNorm::load(config.norm_num_groups, last, EPS, vb.pp("conv_norm_out"))?,
            conv_out: Conv2d::load(last, 2 * config.latent_channels, Window::SAME, vb.pp("conv_out"))?,
        })
    }

    fn forward(&self, picture: &Tensor) -> Result<Tensor> {
        let mut hidden = self.conv_in.forward(picture)?;
        for (resnets, downsample) in &self.down_blocks {
            hidden = run(resnets, hidden)?;
            if let Some(downsample) = downsample {
                // zeros at the right and the bottom only
                let padded = hidden.pad_with_zeros(D::Minus1, 0, 1)?.pad_with_zeros(D::Minus2, 0, 1)?;
                hidden = downsample.forward(&padded)?;
            }
        }
        let hidden = self.mid_block.forward(hidden)?;
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&hidden)?)
    }
}

/// Latents to picture: the encoder backwards, with one resnet more in each level.
#[derive(Debug)]
struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<(Vec<ResnetBlock>, Option<Upsample>)>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn load(config: &KlConfig, vb: Builder) -> Result<Self> {
        let widths: Vec<_> = config.block_out_channels.iter().rev().copied().collect();
        let (first, last) = (widths[0], widths[widths.len() - 1]);
        let up_block = |index: usize| {
            let (vb, outputs) = (vb.pp("up_blocks").pp(index), widths[index]);
            let inputs = widths[index.saturating_sub(1)];
            let upsample = || Upsample::load(outputs, vb.pp("upsamplers").pp(0));
            let resnets =
                resnets(config.layers_per_block + 1, inputs, outputs, norm(config), vb.pp("resnets"))?;
            Ok((resnets, (index + 1 < widths.len()).then(upsample).transpose()?))
        };
        Ok(Self {
            conv_in: Conv2d::load(config.latent_channels, first, Window::SAME, vb.pp("conv_in"))?,
            mid_block: MidBlock::load(first, norm(config), vb.pp("mid_block"))?,
            up_blocks: (0..widths.len()).map(up_block).collect::<Result<_>>()?,
            conv_norm_out: GroupNorm::load(config.norm_num_groups, last, EPS, vb.pp("conv_norm_out"))?,
            conv_out: Conv2d::load(last, config.out_channels, Window::SAME, vb.pp("conv_out"))?,
        })
    }

    fn forward(&self, latents: &Tensor) -> Result<Tensor> {
        let mut hidden = self.mid_block.forward(self.conv_in.forward(latents)?)?;
        for (resnets, upsample) in &self.up_blocks {
            hidden = run(resnets, hidden)?;
            if let Some(upsample) = upsample {
                let (_, _, height, width) = hidden.dims4()?;
                hidden = upsample.forward(&hidden, 2 * height, 2 * width)?;
            }
        }
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&hidden)?)
    }
}

/// Resnet, attention, resnet at the smallest size.
#[derive(Debug)]
struct MidBlock {
    resnets: Vec<ResnetBlock>,
    attention: PixelAttention,
}

impl MidBlock {
    fn load(width: usize, norm: Norm, vb: Builder) -> Result<Self> {
        Ok(Self {
            resnets: resnets(2, width, width, norm, vb.pp("resnets"))?,
            attention: PixelAttention::load(width, norm, vb.pp("attentions").pp(0))?,
        })
    }

    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let hidden = self.resnets[0].forward(&x, None)?;
        self.resnets[1].forward(&self.attention.forward(&hidden)?, None)
    }
}

/// Attention of all pixels to each other with a single head.
#[derive(Debug)]
struct PixelAttention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    precision: Precision,
}

impl PixelAttention {
    fn load(width: usize, norm: Norm, vb: Builder) -> Result<Self> {
        // checkpoints from before diffusers 0.18 use the second names
        let linear = |new: &str, old: &str| {
            let is_new = vb.contains(&format!("{new}.weight"));
            let vb = if is_new { vb.pp(new) } else { vb.pp(old) };
            Linear::load(width, width, vb)
        };
        Ok(Self {
            group_norm: GroupNorm::load(norm.groups, width, norm.eps, vb.pp("group_norm"))?,
            to_q: linear("to_q", "query")?,
            to_k: linear("to_k", "key")?,
            to_v: linear("to_v", "value")?,
            to_out: linear("to_out.0", "proj_attn")?,
            precision: vb.precision(),
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (.., height, width) = x.dims4()?;
        let rows = to_tokens(&self.group_norm.forward(x)?)?; // (b, h * w, c)
        let (q, k, v) = (self.to_q.forward(&rows)?, self.to_k.forward(&rows)?, self.to_v.forward(&rows)?);
        let out = self.to_out.forward(&attention(&q, &k, &v, 1, Mask::None, self.precision)?)?;
        x + to_pixels(&out, height, width)?
    }
}
