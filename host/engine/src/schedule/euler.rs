//! Euler's method on the probability-flow ODE, algorithm 2 of <https://arxiv.org/abs/2206.00364> without churn.
//! Follows diffusers `scheduling_euler_discrete.py`.

use candle_core::Tensor;

use super::config::{Prediction, ScheduleConfig};
use super::sigmas::{SigmaPath, SigmaWalk};
use super::{tables, weighted_sum};
use crate::Result;
use crate::noise::NoiseSource;

/// `EulerDiscreteScheduler`.
pub(super) struct Euler {
    path: SigmaPath,
    prediction: Prediction,
    /// Depends on the spacing as it is in the file, so it is worked out once.
    init_noise_sigma: f64,
}

impl Euler {
    pub(super) fn new(config: &ScheduleConfig, steps: usize, strength: Option<f64>) -> Result<Self> {
        let path = SigmaPath::euler(config, &tables::DDPM_BETAS, config.final_sigmas, steps, strength)?;
        let init_noise_sigma = path.euler_init_noise_sigma(config.timestep_spacing);
        let path = match config.has_continuous_timesteps {
            true => path.with_continuous_timesteps(),
            false => path,
        };
        Ok(Self { path, prediction: config.prediction_type, init_noise_sigma })
    }
}

impl SigmaWalk for Euler {
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
        let (sigma, next) = (self.path.sigma(place), self.path.sigma(place + 1));
        weighted_sum(&euler_step(self.prediction, sigma, next, sample, model_output))
    }
}

/// The terms of one Euler step from `sigma` to `next` for a model trained on a table of betas.
pub(super) fn euler_step<'a>(
    prediction: Prediction,
    sigma: f64,
    next: f64,
    sample: &'a Tensor,
    model_output: &'a Tensor,
) -> [(f64, &'a Tensor); 2] {
    let clean = tables::clean_weights_in_sigma(prediction, sigma);
    straight_step(clean, sigma, next, sample, model_output)
}

/// The terms of one step from `sigma` to `next` on the straight line from the sample to the clean one, which is known by
/// its weights.
pub(super) fn straight_step<'a>(
    (of_sample, of_output): (f64, f64),
    sigma: f64,
    next: f64,
    sample: &'a Tensor,
    model_output: &'a Tensor,
) -> [(f64, &'a Tensor); 2] {
    // the textbook form, sample + (next - σ) · (sample - clean) / σ, as two weights that are found in f64
    let kept = next / sigma;
    [(kept + (1.0 - kept) * of_sample, sample), ((1.0 - kept) * of_output, model_output)]
}
