//! The denoiser (diffusers' `UNet2DConditionModel`): noisy latents, one timestep per sample and the text's states to a
//! prediction of the noise, the velocity or the sample, as the schedule's configuration says.
//!
//! A network of the U-Net kind (arXiv 1505.04597, as in 2112.10752): the way down halves the picture block by block
//! and leaves its states as skips, the way up takes them in reverse order. Knows nothing of mixing two predictions.

mod config;
mod deep;
mod embedding;
mod transformer;

use atelier_inference::Precision;
use candle_core::{Result as TensorResult, Tensor};

use crate::Result;
use crate::files::ModelFiles;
use crate::kernels::{Conv2d, GroupNorm, Window};
use crate::models::blocks::{Norm, ResnetBlock, Upsample};
use crate::models::controlnet::Residuals;
use crate::weights::{Builder, Slots, Weights};
use transformer::SpatialTransformer;

pub use config::{AddedConfig, UNetConfig};
pub(crate) use config::{BlockConfig, BlockKind};
pub use deep::Deep;
pub(crate) use embedding::Sinusoids;
pub(super) use embedding::TimeEmbedding;

/// The component's folder in a diffusers layout.
pub(crate) const FOLDER: &str = "unet";
/// Its weights' file, without extension.
pub(crate) const STEM: &str = "diffusion_pytorch_model";

/// Skips that a whole pass needs: all that there are, and what the middle makes of the last.
pub const ALL_SKIPS: usize = usize::MAX;

/// What a denoiser is asked, for a batch of b.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Noisy latents, with the channels of a picture after them where the model takes one: (b, in channels, h, w).
    pub x: &'a Tensor,
    /// In f32: (b).
    pub timesteps: &'a Tensor,
    /// The text's states: (b, tokens, width).
    pub context: &'a Tensor,
    /// The guidance scale, where it is an input: (b).
    pub guidance: Option<&'a Tensor>,
    /// Of XL models.
    pub added: Option<&'a Added>,
}

/// What XL models add to the time embedding.
#[derive(Debug, Clone)]
pub struct Added {
    /// The pooled text: (b, width).
    pub pooled: Tensor,
    /// Sizes and offsets in pixels, or a score; as many as the configuration says: (b, numbers).
    pub numbers: Tensor,
}

/// A denoiser with its weights.
#[derive(Debug)]
pub struct UNet {
    time_embedding: TimeEmbedding,
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    slots: Slots,
}

impl UNet {
    /// Reads `unet/`.
    #[doc(hidden)]
    pub fn open(files: &ModelFiles, device: &candle_core::Device, precision: Precision) -> Result<Self> {
        let config = UNetConfig::read(files)?;
        let weights = Weights::load(files, FOLDER, STEM, device)?.in_precision(precision);
        let (unet, slots) = weights.build(|vb| Self::load(&config, vb))?;
        Ok(Self { slots, ..unet })
    }

    /// Takes the tensors from anywhere; the benchmark gives random ones.
    #[doc(hidden)]
    pub fn load(config: &UNetConfig, vb: Builder) -> TensorResult<Self> {
        let (first, norm) = (config.down[0].channels, config.norm);
        Ok(Self {
            time_embedding: TimeEmbedding::load(config, vb.pp("time_embedding"))?
                .with_added(config, vb.pp("add_embedding"))?,
            conv_in: Conv2d::load(config.in_channels, first, Window::SAME, vb.pp("conv_in"))?,
            down_blocks: load_down(config, vb.pp("down_blocks"))?,
            mid_block: MidBlock::load(config, vb.pp("mid_block"))?,
            up_blocks: load_up(config, vb.pp("up_blocks"))?,
            conv_norm_out: GroupNorm::load(norm.groups, first, norm.eps, vb.pp("conv_norm_out"))?,
            conv_out: Conv2d::load(first, config.out_channels, Window::SAME, vb.pp("conv_out"))?,
            slots: Slots::default(),
        })
    }

    /// Where adapters are attached to its layers.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Whether the guidance scale is an input (distilled models), instead of two predictions that are mixed.
    pub fn takes_guidance(&self) -> bool {
        self.time_embedding.takes_guidance()
    }

    /// To (b, out channels, h, w).
    pub fn forward(&self, input: &Input<'_>) -> TensorResult<Tensor> {
        self.forward_with(input, None, None)
    }

    /// Likewise, with what ControlNets add, and with a step cache that says whether the pass is a whole one.
    pub fn forward_with(
        &self,
        input: &Input<'_>,
        residuals: Option<&Residuals>,
        mut deep: Option<&mut Deep>,
    ) -> TensorResult<Tensor> {
        let Input { x, timesteps, context, guidance, added } = *input;
        let needed = deep.as_deref().map_or(ALL_SKIPS, Deep::needed);
        let kept = deep.as_deref_mut().and_then(Deep::begin);
        let time = self.time_embedding.forward(timesteps, guidance, added)?; // (b, 4 * first width)
        let mut hidden = self.conv_in.forward(x)?;
        let mut skips = vec![hidden.clone()];
        for block in &self.down_blocks {
            hidden = block.forward(hidden, &time, context, &mut skips, needed)?;
        }
        let is_whole = kept.is_none();
        hidden = match kept {
            Some(kept) => kept,
            None => self.mid_block.forward(&hidden, &time, context)?,
        };
        if let Some(residuals) = residuals {
            if residuals.mid.is_some() != is_whole {
                candle_core::bail!("residuals of a whole pass for a shortened one, or the other way about");
            }
            hidden = controlled(hidden, &mut skips, residuals)?;
        }
        // each layer on the way up takes a skip: where some were not made, as many layers are left out
        let layers = self.up_blocks.iter().map(|block| block.layers.len()).sum::<usize>();
        let mut left_out = layers.saturating_sub(skips.len());
        for block in &self.up_blocks {
            let first = left_out.min(block.layers.len());
            left_out -= first;
            if first < block.layers.len() {
                hidden = block.forward(hidden, first, &time, context, &mut skips, deep.as_deref_mut())?;
            }
        }
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&hidden)?)
    }
}

/// The middle's state and the skips, with what ControlNets add to each.
fn controlled(mid: Tensor, skips: &mut [Tensor], residuals: &Residuals) -> TensorResult<Tensor> {
    if skips.len() != residuals.down.len() {
        candle_core::bail!("{} residuals for {} skips", residuals.down.len(), skips.len());
    }
    for (skip, residual) in skips.iter_mut().zip(&residuals.down) {
        *skip = (&*skip + residual)?;
    }
    match &residuals.mid {
        Some(residual) => mid + residual,
        None => Ok(mid),
    }
}

/// A resnet and, in cross-attention blocks, the transformer after it.
#[derive(Debug)]
struct Layer {
    resnet: ResnetBlock,
    attention: Option<SpatialTransformer>,
}

impl Layer {
    fn forward(&self, x: &Tensor, time: &Tensor, context: &Tensor) -> TensorResult<Tensor> {
        let hidden = self.resnet.forward(x, Some(time))?;
        match &self.attention {
            Some(attention) => attention.forward(&hidden, context),
            None => Ok(hidden),
        }
    }
}

/// What every layer of the model shares.
#[derive(Clone, Copy)]
struct Common {
    norm: Norm,
    time_width: usize,
}

impl Common {
    fn of(config: &UNetConfig) -> Self {
        Self { norm: config.norm, time_width: TimeEmbedding::width(config) }
    }

    fn layer(self, index: usize, inputs: usize, block: &BlockConfig, vb: &Builder) -> TensorResult<Layer> {
        let resnet = vb.pp("resnets").pp(index);
        let attention =
            || SpatialTransformer::load(block.channels, &block.attention, vb.pp("attentions").pp(index));
        Ok(Layer {
            resnet: ResnetBlock::load(inputs, block.channels, Some(self.time_width), self.norm, resnet)?,
            attention: (block.kind == BlockKind::CrossAttention).then(attention).transpose()?,
        })
    }
}

/// Layers of one size, and the convolution that halves it; the last block has none.
#[derive(Debug)]
pub(super) struct DownBlock {
    layers: Vec<Layer>,
    downsample: Option<Conv2d>,
}

pub(super) fn load_down(config: &UNetConfig, vb: Builder) -> TensorResult<Vec<DownBlock>> {
    let mut inputs = config.down[0].channels;
    let mut blocks = Vec::with_capacity(config.down.len());
    for (index, block) in config.down.iter().enumerate() {
        let is_last = index + 1 == config.down.len();
        blocks.push(DownBlock::load(inputs, block, is_last, Common::of(config), vb.pp(index))?);
        inputs = block.channels;
    }
    Ok(blocks)
}

impl DownBlock {
    fn load(
        inputs: usize,
        block: &BlockConfig,
        is_last: bool,
        common: Common,
        vb: Builder,
    ) -> TensorResult<Self> {
        let channels = block.channels;
        let layer = |index| common.layer(index, if index == 0 { inputs } else { channels }, block, &vb);
        let conv = || Conv2d::load(channels, channels, Window::HALF, vb.pp("downsamplers").pp(0).pp("conv"));
        Ok(Self {
            layers: (0..block.resnets).map(layer).collect::<TensorResult<_>>()?,
            downsample: (!is_last).then(conv).transpose()?,
        })
    }

    /// Leaves what the way up will need in `skips`, and ends as soon as there are as many as are needed.
    pub(super) fn forward(
        &self,
        x: Tensor,
        time: &Tensor,
        context: &Tensor,
        skips: &mut Vec<Tensor>,
        needed: usize,
    ) -> TensorResult<Tensor> {
        let mut hidden = x;
        for layer in &self.layers {
            if skips.len() >= needed {
                return Ok(hidden);
            }
            hidden = layer.forward(&hidden, time, context)?;
            skips.push(hidden.clone());
        }
        if let Some(downsample) = self.downsample.as_ref().filter(|_| skips.len() < needed) {
            hidden = downsample.forward(&hidden)?;
            skips.push(hidden.clone());
        }
        Ok(hidden)
    }
}

/// A layer with attention and a resnet, at the smallest size.
#[derive(Debug)]
pub(super) struct MidBlock {
    first: Layer,
    last: ResnetBlock,
}

impl MidBlock {
    pub(super) fn load(config: &UNetConfig, vb: Builder) -> TensorResult<Self> {
        let common = Common::of(config);
        let smallest = &config.down[config.down.len() - 1];
        let block = BlockConfig { kind: BlockKind::CrossAttention, ..smallest.clone() };
        let channels = block.channels;
        let last = vb.pp("resnets").pp(1);
        Ok(Self {
            first: common.layer(0, channels, &block, &vb)?,
            last: ResnetBlock::load(channels, channels, Some(common.time_width), common.norm, last)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, time: &Tensor, context: &Tensor) -> TensorResult<Tensor> {
        self.last.forward(&self.first.forward(x, time, context)?, Some(time))
    }
}

/// Layers that each take one skip, and the way to the next larger size; the last block has none.
#[derive(Debug)]
struct UpBlock {
    layers: Vec<Layer>,
    upsample: Option<Upsample>,
}

/// Pops the skips' channels as the forward pass pops the skips: both end empty.
fn load_up(config: &UNetConfig, vb: Builder) -> TensorResult<Vec<UpBlock>> {
    let mut skips = skips(config).into_iter().map(|(channels, _)| channels).collect();
    let mut inputs = config.up[0].channels;
    let mut blocks = Vec::with_capacity(config.up.len());
    for (index, block) in config.up.iter().enumerate() {
        let is_last = index + 1 == config.up.len();
        blocks.push(UpBlock::load(inputs, block, is_last, &mut skips, Common::of(config), vb.pp(index))?);
        inputs = block.channels;
    }
    Ok(blocks)
}

/// Everything that the way down leaves for the way up, in order: its channels, and how often its sides were halved.
pub(crate) fn skips(config: &UNetConfig) -> Vec<(usize, usize)> {
    let mut skips = vec![(config.down[0].channels, 0)];
    for (level, block) in config.down.iter().enumerate() {
        skips.extend(std::iter::repeat_n((block.channels, level), block.resnets));
        if level + 1 < config.down.len() {
            skips.push((block.channels, level + 1));
        }
    }
    skips
}

impl UpBlock {
    fn load(
        inputs: usize,
        block: &BlockConfig,
        is_last: bool,
        skips: &mut Vec<usize>,
        common: Common,
        vb: Builder,
    ) -> TensorResult<Self> {
        let channels = block.channels;
        let upsample = || Upsample::load(channels, vb.pp("upsamplers").pp(0));
        let layer = |index| {
            let below = if index == 0 { inputs } else { channels };
            common.layer(index, below + skips.pop().unwrap_or_default(), block, &vb)
        };
        Ok(Self {
            layers: (0..block.resnets).map(layer).collect::<TensorResult<_>>()?,
            upsample: (!is_last).then(upsample).transpose()?,
        })
    }

    /// Begins with layer `first`; `deep` sees what comes up to each skip.
    fn forward(
        &self,
        x: Tensor,
        first: usize,
        time: &Tensor,
        context: &Tensor,
        skips: &mut Vec<Tensor>,
        mut deep: Option<&mut Deep>,
    ) -> TensorResult<Tensor> {
        let mut hidden = x;
        for layer in self.layers.iter().skip(first) {
            if let Some(deep) = deep.as_deref_mut() {
                deep.pass(&hidden, skips.len());
            }
            let Some(skip) = skips.pop() else {
                candle_core::bail!("the way up needs more than the way down left")
            };
            hidden = layer.forward(&Tensor::cat(&[hidden, skip], 1)?, time, context)?;
        }
        // to the size of the skip that comes next, so that sides which do not halve evenly meet again
        match (&self.upsample, skips.last()) {
            (Some(upsample), Some(next)) => upsample.forward(&hidden, next.dim(2)?, next.dim(3)?),
            _ => Ok(hidden),
        }
    }
}
