//! Modes of working: which models make and change pictures, and what is done where a mode has none.

use atelier_kit::Host;
use atelier_kit::host::{AbsentModel, Model};
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

    fn recipe(self, settings: &Settings) -> &Recipe {
        match self {
            Self::LocalFast => &settings.local_fast,
            Self::LocalQuality => &settings.local_quality,
            Self::Cloud => &settings.cloud,
        }
    }
}

/// A mode that can be worked in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Workplace {
    pub(crate) mode: Mode,
    /// Writes recordings down, where the mode has a model of its own for that; whether the route has it is not known yet.
    pub(crate) listen: Option<String>,
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
    let granted = Granted::of(host).await;
    let why = match open(wanted, &granted, settings) {
        Ok(workplace) => return Ok(workplace),
        Err(why) => why,
    };
    let other = MODES.into_iter().find_map(|mode| open(mode, &granted, settings).ok());
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
    let granted = Granted::of(host).await;
    let state = |mode: Mode| match open(mode, &granted, settings) {
        Ok(_) => json!({"available": true}),
        Err(why) => json!({"available": false, "reason": why}),
    };
    let modes: Map<_, _> = MODES.into_iter().map(|mode| (mode.name().to_owned(), state(mode))).collect();
    let default = MODES.into_iter().find(|mode| open(*mode, &granted, settings).is_ok());
    let mut answer =
        json!({"available": default.is_some(), "modes": modes, "default_mode": default.map(Mode::name)});
    if !settings.without_effect.is_empty() {
        let text = format!("no effect yet: {}", settings.without_effect.join(", "));
        answer["notes"] = json!([text]);
    }
    answer
}

/// The route's models of pictures, and those of its models that are not here.
struct Granted {
    models: Vec<Model>,
    absent: Vec<AbsentModel>,
}

impl Granted {
    async fn of(host: &impl Host) -> Self {
        Self { models: host.models().await, absent: host.absent_models().await }
    }

    /// The model of a name that can do it, or why there is none.
    fn find(&self, id: &str, mode: Mode, can: fn(&Model) -> bool) -> Result<Model, String> {
        if let Some(model) = self.models.iter().find(|model| model.is_called(id) && can(model)) {
            return Ok(model.clone());
        }
        // such as the key of another server's model, which the operator has not set
        if let Some(absent) = self.absent.iter().find(|absent| absent.id == id) {
            return Err(format!("model `{id}` is not here: {}", absent.fix));
        }
        let key = mode.name().replace('_', "-");
        Err(format!(
            "model `{id}` is not granted; add it to `grants.models`, or name another in `config.{key}`"
        ))
    }
}

/// The mode with its models, or why it is not to be had.
fn open(mode: Mode, granted: &Granted, settings: &Settings) -> Result<Workplace, String> {
    let recipe = mode.recipe(settings);
    let create = granted.find(&recipe.create, mode, |model| model.text_to_image)?;
    let edit = granted.find(&recipe.edit, mode, |model| model.edit)?;
    let (create, edit) = ((create, recipe.create_steps), (edit, recipe.edit_steps));
    Ok(Workplace { mode, listen: recipe.listen.clone(), create, edit, note: None })
}
