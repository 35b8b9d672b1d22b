//! FLUX.1's denoiser (Black Forest Labs; diffusers' `FluxTransformer2DModel`): a transformer over tokens of text and
//! image. The first blocks keep weights of their own for each of the two, the others share them.
//!
//! The time, the pooled text and, in `dev`, the guidance scale become one vector that scales, shifts and gates every
//! part. Latents come and go as pictures; that four of them make a token is nobody's business but this module's.

mod blocks;
mod config;
mod embedding;
mod first_block;
pub(crate) mod names;
mod tokens;

use atelier_inference::Precision;
use candle_core::{Device, Result as TensorResult, Tensor};

use crate::Result;
use crate::files::ModelFiles;
use crate::kernels::{Activation, Linear, Rotation, modulated_norm};
use crate::weights::{Builder, Slots, Weights};
use blocks::{DoubleBlock, NORM_EPS, SingleBlock};
use embedding::TimeTextEmbedding;

pub use config::FluxConfig;
pub use first_block::FirstBlock;

/// The component's folder in a diffusers layout.
pub(crate) const FOLDER: &str = "transformer";
/// Its weights' file, without extension.
pub(crate) const STEM: &str = "diffusion_pytorch_model";
/// How the name of a single file begins that stands for the folder.
const BESIDE: &str = "flux1";
/// Of the rotary embedding.
const THETA: f64 = 10_000.0;

/// A denoiser with its weights.
#[derive(Debug)]
pub struct FluxTransformer {
    x_embedder: Linear,
    context_embedder: Linear,
    time_text_embed: TimeTextEmbedding,
    transformer_blocks: Vec<DoubleBlock>,
    single_transformer_blocks: Vec<SingleBlock>,
    norm_out: Linear,
    proj_out: Linear,
    config: FluxConfig,
    slots: Slots,
}

/// What one prediction depends on beside the latents.
#[derive(Debug, Clone, Copy)]
pub struct FluxInput<'a> {
    /// From 1000 (noise) to 0, one for each sample: (b).
    pub timesteps: &'a Tensor,
    /// T5's states: (b, tokens, joint_attention_dim).
    pub text: &'a Tensor,
    /// CLIP's pooled state: (b, pooled_projection_dim).
    pub pooled: &'a Tensor,
    /// Guidance scales (b); what a model without guidance ignores.
    pub guidance: Option<&'a Tensor>,
}

impl FluxTransformer {
    /// Reads `transformer/`, or a single file beside it: safetensors in the names of diffusers or of Black Forest Labs,
    /// or one GGUF file. Weights stay in the precision of their file.
    #[doc(hidden)]
    pub fn open(files: &ModelFiles, device: &Device, precision: Precision) -> Result<Self> {
        let weights = open(files, device)?.in_precision(precision);
        let config = FluxConfig::of(files, &weights)?;
        let (flux, slots) = weights.build(|builder| Self::load(config, builder))?;
        Ok(Self { slots, ..flux })
    }

    fn load(config: FluxConfig, builder: Builder) -> TensorResult<Self> {
        let width = config.width();
        let (double, single) = (builder.pp("transformer_blocks"), builder.pp("single_transformer_blocks"));
        Ok(Self {
            x_embedder: Linear::load(config.in_channels, width, builder.pp("x_embedder"))?,
            context_embedder: Linear::load(
                config.joint_attention_dim,
                width,
                builder.pp("context_embedder"),
            )?,
            time_text_embed: TimeTextEmbedding::load(&config, builder.pp("time_text_embed"))?,
            transformer_blocks: (0..config.num_layers)
                .map(|index| DoubleBlock::load(&config, double.pp(index)))
                .collect::<TensorResult<_>>()?,
            single_transformer_blocks: (0..config.num_single_layers)
                .map(|index| SingleBlock::load(&config, single.pp(index)))
                .collect::<TensorResult<_>>()?,
            norm_out: Linear::load(width, 2 * width, builder.pp("norm_out").pp("linear"))?,
            proj_out: Linear::load(width, config.in_channels, builder.pp("proj_out"))?,
            config,
            slots: Slots::default(),
        })
    }

    /// Where adapters are attached to its layers, by their names in diffusers.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The configuration.
    pub fn config(&self) -> &FluxConfig {
        &self.config
    }

    /// Whether the guidance scale is an input.
    pub fn takes_guidance(&self) -> bool {
        self.config.guidance_embeds
    }

    /// Latents (b, channels, h, w) of even sides to the velocity from picture to noise, shaped alike.
    pub fn forward(&self, latents: &Tensor, input: FluxInput<'_>) -> TensorResult<Tensor> {
        self.forward_with(latents, input, None)
    }

    /// Likewise, with a step cache that says whether the pass is a whole one.
    pub fn forward_with(
        &self,
        latents: &Tensor,
        input: FluxInput<'_>,
        cache: Option<&mut FirstBlock>,
    ) -> TensorResult<Tensor> {
        let (.., height, width) = latents.dims4()?;
        let image = self.x_embedder.forward(&tokens::pack(latents)?)?; // (b, image tokens, width)
        let text = self.context_embedder.forward(input.text)?; // (b, text tokens, width)
        let time = self.time_text_embed.forward(input)?; // (b, width)
        let positions = tokens::positions(text.dim(1)?, height, width);
        let rotation = Rotation::new(&positions, self.config.axes_dims_rope, THETA, latents.device())?;
        let blocks = self.transformer_blocks.as_slice();
        let image = match (cache, blocks.split_first()) {
            (Some(cache), Some((first, others))) => {
                let (head, text) = first.forward(&image, &text, &time, &rotation)?;
                let residual = (&head - image)?;
                match cache.begin(&residual)? {
                    Some(tail) => (head + tail)?,
                    None => {
                        let tail = self.through(others, head.clone(), text, &time, &rotation)?;
                        cache.keep(residual, (&tail - head)?);
                        tail
                    }
                }
            }
            _ => self.through(blocks, image, text, &time, &rotation)?,
        };
        let modulation = self.norm_out.forward(&Activation::Silu.forward(&time)?)?;
        let halves = modulation.chunk(2, 1)?; // scale, then shift
        let image = self.proj_out.forward(&modulated_norm(&image, &halves[0], &halves[1], NORM_EPS)?)?;
        tokens::unpack(&image, height, width)
    }

    /// The image's tokens after these blocks, and after those that text and image share.
    fn through(
        &self,
        blocks: &[DoubleBlock],
        mut image: Tensor,
        mut text: Tensor,
        time: &Tensor,
        rotation: &Rotation,
    ) -> TensorResult<Tensor> {
        for block in blocks {
            (image, text) = block.forward(&image, &text, time, rotation)?;
        }
        let (text_tokens, image_tokens) = (text.dim(1)?, image.dim(1)?);
        let mut both = Tensor::cat(&[text, image], 1)?;
        for block in &self.single_transformer_blocks {
            both = block.forward(&both, time, rotation)?;
        }
        both.narrow(1, text_tokens, image_tokens)
    }
}

/// The component's weights under diffusers' names, whoever wrote them.
fn open(files: &ModelFiles, device: &Device) -> Result<Weights> {
    let weights = Weights::find(files, FOLDER, STEM, BESIDE, device)?.compact();
    match names::is_bfl(|name| weights.shape(name).is_some()) {
        true => Ok(weights.split(names::to_diffusers)?.with_halves_swapped(names::swaps_halves)),
        false => Ok(weights),
    }
}

/// Bytes that the denoiser takes in memory, and its configuration, from the headers alone.
pub fn describe(files: &ModelFiles, precision: Precision) -> Result<(FluxConfig, u64)> {
    let weights = open(files, &Device::Cpu)?.in_precision(precision);
    Ok((FluxConfig::of(files, &weights)?, weights.bytes()))
}
