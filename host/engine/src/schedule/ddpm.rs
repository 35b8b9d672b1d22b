//! DDPM's ancestral sampling (<https://arxiv.org/abs/2006.11239>, algorithm 2). Follows diffusers `scheduling_ddpm.py`.

use candle_core::Tensor;

use super::config::{Prediction, ScheduleConfig, Spacing, Variance};
use super::ddim::check_timesteps;
use super::{Schedule, begin_index, noised, tables, weighted_sum};
use crate::Result;
use crate::noise::NoiseSource;

/// Below this the variance of the last step, which is 0, is not let fall.
const LEAST_VARIANCE: f32 = 1e-20;

/// `DDPMScheduler`.
pub(super) struct Ddpm {
    /// ᾱ of every training timestep.
    alphas: Vec<f64>,
    timesteps: Vec<f64>,
    prediction: Prediction,
    variance: Variance,
    clip: Option<f64>,
}

/// Weights of one step: equation 7 of the paper, and the noise's standard deviation.
struct Posterior {
    clean: f64,
    sample: f64,
    noise: f64,
}

impl Ddpm {
    pub(super) fn new(config: &ScheduleConfig, steps: usize, strength: Option<f64>) -> Result<Self> {
        let alphas = tables::alphas_cumprod(config, &tables::DDPM_BETAS);
        let spacing = config.timestep_spacing.unwrap_or(Spacing::Leading);
        let all = tables::spaced(config, spacing, steps).into_iter().map(f64::round_ties_even);
        let timesteps: Vec<f64> = all.skip(begin_index(steps, strength)?).collect();
        check_timesteps(&timesteps, &alphas, config.prediction_type)?;
        Ok(Self {
            alphas,
            timesteps,
            prediction: config.prediction_type,
            variance: config.variance,
            clip: config.clip_sample.unwrap_or(true).then_some(config.clip_sample_range),
        })
    }

    /// In f32 and diffusers' order: 1 - ᾱ/ᾱ' is a difference of near equals, and its error is visible.
    fn posterior(&self, i: usize) -> Posterior {
        let bar = self.alphas[self.timesteps[i] as usize] as f32;
        let bar_after = self.timesteps.get(i + 1).map_or(1.0, |&t| self.alphas[t as usize] as f32);
        let (rest, rest_after) = (1.0 - bar, 1.0 - bar_after);
        let alpha = bar / bar_after;
        let beta = 1.0 - alpha;
        let least = (rest_after / rest * beta).max(LEAST_VARIANCE);
        let deviation = match self.variance {
            Variance::Small => least.sqrt(),
            Variance::SmallLog => (0.5 * least.ln()).exp(),
            Variance::Large => beta.sqrt(),
        };
        Posterior {
            clean: f64::from(bar_after.sqrt() * beta / rest),
            sample: f64::from(alpha.sqrt() * rest_after / rest),
            noise: f64::from(deviation),
        }
    }
}

impl Schedule for Ddpm {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        noised(self.alphas[self.timesteps[i] as usize], original, noise)
    }

    /// Draws noise at every step but one from timestep 0, which is the last where the spacing gets there.
    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        let t = self.timesteps[i];
        let bar = self.alphas[t as usize];
        let (of_sample, of_output) = tables::clean_weights(self.prediction, bar.sqrt(), (1.0 - bar).sqrt());
        let mut clean = weighted_sum(&[(of_sample, sample), (of_output, model_output)])?;
        if let Some(range) = self.clip {
            clean = clean.clamp(-range, range)?;
        }
        let posterior = self.posterior(i);
        let mut terms = vec![(posterior.clean, &clean), (posterior.sample, sample)];
        let noise = if t > 0.0 { Some(noise.draw(model_output)?) } else { None };
        terms.extend(noise.iter().map(|noise| (posterior.noise, noise)));
        weighted_sum(&terms)
    }
}
