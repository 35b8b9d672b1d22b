//! The pictures of a conversation: which of the route's models draws or changes one, and its job from beginning to end.

use atelier_kit::Host;
use atelier_kit::host::{Hints, Job, Model, Order, Prompt, Source, StageError};

use super::command::Wish;
use super::progress::{Progress, Tell};
use crate::api::Ears;
use crate::failure::Failure;

/// A picture as a file, and how it came about.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Painted {
    pub(crate) png: Vec<u8>,
    /// Where it was drawn.
    pub(crate) model: Option<String>,
    /// Where it was drawn.
    pub(crate) seed: Option<u64>,
    /// What was drawn, where the style stage wrote it.
    pub(crate) enhanced_prompt: Option<String>,
    /// What a user should know.
    pub(crate) notes: Vec<String>,
}

/// Draws a new picture.
pub(crate) async fn create(
    host: &impl Ears,
    wish: &Wish,
    prompt: &str,
    progress: &mut Progress,
) -> Result<Painted, Failure> {
    let model = choose(host, prompt, false).await?;
    let plain = Prompt { text: prompt.to_owned(), negative: None, model: Some(model.id.clone()) };
    let styled = if wish.is_enhanced { Some(host.style(plain.clone()).await?) } else { None };
    let prompt = styled.clone().unwrap_or(plain);
    let order = Order {
        prompt: prompt.text,
        // a style's own is left out where the model has no use for it
        negative_prompt: prompt.negative.filter(|_| model.negative_prompt),
        ..order(wish, &model)
    };
    let painted = run(host, order, Source::None, progress).await?;
    Ok(Painted { enhanced_prompt: styled.map(|prompt| prompt.text), ..painted })
}

/// Changes the present picture as a prompt says. One of a size that the model cannot draw is scaled to the model's own.
pub(crate) async fn edit(
    host: &impl Ears,
    wish: &Wish,
    prompt: &str,
    progress: &mut Progress,
) -> Result<Painted, Failure> {
    let Some(present) = wish.pictures.last() else {
        let text = "the command changes a picture, and none was sent: send the present one as `picture`";
        return Err(Failure::impossible("nothing_to_edit", text).about("picture"));
    };
    let picture =
        host.decode(present.clone()).await.map_err(|error| Failure::of_picture(error, "picture"))?;
    let model = choose(host, prompt, true).await?;
    let (size, native) = (host.size(&picture), model.native_size);
    let scaled = (!model.allows(size)).then_some(native);
    let order = Order { prompt: prompt.to_owned(), size: scaled, ..order(wish, &model) };
    let mut painted = run(host, order, Source::Edit { picture: &picture, guidance: None }, progress).await?;
    let note =
        scaled.map(|native| format!("the picture was scaled from {size} to {native} for {}", model.id));
    painted.notes.extend(note);
    Ok(painted)
}

/// The select stage's choice among the models that can do it, or without such a stage the first of them.
async fn choose(host: &impl Host, prompt: &str, changes: bool) -> Result<Model, Failure> {
    let can = |model: &Model| if changes { model.edit } else { model.text_to_image };
    let models: Vec<_> = host.models().await.into_iter().filter(can).collect();
    if models.is_empty() {
        let what = if changes { "changes" } else { "makes" };
        let text =
            format!("no model that {what} pictures is granted to this route: add its id to `grants.models`");
        return Err(Failure::backend(text));
    }
    let hints = Hints { prompt: prompt.to_owned(), has_source: changes, ..Hints::default() };
    let id = match host.select(hints, &models).await {
        Ok(choice) => Some(choice.model),
        Err(StageError::NotConfigured(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let is_chosen = |model: &Model| id.as_ref().is_none_or(|id| *id == model.id);
    // a plugin is not trusted to stay within the candidates
    models.into_iter().find(is_chosen).ok_or_else(|| {
        Failure::backend("the select stage chose a model that the route does not have, or that cannot do it")
    })
}

/// What is wished of the picture. What was left out stays out, and the host fills in the model's own.
fn order(wish: &Wish, model: &Model) -> Order {
    Order { model: model.id.clone(), steps: wish.steps, seed: wish.seed, count: 1, ..Order::default() }
}

/// Runs the job to its end.
async fn run<H: Ears>(
    host: &H,
    order: Order,
    source: Source<'_, H::Image>,
    progress: &mut Progress,
) -> Result<Painted, Failure> {
    let mut job = host.generate(order, source).await?;
    if progress.is_followed() {
        while let Some(event) = job.next_event().await {
            progress.painting(event).await;
        }
    }
    let outcome = job.outcome().await?;
    let first = outcome.pictures.into_iter().next();
    let (picture, seed) = first.ok_or_else(|| Failure::backend("the model gave no picture"))?;
    let png = host.png(&picture).await.map_err(|error| Failure::of_picture(error, "picture"))?;
    let (model, notes) = (Some(outcome.model), outcome.notes);
    Ok(Painted { png, model, seed: Some(seed), enhanced_prompt: None, notes })
}
