//! From a task to a PNG file that carries its parameters: the model's job, followed step by step, and the picture brought to its size.

use atelier_kit::finishing::{Unfinished, finished};
use atelier_kit::host::{
    Event, GenerationError, ImageError, Job as _, Model, Order, Outcome, Size, Source, StageError,
};
use atelier_kit::jobs::JobFailure;
use atelier_kit::trouble::{Trouble, UNEXPECTED};

use crate::api::Capable;
use crate::inputs;
use crate::task::Task;
use crate::work::{failed, report};

/// How far a task is when its model begins, and how much further when it ends.
const BEGUN: u8 = 10;
const STEPS: u32 = 50;

/// A picture, and what its user should know.
pub(crate) struct Drawn {
    pub(crate) png: Vec<u8>,
    pub(crate) notes: Vec<String>,
}

/// Draws a task's picture.
pub(crate) async fn draw<H: Capable>(host: &H, task: &Task) -> Result<Drawn, JobFailure> {
    report(host, BEGUN, "Starting generation...").await;
    let model = host.models().await.into_iter().find(|model| model.id == task.model);
    let gone = || undone(&format!("model `{}` is not granted to this route any more", task.model));
    let model = model.ok_or_else(gone)?;
    let start = match &task.input {
        None => None,
        Some(name) => Some(input(host, name).await?),
    };
    let found = start.as_ref().map(|picture| host.size(picture));
    let asked = task.size().or(found).unwrap_or(model.native_size);
    let order = order(task, model.nearest(asked));
    let source = match &start {
        None => Source::None,
        Some(picture) => Source::Start { picture, strength: task.strength },
    };
    let job = host.generate(order, source).await.map_err(refused)?;
    let outcome = follow(host, job).await?;
    finish(host, task, &model, found, outcome).await
}

/// The picture that a task starts from. It was one when the task was taken.
async fn input<H: Capable>(host: &H, name: &str) -> Result<H::Image, JobFailure> {
    let bytes = host.read(inputs::CONTAINER, name).await.map_err(failed)?;
    let bytes = bytes.ok_or_else(|| undone("the image is gone; send it again"))?;
    host.decode(bytes).await.map_err(|error| match error {
        ImageError::Refused(text) => undone(&format!("`image` cannot be read: {text}")),
        ImageError::Failed(text) => JobFailure::Temporary(worded(&text)),
    })
}

fn order(task: &Task, size: Size) -> Order {
    Order {
        model: task.model.clone(),
        prompt: task.prompt.clone(),
        negative_prompt: task.negative_prompt.clone(),
        size: Some(size),
        steps: Some(task.steps),
        guidance: task.guidance,
        seed: task.seed,
        count: 1,
        ..Order::default()
    }
}

/// Tells how far the model is, until it ends.
async fn follow<H: Capable>(host: &H, mut job: H::Job) -> Result<Outcome<H::Image>, JobFailure> {
    while let Some(event) = job.next_event().await {
        match event {
            Event::Queued { position, .. } if position > 0 => {
                report(host, BEGUN, &format!("Waiting for the model, {position} before it")).await;
            }
            Event::Step { step, total, .. } => {
                let share = STEPS.saturating_mul(step) / total.max(1);
                let progress = BEGUN.saturating_add(u8::try_from(share.min(STEPS)).unwrap_or(u8::MAX));
                report(host, progress, &format!("Generating, step {step} of {total}")).await;
            }
            Event::Queued { .. } | Event::Started | Event::Preview { .. } => {}
        }
    }
    job.outcome().await.map_err(refused)
}

/// The picture in the size that was asked for, as a file. A changed picture keeps the size in which it was drawn.
async fn finish<H: Capable>(
    host: &H,
    task: &Task,
    model: &Model,
    found: Option<Size>,
    outcome: Outcome<H::Image>,
) -> Result<Drawn, JobFailure> {
    let mut notes = outcome.notes;
    let first = outcome.pictures.into_iter().next();
    let (picture, _seed) = first.ok_or_else(|| undone("the model gave no picture"))?;
    let drawn = host.size(&picture);
    if let Some(found) = found.filter(|found| *found != drawn) {
        notes.push(format!("`image` was scaled from {found} to {drawn} for {}", model.id));
    }
    let wanted = task.size().unwrap_or(drawn);
    let (picture, note) =
        finished(host, &model.id, picture, &task.prompt, wanted).await.map_err(unfinished)?;
    notes.extend(note);
    let png = host.png(&picture).await.map_err(|error| unfinished(Unfinished::Image(error)))?;
    Ok(Drawn { png, notes })
}

fn unfinished(unfinished: Unfinished) -> JobFailure {
    match unfinished {
        Unfinished::Stage(
            StageError::Refused(text) | StageError::NotConfigured(text) | StageError::Failed(text),
        )
        | Unfinished::Image(ImageError::Refused(text) | ImageError::Failed(text)) => undone(&text),
    }
}

/// What may be otherwise in a moment is tried again; what is wrong with the task or the model is not.
fn refused(error: GenerationError) -> JobFailure {
    use GenerationError::{Cancelled, Overloaded, TimedOut, Unavailable, WorkerGone};
    let may_pass =
        matches!(error, Overloaded { .. } | Unavailable { .. } | TimedOut(_) | WorkerGone | Cancelled);
    let text = match Trouble::of(error, called) {
        Trouble::Field { text, .. }
        | Trouble::Busy { text, .. }
        | Trouble::Backend { text, .. }
        | Trouble::TimedOut(text) => text,
        Trouble::Unexpected => UNEXPECTED.into(),
    };
    if may_pass { JobFailure::Temporary(worded(&text)) } else { undone(&text) }
}

fn undone(text: &str) -> JobFailure {
    JobFailure::Permanent(worded(text))
}

/// As the original words it.
fn worded(text: &str) -> String {
    format!("Model inference error: {text}")
}

/// The task's name of what the host calls otherwise.
fn called(field: &str) -> String {
    match field {
        "guidance" => "guidance_scale".into(),
        "steps" => "num_inference_steps".into(),
        "size" => "width` and `height".into(),
        "source" => "image".into(),
        field => field.replace('-', "_"),
    }
}
