//! The job that makes or changes a picture, from beginning to end. Which model works is decided before (`modes`).

use atelier_kit::host::{Job, Model, Order, Prompt, Source, StageError};

use crate::api::Studio;
use crate::failure::Failure;
use crate::progress::Follow;

/// How many previews a picture has, about.
const PREVIEWS: u32 = 6;

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) prompt: &'a str,
    /// A random one where it is left out.
    pub(crate) seed: Option<u64>,
}

/// A picture in the host's memory, and how it came about.
pub(crate) struct Painted<I> {
    pub(crate) image: I,
    pub(crate) seed: u64,
    pub(crate) model: String,
    pub(crate) prompt: String,
    /// What a user should know.
    pub(crate) notes: Vec<String>,
}

/// Draws a new picture. The route's styles may add to the prompt.
pub(crate) async fn create<H: Studio>(
    host: &H,
    (model, steps): &(Model, Option<u32>),
    wish: Wish<'_>,
    progress: &mut impl Follow,
) -> Result<Painted<H::Image>, Failure> {
    let plain = Prompt { text: wish.prompt.to_owned(), negative: None, model: Some(model.id.clone()) };
    let styled = match host.style(plain.clone()).await {
        Ok(styled) => styled,
        // a studio without styles draws what was said
        Err(StageError::NotConfigured(_)) => plain,
        Err(error) => return Err(error.into()),
    };
    let order = Order {
        prompt: styled.text,
        // a style's own is left out where the model has no use for it
        negative_prompt: styled.negative.filter(|_| model.negative_prompt),
        ..order(model, *steps, wish.seed)
    };
    run(host, model, order, Source::None, progress).await
}

/// Changes a picture as a prompt says. One of a size that the model cannot draw is scaled to the nearest that it can.
pub(crate) async fn edit<H: Studio>(
    host: &H,
    (model, steps): &(Model, Option<u32>),
    picture: &H::Image,
    wish: Wish<'_>,
    progress: &mut impl Follow,
) -> Result<Painted<H::Image>, Failure> {
    let (size, drawn) = (host.size(picture), model.nearest(host.size(picture)));
    let scaled = (drawn != size).then_some(drawn);
    let order = Order { prompt: wish.prompt.to_owned(), size: scaled, ..order(model, *steps, wish.seed) };
    let mut painted = run(host, model, order, Source::Edit { picture, guidance: None }, progress).await?;
    let note = scaled.map(|drawn| format!("the picture was scaled from {size} to {drawn} for {}", model.id));
    painted.notes.extend(note);
    Ok(painted)
}

fn order(model: &Model, steps: Option<u32>, seed: Option<u64>) -> Order {
    let every = steps.unwrap_or(model.default_steps).div_ceil(PREVIEWS).max(1);
    Order { model: model.id.clone(), steps, seed, count: 1, preview_every: Some(every), ..Order::default() }
}

/// Runs the job to its end. Nobody's previews are not made.
async fn run<H: Studio>(
    host: &H,
    model: &Model,
    order: Order,
    source: Source<'_, H::Image>,
    progress: &mut impl Follow,
) -> Result<Painted<H::Image>, Failure> {
    let prompt = order.prompt.clone();
    let preview_every = order.preview_every.filter(|_| progress.is_followed());
    let mut job = host.generate(Order { preview_every, ..order }, source).await?;
    let unloaded = (!model.loaded).then_some(model.id.as_str());
    if progress.is_followed() {
        while let Some(event) = job.next_event().await {
            progress.painting(event, unloaded).await;
        }
    }
    let outcome = job.outcome().await?;
    let first = outcome.pictures.into_iter().next();
    let (image, seed) = first.ok_or_else(|| Failure::backend("the model gave no picture"))?;
    Ok(Painted { image, seed, model: outcome.model, prompt, notes: outcome.notes })
}
