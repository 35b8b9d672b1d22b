//! A run that two models share: the first does the timesteps of high noise, the second the rest (SDXL's ensemble of
//! experts, arXiv 2307.01952, 2.5). Follows `denoising_end` and `denoising_start` of diffusers'
//! `pipeline_stable_diffusion_xl.py` and `pipeline_stable_diffusion_xl_img2img.py`.
//!
//! The share is one of the training timesteps, not of the steps: both models cut their own schedules at the same noise
//! level. The second begins its schedule there with no memory of the first one's predictions.

use candle_core::Tensor;

use super::names::{self, Solver};
use super::pndm::Pndm;
use super::{Schedule, ScheduleConfig, build};
use crate::noise::NoiseSource;
use crate::{Error, Result};

/// The first timestep, of those that count, which the second model does not do.
fn cutoff(config: &ScheduleConfig, share: f64) -> f64 {
    let train = config.num_train_timesteps as f64;
    (train - share * train).round_ties_even()
}

/// How many of a schedule's timesteps come before `share` of the way, which is between 0 and 1.
pub fn steps_before(schedule: &dyn Schedule, config: &ScheduleConfig, share: f64) -> usize {
    let cutoff = cutoff(config, share);
    schedule.timesteps().iter().filter(|timestep| **timestep >= cutoff).count()
}

/// The schedule `name` for the model that takes over after `share` of the way, of a run of `steps` in all.
///
/// # Errors
/// As [`build`], and [`Error::Invalid`] where it cannot begin in the middle or nothing is left.
pub fn build_rest(
    name: &str,
    config: &ScheduleConfig,
    steps: usize,
    share: f64,
) -> Result<Box<dyn Schedule>> {
    let invalid = |reason| Error::Invalid { field: "refiner", reason };
    let whole = build(name, config, steps, None)?;
    let (solver, resolved) = names::resolve(name, config)?;
    let all = whole.timesteps().len();
    let mut left = all - steps_before(whole.as_ref(), config, share);
    if left == 0 {
        return Err(invalid(format!(
            "takes over after {share} of the way, where none of {steps} steps is left"
        )));
    }
    // a step of two calls is not begun at its second: the first model has asked for the step's beginning in vain
    if matches!(solver, Solver::Heun | Solver::Dpmpp2sAncestral) && left.is_multiple_of(2) {
        left += 1;
    }
    let begin = all - left;
    Ok(match solver {
        Solver::Pndm if !resolved.skip_prk_steps => {
            let reason = "pndm runs whole unless its file says `skip_prk_steps`; name another schedule";
            return Err(invalid(reason.into()));
        }
        // wherever it begins, the second call is for the first step once more
        Solver::Pndm => Box::new(Pndm::beginning_at(&resolved, steps, begin)?),
        _ => Box::new(Rest { whole, begin }),
    })
}

/// A schedule from one of its timesteps on.
struct Rest {
    whole: Box<dyn Schedule>,
    begin: usize,
}

impl Schedule for Rest {
    fn timesteps(&self) -> &[f64] {
        &self.whole.timesteps()[self.begin..]
    }

    fn init_noise_sigma(&self) -> f64 {
        self.whole.init_noise_sigma()
    }

    fn scale_model_input(&self, i: usize, sample: &Tensor) -> Result<Tensor> {
        self.whole.scale_model_input(self.begin + i, sample)
    }

    fn add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        self.whole.add_noise(self.begin + i, original, noise)
    }

    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        self.whole.step(self.begin + i, model_output, sample, noise)
    }

    fn sigmas(&self) -> Option<&[f64]> {
        self.whole.sigmas().map(|sigmas| &sigmas[self.begin..])
    }
}
