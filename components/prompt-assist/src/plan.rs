//! Which model draws, and how large: the select stage's choice held against the request and the operator's variables.
//!
//! Everything that can be told to be impossible before a job exists is refused here, by the request's field or by the
//! operator's variable.

use atelier_kit::Host;
use atelier_kit::host::{AbsentModel, Hints, Model, Size, StageError};

use crate::failure::Failure;
use crate::request::Generation;
use crate::settings;

/// What will be drawn by whom.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The model.
    pub(crate) model: Model,
    /// The size that the model draws: the one asked for where it can, its native one otherwise.
    pub(crate) size: Size,
    /// What the user should know about the choice.
    pub(crate) notes: Vec<String>,
}

/// Plans a request.
pub(crate) async fn plan(host: &impl Host, request: &Generation) -> Result<Plan, Failure> {
    let models = host.models().await;
    if models.is_empty() {
        return Err(Failure::backend("no model is granted to this route: add its id to `grants.models`"));
    }
    let wanted = wanted(host, request, &models).await?;
    let (model, notes) = choose(host, request, models, wanted).await?;
    check_features(&model, request)?;
    check_device(host, &model)?;
    let size = if model.allows(request.size) { request.size } else { model.native_size };
    Ok(Plan { model, size, notes })
}

/// The model that would draw a prompt, for a style plugin's sake; none when that cannot be told.
pub(crate) async fn likely_model(host: &impl Host, prompt: &str) -> Option<String> {
    let models = host.models().await;
    let wanted = settings::model_id(host);
    let hints = Hints { prompt: prompt.to_owned(), wanted: wanted.clone(), ..Hints::default() };
    match host.select(hints, &models).await {
        Ok(choice) => Some(choice.model),
        Err(_) => first(&models, wanted.as_deref()).map(|model| model.id.clone()),
    }
}

/// The model of a name that is granted and not here.
async fn absent(host: &impl Host, name: &str) -> Option<AbsentModel> {
    host.absent_models().await.into_iter().find(|model| model.is_called(name))
}

/// The name that decides: the client's, or else the operator's. Both must be a granted model's.
async fn wanted(host: &impl Host, request: &Generation, models: &[Model]) -> Result<Option<String>, Failure> {
    let known = |name: &String| models.iter().any(|model| model.is_called(name));
    if let Some(name) = &request.model {
        if known(name) {
            return Ok(request.model.clone());
        }
        let why = match absent(host, name).await {
            Some(AbsentModel { fix, .. }) => format!("`{name}` is not here: {fix}"),
            None => format!("`{name}` is not granted to this route"),
        };
        let ids: Vec<_> = models.iter().map(|model| model.id.as_str()).collect();
        return Err(Failure::invalid(format!("`model`: {why}; give one of {}", ids.join(", "))));
    }
    match settings::model_id(host) {
        Some(name) if !known(&name) => Err(match absent(host, &name).await {
            Some(AbsentModel { fix, .. }) => settings::model_absent(&name, &fix),
            None => settings::model_not_granted(&name),
        }),
        name => Ok(name),
    }
}

/// The select stage's choice, or without such a stage the wanted model or the first. A choice that the request did
/// not name becomes a note.
async fn choose(
    host: &impl Host,
    request: &Generation,
    models: Vec<Model>,
    wanted: Option<String>,
) -> Result<(Model, Vec<String>), Failure> {
    let hints = Hints {
        prompt: request.prompt.clone(),
        size: Some(request.size),
        has_source: request.image.is_some(),
        wanted: wanted.clone(),
    };
    let (id, reason) = match host.select(hints, &models).await {
        Ok(choice) => (choice.model, choice.reason),
        Err(StageError::NotConfigured(_)) => (
            first(&models, wanted.as_deref()).map(|model| model.id.clone()).unwrap_or_default(),
            String::new(),
        ),
        Err(error) => return Err(error.into()),
    };
    let model = models.into_iter().find(|model| model.id == id);
    // a plugin is not trusted to stay within the candidates
    let model = model
        .ok_or_else(|| Failure::backend("the select stage chose a model that the route does not have"))?;
    let notes = other_than(&model, wanted.as_deref(), &reason).into_iter().collect();
    Ok((model, notes))
}

/// The wanted model, or the first one.
fn first<'a>(models: &'a [Model], wanted: Option<&str>) -> Option<&'a Model> {
    match wanted {
        Some(name) => models.iter().find(|model| model.is_called(name)),
        None => models.first(),
    }
}

/// What the user is told when a plugin overrules a name.
fn other_than(model: &Model, wanted: Option<&str>, reason: &str) -> Option<String> {
    let wanted = wanted.filter(|name| !model.is_called(name))?;
    Some(format!("drawn by {} instead of {wanted}: {reason}", model.id))
}

/// Refuses what the model would ignore, by the field that asks for it.
fn check_features(model: &Model, request: &Generation) -> Result<(), Failure> {
    let id = &model.id;
    let refused =
        |field, what| Err(Failure::invalid(format!("`{field}` cannot be given: {id} does not {what}")));
    match (&request.image, &request.mask) {
        (_, Some(_)) if !model.inpaint => return refused("mask", "paint parts of pictures anew"),
        (_, Some(_)) if request.image_guidance.is_some() => {
            return refused("image_guidance", "take it with a `mask`");
        }
        (_, Some(_)) | (None, None) => {}
        (Some(_), None) if !model.image_to_image && !model.edit => {
            return refused("image", "start from pictures");
        }
        (Some(_), None) if request.strength.is_some() && !model.image_to_image => {
            return refused("strength", "start from pictures; it edits them, so give `image_guidance`");
        }
        (Some(_), None) if request.image_guidance.is_some() && model.image_to_image => {
            return refused("image_guidance", "edit pictures; it starts from them, so give `strength`");
        }
        (Some(_), None) => {}
    }
    if request.image.is_none() && !model.text_to_image {
        return Err(Failure::invalid(format!("`image` is missing: {id} only changes pictures")));
    }
    if request.negative_prompt.is_some() && !model.negative_prompt {
        return refused("negative_prompt", "obey negative prompts");
    }
    Ok(())
}

/// The service let its operator insist on a device; here devices are the host's, so the two are only compared.
fn check_device(host: &impl Host, model: &Model) -> Result<(), Failure> {
    match settings::device(host)? {
        Some(device) if device != model.device => {
            Err(settings::device_mismatch(&device, &model.id, &model.device))
        }
        _ => Ok(()),
    }
}
