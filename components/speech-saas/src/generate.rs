//! `POST /generate-image`: from a prompt to a picture that is kept, and known by its file's name.

use atelier_kit::docs;
use atelier_kit::host::{Job as _, Model, Order, Source};
use atelier_kit::http::{Request, Response};
use serde_json::{Value, json};

use crate::api::Capable;
use crate::failure::Failure;
use crate::history::{self, Entry};
use crate::settings::Settings;
use crate::styles;
use crate::wish::Wish;

/// Answers once the picture is kept.
pub(crate) async fn answer(
    host: &impl Capable,
    request: &Request,
    settings: &Settings,
) -> Result<Response, Failure> {
    let wish = Wish::parse(&request.body)?;
    let chosen = styles::choose(host, &wish, settings).await?;
    let order = order(&wish, &chosen.model, settings);
    let used = used(&order, &chosen.model);
    let outcome = host.generate(order, Source::None).await?.outcome().await?;
    let (size, mut notes) = (outcome.size, outcome.notes);
    if wish.was_cleaned {
        notes.push("markup or characters that nobody sees were taken out of the prompt".into());
    }
    let first = outcome.pictures.into_iter().next();
    let (picture, seed) = first.ok_or_else(|| Failure::backend("the model gave no picture"))?;
    let png = host.png(&picture).await?;
    let entry = Entry {
        filename: history::new_name(host).await?,
        prompt: wish.prompt,
        model: styles::name_of(&chosen.model.id, settings).to_owned(),
        seed,
        width: size.width,
        height: size.height,
        bytes: png.len() as u64,
        created_at: host.unix_seconds(),
    };
    history::keep(host, &entry, &png, settings).await?;
    let mut answer = entry.shown(docs::base(request));
    let (url, reason) = (answer["url"].clone(), json!(chosen.reason));
    let told = [("success", json!(true)), ("image_url", url), ("reason", reason), ("notes", json!(notes))];
    for (name, value) in used.into_iter().chain(told) {
        answer[name] = value;
    }
    Ok(Response::json(200, &answer))
}

/// The job as the host takes it. What neither the request nor the operator says is the model's own.
fn order(wish: &Wish, model: &Model, settings: &Settings) -> Order {
    Order {
        model: model.id.clone(),
        prompt: wish.prompt.clone(),
        // the host refuses it by name where the model has no use for it
        negative_prompt: wish.negative_prompt.clone(),
        size: wish.size,
        steps: wish.steps.or(settings.steps),
        // an operator's default is for the models that can follow it
        guidance: wish.guidance.or(settings.guidance.filter(|_| model.guidance)),
        seed: wish.seed,
        count: 1,
        ..Order::default()
    }
}

/// What gives the picture again beside the prompt, the model, the size and the seed: the values that were used, whoever said
/// them.
fn used(order: &Order, model: &Model) -> [(&'static str, Value); 3] {
    [
        ("negative_prompt", json!(order.negative_prompt)),
        ("steps", json!(order.steps.unwrap_or(model.default_steps))),
        ("guidance_scale", json!(order.guidance.unwrap_or(model.default_guidance))),
    ]
}
