//! From a request to finished PNG files: plan, enhance, run the job, finish each picture. Dropping the future at any
//! point drops the job, which ends it before its next step.

use atelier_kit::Host;
use atelier_kit::finishing::finished;
use atelier_kit::host::{Job, Order, Outcome, Prompt, Source};

use crate::enhance::enhance;
use crate::failure::Failure;
use crate::plan::{Plan, plan};
use crate::progress::{Progress, Tell};
use crate::request::Generation;

/// What a request gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// PNG files with their seeds, in order.
    pub(crate) pictures: Vec<(Vec<u8>, u64)>,
    /// The prompt that was drawn, when the enhancer wrote it.
    pub(crate) enhanced_prompt: Option<String>,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
    /// Seconds since 1970 when the pictures were finished.
    pub(crate) created: u64,
}

/// Does everything that a request asks for.
pub(crate) async fn draw<H: Host>(
    host: &H,
    request: Generation,
    progress: &mut Progress,
) -> Result<Drawn, Failure> {
    // in this order: styles depend on the model, and what can be refused is refused before the job is queued
    let mut plan = plan(host, &request).await?;
    let picture = decoded(host, "image", request.image.as_ref()).await?;
    let mask = decoded(host, "mask", request.mask.as_ref()).await?;
    let (prompt, note) = prompt(host, &request, &plan).await?;
    plan.notes.extend(note);
    let source = match &picture {
        None => Source::None,
        Some(picture) if mask.is_some() => {
            Source::Inpaint { picture, mask: mask.as_ref(), strength: request.strength }
        }
        Some(picture) if plan.model.image_to_image => Source::Start { picture, strength: request.strength },
        Some(picture) => Source::Edit { picture, guidance: request.image_guidance },
    };
    let outcome = run(host, order(&request, &plan, &prompt, progress), source, progress).await?;
    let mut drawn = Drawn { notes: std::mem::take(&mut plan.notes), ..Drawn::default() };
    drawn.notes.extend(outcome.notes);
    for (picture, seed) in outcome.pictures {
        let (picture, note) = finished(host, &plan.model.id, picture, &prompt.text, request.size).await?;
        // pictures of one job are scaled alike, and one note says it for all
        drawn.notes.extend(note.filter(|note| !drawn.notes.contains(note)));
        drawn.pictures.push((host.png(&picture).await?, seed));
    }
    drawn.enhanced_prompt = request.use_enhancer.then_some(prompt.text);
    drawn.created = host.unix_seconds();
    Ok(drawn)
}

/// The prompt to draw: the client's own, or what the enhancer makes of it for the model that was chosen.
async fn prompt(
    host: &impl Host,
    request: &Generation,
    plan: &Plan,
) -> Result<(Prompt, Option<String>), Failure> {
    let own = Prompt {
        text: request.prompt.clone(),
        negative: request.negative_prompt.clone(),
        model: Some(plan.model.id.clone()),
    };
    if request.use_enhancer { enhance(host, own).await } else { Ok((own, None)) }
}

/// A field's picture, decoded by the host.
async fn decoded<H: Host>(
    host: &H,
    field: &str,
    bytes: Option<&Vec<u8>>,
) -> Result<Option<H::Image>, Failure> {
    let Some(bytes) = bytes else { return Ok(None) };
    // the host knows pictures, not requests: its text does not say which field is meant
    let unreadable = |error| Failure::from(error).prefixed(&format!("`{field}` cannot be read: "));
    host.decode(bytes.clone()).await.map(Some).map_err(unreadable)
}

/// Runs the job to its end.
async fn run<H: Host>(
    host: &H,
    order: Order,
    source: Source<'_, H::Image>,
    progress: &mut Progress,
) -> Result<Outcome<H::Image>, Failure> {
    let mut job = host.generate(order, source).await?;
    // events of a job that nobody follows are not read; its outcome does not wait for them
    if progress.is_followed() {
        while let Some(event) = job.next_event().await {
            progress.job(event).await;
        }
    }
    Ok(job.outcome().await?)
}

/// The job as the host takes it. What the client left out stays out, and the host fills in the model's own.
fn order(request: &Generation, plan: &Plan, prompt: &Prompt, progress: &Progress) -> Order {
    let model = &plan.model;
    Order {
        model: model.id.clone(),
        prompt: prompt.text.clone(),
        // a client's own is never dropped: the host refuses it by name where the model has no use for it
        negative_prompt: prompt
            .negative
            .clone()
            .filter(|_| model.negative_prompt || request.negative_prompt.is_some()),
        size: Some(plan.size),
        steps: request.steps,
        guidance: request.guidance,
        seed: request.seed,
        count: request.count,
        schedule: request.schedule.clone(),
        adapters: request.adapters.clone(),
        // the manifest says whether a model is refined
        refine: None,
        step_cache: request.step_cache,
        preview_every: progress.preview_every(request.steps.unwrap_or(model.default_steps)),
    }
}
