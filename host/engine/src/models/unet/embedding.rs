//! Timesteps as vectors (diffusers' `Timesteps` and `TimestepEmbedding`), always computed in f32: 999 has no exact
//! neighbour in half precision and its sines would be noise.

use candle_core::{Device, Result, Tensor};

use super::Added;
use super::config::{AddedConfig, UNetConfig};
use crate::kernels::{Activation, Linear};
use crate::weights::Builder;

/// Of the slowest sine, as in the transformer (arXiv 1706.03762, 3.5).
const MAX_PERIOD: f32 = 10_000.0;

/// Sines and cosines of one number per sample.
#[derive(Debug, Clone)]
pub(crate) struct Sinusoids {
    /// (1, width / 2)
    frequencies: Tensor,
    flip_sin_to_cos: bool,
}

impl Sinusoids {
    /// `width` is even.
    pub(crate) fn new(width: usize, shift: f64, flip_sin_to_cos: bool, device: &Device) -> Result<Self> {
        let half = width / 2;
        let exponent = |index: usize| -MAX_PERIOD.ln() * index as f32 / (half as f64 - shift) as f32;
        let frequencies: Vec<f32> = (0..half).map(|index| exponent(index).exp()).collect();
        Ok(Self { frequencies: Tensor::from_vec(frequencies, (1, half), device)?, flip_sin_to_cos })
    }

    /// (b) to (b, width).
    pub(crate) fn forward(&self, values: &Tensor) -> Result<Tensor> {
        let angles = values.unsqueeze(1)?.broadcast_mul(&self.frequencies)?;
        let (sin, cos) = (angles.sin()?, angles.cos()?);
        if self.flip_sin_to_cos { Tensor::cat(&[cos, sin], 1) } else { Tensor::cat(&[sin, cos], 1) }
    }
}

/// The time embedding, with the guidance scale mixed in where a distilled model wants it.
#[derive(Debug)]
pub(crate) struct TimeEmbedding {
    time_proj: Sinusoids,
    linear_1: Linear,
    linear_2: Linear,
    condition: Option<(Sinusoids, Linear)>,
    added: Option<AddedEmbedding>,
}

impl TimeEmbedding {
    /// Width of the result.
    pub(crate) fn width(config: &UNetConfig) -> usize {
        4 * config.down[0].channels
    }

    pub(crate) fn load(config: &UNetConfig, vb: Builder) -> Result<Self> {
        let (input, width) = (config.down[0].channels, Self::width(config));
        let device = vb.device().clone();
        let guidance = |size: usize| {
            // get_guidance_scale_embedding divides by half - 1 and puts the sine first
            let sinusoids = Sinusoids::new(size, 1.0, false, &device)?;
            Result::Ok((sinusoids, Linear::load_no_bias(size, input, vb.pp("cond_proj"))?))
        };
        Ok(Self {
            time_proj: Sinusoids::new(input, config.freq_shift, config.flip_sin_to_cos, &device)?,
            linear_1: Linear::load(input, width, vb.pp("linear_1"))?,
            linear_2: Linear::load(width, width, vb.pp("linear_2"))?,
            condition: config.time_cond_proj_dim.map(guidance).transpose()?,
            added: None,
        })
    }

    /// With XL's second embedding, which stands beside the first in the checkpoint.
    pub(crate) fn with_added(self, config: &UNetConfig, vb: Builder) -> Result<Self> {
        let load = |added| AddedEmbedding::load(added, config, vb);
        Ok(Self { added: config.added.map(load).transpose()?, ..self })
    }

    /// `timesteps` (b), for distilled models `guidance` scales (b), and for XL what is added, to (b, width).
    pub(crate) fn forward(
        &self,
        timesteps: &Tensor,
        guidance: Option<&Tensor>,
        added: Option<&Added>,
    ) -> Result<Tensor> {
        let mut x = self.time_proj.forward(timesteps)?;
        if let (Some((sinusoids, cond_proj)), Some(guidance)) = (&self.condition, guidance) {
            // guidance w = scale - 1, in thousandths (arXiv 2310.04378, and 2210.03142 for the embedding)
            let scaled = ((guidance - 1.0)? * 1_000.0)?;
            x = (x + cond_proj.forward(&sinusoids.forward(&scaled)?)?)?;
        }
        let time = self.linear_2.forward(&Activation::Silu.forward(&self.linear_1.forward(&x)?)?)?;
        match (&self.added, added) {
            (Some(embedding), Some(added)) => time + embedding.forward(added)?,
            (None, None) => Ok(time),
            (Some(_), None) => candle_core::bail!("this denoiser needs a pooled text and sizes"),
            (None, Some(_)) => candle_core::bail!("this denoiser takes no pooled text"),
        }
    }

    /// Whether the model takes guidance as an input.
    pub(crate) fn takes_guidance(&self) -> bool {
        self.condition.is_some()
    }
}

/// XL's second embedding (arXiv 2307.01952, 2.2): the pooled text beside the sinusoids of a few numbers.
#[derive(Debug)]
struct AddedEmbedding {
    numbers: Sinusoids,
    linear_1: Linear,
    linear_2: Linear,
}

impl AddedEmbedding {
    fn load(added: AddedConfig, config: &UNetConfig, vb: Builder) -> Result<Self> {
        let (shift, flip) = (config.freq_shift, config.flip_sin_to_cos);
        let width = TimeEmbedding::width(config);
        Ok(Self {
            numbers: Sinusoids::new(added.time_embed_dim, shift, flip, vb.device())?,
            linear_1: Linear::load(added.input_dim, width, vb.pp("linear_1"))?,
            linear_2: Linear::load(width, width, vb.pp("linear_2"))?,
        })
    }

    fn forward(&self, added: &Added) -> Result<Tensor> {
        let batch = added.numbers.dim(0)?;
        let numbers = self.numbers.forward(&added.numbers.flatten_all()?)?; // (b * count, width)
        let numbers = numbers.reshape((batch, numbers.elem_count() / batch.max(1)))?;
        let x = self.linear_1.forward(&Tensor::cat(&[&added.pooled, &numbers], 1)?)?;
        self.linear_2.forward(&Activation::Silu.forward(&x)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinusoids_lead_with_the_cosine_when_flipped() {
        let t = Tensor::new(&[0.0f32], &Device::Cpu).unwrap();
        let row = |flip| {
            Sinusoids::new(4, 0.0, flip, &Device::Cpu).unwrap().forward(&t).unwrap().to_vec2::<f32>().unwrap()
        };
        assert_eq!(row(true)[0], [1.0, 1.0, 0.0, 0.0]);
        assert_eq!(row(false)[0], [0.0, 0.0, 1.0, 1.0]);
    }
}
