//! The path of a run through noise levels, shared by the schedules that walk in sigma (all but DDIM, DDPM, PNDM, LCM and
//! TCD).
//!
//! Owns timesteps and sigmas of the whole run and where it begins. Knows nothing of how a step is taken.

use candle_core::Tensor;

use super::config::{BetaSchedule, Conversion, FinalSigmas, ScheduleConfig, Spacing};
use super::tables::{self, BetaDefaults};
use super::{Schedule, begin_index, weighted_sum};
use crate::noise::NoiseSource;
use crate::{Error, Result};

/// Timesteps with their sigmas, and one sigma more: the level after the last step.
pub(super) struct SigmaPath {
    timesteps: Vec<f64>,
    sigmas: Vec<f64>,
    /// The place of the first run timestep; above 0 where `strength` cuts the beginning off.
    begin: usize,
}

/// Which multistep or singlestep class a path is for; they differ in how they space and round timesteps.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Class {
    DpmMultistep,
    DpmSinglestep,
    UniPc,
}

impl Class {
    /// Timesteps where no sigmas are converted.
    fn timesteps(self, config: &ScheduleConfig, steps: usize) -> Vec<f64> {
        let spacing = config.timestep_spacing.unwrap_or(Spacing::Linspace);
        match self {
            Self::DpmMultistep => tables::spaced_for_multistep(config, spacing, last_timestep(config), steps),
            Self::DpmSinglestep => {
                tables::spaced_for_multistep(config, Spacing::Linspace, last_timestep(config), steps)
            }
            Self::UniPc => tables::spaced_for_multistep(config, spacing, config.num_train_timesteps, steps),
        }
    }

    /// How the timestep of a converted sigma becomes whole.
    fn whole(self, config: &ScheduleConfig, conversion: Conversion) -> fn(f64) -> f64 {
        let is_cosine = config.beta_schedule == Some(BetaSchedule::Cosine);
        match conversion {
            Conversion::Exponential | Conversion::Beta => f64::trunc,
            Conversion::Karras | Conversion::Lu if self == Self::DpmMultistep && is_cosine => f64::trunc,
            Conversion::Karras | Conversion::Lu => f64::round_ties_even,
        }
    }
}

impl SigmaPath {
    /// The path of the Euler classes and their kin, whose timesteps may be fractional.
    pub(super) fn euler(
        config: &ScheduleConfig,
        betas: &BetaDefaults,
        final_sigmas: FinalSigmas,
        steps: usize,
        strength: Option<f64>,
    ) -> Result<Self> {
        let table = table(config, betas);
        let spacing = config.timestep_spacing.unwrap_or(Spacing::Linspace);
        let mut timesteps = rounded_to_f32(tables::spaced(config, spacing, steps));
        let mut sigmas: Vec<f64> = timesteps.iter().map(|&t| tables::interpolate(&table, t)).collect();
        if let (Some(conversion), [max, .., min] | [max @ min]) = (config.conversion, sigmas.as_slice()) {
            sigmas = converted(config, conversion, *min, *max, steps);
            timesteps = rounded_to_f32(
                sigmas.iter().map(|&sigma| tables::sigma_to_timestep(sigma, &table)).collect(),
            );
        }
        sigmas.push(final_sigma(final_sigmas, table[0]));
        Self::given(timesteps, sigmas, begin_index(steps, strength)?)
    }

    /// The path of the multistep and singlestep solvers, whose timesteps are whole.
    pub(super) fn solver(
        config: &ScheduleConfig,
        class: Class,
        steps: usize,
        strength: Option<f64>,
    ) -> Result<Self> {
        let table = table(config, &tables::DDPM_BETAS);
        let mut lowest = table[0];
        let (timesteps, mut sigmas): (Vec<f64>, Vec<f64>) = match config.conversion {
            None => {
                let timesteps = class.timesteps(config, steps);
                let sigmas = timesteps.iter().map(|&t| tables::interpolate(&table, t)).collect();
                (timesteps, sigmas)
            }
            Some(conversion) => {
                let sigmas = converted(config, conversion, table[0], table[table.len() - 1], steps);
                let whole = class.whole(config, conversion);
                // a final `sigma_min` is the table's in the other classes
                if class == Class::UniPc {
                    lowest = sigmas[steps - 1];
                }
                let timestep = |&sigma: &f64| whole(tables::sigma_to_timestep(sigma, &table));
                (sigmas.iter().map(timestep).collect(), sigmas)
            }
        };
        sigmas.push(final_sigma(config.final_sigmas, lowest));
        Self::given(timesteps, sigmas, begin_index(steps, strength)?)?.falling()
    }

    /// A path that is known already: timesteps, their sigmas and one more, and the place where the run begins.
    pub(super) fn given(timesteps: Vec<f64>, sigmas: Vec<f64>, begin: usize) -> Result<Self> {
        if begin >= timesteps.len() {
            let reason = format!("there are {} timesteps, none after {begin}", timesteps.len());
            return Err(Error::Invalid { field: "steps", reason });
        }
        let (timesteps, sigmas) = (rounded_to_f32(timesteps), rounded_to_f32(sigmas));
        if !timesteps.iter().chain(&sigmas).all(|value| value.is_finite()) {
            let value = "betas or bounds that lead to infinite noise levels".to_owned();
            let supported = "finite noise levels";
            return Err(Error::Unsupported { what: "scheduler setting", value, supported });
        }
        Ok(Self { timesteps, sigmas, begin })
    }

    /// The path with a call at the end of every step but the last, before the next step begins there. A step is then two
    /// places, and the last step is one.
    pub(super) fn looking_ahead(self) -> Result<Self> {
        let last = self.len() - 1;
        let twice = |values: &[f64]| -> Vec<f64> {
            let each = values.iter().enumerate();
            each.flat_map(|(place, &value)| vec![value; if (1..=last).contains(&place) { 2 } else { 1 }])
                .collect()
        };
        Self::given(twice(&self.timesteps), twice(&self.sigmas), 2 * self.begin)
    }

    /// The path with ln(σ) / 4 for timesteps.
    pub(super) fn with_continuous_timesteps(mut self) -> Self {
        self.timesteps = self.sigmas[..self.len()].iter().map(|&sigma| continuous_timestep(sigma)).collect();
        self
    }

    /// Refuses a path that stands still before its end: solvers that look back divide by the distance gone.
    pub(super) fn falling(self) -> Result<Self> {
        if self.sigmas[..self.len()].windows(2).all(|pair| pair[1] < pair[0]) {
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
    pub(super) fn euler_add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        weighted_sum(&[(1.0, original), (self.sigma(self.place(i)), noise)])
    }

    /// `add_noise` of the multistep solvers, whose samples keep unit variance.
    pub(super) fn multistep_add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let (alpha, sigma) = self.alpha_sigma(self.place(i));
        weighted_sum(&[(alpha, original), (sigma, noise)])
    }
}

/// A schedule whose samples are clean + σ · noise, as those of the Euler classes. It walks a path and knows how to step;
/// the rest of a [`Schedule`] follows from the path.
pub(super) trait SigmaWalk: Send {
    fn path(&self) -> &SigmaPath;

    /// As [`Schedule::init_noise_sigma`]; depends on the spacing as it is in the file, so it is worked out once.
    fn init_noise_sigma(&self) -> f64;

    /// As [`Schedule::step`].
    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor>;
}

impl<W: SigmaWalk> Schedule for W {
    fn timesteps(&self) -> &[f64] {
        self.path().timesteps()
    }

    fn init_noise_sigma(&self) -> f64 {
        SigmaWalk::init_noise_sigma(self)
    }

    fn scale_model_input(&self, i: usize, sample: &Tensor) -> Result<Tensor> {
        self.path().euler_model_input(i, sample)
    }

    fn add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        self.path().euler_add_noise(i, original, noise)
    }

    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        SigmaWalk::step(self, i, model_output, sample, noise)
    }

    fn sigmas(&self) -> Option<&[f64]> {
        Some(self.path().sigmas())
    }
}

/// σ of every training timestep, lowest first.
fn table(config: &ScheduleConfig, betas: &BetaDefaults) -> Vec<f64> {
    tables::sigmas(&tables::alphas_cumprod_above_zero(config, betas))
}

/// `steps` sigmas between bounds, over which the file's win except with Lu's spacing.
fn converted(config: &ScheduleConfig, conversion: Conversion, min: f64, max: f64, steps: usize) -> Vec<f64> {
    let (min, max) = match conversion {
        Conversion::Lu => (min, max),
        _ => (config.sigma_min.unwrap_or(min), config.sigma_max.unwrap_or(max)),
    };
    tables::converted(conversion, min, max, steps)
}

/// One past the highest timestep whose λ is not below `lambda_min_clipped`.
fn last_timestep(config: &ScheduleConfig) -> usize {
    let lambda = |alpha: f64| 0.5 * (alpha / (1.0 - alpha)).ln();
    let alphas = tables::alphas_cumprod_above_zero(config, &tables::DDPM_BETAS);
    alphas.iter().filter(|&&alpha| lambda(alpha) >= config.lambda_min_clipped).count()
}

/// What models of continuous noise levels take for a timestep.
pub(super) fn continuous_timestep(sigma: f64) -> f64 {
    f64::from(0.25 * (sigma as f32).ln())
}

fn final_sigma(kind: FinalSigmas, lowest: f64) -> f64 {
    match kind {
        FinalSigmas::Zero => 0.0,
        FinalSigmas::SigmaMin => lowest,
    }
}

/// As diffusers keeps them in its f32 tensors.
fn rounded_to_f32(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|value| f64::from(value as f32)).collect()
}
