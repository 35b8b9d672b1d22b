//! Strategic stochastic sampling of trajectory consistency models (<https://arxiv.org/abs/2402.19159>, algorithm 4).
//! Follows diffusers `scheduling_tcd.py` with its own γ of 0.3; strength cuts the timesteps as in the image-to-image
//! pipelines.

use candle_core::Tensor;

use super::config::{BetaSchedule, Prediction, ScheduleConfig};
use super::ddim::check_timesteps;
use super::tables::{self, BetaDefaults};
use super::{Schedule, begin_index, lcm, noised, weighted_sum};
use crate::Result;
use crate::noise::NoiseSource;

/// The class's own defaults, which are those of Stable Diffusion.
const BETAS: BetaDefaults = BetaDefaults { start: 0.00085, end: 0.012, schedule: BetaSchedule::ScaledLinear };
/// Called `eta` in diffusers: which part of the way is gone by noise rather than by the model.
const GAMMA: f64 = 0.3;

/// `TCDScheduler`.
pub(super) struct Tcd {
    /// ᾱ of every training timestep.
    alphas: Vec<f64>,
    timesteps: Vec<f64>,
    prediction: Prediction,
}

impl Tcd {
    pub(super) fn new(config: &ScheduleConfig, steps: usize, strength: Option<f64>) -> Result<Self> {
        let alphas = tables::alphas_cumprod(config, &BETAS);
        let timesteps =
            lcm::distilled_timesteps(config, steps, 1.0)?.split_off(begin_index(steps, strength)?);
        check_timesteps(&timesteps, &alphas, config.prediction_type)?;
        Ok(Self { alphas, timesteps, prediction: config.prediction_type })
    }

    /// The timestep that the model goes to on the way to `next`. In f32, as torch multiplies.
    fn stop_before(next: f64) -> usize {
        ((1.0 - GAMMA) as f32 * next as f32).floor() as usize
    }
}

impl Schedule for Tcd {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        noised(self.alphas[self.timesteps[i] as usize], original, noise)
    }

    /// Draws noise at every step but the last.
    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        let bar = self.alphas[self.timesteps[i] as usize];
        let next = self.timesteps.get(i + 1).copied().unwrap_or(0.0);
        let bar_stop = self.alphas[Self::stop_before(next)];
        let (alpha, sigma) = (bar.sqrt(), (1.0 - bar).sqrt());
        let (alpha_stop, sigma_stop) = (bar_stop.sqrt(), (1.0 - bar_stop).sqrt());
        let clean = tables::clean_weights(self.prediction, alpha, sigma);
        let epsilon = tables::epsilon_weights(self.prediction, alpha, sigma);
        let stop = weighted_sum(&[
            (alpha_stop * clean.0 + sigma_stop * epsilon.0, sample),
            (alpha_stop * clean.1 + sigma_stop * epsilon.1, model_output),
        ])?;
        if i + 1 == self.timesteps.len() {
            return Ok(stop);
        }
        let ratio = self.alphas[next as usize] / bar_stop;
        let noise = noise.draw(model_output)?;
        weighted_sum(&[(ratio.sqrt(), &stop), ((1.0 - ratio).sqrt(), &noise)])
    }
}
