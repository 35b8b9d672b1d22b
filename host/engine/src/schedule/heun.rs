//! Heun's method, algorithm 1 of <https://arxiv.org/abs/2206.00364> without churn. Follows diffusers
//! `scheduling_heun_discrete.py` (k-diffusion `sample_heun`).
//!
//! Every step but the last asks the model twice: where it is, and where Euler's step from there ends. Both are entries of
//! `timesteps`, as in diffusers.

use candle_core::Tensor;

use super::config::{BetaSchedule, FinalSigmas, Prediction, ScheduleConfig};
use super::sigmas::{SigmaPath, SigmaWalk};
use super::tables::{self, BetaDefaults};
use super::weighted_sum;
use crate::Result;
use crate::noise::NoiseSource;

/// The class's own defaults.
const BETAS: BetaDefaults = BetaDefaults { start: 0.00085, end: 0.012, schedule: BetaSchedule::Linear };

/// `HeunDiscreteScheduler`.
pub(super) struct Heun {
    /// Looking ahead: even places are where steps begin, odd ones where Euler's part of them ends.
    path: SigmaPath,
    prediction: Prediction,
    init_noise_sigma: f64,
    clip: Option<f64>,
    /// Where the step began and the slope there, when Euler's part of it is done.
    begun: Option<(Tensor, Tensor)>,
}

impl Heun {
    pub(super) fn new(config: &ScheduleConfig, steps: usize, strength: Option<f64>) -> Result<Self> {
        let path = SigmaPath::euler(config, &BETAS, FinalSigmas::Zero, steps, strength)?;
        let init_noise_sigma = path.euler_init_noise_sigma(config.timestep_spacing);
        Ok(Self {
            path: path.looking_ahead()?,
            prediction: config.prediction_type,
            init_noise_sigma,
            clip: config.clip_sample.unwrap_or(false).then_some(config.clip_sample_range),
            begun: None,
        })
    }

    /// dx/dσ.
    fn slope(&self, sigma: f64, model_output: &Tensor, sample: &Tensor) -> Result<Tensor> {
        let Some(range) = self.clip else {
            let (of_sample, of_output) = tables::slope_weights_in_sigma(self.prediction, sigma);
            return weighted_sum(&[(of_sample, sample), (of_output, model_output)]);
        };
        let (of_sample, of_output) = tables::clean_weights_in_sigma(self.prediction, sigma);
        let clean = weighted_sum(&[(of_sample, sample), (of_output, model_output)])?.clamp(-range, range)?;
        weighted_sum(&[(1.0 / sigma, sample), (-1.0 / sigma, &clean)])
    }
}

impl SigmaWalk for Heun {
    fn path(&self) -> &SigmaPath {
        &self.path
    }

    fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        let place = self.path.place(i);
        let sigma = self.path.sigma(place);
        let slope = self.slope(sigma, model_output, sample)?;
        if let Some((first_sample, first_slope)) = self.begun.take() {
            let half = 0.5 * (sigma - self.path.sigma(place - 1));
            return weighted_sum(&[(1.0, &first_sample), (half, &first_slope), (half, &slope)]);
        }
        let next = weighted_sum(&[(1.0, sample), (self.path.sigma(place + 1) - sigma, &slope)])?;
        self.begun = Some((sample.clone(), slope));
        Ok(next)
    }
}
