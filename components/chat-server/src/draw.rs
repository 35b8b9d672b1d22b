//! `POST /image/generate`: model, picture and job. Everything that can be refused is refused here, before the stream of
//! events begins, so that it has a status of its own.

use atelier_kit::Host;
use atelier_kit::fastapi::Failure;
use atelier_kit::host::{Model, Order, Refine, Source};
use atelier_kit::http::{Reply, Request};

use crate::api::Capable;
use crate::request::Generation;
use crate::{models, told};

/// How many previews a picture gets.
/// Enough to see a picture form; each one costs a decode that the job waits for.
const PREVIEWS: u32 = 4;

/// A job that was taken, and what its client is told of it.
pub(crate) struct Begun<J> {
    pub(crate) job: J,
    pub(crate) request: Generation,
    /// The model as it was before the job.
    pub(crate) model: Model,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
}

/// Answers with a stream of events, once a job was taken.
pub(crate) async fn answer<H: Capable>(host: H, request: Request) -> Result<Reply, Failure> {
    let request = Generation::parse(request).await?;
    let begun = begin(&host, request).await?;
    Ok(told::stream(host, begun))
}

async fn begin<H: Host>(host: &H, mut request: Generation) -> Result<Begun<H::Job>, Failure> {
    let model = models::painter(host, request.model_name).await?;
    // what is not asked for is not done, even where the manifest gives the model a refiner
    let refine = match request.use_refiner {
        true => Refine::By { model: models::refiner(host, &model)?, share: None },
        false => Refine::Never,
    };
    let picture = decoded(host, request.image.take(), &model).await?;
    let mut order = order(&request, &model, refine);
    let mut notes = Vec::new();
    let source = match &picture {
        None => Source::None,
        Some(picture) => {
            let (found, drawn) = (host.size(picture), model.nearest(host.size(picture)));
            order.size = Some(drawn);
            if found != drawn {
                notes.push(format!("`image` was scaled from {found} to {drawn} for {}", model.id));
            }
            Source::Start { picture, strength: request.strength }
        }
    };
    let refused = |error| Failure::of_job(error, called).repeating(&request.fields());
    let job = host.generate(order, source).await.map_err(refused)?;
    Ok(Begun { job, request, model, notes })
}

/// The picture to start from, for a model that can.
async fn decoded<H: Host>(
    host: &H,
    image: Option<Vec<u8>>,
    model: &Model,
) -> Result<Option<H::Image>, Failure> {
    let Some(bytes) = image else { return Ok(None) };
    if !model.image_to_image {
        let text = format!("`image` cannot be given: {} does not start from pictures", model.id);
        return Err(Failure::invalid("image", text));
    }
    host.decode(bytes).await.map(Some).map_err(|error| Failure::of_picture(error, "image"))
}

/// The job as the host takes it. What the form does not have is the model's own.
fn order(request: &Generation, model: &Model, refine: Refine) -> Order {
    Order {
        model: model.id.clone(),
        prompt: request.prompt.clone(),
        // the host refuses it by name where the model has no use for it
        negative_prompt: request.negative_prompt.clone(),
        steps: Some(request.steps),
        seed: request.seed,
        count: 1,
        refine: Some(refine),
        preview_every: Some((request.steps / PREVIEWS).max(1)),
        ..Order::default()
    }
}

/// The form's name of what the host calls otherwise.
pub(crate) fn called(field: &str) -> String {
    match field {
        "refiner" => "use_refiner".into(),
        "source" => "image".into(),
        "model" => "model_name".into(),
        field => field.replace('-', "_"),
    }
}
