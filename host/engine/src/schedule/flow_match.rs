//! Euler's method on the straight lines of flow matching (<https://arxiv.org/abs/2403.03206>): a sample is
//! (1 - σ) · clean + σ · noise, and the model predicts noise - clean. Follows diffusers
//! `scheduling_flow_match_euler_discrete.py`; which sigmas it is asked for and where an image-to-image run begins follow
//! `pipelines/flux/pipeline_flux.py` and `pipeline_flux_img2img.py`.

use candle_core::Tensor;

use super::config::{DynamicShift, FlowConfig, ScheduleConfig};
use super::sigmas::SigmaPath;
use super::{Schedule, check_strength, no_steps_left, tables, weighted_sum};
use crate::noise::NoiseSource;
use crate::{Error, Result};

/// `FlowMatchEulerDiscreteScheduler`.
pub(super) struct FlowMatchEuler {
    path: SigmaPath,
    /// Whether a step goes to the clean sample and back with fresh noise.
    is_stochastic: bool,
}

impl FlowMatchEuler {
    pub(super) fn new(config: &ScheduleConfig, steps: usize, strength: Option<f64>) -> Result<Self> {
        let round = rounding(config);
        let mut sigmas = shifted(config, steps, round)?;
        if let Some(terminal) = config.flow.shift_terminal {
            stretch(&mut sigmas, terminal, round);
        }
        if let (Some(conversion), [max, .., min] | [max @ min]) = (config.conversion, sigmas.as_slice()) {
            let (min, max) = (config.sigma_min.unwrap_or(*min), config.sigma_max.unwrap_or(*max));
            sigmas = tables::converted(conversion, min, max, steps);
        }
        if !sigmas.iter().all(|&sigma| sigma > 0.0 && sigma.is_finite()) {
            let value = format!("shift over {steps} steps, which leaves 0 to 1");
            let supported = "another shift, or fewer steps";
            return Err(Error::Unsupported { what: "scheduler setting", value, supported });
        }
        let train = config.num_train_timesteps as f32;
        let timesteps = sigmas.iter().map(|&sigma| f64::from(sigma as f32 * train)).collect();
        sigmas.push(0.0);
        Ok(Self {
            path: SigmaPath::given(timesteps, sigmas, begin(steps, strength)?)?,
            is_stochastic: config.flow.stochastic_sampling,
        })
    }
}

/// The first step to run, rounded down where the other pipelines round up, so that one is always left.
fn begin(steps: usize, strength: Option<f64>) -> Result<usize> {
    let strength = check_strength(strength)?;
    let run = (steps as f64 * strength).min(steps as f64);
    let begin = (steps as f64 - run) as usize;
    if begin < steps { Ok(begin) } else { Err(no_steps_left(steps, strength)) }
}

/// What becomes of every result on the way to the sigmas: those of the pipeline are f32, and near 1 it shows.
fn rounding(config: &ScheduleConfig) -> fn(f64) -> f64 {
    if config.image_tokens.is_some() { |value| f64::from(value as f32) } else { |value| value }
}

/// The sigmas before they are stretched or converted.
fn shifted(config: &ScheduleConfig, steps: usize, round: fn(f64) -> f64) -> Result<Vec<f64>> {
    let FlowConfig { shift, dynamic, .. } = config.flow;
    let constant = |sigma: f64| {
        let (above, below) = (round(round(shift) * sigma), round(round(shift - 1.0) * sigma));
        round(above / round(1.0 + below))
    };
    let Some(tokens) = config.image_tokens else {
        if dynamic.is_some() {
            let value = "use_dynamic_shifting = true without a picture's size".to_owned();
            let supported = "the pipelines that have one";
            return Err(Error::Unsupported { what: "scheduler setting", value, supported });
        }
        // the class's own: from its highest to its lowest sigma, which are shifted already and now are again
        let train = config.num_train_timesteps as f64;
        let bound = |sigma: f64| f64::from(constant(sigma) as f32) * train;
        let even = tables::linspace(bound(1.0), bound(1.0 / train), steps);
        return Ok(even.into_iter().map(|t| constant(t / train)).collect());
    };
    let even = tables::linspace(1.0, 1.0 / steps as f64, steps).into_iter();
    let even = even.map(round);
    Ok(match dynamic {
        None => even.map(constant).collect(),
        Some(dynamic) => {
            let factor = round(dynamic.factor(tokens));
            even.map(|sigma| round(factor / round(factor + round(round(1.0 / sigma) - 1.0)))).collect()
        }
    })
}

impl DynamicShift {
    /// `calculate_shift` of the pipeline gives μ; the scheduler shifts by it or by e^μ.
    fn factor(self, tokens: usize) -> f64 {
        let slope = (self.max_shift - self.base_shift) / (self.max_tokens - self.base_tokens);
        let mu = self.base_shift + slope * (tokens as f64 - self.base_tokens);
        if self.is_linear { mu } else { mu.exp() }
    }
}

/// Stretches the way from 1 so that its last sigma becomes `terminal`.
fn stretch(sigmas: &mut [f64], terminal: f64, round: fn(f64) -> f64) {
    let Some(&last) = sigmas.last() else { return };
    let scale = round(round(1.0 - last) / round(1.0 - terminal));
    // a single step is at 1 and has no way to stretch
    if scale > 0.0 {
        sigmas.iter_mut().for_each(|sigma| *sigma = round(1.0 - round(round(1.0 - *sigma) / scale)));
    }
}

impl Schedule for FlowMatchEuler {
    fn timesteps(&self) -> &[f64] {
        self.path.timesteps()
    }

    fn add_noise(&self, i: usize, original: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let sigma = self.path.sigma(self.path.place(i));
        weighted_sum(&[(1.0 - sigma, original), (sigma, noise)])
    }

    /// Draws noise at every step, the last one included, if the file says `stochastic_sampling`.
    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        let place = self.path.place(i);
        let (sigma, next) = (self.path.sigma(place), self.path.sigma(place + 1));
        if !self.is_stochastic {
            return weighted_sum(&[(1.0, sample), (next - sigma, model_output)]);
        }
        let kept = 1.0 - next;
        let noise = noise.draw(sample)?;
        weighted_sum(&[(kept, sample), (-kept * sigma, model_output), (next, &noise)])
    }

    fn sigmas(&self) -> Option<&[f64]> {
        Some(self.path.sigmas())
    }
}
