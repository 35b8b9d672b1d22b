//! Linear multistep (Adams-Bashforth over uneven noise levels), up to fourth order. Follows diffusers
//! `scheduling_lms_discrete.py` (k-diffusion `sample_lms`).

use candle_core::Tensor;

use super::config::{Conversion, FinalSigmas, Prediction, ScheduleConfig};
use super::history::History;
use super::sigmas::{SigmaPath, SigmaWalk};
use super::{tables, weighted_sum};
use crate::Result;
use crate::noise::NoiseSource;

const ORDER: usize = 4;

/// `LMSDiscreteScheduler`.
pub(super) struct Lms {
    path: SigmaPath,
    prediction: Prediction,
    init_noise_sigma: f64,
    /// dx/dσ at the latest places.
    slopes: History,
}

impl Lms {
    pub(super) fn new(config: &ScheduleConfig, steps: usize, strength: Option<f64>) -> Result<Self> {
        let mut config = config.clone();
        // for these sigmas the class does not look at the file's bounds; for all others it does
        if config.conversion == Some(Conversion::Karras) {
            (config.sigma_min, config.sigma_max) = (None, None);
        }
        let path = SigmaPath::euler(&config, &tables::DDPM_BETAS, FinalSigmas::Zero, steps, strength)?;
        Ok(Self {
            init_noise_sigma: path.euler_init_noise_sigma(config.timestep_spacing),
            path: path.falling()?,
            prediction: config.prediction_type,
            slopes: History::new(ORDER),
        })
    }

    /// The weights of the slopes, the newest first: integrals of their Lagrange polynomials over the step.
    ///
    /// As in diffusers the order counts places of the whole path, so that an image-to-image run begins with weights of
    /// slopes that it does not have, and goes without them.
    fn weights(&self, place: usize) -> Vec<f64> {
        let order = ORDER.min(place + 1);
        let nodes: Vec<f64> = (0..order).map(|back| self.path.sigma(place - back)).collect();
        let (from, to) = (self.path.sigma(place), self.path.sigma(place + 1));
        (0..order).map(|own| integral(from, to, |sigma| lagrange(&nodes, own, sigma))).collect()
    }
}

/// The polynomial that is 1 at the node `own` and 0 at the others.
fn lagrange(nodes: &[f64], own: usize, at: f64) -> f64 {
    let others = nodes.iter().enumerate().filter(|(index, _)| *index != own);
    others.map(|(_, node)| (at - node) / (nodes[own] - node)).product()
}

/// By Gauss's two points, exact up to the third degree.
fn integral(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (middle, half) = ((from + to) / 2.0, (to - from) / 2.0);
    let aside = half / 3f64.sqrt();
    half * (f(middle - aside) + f(middle + aside))
}

impl SigmaWalk for Lms {
    fn path(&self) -> &SigmaPath {
        &self.path
    }

    fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    fn step(
        &mut self,
        i: usize,
        model_output: &Tensor,
        sample: &Tensor,
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor> {
        let place = self.path.place(i);
        let (of_sample, of_output) = tables::slope_weights_in_sigma(self.prediction, self.path.sigma(place));
        self.slopes.push(weighted_sum(&[(of_sample, sample), (of_output, model_output)])?);
        let weights = self.weights(place);
        let mut terms = vec![(1.0, sample)];
        terms.extend(self.slopes.weighted(&weights));
        weighted_sum(&terms)
    }
}
