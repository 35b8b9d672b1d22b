//! One update of DPM-Solver++ and of its stochastic form, shared by the multistep and the singlestep schedules.
//!
//! Owns the weights and which settings of a file there are. Knows nothing of where a step begins and what it looks at.

use super::config::ScheduleConfig;
use crate::{Error, Result};

/// Which of the updates of the reference's tables.
#[derive(Clone, Copy)]
pub(super) struct Variant {
    /// `sde-dpmsolver++` rather than `dpmsolver++`: the name decides.
    pub(super) is_stochastic: bool,
    /// `solver_type = heun` rather than `midpoint`.
    pub(super) is_heun: bool,
}

/// Weights of a step from one noise level to another.
pub(super) struct Update {
    /// Of the sample where the step begins.
    pub(super) sample: f64,
    /// Of the clean sample predicted there.
    pub(super) clean: f64,
    /// Of the slope of the predictions, which is per whole step.
    pub(super) slope: f64,
    /// Of fresh noise; 0 without it.
    pub(super) noise: f64,
}

impl Variant {
    /// What a file says, with what diffusers maps.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for the variants that the names do not promise.
    pub(super) fn new(config: &ScheduleConfig, is_stochastic: bool) -> Result<Self> {
        let refuse = |key: &str, value: &str, supported| {
            Err(Error::Unsupported {
                what: "scheduler setting",
                value: format!("{key} = {value}"),
                supported,
            })
        };
        match config.algorithm_type.as_deref() {
            None | Some("dpmsolver++" | "sde-dpmsolver++" | "deis") => {}
            Some(other) => return refuse("algorithm_type", other, "dpmsolver++, sde-dpmsolver++"),
        }
        let is_heun = match config.solver_type.as_deref() {
            None | Some("midpoint" | "logrho" | "bh1" | "bh2") => false,
            Some("heun") => true,
            Some(other) => return refuse("solver_type", other, "midpoint, heun"),
        };
        match config.solver_order {
            1 | 2 => Ok(Self { is_stochastic, is_heun }),
            other => refuse("solver_order", &other.to_string(), "1, 2"),
        }
    }

    /// From `sigma` to `(alpha_next, sigma_next)`, a distance of `h` in λ. `h` is infinite where `sigma_next` is 0: the
    /// step then ends on the clean sample.
    pub(super) fn update(self, sigma: f64, (alpha_next, sigma_next): (f64, f64), h: f64) -> Update {
        // the stochastic form goes twice as far and comes half of it back by noise
        let (g, kept) = if self.is_stochastic { (2.0 * h, (-h).exp()) } else { (h, 1.0) };
        let gone = (-g).exp_m1();
        Update {
            sample: sigma_next / sigma * kept,
            clean: -alpha_next * gone,
            slope: match self.is_heun {
                true => alpha_next * mean(g),
                false => -0.5 * alpha_next * gone,
            },
            // a file's bounds can put the last level above the one before, where the reference goes on with NaN
            noise: if self.is_stochastic { sigma_next * (-gone).max(0.0).sqrt() } else { 0.0 },
        }
    }
}

/// (e^-g - 1) / g + 1, which begins with g / 2.
fn mean(g: f64) -> f64 {
    if g == 0.0 { 0.0 } else { (-g).exp_m1() / g + 1.0 }
}
