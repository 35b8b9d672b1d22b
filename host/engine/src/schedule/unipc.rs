//! UniPC in its B(h) form, over predicted clean samples or predicted noise (<https://arxiv.org/abs/2302.04867>,
//! algorithms 5 to 8). Follows diffusers `scheduling_unipc_multistep.py`.

use candle_core::Tensor;

use super::config::{FinalSigmas, Prediction, ScheduleConfig};
use super::history::History;
use super::sigmas::{Class, SigmaPath};
use super::{Schedule, tables, weighted_sum};
use crate::noise::NoiseSource;
use crate::{Error, Result};

/// `UniPCMultistepScheduler`.
pub(super) struct UniPc {
    path: SigmaPath,
    prediction: Prediction,
    solver_order: usize,
    /// B(h) = h instead of e^h - 1.
    bh1: bool,
    lower_order_final: bool,
    disable_corrector: Vec<usize>,
    /// Whether it looks at predicted clean samples; else at predicted noise.
    predicts_clean: bool,
    /// Predictions so far, at most `solver_order`.
    history: History,
    /// The (corrected) sample of the step before, and the order of that step.
    last: Option<(Tensor, usize)>,
}

impl UniPc {
    pub(super) fn new(config: &ScheduleConfig, steps: usize, strength: Option<f64>) -> Result<Self> {
        check_solver(config)?;
        let path = SigmaPath::solver(config, Class::UniPc, steps, strength)?;
        Ok(Self {
            path,
            prediction: config.prediction_type,
            solver_order: config.solver_order,
            bh1: config.solver_type.as_deref() == Some("bh1"),
            lower_order_final: config.lower_order_final.unwrap_or(true),
            disable_corrector: config.disable_corrector.clone(),
            predicts_clean: config.predict_x0,
            history: History::new(config.solver_order),
            last: None,
        })
    }

    /// The sample at `place`, corrected by what the model has just said there.
    fn correct(&self, place: usize, predicted: &Tensor, sample: &Tensor) -> Result<Tensor> {
        match &self.last {
            Some((before, order)) if !self.disable_corrector.contains(&(place - 1)) => {
                self.update(place - 1, *order, before, Some(predicted))
            }
            _ => Ok(sample.clone()),
        }
    }

    /// One update from `place` to the next: UniP, or UniC if the prediction at the target is known already.
    fn update(&self, place: usize, order: usize, sample: &Tensor, target: Option<&Tensor>) -> Result<Tensor> {
        let (here, next) = (self.path.alpha_sigma(place), self.path.alpha_sigma(place + 1));
        let lambda_step = self.path.lambda(place + 1) - self.path.lambda(place);
        // the same equation in both: what is kept of the sample, the factor of what is predicted, the signed distance
        let (kept, factor, h) = match self.predicts_clean {
            true => (next.1 / here.1, next.0, -lambda_step),
            false => (next.0 / here.0, next.1, lambda_step),
        };
        let b = if self.bh1 { h } else { h.exp_m1() };
        let ratio = |k: usize| (self.path.lambda(place - k) - self.path.lambda(place)) / lambda_step;
        let ratios: Vec<f64> = (1..order).map(ratio).collect();
        let rhos = rhos(h, b, &ratios, target.is_some());
        let slopes = ratios.iter().chain(target.map(|_| &1.0)).zip(&rhos).map(|(ratio, rho)| rho / ratio);
        let slopes: Vec<f64> = slopes.map(|slope| -factor * b * slope).collect();
        let newest = -factor * h.exp_m1() - slopes.iter().sum::<f64>();
        let mut terms = vec![(kept, sample)];
        let others = self.history.iter().skip(1).take(order - 1).chain(target);
        terms.extend(self.history.iter().take(1).map(|predicted| (newest, predicted)));
        terms.extend(slopes.into_iter().zip(others));
        weighted_sum(&terms)
    }

    /// The order of the step from `place`: no higher than the predictions there are, and falling towards the end,
    /// where λ goes to infinity.
    fn order_at(&self, place: usize) -> usize {
        let left = if self.lower_order_final { self.path.len() - place } else { usize::MAX };
        self.solver_order.min(left).min(self.history.len())
    }
}

/// Weights of the slopes to earlier predictions (at `ratios` of the step h) and, for UniC, to the target (ratio 1):
/// the solution of the order conditions, with the closed form that the reference uses at the lowest orders.
fn rhos(h: f64, b: f64, ratios: &[f64], corrects: bool) -> Vec<f64> {
    let count = ratios.len() + usize::from(corrects);
    if count <= 1 {
        return vec![0.5; count];
    }
    let points: Vec<f64> = ratios.iter().copied().chain(corrects.then_some(1.0)).collect();
    let mut phi = h.exp_m1() / h - 1.0;
    let mut factorial = 1.0;
    let mut rows = Vec::with_capacity(count);
    for power in 0..count {
        let mut row: Vec<f64> = points.iter().map(|point| point.powi(power as i32)).collect();
        row.push(phi * factorial / b);
        rows.push(row);
        factorial *= (power + 2) as f64;
        phi = phi / h - 1.0 / factorial;
    }
    solve(rows)
}

/// Solves a small linear system, rows augmented with the right side, by elimination with partial pivoting.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let count = rows.len();
    for column in 0..count {
        let pivot = (column..count).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()));
        rows.swap(column, pivot.unwrap_or(column));
        let pivot_row = rows[column].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(index, _)| *index != column) {
            let factor = row[column] / pivot_row[column];
            row.iter_mut().zip(&pivot_row).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    rows.iter().enumerate().map(|(index, row)| row[count] / row[index]).collect()
}

/// Refuses what the reference cannot do either; maps what it maps.
fn check_solver(config: &ScheduleConfig) -> Result<()> {
    let refuse = |value, supported| Err(Error::Unsupported { what: "scheduler setting", value, supported });
    match config.solver_type.as_deref() {
        None | Some("bh1" | "bh2" | "midpoint" | "heun" | "logrho") => {}
        Some(other) => return refuse(format!("solver_type = {other}"), "bh1, bh2"),
    }
    if !(1..=3).contains(&config.solver_order) {
        return refuse(format!("solver_order = {}", config.solver_order), "1, 2, 3");
    }
    if !config.predict_x0 && config.final_sigmas == FinalSigmas::Zero {
        let value = "final_sigmas_type = zero with predict_x0 = false, which would divide by zero".to_owned();
        return refuse(value, "sigma_min");
    }
    // the last step goes to an infinite λ with a final sigma of 0, and nowhere with converted sigmas
    let highest_last = match (config.final_sigmas, config.conversion.is_some()) {
        (FinalSigmas::Zero, _) => 1,
        (FinalSigmas::SigmaMin, true) => 2,
        (FinalSigmas::SigmaMin, false) => 3,
    };
    if !config.lower_order_final.unwrap_or(true) && config.solver_order > highest_last {
        return refuse("lower_order_final = false, which would divide by zero".to_owned(), "true");
    }
    Ok(())
}

impl Schedule for UniPc {
    fn timesteps(&self) -> &[f64] {
        self.path.timesteps()
    }

    fn add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        self.path.multistep_add_noise(i, original, noise)
    }

    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        let place = self.path.place(i);
        let (alpha, sigma) = self.path.alpha_sigma(place);
        let (of_sample, of_output) = match self.predicts_clean {
            true => tables::clean_weights(self.prediction, alpha, sigma),
            false => tables::epsilon_weights(self.prediction, alpha, sigma),
        };
        let predicted = weighted_sum(&[(of_sample, sample), (of_output, model_output)])?;
        // corrected first: the corrector's history ends with the prediction before this one
        let sample = self.correct(place, &predicted, sample)?;
        self.history.push(predicted);
        let order = self.order_at(place);
        let next = self.update(place, order, &sample, None)?;
        self.last = Some((sample, order));
        Ok(next)
    }

    fn sigmas(&self) -> Option<&[f64]> {
        Some(self.path.sigmas())
    }
}
