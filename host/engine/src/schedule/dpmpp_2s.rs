//! DPM-Solver++(2S) and its stochastic form (<https://arxiv.org/abs/2211.01095>, algorithm 1). Follows diffusers
//! `scheduling_dpmsolver_singlestep.py` with `algorithm_type` `dpmsolver++` and `sde-dpmsolver++`.
//!
//! Steps come in pairs: the first is an Euler step, the second begins again where the first began and knows two
//! predictions. So every step is one model call.

use candle_core::Tensor;

use super::config::{FinalSigmas, Prediction, ScheduleConfig};
use super::dpm_solver::Variant;
use super::sigmas::{Class, SigmaPath};
use super::{Schedule, tables, weighted_sum};
use crate::Result;
use crate::noise::NoiseSource;

/// `DPMSolverSinglestepScheduler`.
pub(super) struct Dpmpp2s {
    path: SigmaPath,
    variant: Variant,
    prediction: Prediction,
    is_second_order: bool,
    /// Whether the last step is first order where it would be the second of a pair.
    ends_with_euler: bool,
    /// Where the pair began: `(place, sample, clean sample predicted there)`.
    begun: Option<(usize, Tensor, Tensor)>,
}

impl Dpmpp2s {
    pub(super) fn new(
        config: &ScheduleConfig,
        is_stochastic: bool,
        steps: usize,
        strength: Option<f64>,
    ) -> Result<Self> {
        // the class does so by itself where λ is infinite at the end
        let ends_with_euler =
            config.lower_order_final.unwrap_or(false) || config.final_sigmas == FinalSigmas::Zero;
        Ok(Self {
            path: SigmaPath::solver(config, Class::DpmSinglestep, steps, strength)?,
            variant: Variant::new(config, is_stochastic)?,
            prediction: config.prediction_type,
            is_second_order: config.solver_order == 2,
            ends_with_euler,
            begun: None,
        })
    }

    /// Whether the step from `place` is the second of a pair; pairs are counted from the beginning of the whole path.
    fn ends_pair(&self, place: usize) -> bool {
        let is_last = place + 1 == self.path.len();
        self.is_second_order && !place.is_multiple_of(2) && !(is_last && self.ends_with_euler)
    }
}

impl Schedule for Dpmpp2s {
    fn timesteps(&self) -> &[f64] {
        self.path.timesteps()
    }

    fn add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        self.path.multistep_add_noise(i, original, noise)
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
        let (alpha, sigma) = self.path.alpha_sigma(place);
        let (of_sample, of_output) = tables::clean_weights(self.prediction, alpha, sigma);
        let clean = weighted_sum(&[(of_sample, sample), (of_output, model_output)])?;
        let noise = self.variant.is_stochastic.then(|| noise.draw(model_output)).transpose()?;
        // a run that begins within a pair has nothing to go back to
        if !self.ends_pair(place) || self.begun.is_none() {
            self.begun = Some((place, sample.clone(), clean.clone()));
        }
        let Some((from, first_sample, first_clean)) = &self.begun else { return Ok(clean) };
        let [start, here, next] = [*from, place, place + 1].map(|place| self.path.lambda(place));
        let (_, sigma) = self.path.alpha_sigma(*from);
        let update = self.variant.update(sigma, self.path.alpha_sigma(place + 1), next - start);
        let mut terms = vec![(update.sample, first_sample), (update.clean, first_clean)];
        if *from < place {
            let slope = update.slope * (next - start) / (here - start);
            terms.extend([(slope, &clean), (-slope, first_clean)]);
        }
        terms.extend(noise.iter().map(|noise| (update.noise, noise)));
        weighted_sum(&terms)
    }

    fn sigmas(&self) -> Option<&[f64]> {
        Some(self.path.sigmas())
    }
}
