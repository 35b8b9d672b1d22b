//! Time, pooled text and guidance as one vector (diffusers' `CombinedTimestepGuidanceTextProjEmbeddings`).

use candle_core::{Result, Tensor};

use super::FluxInput;
use super::config::FluxConfig;
use crate::kernels::{Activation, Linear};
use crate::models::unet::Sinusoids;
use crate::weights::Builder;

/// Sines and cosines of a number.
const SINUSOIDS: usize = 256;

/// Each input goes through two layers of its own; their sum is what every block sees.
#[derive(Debug)]
pub(super) struct TimeTextEmbedding {
    sinusoids: Sinusoids,
    timestep_embedder: TwoLayers,
    guidance_embedder: Option<TwoLayers>,
    text_embedder: TwoLayers,
}

impl TimeTextEmbedding {
    pub(super) fn load(config: &FluxConfig, builder: Builder) -> Result<Self> {
        let width = config.width();
        let guidance = || TwoLayers::load(SINUSOIDS, width, builder.pp("guidance_embedder"));
        Ok(Self {
            sinusoids: Sinusoids::new(SINUSOIDS, 0.0, true, builder.device())?,
            timestep_embedder: TwoLayers::load(SINUSOIDS, width, builder.pp("timestep_embedder"))?,
            guidance_embedder: config.guidance_embeds.then(guidance).transpose()?,
            text_embedder: TwoLayers::load(config.pooled_projection_dim, width, builder.pp("text_embedder"))?,
        })
    }

    /// (b, width).
    pub(super) fn forward(&self, input: FluxInput<'_>) -> Result<Tensor> {
        // diffusers divides by 1000 and multiplies again, which rounds; an operator with a number would multiply by 0.001
        let thousand = Tensor::new(&[1_000f32], input.timesteps.device())?;
        let timesteps = input.timesteps.broadcast_div(&thousand)?.broadcast_mul(&thousand)?;
        let mut sum = self.timestep_embedder.forward(&self.sinusoids.forward(&timesteps)?)?;
        if let Some(embedder) = &self.guidance_embedder {
            let Some(guidance) = input.guidance else {
                candle_core::bail!("this model takes the guidance scale as an input, and none was given")
            };
            sum = (sum + embedder.forward(&self.sinusoids.forward(&(guidance * 1_000.0)?)?)?)?;
        }
        sum + self.text_embedder.forward(input.pooled)?
    }
}

/// Two linear layers around SiLU.
#[derive(Debug)]
struct TwoLayers {
    linear_1: Linear,
    linear_2: Linear,
}

impl TwoLayers {
    fn load(inputs: usize, width: usize, builder: Builder) -> Result<Self> {
        Ok(Self {
            linear_1: Linear::load(inputs, width, builder.pp("linear_1"))?,
            linear_2: Linear::load(width, width, builder.pp("linear_2"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.linear_2.forward(&Activation::Silu.forward(&self.linear_1.forward(x)?)?)
    }
}
