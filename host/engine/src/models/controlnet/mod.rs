//! ControlNet (arXiv 2302.05543; diffusers' `ControlNetModel`): a picture of edges, depths or poses to what the denoiser
//! adds to its skips, so that what it draws follows the picture.
//!
//! A second way down and middle of the denoiser, the same blocks with weights of their own. Knows nothing of schedules,
//! and nothing of which steps it is used in.

mod config;

use atelier_inference::Precision;
use candle_core::{Device, Result as TensorResult, Tensor};

use crate::Result;
use crate::files::ModelFiles;
use crate::kernels::{Activation, Conv2d, Window};
use crate::models::unet::{ALL_SKIPS, DownBlock, Input, MidBlock, TimeEmbedding, load_down, skips};
use crate::weights::{Builder, Weights};

pub use config::ControlNetConfig;

/// Its weights' file, without extension.
pub(crate) const STEM: &str = "diffusion_pytorch_model";

/// What is added to the denoiser's states, for a batch of b.
#[derive(Debug, Clone)]
pub struct Residuals {
    /// To each skip that the pass computes, from the first on: (b, channels, h, w) of the skip.
    pub down: Vec<Tensor>,
    /// To what the middle gives, where the pass is a whole one.
    pub mid: Option<Tensor>,
}

impl Residuals {
    /// Those of several networks together.
    pub fn plus(self, other: &Self) -> TensorResult<Self> {
        let down = self.down.iter().zip(&other.down).map(|(one, other)| one + other);
        let mid = self.mid.zip(other.mid.as_ref()).map(|(one, other)| one + other);
        Ok(Self { down: down.collect::<TensorResult<_>>()?, mid: mid.transpose()? })
    }
}

/// A ControlNet with its weights.
#[derive(Debug)]
pub struct ControlNet {
    time_embedding: TimeEmbedding,
    conv_in: Conv2d,
    controlnet_cond_embedding: PictureEmbedding,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    controlnet_down_blocks: Vec<Conv2d>,
    controlnet_mid_block: Conv2d,
}

impl ControlNet {
    /// Reads a folder of `files`; `.` is the files' own.
    pub fn open(files: &ModelFiles, folder: &str, device: &Device, precision: Precision) -> Result<Self> {
        let config = ControlNetConfig::read(files, folder)?;
        let weights = Weights::load(files, folder, STEM, device)?.in_precision(precision);
        // adapters are for the denoiser: these layers' slots stay empty
        let (network, _) = weights.build(|vb| Self::load(&config, vb))?;
        Ok(network)
    }

    fn load(config: &ControlNetConfig, vb: Builder) -> TensorResult<Self> {
        let down = &config.down;
        let (first, skips) = (down.down[0].channels, skips(down));
        let last = down.down[down.down.len() - 1].channels;
        let one = |channels: usize, vb: Builder| Conv2d::load(channels, channels, Window::ONE, vb);
        let blocks = vb.pp("controlnet_down_blocks");
        let outputs = skips.iter().enumerate().map(|(index, (channels, _))| one(*channels, blocks.pp(index)));
        Ok(Self {
            time_embedding: TimeEmbedding::load(down, vb.pp("time_embedding"))?
                .with_added(down, vb.pp("add_embedding"))?,
            conv_in: Conv2d::load(down.in_channels, first, Window::SAME, vb.pp("conv_in"))?,
            controlnet_cond_embedding: PictureEmbedding::load(
                config,
                first,
                vb.pp("controlnet_cond_embedding"),
            )?,
            down_blocks: load_down(down, vb.pp("down_blocks"))?,
            mid_block: MidBlock::load(down, vb.pp("mid_block"))?,
            controlnet_down_blocks: outputs.collect::<TensorResult<_>>()?,
            controlnet_mid_block: one(last, vb.pp("controlnet_mid_block"))?,
        })
    }

    /// A picture (b, channels, height, width) within 0 to 1, as the network sees it at each step: (b, first channels, h,
    /// w) of the latents' size. Once for a run, since it does not depend on the timestep.
    pub fn embed(&self, picture: &Tensor) -> TensorResult<Tensor> {
        self.controlnet_cond_embedding.forward(picture)
    }

    /// What the denoiser is to add for the same input, times `scale`. `picture` is what [`ControlNet::embed`] gave. Where
    /// the denoiser computes only its first `needed` skips, so does this: deeper layers say nothing of these.
    pub fn forward(
        &self,
        input: &Input<'_>,
        picture: &Tensor,
        scale: f64,
        needed: usize,
    ) -> TensorResult<Residuals> {
        // a distilled denoiser's guidance is not an input here
        let time = self.time_embedding.forward(input.timesteps, None, input.added)?;
        let mut hidden = self.conv_in.forward(input.x)?.broadcast_add(picture)?;
        let mut skips = vec![hidden.clone()];
        for block in &self.down_blocks {
            hidden = block.forward(hidden, &time, input.context, &mut skips, needed)?;
        }
        let mid = match needed {
            ALL_SKIPS => {
                let mid = self.mid_block.forward(&hidden, &time, input.context)?;
                Some((self.controlnet_mid_block.forward(&mid)? * scale)?)
            }
            _ => None,
        };
        let outputs = self.controlnet_down_blocks.iter().zip(&skips);
        let down =
            outputs.map(|(output, skip)| output.forward(skip)? * scale).collect::<TensorResult<_>>()?;
        Ok(Residuals { down, mid })
    }
}

/// The picture's way to the size and width of the first skip.
#[derive(Debug)]
struct PictureEmbedding {
    conv_in: Conv2d,
    /// Pairs: one that keeps the size, one that halves it.
    blocks: Vec<Conv2d>,
    conv_out: Conv2d,
    is_bgr: bool,
}

impl PictureEmbedding {
    fn load(config: &ControlNetConfig, outputs: usize, vb: Builder) -> TensorResult<Self> {
        let channels = &config.embedding;
        let layers = vb.pp("blocks");
        let mut blocks = Vec::with_capacity(2 * channels.len());
        for pair in channels.windows(2) {
            blocks.push(Conv2d::load(pair[0], pair[0], Window::SAME, layers.pp(blocks.len()))?);
            blocks.push(Conv2d::load(pair[0], pair[1], Window::HALF, layers.pp(blocks.len()))?);
        }
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        Ok(Self {
            conv_in: Conv2d::load(config.conditioning_channels, first, Window::SAME, vb.pp("conv_in"))?,
            blocks,
            conv_out: Conv2d::load(last, outputs, Window::SAME, vb.pp("conv_out"))?,
            is_bgr: config.is_bgr,
        })
    }

    fn forward(&self, picture: &Tensor) -> TensorResult<Tensor> {
        let picture = match self.is_bgr {
            true => Tensor::cat(
                &[picture.narrow(1, 2, 1)?, picture.narrow(1, 1, 1)?, picture.narrow(1, 0, 1)?],
                1,
            )?,
            false => picture.clone(),
        };
        let mut hidden = Activation::Silu.forward(&self.conv_in.forward(&picture)?)?;
        for block in &self.blocks {
            hidden = Activation::Silu.forward(&block.forward(&hidden)?)?;
        }
        self.conv_out.forward(&hidden)
    }
}
