//! Which models the service's names stand for: what the route's configuration says, or the catalog's model that the original loaded.
//! And what a model cannot do of a wish, said by the request's fields before anything is queued.

use atelier_kit::Host;
use atelier_kit::fastapi::Failure;
use atelier_kit::fields::{Fault, Faults};
use atelier_kit::host::{AbsentModel, Model};
use atelier_kit::settings::given;

use crate::wish::Wish;

/// A model by the service's name for it, which is also the key of the route's `config` that says what it stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Drawer {
    pub(crate) name: &'static str,
    /// What it stands for where nothing is configured; without one, nothing does.
    usual: Option<&'static str>,
    /// Whether its tasks name a view.
    pub(crate) view: bool,
}

/// The models, in the order in which they are documented.
pub(crate) static DRAWERS: [Drawer; 2] = [
    // its README loads black-forest-labs/FLUX.1-dev, which the catalog has under this id
    Drawer { name: "flux", usual: Some("flux-dev"), view: false },
    Drawer { name: "qwen-multi-angle", usual: None, view: true },
];

/// The names alone, for the field of a batch.
pub(crate) const NAMES: [&str; 2] = ["flux", "qwen-multi-angle"];

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    FromText,
    FromImage,
}

impl Make {
    /// The service's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::FromText => "t2i",
            Self::FromImage => "i2i",
        }
    }
}

impl Drawer {
    /// The model of a name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        DRAWERS.iter().find(|drawer| drawer.name == name)
    }

    /// The granted model that it stands for.
    pub(crate) async fn model(&self, host: &impl Host) -> Result<Model, Failure> {
        let name = self.name;
        let id = given(host, name).or_else(|| self.usual.map(str::to_owned)).ok_or_else(|| {
            Failure::new(
                501,
                format!(
                    "`{name}` is not implemented yet: the host has no weights for it; an operator may let another model stand in \
                     by the route's `config.{name}`"
                ),
            )
        })?;
        match host.models().await.into_iter().find(|model| model.id == id) {
            Some(model) => Ok(model),
            None => Err(Failure::backend(why_not(host, name, &id).await)),
        }
    }
}

async fn why_not(host: &impl Host, name: &str, id: &str) -> String {
    match host.absent_models().await.into_iter().find(|model| model.id == id) {
        Some(AbsentModel { id, fix, .. }) => {
            format!("the name `{name}` stands for the model `{id}`, which is not here: {fix}")
        }
        None => format!(
            "the name `{name}` stands for the model `{id}`, which is not granted to this route: add its id to `grants.models`, or say \
             in `config.{name}` which model stands for it"
        ),
    }
}

/// Refuses what the model would not obey, by the fields that ask for it.
pub(crate) fn check(model: &Model, wish: &Wish, make: Make) -> Result<(), Faults> {
    let id = &model.id;
    let mut faults = Vec::new();
    let mut refuse = |is_wrong: bool, field: &str, text: String| {
        if is_wrong {
            faults.push(Fault::invalid(Some(field), format!("`{field}` {text}")));
        }
    };
    let makes = match make {
        Make::FromText => model.text_to_image,
        Make::FromImage => model.image_to_image,
    };
    let lead = if make == Make::FromText { "prompt" } else { "image" };
    refuse(!makes, lead, format!("cannot be drawn: model `{id}` makes no pictures of it; use another model"));
    let has_negative = wish.negative_prompt.is_some();
    refuse(
        has_negative && !model.negative_prompt,
        "negative_prompt",
        format!("is of no use to model `{id}`; leave it out"),
    );
    // 1 and less is to have none, which every model can do
    let is_guided = wish.guidance.is_named && wish.guidance.scale > 1.0;
    refuse(
        is_guided && !model.guidance,
        "guidance_scale",
        format!("is of no use to model `{id}`, which runs without; leave it out"),
    );
    if faults.is_empty() { Ok(()) } else { Err(faults.into()) }
}
