//! Multistep consistency sampling (<https://arxiv.org/abs/2310.04378>, algorithm 3). Follows diffusers
//! `scheduling_lcm.py` and, for image-to-image, the latent consistency pipeline: `strength` shortens the list that the
//! timesteps are picked from, so all `steps` are run.

use candle_core::Tensor;

use super::config::{BetaSchedule, Prediction, ScheduleConfig};
use super::ddim::check_timesteps;
use super::tables::{self, BetaDefaults};
use super::{Schedule, check_strength, weighted_sum};
use crate::noise::NoiseSource;
use crate::{Error, Result};

/// The class's own defaults, which are those of Stable Diffusion.
const BETAS: BetaDefaults = BetaDefaults { start: 0.00085, end: 0.012, schedule: BetaSchedule::ScaledLinear };

/// The standard deviation of the data that the boundary scalings assume.
const SIGMA_DATA: f64 = 0.5;

/// `LCMScheduler`.
pub(super) struct Lcm {
    /// ᾱ of every training timestep.
    alphas: Vec<f64>,
    timesteps: Vec<f64>,
    timestep_scaling: f64,
    prediction: Prediction,
    clip: Option<f64>,
}

impl Lcm {
    pub(super) fn new(config: &ScheduleConfig, steps: usize, strength: Option<f64>) -> Result<Self> {
        let alphas = tables::alphas_cumprod(config, &BETAS);
        let timesteps = distilled_timesteps(config, steps, check_strength(strength)?)?;
        check_timesteps(&timesteps, &alphas, config.prediction_type)?;
        Ok(Self {
            alphas,
            timesteps,
            timestep_scaling: config.timestep_scaling,
            prediction: config.prediction_type,
            clip: config.clip_sample.unwrap_or(false).then_some(config.clip_sample_range),
        })
    }

    /// √ᾱ and √(1 - ᾱ) at run timestep `i`.
    fn alpha_sigma(&self, i: usize) -> (f64, f64) {
        let bar = self.alphas[self.timesteps[i] as usize];
        (bar.sqrt(), (1.0 - bar).sqrt())
    }

    /// `(c_skip, c_out)` of the boundary condition: at timestep 0 the sample is its own answer.
    fn boundary_scalings(&self, i: usize) -> (f64, f64) {
        let scaled = self.timesteps[i] * self.timestep_scaling;
        let variance = SIGMA_DATA * SIGMA_DATA;
        (variance / (scaled * scaled + variance), scaled / (scaled * scaled + variance).sqrt())
    }
}

/// `steps` of the timesteps that the model was distilled on, evenly spaced by index, highest first.
pub(super) fn distilled_timesteps(config: &ScheduleConfig, steps: usize, strength: f64) -> Result<Vec<f64>> {
    let distilled = config.original_inference_steps;
    if !(1..=config.num_train_timesteps).contains(&distilled) {
        let value = format!("original_inference_steps = {distilled}");
        return Err(Error::Unsupported {
            what: "scheduler setting",
            value,
            supported: "1 to num_train_timesteps",
        });
    }
    let skip = config.num_train_timesteps / distilled;
    let usable = (distilled as f64 * strength) as usize;
    if usable < steps {
        let reason =
            format!("{steps} is more than the {usable} of {distilled} that a strength of {strength} leaves");
        return Err(Error::Invalid { field: "steps", reason });
    }
    let stride = usable as f64 / steps as f64;
    let picked = (0..steps).map(|i| usable - (i as f64 * stride).floor() as usize);
    Ok(picked.map(|index| (index * skip - 1) as f64).collect())
}

impl Schedule for Lcm {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let (alpha, sigma) = self.alpha_sigma(i);
        weighted_sum(&[(alpha, original), (sigma, noise)])
    }

    /// Draws noise at every step but the last.
    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        let (alpha, sigma) = self.alpha_sigma(i);
        let (of_sample, of_output) = tables::clean_weights(self.prediction, alpha, sigma);
        let mut clean = weighted_sum(&[(of_sample, sample), (of_output, model_output)])?;
        if let Some(range) = self.clip {
            clean = clean.clamp(-range, range)?;
        }
        let (c_skip, c_out) = self.boundary_scalings(i);
        let denoised = weighted_sum(&[(c_skip, sample), (c_out, &clean)])?;
        // the last step shows what the model believes; noise would only be seen
        if i + 1 == self.timesteps.len() {
            return Ok(denoised);
        }
        let (alpha_next, sigma_next) = self.alpha_sigma(i + 1);
        let noise = noise.draw(model_output)?;
        weighted_sum(&[(alpha_next, &denoised), (sigma_next, &noise)])
    }
}
