//! `generation`: turns a guest's request into a job of the scheduler, and the job's events and end into the guest's
//! stream and outcome.

mod convert;

use std::sync::Arc;

use atelier_inference::picture::{Encoding, Filter, Format, encode, resized};
use atelier_inference::{
    Error as HostError, Event as HostEvent, ImageModel, ImageOrder, ImageRequest, MAX_CONTROLS,
    Outcome as HostOutcome, Picture as HostPicture, Pixels, Preview as HostPreview, Product,
    ProvidedImageOrder, Refine, Size as HostSize, Source, Task,
};
use wasmtime::Result;
use wasmtime::component::{Access as StoreAccess, Resource, StreamReader};

use super::job::{self, Ended, Handle};
use super::{Access, Capabilities, Image, caller, paint};
use crate::Work;
use crate::bindings::generation::{
    Control, Error, Event, Host, HostJob, HostJobWithStore, HostWithStore, Invalid, Outcome, Picture,
    Preview, Refined, Request, Step,
};
use crate::context::OpenSpan;
use crate::provider::Wanted;
use crate::sandbox::{Meter, Sandbox};
use crate::stage::Caller;
use convert::steered;

/// What is behind a guest's job handle: the order, without the pictures that it came with.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub type RunningJob = Handle<Arc<ImageOrder>>;

impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn text_to_image(
        access: &Access,
        request: Request,
        controls: Vec<Control>,
    ) -> Result<std::result::Result<Resource<RunningJob>, Error>> {
        from_pictures(access, request, Vec::new(), controls, |_| None).await
    }

    async fn image_to_image(
        access: &Access,
        request: Request,
        source: Resource<Image>,
        strength: Option<f64>,
        controls: Vec<Control>,
    ) -> Result<std::result::Result<Resource<RunningJob>, Error>> {
        let start = |mut pictures: Vec<Pixels>| {
            let pixels = pictures.pop()?;
            Some(Source::Start { pixels, strength })
        };
        from_pictures(access, request, vec![source], controls, start).await
    }

    async fn edit(
        access: &Access,
        request: Request,
        source: Resource<Image>,
        image_guidance: Option<f64>,
    ) -> Result<std::result::Result<Resource<RunningJob>, Error>> {
        let edit = |mut pictures: Vec<Pixels>| {
            let pixels = pictures.pop()?;
            Some(Source::Edit { pixels, guidance: image_guidance })
        };
        from_pictures(access, request, vec![source], Vec::new(), edit).await
    }

    async fn inpaint(
        access: &Access,
        request: Request,
        source: Resource<Image>,
        mask: Option<Resource<Image>>,
        strength: Option<f64>,
        controls: Vec<Control>,
    ) -> Result<std::result::Result<Resource<RunningJob>, Error>> {
        let inpaint = |pictures: Vec<Pixels>| {
            let mut pictures = pictures.into_iter();
            let pixels = pictures.next()?;
            Some(Source::Inpaint { pixels, mask: pictures.next(), strength })
        };
        from_pictures(access, request, [source].into_iter().chain(mask).collect(), controls, inpaint).await
    }
}

/// Scales pictures to what is asked for, or else to the first one's own size, and starts the job that works on them.
async fn from_pictures(
    access: &Access,
    request: Request,
    pictures: Vec<Resource<Image>>,
    controls: Vec<Control>,
    role: impl FnOnce(Vec<Pixels>) -> Option<Source>,
) -> Result<std::result::Result<Resource<RunningJob>, Error>> {
    let caller = caller(access).await;
    let handles = pictures.iter().chain(controls.iter().map(|control| &control.picture));
    let given = access.with(|mut store| {
        let table = &store.get().table;
        handles.map(|picture| Ok(table.get(picture)?.picture().clone())).collect::<Result<Vec<_>>>()
    })?;
    let model = match painter(&caller, &request.model) {
        Ok(model) => model,
        Err(error) => return Ok(Err(error)),
    };
    let mut request = ImageRequest::from(request);
    // control pictures follow the size of what is made, and say nothing of it
    let own = given.first().filter(|_| !pictures.is_empty()).map(|picture| picture.pixels.size());
    let size = request.size.or(own).unwrap_or(model.native_size);
    let mut scaled = match scaled(&caller, &model, given, size).await? {
        Ok(scaled) => scaled,
        Err(error) => return Ok(Err(error)),
    };
    let steering = scaled.split_off(pictures.len());
    request.controls = controls.into_iter().zip(steering).map(steered).collect();
    request.source = role(scaled);
    job::keep(access, start(&caller, &model, request))
}

/// The model, when the route may use it and it makes pictures.
fn painter(caller: &Caller, model: &str) -> std::result::Result<Arc<ImageModel>, Error> {
    Ok(job::granted(caller, model)?.image()?.clone())
}

/// Pictures of one size, which is checked first, so that nobody makes the host scale to a size that no model takes.
async fn scaled(
    caller: &Caller,
    model: &ImageModel,
    pictures: Vec<HostPicture>,
    size: HostSize,
) -> Result<std::result::Result<Vec<Pixels>, Error>> {
    let invalid =
        |field: &str, reason| Ok(Err(Error::InvalidRequest(Invalid { field: field.into(), reason })));
    let is_too_large = size.width > model.max_side || size.height > model.max_side;
    if !pictures.is_empty() && (is_too_large || size.width == 0 || size.height == 0) {
        let reason =
            format!("{size} does not fit model `{}`: sides are at most {}", model.card.id, model.max_side);
        return invalid("size", reason);
    }
    // a source, its mask and the controls
    if pictures.len() > MAX_CONTROLS + 2 {
        return invalid("controls", format!("at most {MAX_CONTROLS} pictures may steer a job"));
    }
    let mut scaled = Vec::with_capacity(pictures.len());
    for picture in pictures {
        let scale = move || resized(&picture.pixels, size, Filter::Lanczos3);
        match paint(&caller.host, &caller.meter, "images.resize", scale).await? {
            Ok(pixels) => scaled.push(pixels),
            Err(why) => return Ok(Err(why.into())),
        }
    }
    Ok(Ok(scaled))
}

/// The order of a request, for which the route may use every model that it takes.
fn checked(
    caller: &Caller,
    model: &ImageModel,
    request: ImageRequest,
) -> std::result::Result<ImageOrder, Error> {
    let grants = &caller.route.grants.models;
    let asked = match &request.refine {
        Refine::By { model, .. } => Some(model),
        Refine::Default => model.refiner.as_ref().map(|refiner| &refiner.model),
        Refine::Never => None,
    };
    // first of all, since a refusal names the refiners that there are
    if let Some(refiner) = asked {
        job::granted(caller, refiner.as_str())?;
    }
    let refiners =
        model.refiners.iter().filter(|refiner| grants.contains(&refiner.card.id)).cloned().collect();
    Ok(ImageOrder::with(request, &Arc::new(ImageModel { refiners, ..model.clone() }))?)
}

fn start(
    caller: &Caller,
    model: &ImageModel,
    request: ImageRequest,
) -> std::result::Result<RunningJob, Error> {
    let held = job::hold(caller)?;
    let Some(provided) = caller.host.provided(&model.card.id) else {
        let order = checked(caller, model, request)?;
        let work = Work { images: order.seeds.len() as u64, pixel_steps: order.work(), ..Work::default() };
        return begun(&order, caller, |span| job::submit(caller, order.clone(), work, held, span));
    };
    let order = ProvidedImageOrder::new(request.clone(), &provided.info)?.order;
    // nothing is denoised here
    let work = Work { images: order.seeds.len() as u64, ..Work::default() };
    let wanted = Wanted::Pictures(Box::new(request));
    begun(&order, caller, |span| job::ask(caller, provided, wanted, work, held, span))
}

/// Hands the guest a job that began, with the facts of its order.
fn begun(
    order: &ImageOrder,
    caller: &Caller,
    begin: impl FnOnce(OpenSpan) -> std::result::Result<job::Running, HostError>,
) -> std::result::Result<RunningJob, Error> {
    let facts = ImageOrder { task: Task::TextToImage, controls: Vec::new(), ..order.clone() };
    let mut span = caller.meter.scope().open("job");
    span.set("atelier.model", || facts.model.card.id.as_str());
    span.set("atelier.steps", || u64::from(facts.steps));
    span.set("atelier.pictures", || facts.seeds.len() as u64);
    Ok(Handle::new(Arc::new(facts), begin(span)?))
}

impl HostJob for Sandbox {
    fn id(&mut self, job: Resource<RunningJob>) -> Result<String> {
        Ok(self.table.get(&job)?.id())
    }

    fn cancel(&mut self, job: Resource<RunningJob>) -> Result<()> {
        self.table.get(&job)?.cancel();
        Ok(())
    }

    fn drop(&mut self, job: Resource<RunningJob>) -> Result<()> {
        self.table.delete(job)?;
        Ok(())
    }
}

impl HostJobWithStore<Sandbox> for Capabilities {
    fn events(
        store: StoreAccess<'_, Sandbox, Self>,
        job: Resource<RunningJob>,
    ) -> Result<StreamReader<Event>> {
        job::events(store, job, translate)
    }

    async fn outcome(
        access: &Access,
        job: Resource<RunningJob>,
    ) -> Result<std::result::Result<Outcome, Error>> {
        let Ended { facts, meter, result } = match job::outcome(access, job).await? {
            Ok(ended) => ended,
            Err(error) => return Ok(Err(error)),
        };
        match result {
            Ok(outcome) => access.with(|mut store| store.get().hand_out(&facts, outcome, &meter)),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl Sandbox {
    /// Puts a finished job's pictures behind handles.
    fn hand_out(
        &mut self,
        order: &ImageOrder,
        outcome: HostOutcome,
        meter: &Meter,
    ) -> Result<std::result::Result<Outcome, Error>> {
        let HostOutcome { model, product: Product::Pictures(made), notes, timings } = outcome else {
            return Ok(Err(Error::Failed("the job made something else than pictures".into())));
        };
        // what another model made than was asked has values of its own
        let own = made.first().and_then(|picture| picture.parameters.clone());
        let size = made.first().map_or(order.size, |picture| picture.pixels.size());
        let mut pictures = Vec::with_capacity(made.len());
        for (picture, seed) in made.into_iter().zip(&order.seeds) {
            let seed = picture.parameters.as_ref().map_or(*seed, |parameters| parameters.seed);
            let image = match Image::charged(picture, meter) {
                Ok(image) => self.table.push(image)?,
                Err(why) => return Ok(Err(Error::Failed(why))),
            };
            pictures.push(Picture { image, seed });
        }
        Ok(Ok(Outcome {
            pictures,
            model: model.to_string(),
            size: size.into(),
            steps: own.as_ref().map_or(order.steps, |parameters| parameters.steps),
            guidance: own.as_ref().map_or(order.guidance, |parameters| parameters.guidance),
            schedule: own.map_or_else(|| order.schedule.clone(), |parameters| parameters.schedule.clone()),
            refined: order.refiner.as_ref().map(Refined::from),
            step_cache: order.step_cache.map(Into::into),
            notes,
            timings: timings.into(),
        }))
    }
}

/// The guest's form of an event; `None` for a preview that cannot be written, which nobody needs to know.
async fn translate(event: HostEvent) -> Option<Event> {
    Some(match event {
        HostEvent::Queued { position, eta } => Event::Queued(job::queued(position, eta)),
        HostEvent::Started => Event::Started,
        HostEvent::Step { step, total, elapsed } => {
            Event::Step(Step { step, total, elapsed_ms: elapsed.as_millis() as u64 })
        }
        HostEvent::Preview(preview) => Event::Preview(preview_file(preview).await?),
        // no such event comes of pictures
        HostEvent::Heard(_) | HostEvent::Said { .. } => return None,
    })
}

async fn preview_file(preview: HostPreview) -> Option<Preview> {
    let HostPreview { index, step, pixels } = preview;
    let encoding = Encoding { format: Format::Png, quality: None, parameters: false };
    let write = move || encode(&HostPicture { pixels, parameters: None }, encoding);
    let png = tokio::task::spawn_blocking(write).await.ok()?.ok()?;
    Some(Preview { index, step, png })
}
