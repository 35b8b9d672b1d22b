//! Diffusion schedules: which timesteps a run visits and how one denoiser output moves the sample to the next.
//!
//! Owns the noise tables and the solver state of one run. Knows no model, device or random generator: plain numbers
//! come in from `scheduler_config.json` ([`ScheduleConfig`]), noise comes in through [`NoiseSource`], and tensors only
//! pass through [`Schedule::step`]. (A *scheduler* queues jobs elsewhere; diffusers calls ours schedulers too.)
//!
//! Rules:
//! - A name builds what diffusers' `TheScheduler.from_config(pipe.scheduler.config)` builds: keys of the file, the
//!   class's own defaults for the rest. The name alone says how noise levels are spaced (`names.rs`).
//! - One entry of `timesteps` is one model call, so nobody else needs to know that some schedules look ahead or begin
//!   with more calls than steps.
//! - Tables follow diffusers' f32 roundings (betas, their running product, sigmas, timesteps) and are kept in f64.
//! - Steps compute in f32 whatever the model computes in; weights are derived in f64 and each update is one weighted
//!   sum, so nothing is read back from the device. Where diffusers' own f32 shows, weights follow it.
//! - Noise is drawn when and as often as diffusers draws it.
//! - What is not implemented is refused by key. What would divide by zero is refused before the run begins.
//!
//! Golden values: `tests/schedule.rs`. Reference: diffusers 0.42 `schedulers/scheduling_*.py`.

mod beta;
mod config;
mod ddim;
mod ddpm;
mod dpm_solver;
mod dpmpp_2m;
mod dpmpp_2s;
mod dpmpp_2s_ancestral;
mod edm;
mod euler;
mod euler_ancestral;
mod flow_match;
mod handover;
mod heun;
mod history;
mod lcm;
mod lms;
mod names;
mod pndm;
mod sigmas;
mod tables;
mod tcd;
mod unipc;

use atelier_inference::steps_run;
use candle_core::{DType, Tensor};

pub use config::ScheduleConfig;
pub use handover::{build_rest, steps_before};
pub use names::{names, names_for};

use crate::noise::NoiseSource;
use crate::{Error, Result};
use names::Solver;

/// One run through the noise levels, from noise (or a noised image) to a clean sample.
///
/// `i` is always an index into [`Schedule::timesteps`] and goes up by one per step; an `i` past its end is a bug of
/// the caller and panics. Samples are latents of any shape.
pub trait Schedule: Send {
    /// The timestep of every model call, in order, after `strength` has cut the beginning off. Schedules that look ahead
    /// have more of them than steps. What a timestep is depends on the model: an index of its training table, 1000 σ for
    /// flow matching, ln(σ) / 4 for EDM.
    fn timesteps(&self) -> &[f64];

    /// What pure noise is multiplied by to become the first sample of a text-to-image run; 1 unless a schedule walks
    /// in sigma beyond 1.
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

    /// `original` noised to the level at which step `i` begins: of step 0, the first sample of an image-to-image run; of
    /// the others, what inpainting keeps.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the shapes differ, or from the device.
    fn add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor>;

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
/// [`Error::Unsupported`] for a name that there is not or that does not fit the model, or a key that is not implemented for it; [`Error::Invalid`] for `steps`
/// or a `strength` that leaves nothing to run or does not fit the model.
pub fn build(
    name: &str,
    config: &ScheduleConfig,
    steps: usize,
    strength: Option<f64>,
) -> Result<Box<dyn Schedule>> {
    check_steps(config, steps)?;
    let (solver, config) = names::resolve(name, config)?;
    let config = &config;
    Ok(match solver {
        Solver::Ddim => Box::new(ddim::Ddim::new(config, steps, strength)?),
        Solver::Ddpm => Box::new(ddpm::Ddpm::new(config, steps, strength)?),
        Solver::Pndm => Box::new(pndm::Pndm::new(config, steps, strength)?),
        Solver::Lms => Box::new(lms::Lms::new(config, steps, strength)?),
        Solver::Heun => Box::new(heun::Heun::new(config, steps, strength)?),
        Solver::Euler => Box::new(euler::Euler::new(config, steps, strength)?),
        Solver::EulerAncestral => Box::new(euler_ancestral::EulerAncestral::new(config, steps, strength)?),
        Solver::Dpmpp2m => Box::new(dpmpp_2m::Dpmpp2m::new(config, false, steps, strength)?),
        Solver::Dpmpp2mSde => Box::new(dpmpp_2m::Dpmpp2m::new(config, true, steps, strength)?),
        Solver::Dpmpp2s => Box::new(dpmpp_2s::Dpmpp2s::new(config, false, steps, strength)?),
        Solver::DpmppSde => Box::new(dpmpp_2s::Dpmpp2s::new(config, true, steps, strength)?),
        Solver::Dpmpp2sAncestral => {
            Box::new(dpmpp_2s_ancestral::Dpmpp2sAncestral::new(config, steps, strength)?)
        }
        Solver::UniPc => Box::new(unipc::UniPc::new(config, steps, strength)?),
        Solver::Lcm => Box::new(lcm::Lcm::new(config, steps, strength)?),
        Solver::Tcd => Box::new(tcd::Tcd::new(config, steps, strength)?),
        Solver::EdmEuler => Box::new(edm::EdmEuler::new(config, steps, strength)?),
        Solver::EdmDpmpp2m => Box::new(dpmpp_2m::Dpmpp2m::edm(config, false, steps, strength)?),
        Solver::EdmDpmpp2mSde => Box::new(dpmpp_2m::Dpmpp2m::edm(config, true, steps, strength)?),
        Solver::FlowMatchEuler => Box::new(flow_match::FlowMatchEuler::new(config, steps, strength)?),
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
    match steps_run(steps, strength) {
        0 => Err(no_steps_left(steps, strength)),
        run => Ok(steps - run),
    }
}

fn no_steps_left(steps: usize, strength: f64) -> Error {
    Error::Invalid { field: "strength", reason: atelier_inference::no_steps_left(steps, strength) }
}

/// `add_noise` of the classes that look ᾱ up in the training table.
fn noised(alpha_bar: f64, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
    weighted_sum(&[(alpha_bar.sqrt(), original), ((1.0 - alpha_bar).sqrt(), noise)])
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
