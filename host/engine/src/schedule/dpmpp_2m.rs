//! DPM-Solver++(2M), midpoint (<https://arxiv.org/abs/2211.01095>, algorithm 2). Follows diffusers
//! `scheduling_dpmsolver_multistep.py` with `algorithm_type = "dpmsolver++"`.

use candle_core::Tensor;

use super::config::{FinalSigmas, Prediction, ScheduleConfig};
use super::sigmas::{SigmaPath, Solver};
use super::{Schedule, tables, weighted_sum};
use crate::noise::NoiseSource;
use crate::{Error, Result};

/// `DPMSolverMultistepScheduler`.
pub(super) struct Dpmpp2m {
    path: SigmaPath,
    prediction: Prediction,
    /// Whether steps look back to the prediction before, `solver_order = 2`.
    second_order: bool,
    /// Whether the last step is first order.
    euler_last: bool,
    /// The clean sample predicted one step before.
    previous: Option<Tensor>,
}

impl Dpmpp2m {
    pub(super) fn new(
        config: &ScheduleConfig,
        use_karras: bool,
        steps: usize,
        strength: Option<f64>,
    ) -> Result<Self> {
        check_solver(config)?;
        let path = match use_karras {
            true => SigmaPath::multistep_karras(config, Solver::DpmSolver, steps, strength)?,
            false => {
                let timesteps = tables::spaced_for_multistep(config, last_timestep(config), steps);
                SigmaPath::multistep(config, timesteps, steps, strength)?
            }
        };
        let euler_last = config.euler_at_final
            || config.lower_order_final && path.len() < 15
            || config.final_sigmas == FinalSigmas::Zero;
        let second_order = config.solver_order == 2;
        Ok(Self { path, prediction: config.prediction_type, second_order, euler_last, previous: None })
    }

    /// The clean sample that the output at `place` predicts.
    fn clean(&self, place: usize, model_output: &Tensor, sample: &Tensor) -> Result<Tensor> {
        let (alpha, sigma) = self.path.alpha_sigma(place);
        let (of_sample, of_output) = tables::clean_weights(self.prediction, alpha, sigma);
        weighted_sum(&[(of_sample, sample), (of_output, model_output)])
    }

    /// Half of h / h₀, the weight of the slope between the last two predictions; `None` for a first-order step.
    fn half_ratio(&self, place: usize) -> Option<f64> {
        if !self.second_order || self.euler_last && place + 1 == self.path.len() || self.previous.is_none() {
            return None;
        }
        let [before, here, next] = [place - 1, place, place + 1].map(|place| self.path.lambda(place));
        Some(0.5 * (next - here) / (here - before))
    }
}

/// Refuses the variants that the names do not promise; maps what diffusers maps.
fn check_solver(config: &ScheduleConfig) -> Result<()> {
    let refuse = |key: &str, value: &str, supported| {
        Err(Error::Unsupported { what: "scheduler setting", value: format!("{key} = {value}"), supported })
    };
    match config.algorithm_type.as_deref() {
        None | Some("dpmsolver++") => {}
        Some(other) => return refuse("algorithm_type", other, "dpmsolver++"),
    }
    match config.solver_type.as_deref() {
        None | Some("midpoint" | "logrho" | "bh1" | "bh2") => {}
        Some(other) => return refuse("solver_type", other, "midpoint"),
    }
    match config.solver_order {
        1 | 2 => Ok(()),
        other => refuse("solver_order", &other.to_string(), "1, 2"),
    }
}

/// One past the highest timestep whose λ is not below `lambda_min_clipped`.
fn last_timestep(config: &ScheduleConfig) -> usize {
    let lambda = |alpha: f64| 0.5 * (alpha / (1.0 - alpha)).ln();
    let alphas = tables::alphas_cumprod_above_zero(config);
    alphas.iter().filter(|&&alpha| lambda(alpha) >= config.lambda_min_clipped).count()
}

impl Schedule for Dpmpp2m {
    fn timesteps(&self) -> &[f64] {
        self.path.timesteps()
    }

    fn add_noise(&self, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        self.path.multistep_add_noise(original, noise)
    }

    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        let place = self.path.place(i);
        let clean = self.clean(place, model_output, sample)?;
        let ((_, sigma), (alpha_next, sigma_next)) =
            (self.path.alpha_sigma(place), self.path.alpha_sigma(place + 1));
        // a final sigma of 0 makes h infinite and the weight -α · (0 - 1): the step then ends on the clean sample
        let h = self.path.lambda(place + 1) - self.path.lambda(place);
        let weight = -alpha_next * (-h).exp_m1();
        let kept = sigma_next / sigma;
        let next = match (self.half_ratio(place), &self.previous) {
            (Some(half), Some(previous)) => {
                let terms = [(kept, sample), (weight * (1.0 + half), &clean), (-weight * half, previous)];
                weighted_sum(&terms)?
            }
            _ => weighted_sum(&[(kept, sample), (weight, &clean)])?,
        };
        self.previous = Some(clean);
        Ok(next)
    }

    fn sigmas(&self) -> Option<&[f64]> {
        Some(self.path.sigmas())
    }
}
