//! `scheduler_config.json` as plain data: what the file says, and nothing that it does not say.
//!
//! Owns the list of known keys. Every key is either read, listed as unable to change a result, or refused by name.
//! Defaults differ between diffusers' classes, so they live with each schedule, as does what each makes of a key.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::names::Family;
use crate::{Error, Result};

/// A training table larger than this is a broken file, not a model (all known ones have 1000).
const MAX_TRAIN_TIMESTEPS: usize = 100_000;

/// Keys that cannot change a result: a version, parameters of features that [`OFF`] keeps off.
const IGNORED: [&str; 5] =
    ["_diffusers_version", "dynamic_thresholding_ratio", "sample_max_value", "flow_shift", "time_shift_type"];

/// Features that are not implemented, with the only values (as JSON) that leave them off.
/// Those of flow matching are on in its own class, which takes its keys before these are looked at.
const OFF: [(&str, &[&str]); 8] = [
    ("thresholding", &["false"]),
    ("use_flow_sigmas", &["false"]),
    ("use_dynamic_shifting", &["false"]),
    ("shift_terminal", &[]),
    ("invert_sigmas", &["false"]),
    ("solver_p", &[]),
    ("interpolation_type", &["\"linear\""]),
    ("variance_type", &["\"fixed_small\"", "\"fixed_small_log\"", "\"fixed_large\""]),
];

/// Switches for other sigmas than those of the timesteps.
const CONVERSIONS: [(&str, Conversion); 4] = [
    ("use_karras_sigmas", Conversion::Karras),
    ("use_exponential_sigmas", Conversion::Exponential),
    ("use_beta_sigmas", Conversion::Beta),
    ("use_lu_lambdas", Conversion::Lu),
];

/// What a diffusers `scheduler_config.json` says. `None` is "the file does not say": each class has its own default.
/// Ranges are checked once, when the file is read; schedules rely on it.
#[derive(Clone, Debug)]
pub struct ScheduleConfig {
    pub(super) class_name: String,
    pub(super) family: Family,
    pub(super) num_train_timesteps: usize,
    pub(super) beta_start: Option<f64>,
    pub(super) beta_end: Option<f64>,
    pub(super) beta_schedule: Option<BetaSchedule>,
    pub(super) trained_betas: Option<Vec<f64>>,
    pub(super) rescale_betas_zero_snr: bool,
    pub(super) prediction_type: Prediction,
    pub(super) timestep_spacing: Option<Spacing>,
    pub(super) steps_offset: usize,
    pub(super) set_alpha_to_one: Option<bool>,
    pub(super) skip_prk_steps: bool,
    pub(super) variance: Variance,
    pub(super) clip_sample: Option<bool>,
    pub(super) clip_sample_range: f64,
    /// What the file does to its sigmas; in [`super::build`], what the name does.
    pub(super) conversion: Option<Conversion>,
    /// The model takes ln(σ) / 4 for a timestep.
    pub(super) has_continuous_timesteps: bool,
    pub(super) sigma_min: Option<f64>,
    pub(super) sigma_max: Option<f64>,
    pub(super) final_sigmas: FinalSigmas,
    pub(super) solver_order: usize,
    pub(super) algorithm_type: Option<String>,
    pub(super) solver_type: Option<String>,
    pub(super) lower_order_final: Option<bool>,
    pub(super) euler_at_final: bool,
    pub(super) lambda_min_clipped: f64,
    pub(super) disable_corrector: Vec<usize>,
    pub(super) predict_x0: bool,
    pub(super) original_inference_steps: usize,
    pub(super) timestep_scaling: f64,
    pub(super) edm: EdmConfig,
    pub(super) flow: FlowConfig,
    /// See [`ScheduleConfig::for_image_tokens`].
    pub(super) image_tokens: Option<usize>,
}

/// Keys of the EDM classes alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct EdmConfig {
    pub(super) sigma_data: f64,
    pub(super) rho: f64,
    pub(super) has_exponential_sigmas: bool,
}

/// Keys of the flow matching classes alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowConfig {
    pub(super) shift: f64,
    pub(super) dynamic: Option<DynamicShift>,
    /// The sigma that the last timestep is stretched to.
    pub(super) shift_terminal: Option<f64>,
    pub(super) stochastic_sampling: bool,
}

/// A shift that grows with the picture: linear between two numbers of tokens, and beyond them.
#[derive(Clone, Copy, Debug)]
pub(super) struct DynamicShift {
    pub(super) base_shift: f64,
    pub(super) max_shift: f64,
    pub(super) base_tokens: f64,
    pub(super) max_tokens: f64,
    /// The shift is used as it is, not as the exponent of e.
    pub(super) is_linear: bool,
}

impl EdmConfig {
    const DEFAULT: Self = Self { sigma_data: 0.5, rho: 7.0, has_exponential_sigmas: false };
}

impl FlowConfig {
    const DEFAULT: Self =
        Self { shift: 1.0, dynamic: None, shift_terminal: None, stochastic_sampling: false };
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

/// Noise levels that are spaced otherwise than by timesteps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Conversion {
    /// Evenly in σ^(1/7): equation 5 of <https://arxiv.org/abs/2206.00364>.
    Karras,
    /// Evenly in ln σ.
    Exponential,
    /// At the quantiles of a beta distribution: <https://arxiv.org/abs/2407.12173>.
    Beta,
    /// Evenly in λ = -ln σ, thus as exponential, but from values that are rounded otherwise.
    Lu,
}

/// Which variance DDPM's noise has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Variance {
    Small,
    /// Goes through the logarithm, whose rounding shows in the smallest.
    SmallLog,
    Large,
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
        let class_name: String =
            keys.take("_class_name")?.ok_or_else(|| keys.malformed("`_class_name` is missing"))?;
        let family = Family::of_class(&class_name);
        let prediction_type = keys.take("prediction_type")?.unwrap_or(Prediction::Epsilon);
        let config = Self {
            class_name,
            family,
            num_train_timesteps: keys.take("num_train_timesteps")?.unwrap_or(1000),
            beta_start: keys.take("beta_start")?,
            beta_end: keys.take("beta_end")?,
            beta_schedule: keys.take("beta_schedule")?,
            trained_betas: keys.take("trained_betas")?,
            rescale_betas_zero_snr: keys.take("rescale_betas_zero_snr")?.unwrap_or(false),
            prediction_type,
            timestep_spacing: keys.take("timestep_spacing")?,
            steps_offset: keys.take("steps_offset")?.unwrap_or(0),
            set_alpha_to_one: keys.take("set_alpha_to_one")?,
            skip_prk_steps: keys.take("skip_prk_steps")?.unwrap_or(false),
            variance: keys.variance(),
            clip_sample: keys.take("clip_sample")?,
            clip_sample_range: keys.take("clip_sample_range")?.unwrap_or(1.0),
            conversion: keys.take_conversion()?,
            has_continuous_timesteps: keys.take_is_continuous()? && prediction_type == Prediction::Velocity,
            sigma_min: keys.take("sigma_min")?,
            sigma_max: keys.take("sigma_max")?,
            final_sigmas: keys.take("final_sigmas_type")?.unwrap_or(FinalSigmas::Zero),
            solver_order: keys.take("solver_order")?.unwrap_or(2),
            algorithm_type: keys.take("algorithm_type")?,
            solver_type: keys.take("solver_type")?,
            lower_order_final: keys.take("lower_order_final")?,
            euler_at_final: keys.take("euler_at_final")?.unwrap_or(false),
            lambda_min_clipped: keys.take_lambda_min_clipped()?,
            disable_corrector: keys.take("disable_corrector")?.unwrap_or_default(),
            predict_x0: keys.take("predict_x0")?.unwrap_or(true),
            original_inference_steps: keys.take("original_inference_steps")?.unwrap_or(50),
            timestep_scaling: keys.take("timestep_scaling")?.unwrap_or(10.0),
            edm: if family == Family::Edm { keys.take_edm()? } else { EdmConfig::DEFAULT },
            flow: if family == Family::Flow { keys.take_flow()? } else { FlowConfig::DEFAULT },
            image_tokens: None,
        };
        config.check(&keys)?;
        keys.finish()?;
        Ok(config)
    }

    /// The same for a picture of so many tokens in the denoiser's sequence (of FLUX: of 16 by 16 pixels).
    ///
    /// Flow matching models need it: the noise levels are then those that the FLUX pipeline asks its scheduler for, evenly
    /// from 1 to 1 / steps and shifted by the picture's size where the file says so. Without it they are those that the
    /// scheduler's class makes by itself. To other models it means nothing.
    pub fn for_image_tokens(&self, tokens: usize) -> Self {
        Self { image_tokens: Some(tokens), ..self.clone() }
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
            (
                self.sigma_min.zip(self.sigma_max).is_none_or(|(min, max)| min < max),
                "`sigma_min` must be below `sigma_max`",
            ),
            (positive(self.timestep_scaling), "`timestep_scaling` must be above 0"),
            (positive(self.edm.sigma_data), "`sigma_data` must be above 0"),
            (positive(self.edm.rho), "`rho` must be above 0"),
            (positive(self.flow.shift), "`shift` must be above 0"),
            (
                self.flow.shift_terminal.is_none_or(|sigma| (0.0..1.0).contains(&sigma)),
                "`shift_terminal` must lie between 0 and 1",
            ),
            (
                self.flow.dynamic.is_none_or(|dynamic| dynamic.base_tokens < dynamic.max_tokens),
                "`base_image_seq_len` must be below `max_image_seq_len`",
            ),
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

    /// What the file switches on of [`CONVERSIONS`], of which diffusers takes no two together.
    fn take_conversion(&mut self) -> Result<Option<Conversion>> {
        let mut on = None;
        for (key, conversion) in CONVERSIONS {
            if !self.take(key)?.unwrap_or(false) {
                continue;
            }
            if on.replace(conversion).is_some() {
                return Err(self.malformed(&format!("`{key}` is true beside another of its kind; keep one")));
            }
        }
        Ok(on)
    }

    fn take_is_continuous(&mut self) -> Result<bool> {
        let key = "timestep_type";
        match self.take::<String>(key)?.as_deref() {
            None | Some("discrete") => Ok(false),
            Some("continuous") => Ok(true),
            Some(other) => {
                let reason = format!("`{key}` must be discrete or continuous, not {other}");
                Err(self.malformed(&reason))
            }
        }
    }

    /// Left in place: [`Keys::finish`] refuses the others.
    fn variance(&self) -> Variance {
        match self.left.get("variance_type").and_then(Value::as_str) {
            Some("fixed_small_log") => Variance::SmallLog,
            Some("fixed_large") => Variance::Large,
            _ => Variance::Small,
        }
    }

    fn take_edm(&mut self) -> Result<EdmConfig> {
        let default = EdmConfig::DEFAULT;
        let key = "sigma_schedule";
        let has_exponential_sigmas = match self.take::<String>(key)?.as_deref() {
            None | Some("karras") => false,
            Some("exponential") => true,
            Some(other) => {
                let reason = format!("`{key}` must be karras or exponential, not {other}");
                return Err(self.malformed(&reason));
            }
        };
        Ok(EdmConfig {
            sigma_data: self.take("sigma_data")?.unwrap_or(default.sigma_data),
            rho: self.take("rho")?.unwrap_or(default.rho),
            has_exponential_sigmas,
        })
    }

    fn take_flow(&mut self) -> Result<FlowConfig> {
        let dynamic = DynamicShift {
            base_shift: self.take("base_shift")?.unwrap_or(0.5),
            max_shift: self.take("max_shift")?.unwrap_or(1.15),
            base_tokens: self.take("base_image_seq_len")?.unwrap_or(256.0),
            max_tokens: self.take("max_image_seq_len")?.unwrap_or(4096.0),
            is_linear: match self.take::<String>("time_shift_type")?.as_deref() {
                None | Some("exponential") => false,
                Some("linear") => true,
                Some(other) => {
                    let reason = format!("`time_shift_type` must be exponential or linear, not {other}");
                    return Err(self.malformed(&reason));
                }
            },
        };
        Ok(FlowConfig {
            shift: self.take("shift")?.unwrap_or(FlowConfig::DEFAULT.shift),
            dynamic: self.take("use_dynamic_shifting")?.unwrap_or(false).then_some(dynamic),
            // 0 is off in diffusers
            shift_terminal: self.take("shift_terminal")?.filter(|sigma| *sigma != 0.0),
            stochastic_sampling: self.take("stochastic_sampling")?.unwrap_or(false),
        })
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
