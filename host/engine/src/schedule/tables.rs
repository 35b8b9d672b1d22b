//! The tables under every schedule: betas, the running product of alphas, sigmas, and numpy's ways to space numbers.
//!
//! Pure functions of plain numbers. Where diffusers computes in f32 (torch) this does too, with torch's order of
//! operations, because the product of a thousand roundings is visible; where it computes in f64 (numpy) this does.

use super::beta;
use super::config::{BetaSchedule, Conversion, Prediction, ScheduleConfig, Spacing};

/// What a class assumes about its betas when the file does not say.
pub(super) struct BetaDefaults {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) schedule: BetaSchedule,
}

/// The defaults of most diffusers classes.
pub(super) const DDPM_BETAS: BetaDefaults =
    BetaDefaults { start: 0.0001, end: 0.02, schedule: BetaSchedule::Linear };

/// ᾱ of every training timestep, as f32 values.
pub(super) fn alphas_cumprod(config: &ScheduleConfig, defaults: &BetaDefaults) -> Vec<f64> {
    let mut betas = betas(config, defaults);
    if config.rescale_betas_zero_snr {
        betas = rescale_zero_terminal_snr(&betas);
    }
    cumprod_of_alphas(&betas).into_iter().map(f64::from).collect()
}

/// ᾱ with the last one lifted off zero (2⁻²⁴), as the classes that divide by it do for zero terminal SNR.
pub(super) fn alphas_cumprod_above_zero(config: &ScheduleConfig, defaults: &BetaDefaults) -> Vec<f64> {
    let mut alphas = alphas_cumprod(config, defaults);
    if config.rescale_betas_zero_snr {
        alphas.pop();
        alphas.push(2f64.powi(-24));
    }
    alphas
}

/// σ = √((1 - ᾱ) / ᾱ) of every training timestep, rounded at each operation as torch's f32.
pub(super) fn sigmas(alphas_cumprod: &[f64]) -> Vec<f64> {
    let sigma = |alpha: f32| ((1.0 - alpha) / alpha).sqrt();
    alphas_cumprod.iter().map(|&alpha| f64::from(sigma(alpha as f32))).collect()
}

fn betas(config: &ScheduleConfig, defaults: &BetaDefaults) -> Vec<f32> {
    if let Some(trained) = &config.trained_betas {
        return trained.iter().map(|&beta| beta as f32).collect();
    }
    let (start, end) = (config.beta_start.unwrap_or(defaults.start), config.beta_end.unwrap_or(defaults.end));
    let count = config.num_train_timesteps;
    match config.beta_schedule.unwrap_or(defaults.schedule) {
        BetaSchedule::Linear => torch_linspace(start, end, count),
        BetaSchedule::ScaledLinear => {
            torch_linspace(start.sqrt(), end.sqrt(), count).into_iter().map(|root| root * root).collect()
        }
        BetaSchedule::Cosine => cosine_betas(count),
    }
}

/// `betas_for_alpha_bar`: the cosine schedule of <https://arxiv.org/abs/2102.09672>, capped at 0.999.
fn cosine_betas(count: usize) -> Vec<f32> {
    let alpha_bar = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::PI / 2.0).cos().powi(2);
    let time = |i: usize| i as f64 / count as f64;
    (0..count).map(|i| (1.0 - alpha_bar(time(i + 1)) / alpha_bar(time(i))).min(0.999) as f32).collect()
}

/// Algorithm 1 of <https://arxiv.org/abs/2305.08891>: the last timestep becomes pure noise.
fn rescale_zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let mut roots: Vec<f32> = cumprod_of_alphas(betas).into_iter().map(f32::sqrt).collect();
    let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else { return Vec::new() };
    let scale = first / (first - last);
    roots.iter_mut().for_each(|root| *root = (*root - last) * scale);
    let bars: Vec<f32> = roots.into_iter().map(|root| root * root).collect();
    let previous = std::iter::once(&1.0).chain(&bars);
    bars.iter().zip(previous).map(|(bar, previous)| 1.0 - bar / previous).collect()
}

/// `torch.cumprod(1 - betas)`: the factors are f32, the running product is f64, each result is rounded to f32.
fn cumprod_of_alphas(betas: &[f32]) -> Vec<f32> {
    let multiply = |product: &mut f64, &beta: &f32| {
        *product *= f64::from(1.0 - beta);
        Some(*product as f32)
    };
    betas.iter().scan(1.0, multiply).collect()
}

/// `torch.linspace` in f32: from both ends towards the middle, with fused multiply-adds.
pub(super) fn torch_linspace(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    if count == 1 {
        return vec![start];
    }
    let step = (end - start) / (count - 1) as f32;
    let at = |i: usize| match i < count / 2 {
        true => step.mul_add(i as f32, start),
        false => step.mul_add(-((count - 1 - i) as f32), end),
    };
    (0..count).map(at).collect()
}

/// `numpy.linspace(start, stop, count)`.
pub(super) fn linspace(start: f64, stop: f64, count: usize) -> Vec<f64> {
    let step = (stop - start) / (count.max(2) - 1) as f64;
    let mut values: Vec<f64> = (0..count).map(|i| i as f64 * step + start).collect();
    if let [_, .., last] = values.as_mut_slice() {
        *last = stop;
    }
    values
}

/// `numpy.arange(start, 0, -step)`, with its rounding: every value is `start` plus a multiple of the first difference.
fn descending(start: f64, step: f64) -> Vec<f64> {
    let difference = (start - step) - start;
    (0..(start / step).ceil() as usize).map(|i| start + i as f64 * difference).collect()
}

/// Timesteps, highest first, as DDIM and Euler space them; `linspace` ones are left unrounded.
pub(super) fn spaced(config: &ScheduleConfig, spacing: Spacing, steps: usize) -> Vec<f64> {
    let train = config.num_train_timesteps;
    match spacing {
        Spacing::Linspace => linspace(0.0, (train - 1) as f64, steps).into_iter().rev().collect(),
        Spacing::Leading => {
            let ratio = train / steps;
            (0..steps).rev().map(|i| (i * ratio + config.steps_offset) as f64).collect()
        }
        Spacing::Trailing => trailing(train, train as f64 / steps as f64),
    }
}

/// Timesteps, highest first, as the multistep solvers space them: as if for one step more, whose timestep, 0, is left
/// out. `last` is one past the highest.
pub(super) fn spaced_for_multistep(
    config: &ScheduleConfig,
    spacing: Spacing,
    last: usize,
    steps: usize,
) -> Vec<f64> {
    match spacing {
        Spacing::Linspace => {
            let all = linspace(0.0, last.saturating_sub(1) as f64, steps + 1);
            all.into_iter().skip(1).rev().map(f64::round_ties_even).collect()
        }
        Spacing::Leading => {
            let ratio = last / (steps + 1);
            (1..=steps).rev().map(|i| (i * ratio + config.steps_offset) as f64).collect()
        }
        Spacing::Trailing => trailing(last, config.num_train_timesteps as f64 / steps as f64),
    }
}

/// Deliberately not diffusers' for a few counts, such as 61: there `arange` gains an entry by rounding, and the run goes
/// on to a timestep -1 that no model knows.
fn trailing(last: usize, ratio: f64) -> Vec<f64> {
    let rounded = descending(last as f64, ratio).into_iter().map(|t| t.round_ties_even() - 1.0);
    rounded.filter(|&t| t >= 0.0).collect()
}

/// `numpy.interp(t, arange(len), table)`: linear between entries, the end value outside.
pub(super) fn interpolate(table: &[f64], t: f64) -> f64 {
    let last = table.len() - 1;
    let low = (t.max(0.0) as usize).min(last);
    if low == last || t <= 0.0 {
        return table[low];
    }
    (table[low + 1] - table[low]) * (t - low as f64) + table[low]
}

/// Sigmas from `max` down to `min`, spaced as the conversion says.
pub(super) fn converted(conversion: Conversion, min: f64, max: f64, count: usize) -> Vec<f64> {
    let between =
        |start, stop, f: &dyn Fn(f64) -> f64| linspace(start, stop, count).into_iter().map(f).collect();
    match conversion {
        Conversion::Karras => between(0.0, 1.0, &|ramp| karras(min, max, 7.0, ramp)),
        Conversion::Exponential => between(max.ln(), min.ln(), &f64::exp),
        // diffusers has these logarithms in f32
        Conversion::Lu => between(f64::from((max as f32).ln()), f64::from((min as f32).ln()), &f64::exp),
        Conversion::Beta => between(0.0, 1.0, &|ramp| min + beta::quantile(1.0 - ramp) * (max - min)),
    }
}

/// The sigma at `ramp` of 0..=1 between `max` and `min`, evenly in σ^(1/ρ).
pub(super) fn karras(min: f64, max: f64, rho: f64, ramp: f64) -> f64 {
    let (low, high) = (min.powf(1.0 / rho), max.powf(1.0 / rho));
    (high + ramp * (low - high)).powf(rho)
}

/// The fractional timestep whose sigma is `sigma`, by interpolation in log σ over the rising `table`.
pub(super) fn sigma_to_timestep(sigma: f64, table: &[f64]) -> f64 {
    // diffusers keeps the logarithms of its table in f32
    let log = |index: usize| (table[index] as f32).ln();
    let log_sigma = sigma.max(1e-10).ln();
    let not_above = (0..table.len()).take_while(|&index| log_sigma - f64::from(log(index)) >= 0.0).count();
    let low = not_above.saturating_sub(1).min(table.len().saturating_sub(2));
    let high = (low + 1).min(table.len() - 1);
    let share = (f64::from(log(low)) - log_sigma) / f64::from(log(low) - log(high));
    let share = share.clamp(0.0, 1.0);
    (1.0 - share) * low as f64 + share * high as f64
}

/// Weights `(of the sample, of the model output)` that give the predicted clean sample, for a sample that is
/// α · clean + σ · noise with α² + σ² = 1.
pub(super) fn clean_weights(prediction: Prediction, alpha: f64, sigma: f64) -> (f64, f64) {
    match prediction {
        Prediction::Epsilon => (1.0 / alpha, -sigma / alpha),
        Prediction::Velocity => (alpha, -sigma),
        Prediction::Sample => (0.0, 1.0),
    }
}

/// Weights `(of the sample, of the model output)` that give the noise, for the same sample.
pub(super) fn epsilon_weights(prediction: Prediction, alpha: f64, sigma: f64) -> (f64, f64) {
    match prediction {
        Prediction::Epsilon => (0.0, 1.0),
        Prediction::Velocity => (sigma, alpha),
        Prediction::Sample => (1.0 / sigma, -alpha / sigma),
    }
}

/// As [`clean_weights`] for a sample that is clean + σ · noise.
pub(super) fn clean_weights_in_sigma(prediction: Prediction, sigma: f64) -> (f64, f64) {
    let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
    match prediction {
        Prediction::Epsilon => (1.0, -sigma),
        Prediction::Velocity => (alpha * alpha, -sigma * alpha),
        Prediction::Sample => (0.0, 1.0),
    }
}

/// Weights that give dx/dσ of such a sample: away from the clean one, divided by σ.
pub(super) fn slope_weights_in_sigma(prediction: Prediction, sigma: f64) -> (f64, f64) {
    let (of_sample, of_output) = clean_weights_in_sigma(prediction, sigma);
    ((1.0 - of_sample) / sigma, -of_output / sigma)
}
