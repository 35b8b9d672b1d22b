//! Models of EDM (<https://arxiv.org/abs/2206.00364>): continuous noise levels, and inputs and outputs that are scaled so
//! that the network always sees unit variance. Follows diffusers `scheduling_edm_euler.py`, whose tables and scalings
//! `scheduling_edm_dpmsolver_multistep.py` shares.

use candle_core::Tensor;

use super::config::{FinalSigmas, Prediction, ScheduleConfig};
use super::euler::straight_step;
use super::sigmas::{SigmaPath, continuous_timestep};
use super::{Schedule, begin_index, tables, weighted_sum};
use crate::noise::NoiseSource;
use crate::{Error, Result};

/// The classes' own bounds.
const SIGMA_MIN: f64 = 0.002;
const SIGMA_MAX: f64 = 80.0;

/// How a model's inputs and outputs are scaled at a noise level: table 1 of the paper.
pub(super) struct Edm {
    sigma_max: f64,
    sigma_data: f64,
    /// -1 where outputs are velocities.
    sign: f64,
}

impl Edm {
    pub(super) fn new(config: &ScheduleConfig) -> Result<Self> {
        let sign = match config.prediction_type {
            Prediction::Epsilon => 1.0,
            Prediction::Velocity => -1.0,
            Prediction::Sample => {
                return Err(Error::Unsupported {
                    what: "scheduler setting",
                    value: format!("prediction_type = sample with {}", config.class_name),
                    supported: "epsilon, v_prediction",
                });
            }
        };
        let sigma_max = config.sigma_max.unwrap_or(SIGMA_MAX);
        Ok(Self { sigma_max, sigma_data: config.edm.sigma_data, sign })
    }

    pub(super) fn init_noise_sigma(&self) -> f64 {
        self.sigma_max.hypot(1.0)
    }

    pub(super) fn model_input(&self, sigma: f64, sample: &Tensor) -> Result<Tensor> {
        weighted_sum(&[(1.0 / sigma.hypot(self.sigma_data), sample)])
    }

    /// Weights `(of the sample, of the model output)` that give the predicted clean sample: c_skip and c_out.
    pub(super) fn clean_weights(&self, sigma: f64) -> (f64, f64) {
        let whole = sigma.hypot(self.sigma_data);
        ((self.sigma_data / whole).powi(2), self.sign * sigma * self.sigma_data / whole)
    }
}

/// Which class a path is for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Class {
    Euler,
    DpmMultistep,
}

/// From `sigma_max` down to `sigma_min`.
pub(super) fn path(
    config: &ScheduleConfig,
    class: Class,
    steps: usize,
    strength: Option<f64>,
) -> Result<SigmaPath> {
    let (min, max) = (config.sigma_min.unwrap_or(SIGMA_MIN), config.sigma_max.unwrap_or(SIGMA_MAX));
    if min >= max {
        let value = format!("sigma_min = {min}, sigma_max = {max}");
        let supported = "a lower sigma_min";
        return Err(Error::Unsupported { what: "scheduler setting", value, supported });
    }
    let mut sigmas: Vec<f64> = match config.edm.has_exponential_sigmas {
        // counted from the lowest, and a single one is the lowest
        true => tables::torch_linspace(min.ln(), max.ln(), steps)
            .into_iter()
            .rev()
            .map(|log| f64::from(log.exp()))
            .collect(),
        false => (0..steps).map(|i| karras(min, max, config.edm.rho, class, i, steps)).collect(),
    };
    let timesteps = sigmas.iter().map(|&sigma| continuous_timestep(sigma)).collect();
    sigmas.push(match (config.final_sigmas, class) {
        (FinalSigmas::Zero, _) => 0.0,
        (FinalSigmas::SigmaMin, Class::Euler) => sigmas[steps - 1],
        (FinalSigmas::SigmaMin, Class::DpmMultistep) => min,
    });
    SigmaPath::given(timesteps, sigmas, begin_index(steps, strength)?)
}

fn karras(min: f64, max: f64, rho: f64, class: Class, i: usize, steps: usize) -> f64 {
    let ramp = i as f64 / (steps.max(2) - 1) as f64;
    if class == Class::Euler {
        return tables::karras(min, max, rho, ramp);
    }
    // the other class computes in f32, and the power makes seven roundings of one
    let (low, high) = (min.powf(1.0 / rho), max.powf(1.0 / rho));
    f64::from((high as f32 + ramp as f32 * (low - high) as f32).powf(rho as f32))
}

/// `EDMEulerScheduler`, without churn.
pub(super) struct EdmEuler {
    path: SigmaPath,
    edm: Edm,
}

impl EdmEuler {
    pub(super) fn new(config: &ScheduleConfig, steps: usize, strength: Option<f64>) -> Result<Self> {
        Ok(Self { path: path(config, Class::Euler, steps, strength)?, edm: Edm::new(config)? })
    }
}

impl Schedule for EdmEuler {
    fn timesteps(&self) -> &[f64] {
        self.path.timesteps()
    }

    fn init_noise_sigma(&self) -> f64 {
        self.edm.init_noise_sigma()
    }

    fn scale_model_input(&self, i: usize, sample: &Tensor) -> Result<Tensor> {
        self.edm.model_input(self.path.sigma(self.path.place(i)), sample)
    }

    fn add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        self.path.euler_add_noise(i, original, noise)
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
        weighted_sum(&straight_step(self.edm.clean_weights(sigma), sigma, next, sample, model_output))
    }

    fn sigmas(&self) -> Option<&[f64]> {
        Some(self.path.sigmas())
    }
}
