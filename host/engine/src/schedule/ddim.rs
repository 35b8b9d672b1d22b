//! DDIM with η = 0 (<https://arxiv.org/abs/2010.02502>). Follows diffusers `scheduling_ddim.py`.

use candle_core::Tensor;

use super::config::{Prediction, ScheduleConfig, Spacing};
use super::{Schedule, begin_index, noised, tables, weighted_sum};
use crate::noise::NoiseSource;
use crate::{Error, Result};

/// `DDIMScheduler`.
pub(super) struct Ddim {
    /// ᾱ of every training timestep.
    alphas: Vec<f64>,
    /// ᾱ after the last step: 1, or that of timestep 0 where `set_alpha_to_one` is off.
    final_alpha: f64,
    timesteps: Vec<f64>,
    /// Training timesteps between two steps.
    stride: usize,
    prediction: Prediction,
    /// The range that a predicted clean sample is kept in, if any. Right for pixels; files for latents switch it off.
    clip: Option<f64>,
}

impl Ddim {
    pub(super) fn new(config: &ScheduleConfig, steps: usize, strength: Option<f64>) -> Result<Self> {
        let alphas = tables::alphas_cumprod(config, &tables::DDPM_BETAS);
        let spacing = config.timestep_spacing.unwrap_or(Spacing::Leading);
        let all = tables::spaced(config, spacing, steps).into_iter().map(f64::round_ties_even);
        let timesteps: Vec<f64> = all.skip(begin_index(steps, strength)?).collect();
        check_timesteps(&timesteps, &alphas, config.prediction_type)?;
        Ok(Self {
            final_alpha: if config.set_alpha_to_one.unwrap_or(true) { 1.0 } else { alphas[0] },
            alphas,
            timesteps,
            stride: config.num_train_timesteps / steps,
            prediction: config.prediction_type,
            clip: config.clip_sample.unwrap_or(true).then_some(config.clip_sample_range),
        })
    }

    /// ᾱ one stride after timestep `t`.
    fn alpha_after(&self, t: usize) -> f64 {
        t.checked_sub(self.stride).map_or(self.final_alpha, |previous| self.alphas[previous])
    }
}

/// Refuses timesteps outside the table, and dividing by an ᾱ of 0 (zero terminal SNR).
pub(super) fn check_timesteps(timesteps: &[f64], alphas: &[f64], prediction: Prediction) -> Result<()> {
    let invalid = |reason| Err(Error::Invalid { field: "steps", reason });
    for &t in timesteps {
        if !(0.0..alphas.len() as f64).contains(&t) {
            return invalid(format!(
                "timestep {t} is outside the {} trained ones; use fewer steps",
                alphas.len()
            ));
        }
        if prediction == Prediction::Epsilon && alphas[t as usize] == 0.0 {
            return invalid(format!(
                "timestep {t} is pure noise, from which epsilon says nothing; use euler"
            ));
        }
    }
    Ok(())
}

impl Schedule for Ddim {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        noised(self.alphas[self.timesteps[i] as usize], original, noise)
    }

    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        let t = self.timesteps[i] as usize;
        let (bar, bar_after) = (self.alphas[t], self.alpha_after(t));
        let (alpha, sigma) = (bar.sqrt(), (1.0 - bar).sqrt());
        let (of_sample, of_output) = tables::clean_weights(self.prediction, alpha, sigma);
        let mut clean = weighted_sum(&[(of_sample, sample), (of_output, model_output)])?;
        // from the output itself, not from the clipped sample: `use_clipped_model_output` is off by default
        let (of_sample, of_output) = tables::epsilon_weights(self.prediction, alpha, sigma);
        let epsilon = weighted_sum(&[(of_sample, sample), (of_output, model_output)])?;
        if let Some(range) = self.clip {
            clean = clean.clamp(-range, range)?;
        }
        // equation 12 with σ = 0: the predicted sample, and the direction that points back to where it came from
        weighted_sum(&[(bar_after.sqrt(), &clean), ((1.0 - bar_after).sqrt(), &epsilon)])
    }
}
