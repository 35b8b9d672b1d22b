//! DPM-Solver++(2S) steps that overshoot and put fresh noise back: A1111's "DPM++ 2S a". diffusers has no such class;
//! this follows k-diffusion 0.1.1 `sampling.py` `sample_dpmpp_2s_ancestral` over the noise levels of diffusers'
//! `EulerDiscreteScheduler`.
//!
//! Every step but the last asks the model twice, and both calls are entries of `timesteps`. The second is halfway in λ
//! to where the step overshoots, which is √(σ · σ'²/σ): the level of the next step. k-diffusion finds these levels in
//! f32, where a step from far above leaves little of them but rounding; here they are exact.

use candle_core::Tensor;

use super::config::{FinalSigmas, Prediction, ScheduleConfig};
use super::euler::euler_step;
use super::sigmas::{SigmaPath, SigmaWalk};
use super::{tables, weighted_sum};
use crate::Result;
use crate::noise::NoiseSource;

/// `sample_dpmpp_2s_ancestral`.
pub(super) struct Dpmpp2sAncestral {
    /// Looking ahead: even places are where steps begin, odd ones their second calls.
    path: SigmaPath,
    prediction: Prediction,
    init_noise_sigma: f64,
    /// The sample from which the step began, when half of it is done.
    begun: Option<Tensor>,
}

impl Dpmpp2sAncestral {
    pub(super) fn new(config: &ScheduleConfig, steps: usize, strength: Option<f64>) -> Result<Self> {
        let path = SigmaPath::euler(config, &tables::DDPM_BETAS, FinalSigmas::Zero, steps, strength)?;
        let init_noise_sigma = path.euler_init_noise_sigma(config.timestep_spacing);
        Ok(Self {
            path: path.looking_ahead()?,
            prediction: config.prediction_type,
            init_noise_sigma,
            begun: None,
        })
    }
}

impl SigmaWalk for Dpmpp2sAncestral {
    fn path(&self) -> &SigmaPath {
        &self.path
    }

    fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    /// Draws noise at the end of every step but the last.
    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        let place = self.path.place(i);
        let sigma = self.path.sigma(place);
        let Some(first_sample) = self.begun.take() else {
            self.begun = Some(sample.clone());
            // to the second call, or to the end of the last step: both are Euler's
            let next = self.path.sigma(place + 1);
            return weighted_sum(&euler_step(self.prediction, sigma, next, sample, model_output));
        };
        // where a step from σ to σ' overshoots to is σ'²/σ, and noise brings it back
        let ratio = sigma / self.path.sigma(place - 1);
        let (kept, up) = (ratio * ratio, sigma * (1.0 - ratio * ratio).max(0.0).sqrt());
        let (of_sample, of_output) = tables::clean_weights_in_sigma(self.prediction, sigma);
        let noise = noise.draw(model_output)?;
        weighted_sum(&[
            (kept, &first_sample),
            ((1.0 - kept) * of_sample, sample),
            ((1.0 - kept) * of_output, model_output),
            (up, &noise),
        ])
    }
}
