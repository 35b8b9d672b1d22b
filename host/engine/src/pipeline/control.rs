//! What an order's control pictures add to the denoiser's states: each is embedded once, and at every step in which it
//! steers, its ControlNet is asked and the answers are summed.
//!
//! Follows diffusers' ControlNet pipelines without their guess mode.

use atelier_inference::{Control, ImageOrder};
use candle_core::Tensor;

use super::{Pipeline, picture};
use crate::models::controlnet::{ControlNet, Residuals};
use crate::models::unet::Input;
use crate::{Error, Result};

/// A control picture on its way through a run.
pub(super) struct Steering {
    id: String,
    /// What the ControlNet made of the picture: (1, channels, h, w) of the latents' size.
    embedded: Tensor,
    scale: f64,
    start: f64,
    end: f64,
}

impl Steering {
    /// `controlnet_keep`: whether it steers in a step of so many.
    fn acts(&self, step: usize, steps: usize) -> bool {
        let part = |step: usize| step as f64 / steps as f64;
        part(step) >= self.start && part(step + 1) <= self.end
    }
}

impl Pipeline {
    /// Embeds the order's control pictures.
    pub(super) fn steering(&self, order: &ImageOrder) -> Result<Vec<Steering>> {
        let embedded = |Control { id, picture, scale, start, end }: &Control| {
            // within 0 to 1, where the autoencoder wants -1 to 1
            let picture = ((picture::to_tensor(picture, &self.device)? + 1.0)? / 2.0)?;
            let embedded = self.control(id)?.embed(&picture)?;
            Ok(Steering { id: id.clone(), embedded, scale: *scale, start: *start, end: *end })
        };
        order.controls.iter().map(embedded).collect()
    }

    /// What those that act in this step of so many add together, for what the denoiser is asked and as many of its skips
    /// as it computes.
    pub(super) fn residuals(
        &self,
        steering: &[Steering],
        (step, steps): (usize, usize),
        input: &Input<'_>,
        needed: usize,
    ) -> Result<Option<Residuals>> {
        let mut sum: Option<Residuals> = None;
        for control in steering.iter().filter(|control| control.acts(step, steps)) {
            // further channels, of a mask or a picture, are the denoiser's own
            let x = &input.x.narrow(1, 0, self.vae.latent_channels())?.contiguous()?;
            let Input { timesteps, context, added, .. } = *input;
            let input = Input { x, timesteps, context, guidance: None, added };
            let net = self.control(&control.id)?;
            let one = net.forward(&input, &control.embedded, control.scale, needed)?;
            sum = Some(match sum {
                Some(sum) => sum.plus(&one)?,
                None => one,
            });
        }
        Ok(sum)
    }

    fn control(&self, id: &str) -> Result<&ControlNet> {
        let missing = || Error::Invalid { field: "controls", reason: format!("`{id}` is not loaded") };
        self.controls.get(id).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn a_control_acts_in_the_steps_that_lie_wholly_within_its_shares() {
        let steps = |start, end| {
            let embedded = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
            let control = Steering { id: String::new(), embedded, scale: 1.0, start, end };
            (0..5).filter(|step| control.acts(*step, 5)).collect::<Vec<_>>()
        };
        assert_eq!(steps(0.0, 1.0), [0, 1, 2, 3, 4]);
        assert_eq!(steps(0.2, 0.8), [1, 2, 3]);
        assert_eq!(steps(0.21, 0.79), [2]);
        assert!(steps(0.5, 0.6).is_empty());
    }
}
