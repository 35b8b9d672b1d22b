//! Which model draws: the one that a request names, or the choice of the route's select stage, which knows a prompt's style
//! (artistic, fantasy and stylised, or photorealistic and cinematic) and what the models say of themselves.

use atelier_kit::Host;
use atelier_kit::host::{AbsentModel, Hints, Model, StageError};

use crate::failure::Failure;
use crate::settings::Settings;
use crate::wish::Wish;

/// The name that leaves the choice to the service.
pub(crate) const AUTO: &str = "auto";

/// What `model` takes.
pub(crate) const NAMES: [&str; 3] = [AUTO, "dreamshaper", "realistic_vision"];

/// The names' models where nothing is configured: those that the host's catalog has.
const USUAL: [(&str, &str); 2] = [("dreamshaper", "dreamshaper-8"), ("realistic_vision", "realistic-vision")];

/// A model and why it draws.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) model: Model,
    /// One sentence for people.
    pub(crate) reason: String,
}

/// Chooses for a wish.
pub(crate) async fn choose(host: &impl Host, wish: &Wish, settings: &Settings) -> Result<Chosen, Failure> {
    let models: Vec<_> = host.models().await.into_iter().filter(|model| model.text_to_image).collect();
    if wish.model != AUTO {
        let id = id_of(wish.model, settings);
        let found = models.into_iter().find(|model| model.id == id);
        let reason = format!("{} was asked for by name.", wish.model);
        return match found {
            Some(model) => Ok(Chosen { model, reason }),
            None => Err(Failure::backend(why_not(host, wish.model, &id).await)),
        };
    }
    if models.is_empty() {
        return Err(Failure::backend(
            "no model that makes pictures is granted to this route: add its id to `grants.models`",
        ));
    }
    let hints = Hints { prompt: wish.prompt.clone(), size: wish.size, ..Hints::default() };
    let (id, reason) = match host.select(hints, &models).await {
        Ok(choice) => (Some(choice.model), choice.reason),
        Err(StageError::NotConfigured(_)) => {
            (None, "the route has no select stage, so that its first model draws.".into())
        }
        Err(error) => return Err(error.into()),
    };
    let is_chosen = |model: &Model| id.as_ref().is_none_or(|id| *id == model.id);
    // a plugin is not trusted to stay within the candidates
    let model = models.into_iter().find(is_chosen);
    let model = model
        .ok_or_else(|| Failure::backend("the select stage chose a model that the route does not have"))?;
    Ok(Chosen { model, reason })
}

/// The service's name of a model, where it has one.
pub(crate) fn name_of<'a>(id: &'a str, settings: &Settings) -> &'a str {
    NAMES[1..].iter().find(|name| id_of(name, settings) == id).copied().unwrap_or(id)
}

fn id_of(name: &str, settings: &Settings) -> String {
    let configured = settings.models.iter().find(|(known, _)| known == name).map(|(_, id)| id.as_str());
    let usual = USUAL.iter().find(|(known, _)| *known == name).map(|(_, id)| *id);
    configured.or(usual).unwrap_or(name).to_owned()
}

/// Why a named model cannot be used.
async fn why_not(host: &impl Host, name: &str, id: &str) -> String {
    match host.absent_models().await.into_iter().find(|model| model.id == id) {
        Some(AbsentModel { id, fix, .. }) => {
            format!("`{name}` stands for the model `{id}`, which is not here: {fix}")
        }
        None => format!(
            "`{name}` stands for the model `{id}`, which is not granted to this route: add its id to `grants.models`, \
             or say in `config.models` which model stands for it"
        ),
    }
}
