//! The path of a run through noise levels, shared by the schedules that walk in sigma (all but DDIM and LCM).
//!
//! Owns timesteps and sigmas of the whole run and where it begins. Knows nothing of how a step is taken.

use candle_core::Tensor;

use super::config::{BetaSchedule, FinalSigmas, ScheduleConfig, Spacing};
use super::{begin_index, tables, weighted_sum};
use crate::{Error, Result};

/// Timesteps with their sigmas, and one sigma more: the level after the last step.
pub(super) struct SigmaPath {
    timesteps: Vec<f64>,
    sigmas: Vec<f64>,
    /// The place of the first run timestep; above 0 where `strength` cuts the beginning off.
    begin: usize,
}

/// Which multistep solver a path is for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Solver {
    DpmSolver,
    UniPc,
}

impl SigmaPath {
    /// The path of the Euler classes, whose timesteps may be fractional.
    pub(super) fn euler(
        config: &ScheduleConfig,
        use_karras: bool,
        final_sigmas: FinalSigmas,
        steps: usize,
        strength: Option<f64>,
    ) -> Result<Self> {
        let table = tables::sigmas(&tables::alphas_cumprod_above_zero(config));
        let spacing = config.timestep_spacing.unwrap_or(Spacing::Linspace);
        let mut timesteps = rounded_to_f32(tables::spaced(config, spacing, steps));
        let mut sigmas: Vec<f64> = timesteps.iter().map(|&t| tables::interpolate(&table, t)).collect();
        if let (true, [max, .., min] | [max @ min]) = (use_karras, sigmas.as_slice()) {
            sigmas = karras(config, *min, *max, steps);
            timesteps = rounded_to_f32(
                sigmas.iter().map(|&sigma| tables::sigma_to_timestep(sigma, &table)).collect(),
            );
        }
        sigmas.push(final_sigma(final_sigmas, &table));
        Self::new(timesteps, sigmas, steps, strength)
    }

    /// The path of the multistep solvers with the given integer timesteps.
    pub(super) fn multistep(
        config: &ScheduleConfig,
        timesteps: Vec<f64>,
        steps: usize,
        strength: Option<f64>,
    ) -> Result<Self> {
        let table = tables::sigmas(&tables::alphas_cumprod_above_zero(config));
        let mut sigmas: Vec<f64> = timesteps.iter().map(|&t| tables::interpolate(&table, t)).collect();
        sigmas.push(final_sigma(config.final_sigmas, &table));
        Self::new(timesteps, sigmas, steps, strength)?.falling()
    }

    /// The path of the multistep solvers over Karras sigmas, in which they differ: DPM-Solver cuts the timesteps of
    /// cosine betas off instead of rounding them, and a final `sigma_min` is the table's there, the path's in UniPC.
    pub(super) fn multistep_karras(
        config: &ScheduleConfig,
        solver: Solver,
        steps: usize,
        strength: Option<f64>,
    ) -> Result<Self> {
        let table = tables::sigmas(&tables::alphas_cumprod_above_zero(config));
        let mut sigmas = karras(config, table[0], table[table.len() - 1], steps);
        let cuts_off = solver == Solver::DpmSolver && config.beta_schedule == Some(BetaSchedule::Cosine);
        let round = if cuts_off { f64::trunc } else { f64::round_ties_even };
        let timesteps = sigmas.iter().map(|&sigma| round(tables::sigma_to_timestep(sigma, &table))).collect();
        let lowest = if solver == Solver::UniPc { &sigmas[steps - 1..] } else { &table[..1] };
        sigmas.push(final_sigma(config.final_sigmas, lowest));
        Self::new(timesteps, sigmas, steps, strength)?.falling()
    }

    fn new(timesteps: Vec<f64>, sigmas: Vec<f64>, steps: usize, strength: Option<f64>) -> Result<Self> {
        let begin = begin_index(steps, strength)?;
        if begin >= timesteps.len() {
            let reason = format!("{steps} steps have {} timesteps, none after {begin}", timesteps.len());
            return Err(Error::Invalid { field: "steps", reason });
        }
        Ok(Self { timesteps, sigmas: rounded_to_f32(sigmas), begin })
    }

    /// Refuses a path that stands still before its end: solvers that look back divide by the distance gone.
    fn falling(self) -> Result<Self> {
        if self.sigmas[self.begin..self.len()].windows(2).all(|pair| pair[1] < pair[0]) {
            return Ok(self);
        }
        let reason = format!("{} steps visit a noise level twice; use fewer", self.timesteps.len());
        Err(Error::Invalid { field: "steps", reason })
    }

    /// The timesteps that are run.
    pub(super) fn timesteps(&self) -> &[f64] {
        &self.timesteps[self.begin..]
    }

    /// The sigmas of the timesteps that are run, and the last one.
    pub(super) fn sigmas(&self) -> &[f64] {
        &self.sigmas[self.begin..]
    }

    /// The place of run timestep `i` in the whole path.
    pub(super) fn place(&self, i: usize) -> usize {
        self.begin + i
    }

    /// How many timesteps the whole path has.
    pub(super) fn len(&self) -> usize {
        self.timesteps.len()
    }

    /// Sigma at a place of the whole path.
    pub(super) fn sigma(&self, place: usize) -> f64 {
        self.sigmas[place]
    }

    /// `(α, σ)` with α² + σ² = 1 at a place of the whole path.
    pub(super) fn alpha_sigma(&self, place: usize) -> (f64, f64) {
        let sigma = self.sigmas[place];
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        (alpha, sigma * alpha)
    }

    /// λ = ln(α / σ), half the log signal-to-noise ratio; infinite at a final sigma of 0.
    pub(super) fn lambda(&self, place: usize) -> f64 {
        -self.sigmas[place].ln()
    }

    /// `init_noise_sigma` of the Euler classes, whose samples are clean + σ · noise.
    pub(super) fn euler_init_noise_sigma(&self, config_spacing: Option<Spacing>) -> f64 {
        let max = self.sigmas.iter().copied().fold(0.0, f64::max);
        match config_spacing.unwrap_or(Spacing::Linspace) {
            Spacing::Linspace | Spacing::Trailing => max,
            Spacing::Leading => (max * max + 1.0).sqrt(),
        }
    }

    /// `scale_model_input` of the Euler classes: unit variance.
    pub(super) fn euler_model_input(&self, i: usize, sample: &Tensor) -> Result<Tensor> {
        weighted_sum(&[(self.alpha_sigma(self.place(i)).0, sample)])
    }

    /// `add_noise` of the Euler classes.
    pub(super) fn euler_add_noise(&self, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        weighted_sum(&[(1.0, original), (self.sigma(self.begin), noise)])
    }

    /// `add_noise` of the multistep solvers, whose samples keep unit variance.
    pub(super) fn multistep_add_noise(&self, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let (alpha, sigma) = self.alpha_sigma(self.begin);
        weighted_sum(&[(alpha, original), (sigma, noise)])
    }
}

/// The file's bounds win over those of the table.
fn karras(config: &ScheduleConfig, min: f64, max: f64, steps: usize) -> Vec<f64> {
    tables::karras(config.sigma_min.unwrap_or(min), config.sigma_max.unwrap_or(max), steps)
}

fn final_sigma(kind: FinalSigmas, lowest_first: &[f64]) -> f64 {
    match kind {
        FinalSigmas::Zero => 0.0,
        FinalSigmas::SigmaMin => lowest_first[0],
    }
}

/// As diffusers keeps them in its f32 tensors.
fn rounded_to_f32(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|value| f64::from(value as f32)).collect()
}
