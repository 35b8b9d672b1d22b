//! Modes of working: which models make and change pictures, and what is done where a mode has none.

use atelier_kit::Host;
use atelier_kit::host::Model;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::settings::{Recipe, Settings};

/// A mode, as requests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    LocalFast,
    LocalQuality,
    Cloud,
}

/// All of them, in the order in which one is taken for another.
pub(crate) const MODES: [Mode; 3] = [Mode::LocalFast, Mode::LocalQuality, Mode::Cloud];
/// Their names.
pub(crate) const NAMES: &[&str] = &["local_fast", "local_quality", "cloud"];

impl Mode {
    /// By its name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        MODES.into_iter().find(|mode| mode.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LocalFast => "local_fast",
            Self::LocalQuality => "local_quality",
            Self::Cloud => "cloud",
        }
    }

    fn recipe(self, settings: &Settings) -> Option<&Recipe> {
        match self {
            Self::LocalFast => Some(&settings.local_fast),
            Self::LocalQuality => Some(&settings.local_quality),
            Self::Cloud => None,
        }
    }
}

/// A mode that can be worked in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Workplace {
    pub(crate) mode: Mode,
    /// Makes pictures, in so many steps unless they are its own.
    pub(crate) create: (Model, Option<u32>),
    /// Changes them.
    pub(crate) edit: (Model, Option<u32>),
    /// What a user should know.
    pub(crate) note: Option<String>,
}

/// The wanted mode, or the first other one that can be worked in; says so.
pub(crate) async fn workplace(
    host: &impl Host,
    wanted: Mode,
    settings: &Settings,
) -> Result<Workplace, Failure> {
    let models = host.models().await;
    let why = match open(wanted, &models, settings) {
        Ok(workplace) => return Ok(workplace),
        Err(why) => why,
    };
    let other = MODES.into_iter().find_map(|mode| open(mode, &models, settings).ok());
    let note = |mode: Mode| format!("{} was used: {} is not to be had, {why}", mode.name(), wanted.name());
    match other {
        Some(other) => Ok(Workplace { note: Some(note(other.mode)), ..other }),
        None => Err(Failure::backend(format!(
            "no mode can be worked in: {} is not to be had, {why}",
            wanted.name()
        ))),
    }
}

/// Which modes can be worked in, as `check_backend` answers.
pub(crate) async fn check(host: &impl Host, settings: &Settings) -> Value {
    let models = host.models().await;
    let state = |mode: Mode| match open(mode, &models, settings) {
        Ok(_) => json!({"available": true}),
        Err(why) => json!({"available": false, "reason": why}),
    };
    let modes: Map<_, _> = MODES.into_iter().map(|mode| (mode.name().to_owned(), state(mode))).collect();
    let default = MODES.into_iter().find(|mode| open(*mode, &models, settings).is_ok());
    let mut answer =
        json!({"available": default.is_some(), "modes": modes, "default_mode": default.map(Mode::name)});
    if !settings.without_effect.is_empty() {
        let text = format!("no effect yet: {}", settings.without_effect.join(", "));
        answer["notes"] = json!([text]);
    }
    answer
}

/// The mode with its models, or why it is not to be had.
fn open(mode: Mode, models: &[Model], settings: &Settings) -> Result<Workplace, String> {
    let recipe =
        mode.recipe(settings).ok_or("this host has no models of pictures that other servers serve")?;
    let find = |id: &str, steps: Option<u32>, can: fn(&Model) -> bool| {
        let model = models.iter().find(|model| model.is_called(id) && can(model));
        let why = || {
            let key = mode.name().replace('_', "-");
            format!(
                "model `{id}` is not granted; add it to `grants.models`, or name another in `config.{key}`"
            )
        };
        model.cloned().ok_or_else(why).map(|model| (model, steps))
    };
    let create = find(&recipe.create, recipe.create_steps, |model| model.text_to_image)?;
    let edit = find(&recipe.edit, recipe.edit_steps, |model| model.edit)?;
    Ok(Workplace { mode, create, edit, note: None })
}
