//! Pseudo numerical methods for diffusion models (<https://arxiv.org/abs/2202.09778>): DDIM's step with the noise of a
//! linear multistep method (PLMS), begun by a Runge-Kutta method (PRK) or, with `skip_prk_steps`, by a step that is done
//! twice. Follows diffusers `scheduling_pndm.py`.
//!
//! Every model call is an entry of `timesteps`: one more than there are steps with `skip_prk_steps`, nine more without.
//! As in diffusers an image-to-image run begins in the same way with the second of its entries, wherever that is.

use candle_core::Tensor;

use super::config::{Prediction, ScheduleConfig, Spacing};
use super::ddim::check_timesteps;
use super::history::History;
use super::{Schedule, begin_index, noised, tables, weighted_sum};
use crate::noise::NoiseSource;
use crate::{Error, Result};

/// Steps that Runge-Kutta takes, and the order of the multistep method.
const ORDER: usize = 4;
/// Model calls of the Runge-Kutta steps, which are three: the last of the four is the first of the multistep method.
const RUNGE_KUTTA_CALLS: usize = 12;
/// Weights of the last predictions, the newest first, by how many there are: Adams-Bashforth.
const WEIGHTS: [&[f64]; ORDER] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

/// `PNDMScheduler`.
pub(super) struct Pndm {
    /// ᾱ of every training timestep.
    alphas: Vec<f64>,
    /// ᾱ after the last step.
    final_alpha: f64,
    timesteps: Vec<f64>,
    /// Where the step at each call leads.
    moves: Vec<Move>,
    takes_velocity: bool,
    predictions: History,
    /// The sample from which a step that takes several calls began.
    begun: Option<Tensor>,
    /// What a Runge-Kutta step has gathered so far.
    gathered: Option<Tensor>,
}

/// From one training timestep to another, or to the end.
#[derive(Clone, Copy)]
struct Move {
    from: usize,
    to: Option<usize>,
    role: Role,
}

/// What a call is for.
#[derive(Clone, Copy)]
enum Role {
    /// The stage of a Runge-Kutta step, 0 to 3.
    RungeKutta(usize),
    Multistep,
    /// Does the first step again with the mean of both predictions.
    Again,
}

impl Pndm {
    pub(super) fn new(config: &ScheduleConfig, steps: usize, strength: Option<f64>) -> Result<Self> {
        Self::beginning_at(config, steps, begin_index(steps, strength)?)
    }

    /// The run from its call `begin` on.
    pub(super) fn beginning_at(config: &ScheduleConfig, steps: usize, begin: usize) -> Result<Self> {
        if config.prediction_type == Prediction::Sample {
            return Err(Error::Unsupported {
                what: "scheduler setting",
                value: "prediction_type = sample with pndm".to_owned(),
                supported: "epsilon, v_prediction",
            });
        }
        let alphas = tables::alphas_cumprod(config, &tables::DDPM_BETAS);
        let spacing = config.timestep_spacing.unwrap_or(Spacing::Leading);
        let steps_down: Vec<i64> =
            tables::spaced(config, spacing, steps).into_iter().map(|t| t.round_ties_even() as i64).collect();
        let stride = (config.num_train_timesteps / steps) as i64;
        let (timesteps, moves) = match config.skip_prk_steps {
            true => multistep_calls(&steps_down, begin, stride),
            false => runge_kutta_calls(&steps_down, begin, stride)?,
        };
        // below 0 is the end
        let ends = moves.iter().flat_map(|(from, to, _)| [*from as f64, (*to).max(0) as f64]);
        check_timesteps(&ends.collect::<Vec<_>>(), &alphas, config.prediction_type)?;
        let checked = |(from, to, role): (i64, i64, Role)| Move {
            from: from as usize,
            to: usize::try_from(to).ok(),
            role,
        };
        Ok(Self {
            moves: moves.into_iter().map(checked).collect(),
            timesteps: timesteps.into_iter().map(|t| t as f64).collect(),
            final_alpha: if config.set_alpha_to_one.unwrap_or(false) { 1.0 } else { alphas[0] },
            alphas,
            takes_velocity: config.prediction_type == Prediction::Velocity,
            predictions: History::new(ORDER),
            begun: None,
            gathered: None,
        })
    }

    /// DDIM's step with `noise`, the mean of what the model said: equation 11 of the paper.
    fn follow(&self, way: Move, sample: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let bar = self.alphas[way.from];
        let bar_after = way.to.map_or(self.final_alpha, |to| self.alphas[to]);
        let (rest, rest_after) = (1.0 - bar, 1.0 - bar_after);
        let of_noise = -(bar_after - bar) / (bar * rest_after.sqrt() + (bar * rest * bar_after).sqrt());
        let (of_sample, of_output) = match self.takes_velocity {
            true => (of_noise * rest.sqrt(), of_noise * bar.sqrt()),
            false => (0.0, of_noise),
        };
        weighted_sum(&[((bar_after / bar).sqrt() + of_sample, sample), (of_output, noise)])
    }

    /// What a Runge-Kutta stage steps with: its own prediction, and at the last stage the weighted mean of all four.
    fn gather(&mut self, stage: usize, model_output: &Tensor) -> Result<Tensor> {
        let share = if stage == 0 || stage == 3 { 1.0 / 6.0 } else { 1.0 / 3.0 };
        let mut terms = vec![(share, model_output)];
        let before = self.gathered.take();
        terms.extend(before.iter().map(|gathered| (1.0, gathered)));
        let gathered = weighted_sum(&terms)?;
        if stage == 3 {
            return Ok(gathered);
        }
        self.gathered = Some(gathered);
        Ok(model_output.clone())
    }
}

type Calls = (Vec<i64>, Vec<(i64, i64, Role)>);

/// The second timestep is asked twice: once to correct the first step, once to go on.
fn multistep_calls(steps_down: &[i64], begin: usize, stride: i64) -> Calls {
    let again = steps_down.iter().take(2).skip(1);
    let all = steps_down.iter().take(2).chain(again).chain(steps_down.iter().skip(2));
    let timesteps: Vec<i64> = all.skip(begin).copied().collect();
    let way = |(call, &t): (usize, &i64)| match call {
        1 => (t + stride, t, Role::Again),
        _ => (t, t - stride, Role::Multistep),
    };
    let moves = timesteps.iter().enumerate().map(way).collect();
    (timesteps, moves)
}

/// # Errors
/// [`Error::Invalid`] for a run that begins within the Runge-Kutta steps, or is too short for them.
fn runge_kutta_calls(steps_down: &[i64], begin: usize, stride: i64) -> Result<Calls> {
    if steps_down.len() < ORDER {
        let reason = format!("pndm takes {ORDER} or more unless its file says `skip_prk_steps`");
        return Err(Error::Invalid { field: "steps", reason });
    }
    if begin > 0 {
        let reason = "pndm runs whole unless its file says `skip_prk_steps`; use 1, or ddim".to_owned();
        return Err(Error::Invalid { field: "strength", reason });
    }
    let half = stride / 2;
    let (mut timesteps, mut moves) = (Vec::new(), Vec::new());
    for step in steps_down[..ORDER].windows(2) {
        let (from, to) = (step[0], step[1]);
        for (stage, t) in [from, to + half, to + half, to].into_iter().enumerate() {
            timesteps.push(t);
            let ahead = if stage % 2 == 0 { t - half } else { t };
            moves.push((from, ahead, Role::RungeKutta(stage)));
        }
    }
    debug_assert_eq!(timesteps.len(), RUNGE_KUTTA_CALLS);
    for &t in &steps_down[ORDER - 1..] {
        timesteps.push(t);
        moves.push((t, t - stride, Role::Multistep));
    }
    Ok((timesteps, moves))
}

impl Schedule for Pndm {
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
        let way = self.moves[i];
        match way.role {
            Role::RungeKutta(stage) => {
                if stage == 0 {
                    self.predictions.push(model_output.clone());
                    self.begun = Some(sample.clone());
                }
                let noise = self.gather(stage, model_output)?;
                self.follow(way, self.begun.as_ref().unwrap_or(sample), &noise)
            }
            Role::Multistep => {
                self.predictions.push(model_output.clone());
                if i == 0 {
                    self.begun = Some(sample.clone());
                }
                let weights = WEIGHTS[self.predictions.len() - 1];
                let terms: Vec<_> = self.predictions.weighted(weights).collect();
                self.follow(way, sample, &weighted_sum(&terms)?)
            }
            Role::Again => {
                let mut terms = vec![(0.5, model_output)];
                terms.extend(self.predictions.weighted(&[0.5]));
                let noise = weighted_sum(&terms)?;
                let begun = self.begun.take();
                self.follow(way, begun.as_ref().unwrap_or(sample), &noise)
            }
        }
    }
}
