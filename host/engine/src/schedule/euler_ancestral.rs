//! Euler steps that overshoot and put fresh noise back. Follows diffusers `scheduling_euler_ancestral_discrete.py`
//! (k-diffusion `sample_euler_ancestral`).

use candle_core::Tensor;

use super::config::{FinalSigmas, Prediction, ScheduleConfig};
use super::euler::euler_step;
use super::sigmas::{SigmaPath, SigmaWalk};
use super::{tables, weighted_sum};
use crate::noise::NoiseSource;
use crate::{Error, Result};

/// `EulerAncestralDiscreteScheduler`.
pub(super) struct EulerAncestral {
    path: SigmaPath,
    prediction: Prediction,
    init_noise_sigma: f64,
}

impl EulerAncestral {
    pub(super) fn new(config: &ScheduleConfig, steps: usize, strength: Option<f64>) -> Result<Self> {
        if config.prediction_type == Prediction::Sample {
            return Err(Error::Unsupported {
                what: "scheduler setting",
                value: "prediction_type = sample with euler_ancestral".to_owned(),
                supported: "epsilon, v_prediction",
            });
        }
        // the class knows no other end than 0, whatever the file says
        let path = SigmaPath::euler(config, &tables::DDPM_BETAS, FinalSigmas::Zero, steps, strength)?;
        let init_noise_sigma = path.euler_init_noise_sigma(config.timestep_spacing);
        Ok(Self { path, prediction: config.prediction_type, init_noise_sigma })
    }
}

impl SigmaWalk for EulerAncestral {
    fn path(&self) -> &SigmaPath {
        &self.path
    }

    fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    /// Draws noise at every step, the last one included: diffusers does, and the next image's stream depends on it.
    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        let place = self.path.place(i);
        let sigma = self.path.sigma(place);
        let (down, up) = split(sigma as f32, self.path.sigma(place + 1) as f32);
        let [of_sample, of_output] =
            euler_step(self.prediction, sigma, f64::from(down), sample, model_output);
        let noise = noise.draw(model_output)?;
        weighted_sum(&[of_sample, of_output, (f64::from(up), &noise)])
    }
}

/// `(σ_down, σ_up)`: how far to denoise and how much noise to put back on the way to `to`. In f32 and diffusers'
/// order, because σ_down is a difference of near equals and its error is visible.
fn split(from: f32, to: f32) -> (f32, f32) {
    let up = (to * to * (from * from - to * to) / (from * from)).sqrt();
    // where rounding makes the difference negative, diffusers goes on with NaN
    ((to * to - up * up).max(0.0).sqrt(), up)
}
