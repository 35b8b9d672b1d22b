//! Which models the service's names stand for: what the route's configuration says of them, or else models of these very
//! ids. The service had its models in its source; here an operator chooses them, and a grant decides.

use atelier_kit::fastapi::Failure;
use atelier_kit::host::{AbsentModel, Model};
use atelier_kit::settings::{given, pairs};
use atelier_kit::{Host, Speech};
use serde_json::{Value, json};

/// The service's names of models that draw, as `model_name` takes them; the first is its default.
pub(crate) const NAMES: [&str; 2] = ["sdxl", "lcm"];

// keys of the route's `config`
/// What the names stand for, such as `sdxl=atelier-nano, lcm=lcm-lora-sdxl`.
const MODELS: &str = "models";
/// The id of the model that ends what `sdxl` begins.
const REFINER: &str = "refiner";
/// The id of the model that listens.
const LISTENER: &str = "listener";

/// The model that a name stands for.
pub(crate) async fn painter(host: &impl Host, name: &str) -> Result<Model, Failure> {
    let id = meant(host, name)?;
    match host.models().await.into_iter().find(|model| model.id == id) {
        Some(model) => Ok(model),
        None => Err(Failure::backend(why_not(host, name, &id).await)),
    }
}

/// The model that ends what another begins: the configured one, or else the model's own, or the first that can.
pub(crate) fn refiner(host: &impl Host, model: &Model) -> Result<String, Failure> {
    let configured = given(host, REFINER);
    let id = configured.clone().or_else(|| model.default_refiner.clone());
    let id = id.or_else(|| model.refiners.first().cloned()).unwrap_or_default();
    if model.refiners.contains(&id) {
        return Ok(id);
    }
    let model = &model.id;
    Err(Failure::backend(match configured {
        Some(id) => format!(
            "the route's `config.{REFINER}` is `{id}`, which cannot refine what the model `{model}` begins: name \
             one that can, and add its id to `grants.models`"
        ),
        None => format!(
            "`use_refiner`: no model that refines what the model `{model}` begins is granted to this route: add its id \
             to `grants.models`"
        ),
    }))
}

/// The id of the model that listens: the configured one, or else the route's first.
pub(crate) async fn listener(host: &(impl Host + Speech)) -> Result<String, Failure> {
    let ids: Vec<_> = host.speech_models().await.into_iter().map(|model| model.id).collect();
    let Some(wanted) = given(host, LISTENER) else {
        let none = "no model of speech is granted to this route: add its id to `grants.models`";
        return ids.into_iter().next().ok_or_else(|| Failure::backend(none));
    };
    match ids.contains(&wanted) {
        true => Ok(wanted),
        false => Err(Failure::backend(not_usable(host, &wanted, &format!("`config.{LISTENER}`")).await)),
    }
}

/// The names, each with its state.
pub(crate) async fn list(host: &impl Host) -> Result<Value, Failure> {
    let models = host.models().await;
    let mut list = Vec::new();
    for name in NAMES {
        let id = meant(host, name)?;
        let model = models.iter().find(|model| model.id == id);
        let fix = if model.is_none() { Some(why_not(host, name, &id).await) } else { None };
        list.push(json!({
            "name": name,
            "loaded": model.is_some_and(|model| model.loaded),
            "available": model.is_some(),
            "model": id,
            "description": model.map(|model| model.description.as_str()),
            "fix": fix,
        }));
    }
    Ok(Value::Array(list))
}

/// The id that a name stands for.
fn meant(host: &impl Host, name: &str) -> Result<String, Failure> {
    let pairs = pairs(&given(host, MODELS).unwrap_or_default());
    let pairs = pairs.filter(|pairs| pairs.iter().all(|(name, _)| NAMES.contains(&name.as_str())));
    let pairs = pairs.ok_or_else(|| {
        Failure::backend(format!(
            "the route's `config.{MODELS}` cannot be used; write \"sdxl=one-id, lcm=another-id\", or leave out what \
             stands for itself"
        ))
    })?;
    let found = pairs.into_iter().find(|(known, _)| known == name);
    Ok(found.map_or_else(|| name.to_owned(), |(_, id)| id))
}

/// Why a name's model cannot be used.
async fn why_not(host: &impl Host, name: &str, id: &str) -> String {
    let fix = not_usable(host, id, &format!("the name `{name}`")).await;
    if id == name { format!("{fix}, or say in `config.{MODELS}` which model stands for it") } else { fix }
}

async fn not_usable(host: &impl Host, id: &str, whose: &str) -> String {
    match host.absent_models().await.into_iter().find(|model| model.id == id) {
        Some(AbsentModel { id, fix, .. }) => {
            format!("{whose} stands for the model `{id}`, which is not here: {fix}")
        }
        None => format!(
            "{whose} stands for the model `{id}`, which is not granted to this route: add its id to `grants.models`"
        ),
    }
}
