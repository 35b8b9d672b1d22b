//! DPM-Solver++(2M) and its stochastic form (<https://arxiv.org/abs/2211.01095>, algorithm 2), over a table of betas or
//! over EDM's noise levels. Follows diffusers `scheduling_dpmsolver_multistep.py` and
//! `scheduling_edm_dpmsolver_multistep.py` with `algorithm_type` `dpmsolver++` and `sde-dpmsolver++`.

use candle_core::{DType, Tensor};

use super::config::{FinalSigmas, Prediction, ScheduleConfig};
use super::dpm_solver::Variant;
use super::edm::{self, Edm};
use super::sigmas::{Class, SigmaPath};
use super::{Schedule, tables, weighted_sum};
use crate::Result;
use crate::noise::NoiseSource;

/// `DPMSolverMultistepScheduler` and `EDMDPMSolverMultistepScheduler`.
pub(super) struct Dpmpp2m {
    path: SigmaPath,
    variant: Variant,
    model: Model,
    /// Whether steps look back to the prediction before, `solver_order = 2`.
    is_second_order: bool,
    /// Whether the last step is first order.
    ends_with_euler: bool,
    /// The clean sample predicted one step before.
    previous: Option<Tensor>,
}

/// What the denoiser takes and gives.
enum Model {
    /// α² + σ² = 1.
    VariancePreserving(Prediction),
    /// α = 1.
    Edm(Edm),
}

impl Dpmpp2m {
    pub(super) fn new(
        config: &ScheduleConfig,
        is_stochastic: bool,
        steps: usize,
        strength: Option<f64>,
    ) -> Result<Self> {
        let path = SigmaPath::solver(config, Class::DpmMultistep, steps, strength)?;
        Self::over(path, Model::VariancePreserving(config.prediction_type), config, is_stochastic)
    }

    pub(super) fn edm(
        config: &ScheduleConfig,
        is_stochastic: bool,
        steps: usize,
        strength: Option<f64>,
    ) -> Result<Self> {
        let path = edm::path(config, edm::Class::DpmMultistep, steps, strength)?.falling()?;
        Self::over(path, Model::Edm(Edm::new(config)?), config, is_stochastic)
    }

    fn over(path: SigmaPath, model: Model, config: &ScheduleConfig, is_stochastic: bool) -> Result<Self> {
        let ends_with_euler = config.euler_at_final
            || config.lower_order_final.unwrap_or(true) && path.len() < 15
            || config.final_sigmas == FinalSigmas::Zero;
        Ok(Self {
            path,
            variant: Variant::new(config, is_stochastic)?,
            model,
            is_second_order: config.solver_order == 2,
            ends_with_euler,
            previous: None,
        })
    }

    fn alpha_sigma(&self, place: usize) -> (f64, f64) {
        match self.model {
            Model::VariancePreserving(_) => self.path.alpha_sigma(place),
            Model::Edm(_) => (1.0, self.path.sigma(place)),
        }
    }

    /// The clean sample that the output at `place` predicts.
    fn clean(&self, place: usize, model_output: &Tensor, sample: &Tensor) -> Result<Tensor> {
        let (alpha, sigma) = self.alpha_sigma(place);
        let (of_sample, of_output) = match &self.model {
            Model::VariancePreserving(prediction) => tables::clean_weights(*prediction, alpha, sigma),
            Model::Edm(edm) => edm.clean_weights(sigma),
        };
        weighted_sum(&[(of_sample, sample), (of_output, model_output)])
    }

    /// h / h₀, by which the difference of the last two predictions becomes a slope per step; `None` for a first-order
    /// step.
    fn ratio(&self, place: usize) -> Option<f64> {
        let is_last = place + 1 == self.path.len();
        if !self.is_second_order || self.ends_with_euler && is_last || self.previous.is_none() {
            return None;
        }
        let [before, here, next] = [place - 1, place, place + 1].map(|place| self.path.lambda(place));
        Some((next - here) / (here - before))
    }
}

impl Schedule for Dpmpp2m {
    fn timesteps(&self) -> &[f64] {
        self.path.timesteps()
    }

    fn init_noise_sigma(&self) -> f64 {
        match &self.model {
            Model::VariancePreserving(_) => 1.0,
            Model::Edm(edm) => edm.init_noise_sigma(),
        }
    }

    fn scale_model_input(&self, i: usize, sample: &Tensor) -> Result<Tensor> {
        match &self.model {
            Model::VariancePreserving(_) => Ok(sample.clone()),
            Model::Edm(edm) => edm.model_input(self.path.sigma(self.path.place(i)), sample),
        }
    }

    fn add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        match self.model {
            Model::VariancePreserving(_) => self.path.multistep_add_noise(i, original, noise),
            Model::Edm(_) => self.path.euler_add_noise(i, original, noise),
        }
    }

    /// The stochastic form draws noise at every step, the last one included, as diffusers does.
    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        let place = self.path.place(i);
        let clean = self.clean(place, model_output, sample)?;
        let h = self.path.lambda(place + 1) - self.path.lambda(place);
        let update = self.variant.update(self.alpha_sigma(place).1, self.alpha_sigma(place + 1), h);
        let noise = match self.variant.is_stochastic {
            true => Some(noise.draw(&model_output.to_dtype(DType::F32)?)?),
            false => None,
        };
        let mut terms = vec![(update.sample, sample), (update.clean, &clean)];
        if let (Some(ratio), Some(previous)) = (self.ratio(place), &self.previous) {
            terms.extend([(update.slope * ratio, &clean), (-update.slope * ratio, previous)]);
        }
        terms.extend(noise.iter().map(|noise| (update.noise, noise)));
        let next = weighted_sum(&terms)?;
        self.previous = Some(clean);
        Ok(next)
    }

    fn sigmas(&self) -> Option<&[f64]> {
        Some(self.path.sigmas())
    }
}
