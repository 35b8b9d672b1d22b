//! `POST /generate-image`: from a prompt to a picture that is kept, and known by its file's name.

use atelier_kit::docs;
use atelier_kit::host::{Job as _, Order, Outcome, Source};
use atelier_kit::http::{Request, Response};
use atelier_kit::{Host, Storage};
use serde_json::json;

use crate::api::Capable;
use crate::failure::Failure;
use crate::history::{self, Entry};
use crate::settings::Settings;
use crate::styles::{self, Chosen};
use crate::wish::Wish;

/// Answers once the picture is kept.
pub(crate) async fn answer(
    host: &impl Capable,
    request: &Request,
    settings: &Settings,
) -> Result<Response, Failure> {
    let wish = Wish::parse(&request.body)?;
    let chosen = styles::choose(host, &wish, settings).await?;
    let outcome = draw(host, &wish, &chosen, settings).await?;
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
    let entry = history::keep(host, entry, &png, settings).await?;
    let mut answer = entry.shown(docs::base(request));
    answer["success"] = json!(true);
    answer["image_url"] = answer["url"].clone();
    answer["reason"] = json!(chosen.reason);
    answer["notes"] = json!(notes);
    Ok(Response::json(200, &answer))
}

async fn draw<H: Host + Storage>(
    host: &H,
    wish: &Wish,
    chosen: &Chosen,
    settings: &Settings,
) -> Result<Outcome<H::Image>, Failure> {
    let model = &chosen.model;
    let order = Order {
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
    };
    Ok(host.generate(order, Source::None).await?.outcome().await?)
}
