//! `scheduler_config.json` as plain data: what the file says, and nothing that it does not say.
//!
//! Owns the list of known keys. Every key is either read, listed as unable to change a result, or refused by name.
//! Defaults differ between diffusers' classes, so they live with each schedule, as does what each makes of a key.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// A training table larger than this is a broken file, not a model (all known ones have 1000).
const MAX_TRAIN_TIMESTEPS: usize = 100_000;

/// Keys that cannot change a result: a version, PNDM's own start, parameters of features that [`OFF`] keeps off.
const IGNORED: [&str; 6] = [
    "_diffusers_version",
    "skip_prk_steps",
    "dynamic_thresholding_ratio",
    "sample_max_value",
    "flow_shift",
    "time_shift_type",
];

/// Features that are not implemented, with the only values (as JSON) that leave them off.
const OFF: [(&str, &[&str]); 12] = [
    ("thresholding", &["false"]),
    ("use_exponential_sigmas", &["false"]),
    ("use_beta_sigmas", &["false"]),
    ("use_lu_lambdas", &["false"]),
    ("use_flow_sigmas", &["false"]),
    ("use_dynamic_shifting", &["false"]),
    ("shift_terminal", &[]),
    ("solver_p", &[]),
    ("predict_x0", &["true"]),
    ("timestep_type", &["\"discrete\""]),
    ("interpolation_type", &["\"linear\""]),
    ("variance_type", &["\"fixed_small\"", "\"fixed_small_log\"", "\"fixed_large\""]),
];

/// What a diffusers `scheduler_config.json` says. `None` is "the file does not say": each class has its own default.
/// Ranges are checked once, when the file is read; schedules rely on it.
#[derive(Clone, Debug)]
pub struct ScheduleConfig {
    class_name: String,
    pub(super) num_train_timesteps: usize,
    pub(super) beta_start: Option<f64>,
    pub(super) beta_end: Option<f64>,
    pub(super) beta_schedule: Option<BetaSchedule>,
    pub(super) trained_betas: Option<Vec<f64>>,
    pub(super) rescale_betas_zero_snr: bool,
    pub(super) prediction_type: Prediction,
    pub(super) timestep_spacing: Option<Spacing>,
    pub(super) steps_offset: usize,
    pub(super) set_alpha_to_one: bool,
    pub(super) clip_sample: Option<bool>,
    pub(super) clip_sample_range: f64,
    pub(super) use_karras_sigmas: bool,
    pub(super) sigma_min: Option<f64>,
    pub(super) sigma_max: Option<f64>,
    pub(super) final_sigmas: FinalSigmas,
    pub(super) solver_order: usize,
    pub(super) algorithm_type: Option<String>,
    pub(super) solver_type: Option<String>,
    pub(super) lower_order_final: bool,
    pub(super) euler_at_final: bool,
    pub(super) lambda_min_clipped: f64,
    pub(super) disable_corrector: Vec<usize>,
    pub(super) original_inference_steps: usize,
    pub(super) timestep_scaling: f64,
}

/// How noise grows over the training timesteps.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum BetaSchedule {
    Linear,
    ScaledLinear,
    #[serde(rename = "squaredcos_cap_v2")]
    Cosine,
}

/// What the denoiser's output means.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Prediction {
    Epsilon,
    #[serde(rename = "v_prediction")]
    Velocity,
    Sample,
}

/// Table 2 of <https://arxiv.org/abs/2305.08891>.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Spacing {
    Leading,
    Linspace,
    Trailing,
}

/// The noise level after the last step.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum FinalSigmas {
    Zero,
    SigmaMin,
}

impl ScheduleConfig {
    /// Reads the text of a `scheduler_config.json`; `path` is for messages only.
    ///
    /// # Errors
    /// [`Error::Malformed`] for JSON or values that make no schedule, naming the key; [`Error::Unsupported`] for keys
    /// that are unknown or switch on what is not implemented.
    pub fn from_json(text: &str, path: &Path) -> Result<Self> {
        let mut keys = Keys::new(text, path)?;
        let config = Self {
            class_name: keys
                .take("_class_name")?
                .ok_or_else(|| keys.malformed("`_class_name` is missing"))?,
            num_train_timesteps: keys.take("num_train_timesteps")?.unwrap_or(1000),
            beta_start: keys.take("beta_start")?,
            beta_end: keys.take("beta_end")?,
            beta_schedule: keys.take("beta_schedule")?,
            trained_betas: keys.take("trained_betas")?,
            rescale_betas_zero_snr: keys.take("rescale_betas_zero_snr")?.unwrap_or(false),
            prediction_type: keys.take("prediction_type")?.unwrap_or(Prediction::Epsilon),
            timestep_spacing: keys.take("timestep_spacing")?,
            steps_offset: keys.take("steps_offset")?.unwrap_or(0),
            set_alpha_to_one: keys.take("set_alpha_to_one")?.unwrap_or(true),
            clip_sample: keys.take("clip_sample")?,
            clip_sample_range: keys.take("clip_sample_range")?.unwrap_or(1.0),
            use_karras_sigmas: keys.take("use_karras_sigmas")?.unwrap_or(false),
            sigma_min: keys.take("sigma_min")?,
            sigma_max: keys.take("sigma_max")?,
            final_sigmas: keys.take("final_sigmas_type")?.unwrap_or(FinalSigmas::Zero),
            solver_order: keys.take("solver_order")?.unwrap_or(2),
            algorithm_type: keys.take("algorithm_type")?,
            solver_type: keys.take("solver_type")?,
            lower_order_final: keys.take("lower_order_final")?.unwrap_or(true),
            euler_at_final: keys.take("euler_at_final")?.unwrap_or(false),
            lambda_min_clipped: keys.take_lambda_min_clipped()?,
            disable_corrector: keys.take("disable_corrector")?.unwrap_or_default(),
            original_inference_steps: keys.take("original_inference_steps")?.unwrap_or(50),
            timestep_scaling: keys.take("timestep_scaling")?.unwrap_or(10.0),
        };
        config.check(&keys)?;
        keys.finish()?;
        Ok(config)
    }

    /// The name in [`super::NAMES`] of the folder's own scheduler.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if its class is none of ours and has no stand-in.
    pub fn default_name(&self) -> Result<&'static str> {
        Ok(match self.class_name.as_str() {
            "DDIMScheduler" | "PNDMScheduler" => "ddim",
            "EulerDiscreteScheduler" => "euler",
            "EulerAncestralDiscreteScheduler" => "euler_ancestral",
            "DPMSolverMultistepScheduler" if self.use_karras_sigmas => "dpmpp_2m_karras",
            "DPMSolverMultistepScheduler" => "dpmpp_2m",
            "UniPCMultistepScheduler" => "unipc",
            "LCMScheduler" => "lcm",
            other => {
                return Err(Error::Unsupported {
                    what: "scheduler class",
                    value: other.to_owned(),
                    supported: super::SUPPORTED,
                });
            }
        })
    }

    /// What a user must be told if the name of [`ScheduleConfig::default_name`] is used: that it is a stand-in.
    pub fn default_note(&self) -> Option<String> {
        (self.class_name == "PNDMScheduler").then(|| {
            "the model's own scheduler, PNDMScheduler, is not implemented: ddim runs in its place, with its config"
                .to_owned()
        })
    }

    /// Holds numbers against what the tables can bear: each guards a division, a root, an index or an allocation.
    fn check(&self, keys: &Keys<'_>) -> Result<()> {
        let train = self.num_train_timesteps;
        let open_unit = |value: f64| 0.0 < value && value < 1.0;
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let betas = self.trained_betas.as_deref();
        let facts = [
            ((1..=MAX_TRAIN_TIMESTEPS).contains(&train), "`num_train_timesteps` must be in 1..=100000"),
            (self.beta_start.is_none_or(open_unit), "`beta_start` must lie between 0 and 1"),
            (self.beta_end.is_none_or(open_unit), "`beta_end` must lie between 0 and 1"),
            (
                betas.is_none_or(|b| b.len() == train),
                "`trained_betas` must have `num_train_timesteps` values",
            ),
            (
                betas.is_none_or(|b| b.iter().copied().all(open_unit)),
                "`trained_betas` must lie between 0 and 1",
            ),
            (self.steps_offset < train, "`steps_offset` must be below `num_train_timesteps`"),
            (
                train > 1 || !self.rescale_betas_zero_snr,
                "`rescale_betas_zero_snr` needs more than one timestep",
            ),
            (positive(self.clip_sample_range), "`clip_sample_range` must be above 0"),
            (self.sigma_min.is_none_or(positive), "`sigma_min` must be above 0"),
            (self.sigma_max.is_none_or(positive), "`sigma_max` must be above 0"),
            (positive(self.timestep_scaling), "`timestep_scaling` must be above 0"),
        ];
        facts.iter().try_for_each(|&(holds, rule)| if holds { Ok(()) } else { Err(keys.malformed(rule)) })
    }
}

/// The keys of the file that nobody has taken yet.
struct Keys<'a> {
    left: Map<String, Value>,
    path: &'a Path,
}

impl<'a> Keys<'a> {
    fn new(text: &str, path: &'a Path) -> Result<Self> {
        // Python writes the infinite default of `lambda_min_clipped` as a bare word, which is not JSON.
        let text = text.replace(": -Infinity", ": \"-Infinity\"");
        let left = serde_json::from_str(&text)
            .map_err(|error| Error::Malformed { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Self { left, path })
    }

    /// The value of `key`; `None` if it is absent or null, which diffusers treats alike for these keys.
    fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>> {
        let value = self.left.shift_remove(key).unwrap_or(Value::Null);
        serde_json::from_value(value).map_err(|error| self.malformed(&format!("`{key}`: {error}")))
    }

    fn take_lambda_min_clipped(&mut self) -> Result<f64> {
        let key = "lambda_min_clipped";
        if self.left.get(key).is_some_and(|value| value == "-Infinity") {
            self.left.shift_remove(key);
        }
        Ok(self.take(key)?.unwrap_or(f64::NEG_INFINITY))
    }

    /// Refuses every key that would change the result without our knowing how.
    fn finish(mut self) -> Result<()> {
        IGNORED.iter().for_each(|key| drop(self.left.shift_remove(*key)));
        for (key, value) in self.left.iter().filter(|(_, value)| !value.is_null()) {
            let off = OFF.iter().find(|(known, _)| known == key).map(|(_, values)| *values);
            let text = value.to_string();
            if !off.is_some_and(|values| values.contains(&text.as_str())) {
                let supported =
                    if off.is_some() { "leaving the key out" } else { "the keys of the named schedulers" };
                let value = format!("{key} = {text}");
                return Err(Error::Unsupported { what: "scheduler setting", value, supported });
            }
        }
        Ok(())
    }

    fn malformed(&self, reason: &str) -> Error {
        Error::Malformed { path: PathBuf::from(self.path), reason: reason.to_owned() }
    }
}
