//! Diffusion schedules: which timesteps a run visits and how one denoiser output moves the sample to the next.
//!
//! Owns the noise tables and the solver state of one run. Knows no model, device or random generator: plain numbers
//! come in from `scheduler_config.json` ([`ScheduleConfig`]), noise comes in through [`NoiseSource`], and tensors only
//! pass through [`Schedule::step`]. (A *scheduler* queues jobs elsewhere; diffusers calls ours schedulers too.)
//!
//! Rules:
//! - A name builds what diffusers' `TheScheduler.from_config(pipe.scheduler.config)` builds: keys of the file, the
//!   class's own defaults for the rest. `dpmpp_2m` and `dpmpp_2m_karras` alone decide about Karras sigmas by name.
//! - Tables follow diffusers' f32 roundings (betas, their running product, sigmas, timesteps) and are kept in f64.
//! - Steps compute in f32 whatever the model computes in; weights are derived in f64 and each update is one weighted
//!   sum, so nothing is read back from the device.
//! - What is not implemented is refused by key. What would divide by zero is refused before the run begins.
//!
//! Golden values: `tests/schedule.rs`. Reference: diffusers 0.42 `schedulers/scheduling_*.py`.

mod config;
mod ddim;
mod dpmpp_2m;
mod euler;
mod euler_ancestral;
mod lcm;
mod sigmas;
mod tables;
mod unipc;

use candle_core::{DType, Tensor};

pub use config::ScheduleConfig;

use crate::noise::NoiseSource;
use crate::{Error, Result};

/// Every name that [`build`] takes.
pub const NAMES: [&str; 7] =
    ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_karras", "unipc", "lcm"];

/// [`NAMES`] for error messages.
const SUPPORTED: &str = "ddim, euler, euler_ancestral, dpmpp_2m, dpmpp_2m_karras, unipc, lcm";

/// One run through the noise levels, from noise (or a noised image) to a clean sample.
///
/// `i` is always an index into [`Schedule::timesteps`] and goes up by one per step; an `i` past its end is a bug of
/// the caller and panics. Samples are latents of any shape.
pub trait Schedule: Send {
    /// The timesteps that are run, highest first, after `strength` has cut the beginning off.
    fn timesteps(&self) -> &[f64];

    /// What pure noise is multiplied by to become the first sample of a text-to-image run; 1 unless a schedule walks
    /// in sigma.
    fn init_noise_sigma(&self) -> f64 {
        1.0
    }

    /// The sample as the denoiser wants it at step `i`; unchanged unless a schedule scales it.
    ///
    /// # Errors
    /// [`Error::Tensor`] from the device.
    fn scale_model_input(&self, _i: usize, sample: &Tensor) -> Result<Tensor> {
        Ok(sample.clone())
    }

    /// `original` noised to the level of the first run timestep: the first sample of an image-to-image run.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the shapes differ, or from the device.
    fn add_noise(&self, original: &Tensor, noise: &Tensor) -> Result<Tensor>;

    /// The sample after step `i`, in the dtype of `sample`. Draws from `noise` only if the schedule is stochastic.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the shapes differ, or from the device; whatever `noise` refuses.
    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor>;

    /// The noise level of every run timestep and the one after the last step, for schedules that walk in sigma.
    fn sigmas(&self) -> Option<&[f64]> {
        None
    }
}

/// Builds the schedule `name` for a run of `steps`, which `strength` shortens for image-to-image.
///
/// `strength` is in 0..=1: the share of the noise that the given image gets, thus of the steps that are run. `None`
/// runs them all from pure noise.
///
/// # Errors
/// [`Error::Unsupported`] for an unknown name or a key that is not implemented for it; [`Error::Invalid`] for `steps`
/// or a `strength` that leaves nothing to run or does not fit the model.
pub fn build(
    name: &str,
    config: &ScheduleConfig,
    steps: usize,
    strength: Option<f64>,
) -> Result<Box<dyn Schedule>> {
    check_steps(config, steps)?;
    Ok(match name {
        "ddim" => Box::new(ddim::Ddim::new(config, steps, strength)?),
        "euler" => Box::new(euler::Euler::new(config, steps, strength)?),
        "euler_ancestral" => Box::new(euler_ancestral::EulerAncestral::new(config, steps, strength)?),
        "dpmpp_2m" => Box::new(dpmpp_2m::Dpmpp2m::new(config, false, steps, strength)?),
        "dpmpp_2m_karras" => Box::new(dpmpp_2m::Dpmpp2m::new(config, true, steps, strength)?),
        "unipc" => Box::new(unipc::UniPc::new(config, steps, strength)?),
        "lcm" => Box::new(lcm::Lcm::new(config, steps, strength)?),
        _ => {
            return Err(Error::Unsupported {
                what: "scheduler",
                value: name.to_owned(),
                supported: SUPPORTED,
            });
        }
    })
}

fn check_steps(config: &ScheduleConfig, steps: usize) -> Result<()> {
    let most = config.num_train_timesteps;
    if (1..=most).contains(&steps) {
        return Ok(());
    }
    Err(Error::Invalid {
        field: "steps",
        reason: format!("{steps} is not in 1..={most}, what the model allows"),
    })
}

fn check_strength(strength: Option<f64>) -> Result<f64> {
    let strength = strength.unwrap_or(1.0);
    if (0.0..=1.0).contains(&strength) {
        return Ok(strength);
    }
    Err(Error::Invalid { field: "strength", reason: format!("{strength} is not in 0..=1") })
}

/// The index of the first timestep to run (diffusers `get_timesteps` of the image-to-image pipelines).
fn begin_index(steps: usize, strength: Option<f64>) -> Result<usize> {
    let strength = check_strength(strength)?;
    let run = ((steps as f64 * strength) as usize).min(steps);
    if run > 0 {
        return Ok(steps - run);
    }
    let reason =
        format!("{strength} of {steps} steps leaves none to run; raise it to {} or more", 1.0 / steps as f64);
    Err(Error::Invalid { field: "strength", reason })
}

/// Σ weight · tensor, computed in f32 and returned in the dtype of the first tensor.
fn weighted_sum(terms: &[(f64, &Tensor)]) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for &(weight, tensor) in terms {
        let term = (tensor.to_dtype(DType::F32)? * weight)?;
        sum = Some(match sum {
            Some(sum) => (sum + term)?,
            None => term,
        });
    }
    let (Some(sum), Some((_, first))) = (sum, terms.first()) else {
        return Err(candle_core::Error::Msg("weighted sum of nothing".to_owned()).into());
    };
    Ok(sum.to_dtype(first.dtype())?)
}
