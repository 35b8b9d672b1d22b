//! `generation`: turns a guest's request into a job of the scheduler, and the job's events and end into the guest's
//! stream and outcome. Dropping the job's handle, or the whole store, cancels the job.

mod convert;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use atelier_inference::picture::{Encoding, Filter, Format, encode, resized};
use atelier_inference::{
    CancelGuard, Error as HostError, Event as HostEvent, EventReader, Job, JobId, MAX_CONTROLS, ModelId,
    ModelInfo, Outcome as HostOutcome, Picture as HostPicture, Pixels, Preview as HostPreview, Refine,
    Request as HostRequest, Size as HostSize, Source, Task, Timings as HostTimings,
};
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::{
    Access as StoreAccess, Destination, Resource, StreamProducer, StreamReader, StreamResult,
};
use wasmtime::{Result, StoreContextMut};

use super::{Access, Capabilities, Image, caller, paint};
use crate::Work;
use crate::bindings::generation::{
    Control, Error, Event, Host, HostJob, HostJobWithStore, HostWithStore, Invalid, Outcome, Overload,
    Picture, Preview, Queued, Refined, Request, Step, Timings,
};
use crate::context::OpenSpan;
use crate::sandbox::{HeldJob, Meter, Sandbox, Wait};
use crate::stage::Caller;
use convert::steered;

/// What is behind a guest's job handle.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct RunningJob {
    job: Arc<Job>,
    id: JobId,
    events: Option<EventReader>,
    outcome: Option<oneshot::Receiver<atelier_inference::Result<HostOutcome>>>,
    /// Ends with the outcome, or with the handle when nobody asks for it.
    span: Option<OpenSpan>,
    // both end with the handle: the job is cancelled, its place is free
    guard: Arc<CancelGuard>,
    _held: HeldJob,
}

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
    let model = match granted(&caller, &request.model) {
        Ok(model) => model,
        Err(error) => return Ok(Err(error)),
    };
    let mut request = HostRequest::from(request);
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
    keep(access, start(&caller, &model, request))
}

/// Pictures of one size, which is checked first, so that nobody makes the host scale to a size that no model takes.
async fn scaled(
    caller: &Caller,
    model: &ModelInfo,
    pictures: Vec<HostPicture>,
    size: HostSize,
) -> Result<std::result::Result<Vec<Pixels>, Error>> {
    let invalid =
        |field: &str, reason| Ok(Err(Error::InvalidRequest(Invalid { field: field.into(), reason })));
    let is_too_large = size.width > model.max_side || size.height > model.max_side;
    if !pictures.is_empty() && (is_too_large || size.width == 0 || size.height == 0) {
        let reason =
            format!("{size} does not fit model `{}`: sides are at most {}", model.id, model.max_side);
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

/// The model, when the route may use it.
fn granted(caller: &Caller, model: &str) -> std::result::Result<ModelInfo, Error> {
    let (grants, route) = (&caller.route.grants.models, &caller.route.name);
    let (id, meter) = (ModelId::new(model), &caller.meter);
    if let Some((_, fix)) = caller.route.grants.absent.iter().find(|(absent, _)| *absent == id) {
        meter.deny("model_absent");
        return Err(Error::UnknownModel(format!("model `{model}` is not here: {fix}")));
    }
    if !grants.contains(&id) {
        meter.deny("model_not_granted");
        let text = format!(
            "route `{route}` has no grant for model `{model}`; add it to `grants.models` of the route"
        );
        return Err(Error::AccessDenied(text));
    }
    caller.host.scheduler.catalog().get(&id).cloned().map_err(|_| {
        let usable = grants.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ");
        Error::UnknownModel(format!("there is no model `{model}`; route `{route}` may use: {usable}"))
    })
}

/// The job of a request, for which the route may use every model that it takes.
fn checked(caller: &Caller, model: &ModelInfo, request: HostRequest) -> std::result::Result<Job, Error> {
    let grants = &caller.route.grants.models;
    let asked = match &request.refine {
        Refine::By { model, .. } => Some(model),
        Refine::Default => model.refiner.as_ref().map(|refiner| &refiner.model),
        Refine::Never => None,
    };
    // first of all, since a refusal names the refiners that there are
    if let Some(refiner) = asked {
        granted(caller, refiner.as_str())?;
    }
    let refiners = model.refiners.iter().filter(|refiner| grants.contains(&refiner.id)).cloned().collect();
    let job = Job::new(request, &ModelInfo { refiners, ..model.clone() })?;
    Ok(job.for_tenant(caller.meter.tenant().id.clone(), caller.meter.tenant().priority))
}

fn start(caller: &Caller, model: &ModelInfo, request: HostRequest) -> std::result::Result<RunningJob, Error> {
    let held = caller.meter.hold_job().map_err(|limit| {
        let reason = format!("this request has {limit} jobs already (limits.jobs)");
        Error::Overloaded(Overload { reason, retry_after_ms: 1_000 })
    })?;
    let tenant = caller.meter.tenant();
    let job = checked(caller, model, request)?;
    let facts = Arc::new(Job { task: Task::TextToImage, controls: Vec::new(), ..job.clone() });
    let mut span = caller.meter.scope().open("job");
    span.set("atelier.model", || facts.model.id.as_str());
    span.set("atelier.steps", || u64::from(facts.steps));
    span.set("atelier.pictures", || facts.seeds.len() as u64);
    let quota = &tenant.quota;
    let work = Work { images: job.seeds.len() as u64, pixel_steps: job.work() };
    quota.charge(work).inspect_err(|_| caller.meter.deny("quota"))?;
    let submitted = caller.host.scheduler.submit(job).inspect_err(|error| {
        quota.refund(work);
        if let HostError::Overloaded { .. } = error {
            caller.meter.deny("queue_full");
        }
    });
    let ticket = submitted?;
    let guard = Arc::new(ticket.guard);
    caller.meter.guard(&guard);
    Ok(RunningJob {
        job: facts,
        id: ticket.id,
        events: Some(ticket.events),
        outcome: Some(ticket.outcome),
        span: Some(span),
        guard,
        _held: held,
    })
}

fn keep(
    access: &Access,
    started: std::result::Result<RunningJob, Error>,
) -> Result<std::result::Result<Resource<RunningJob>, Error>> {
    match started {
        Ok(job) => Ok(Ok(access.with(|mut store| store.get().table.push(job))?)),
        Err(error) => Ok(Err(error)),
    }
}

impl HostJob for Sandbox {
    fn id(&mut self, job: Resource<RunningJob>) -> Result<String> {
        Ok(self.table.get(&job)?.id.to_string())
    }

    fn cancel(&mut self, job: Resource<RunningJob>) -> Result<()> {
        self.table.get(&job)?.guard.cancel();
        Ok(())
    }

    fn drop(&mut self, job: Resource<RunningJob>) -> Result<()> {
        self.table.delete(job)?;
        Ok(())
    }
}

impl HostJobWithStore<Sandbox> for Capabilities {
    fn events(
        mut store: StoreAccess<'_, Sandbox, Self>,
        job: Resource<RunningJob>,
    ) -> Result<StreamReader<Event>> {
        let meter = store.get().meter().clone();
        match store.get().table.get_mut(&job)?.events.take() {
            Some(reader) => StreamReader::new(&mut store, Events::follow(reader, meter)),
            None => StreamReader::new(&mut store, std::iter::empty()),
        }
    }

    async fn outcome(
        access: &Access,
        job: Resource<RunningJob>,
    ) -> Result<std::result::Result<Outcome, Error>> {
        let (receiver, span, facts, meter) = access.with(|mut store| {
            let meter = store.get().meter().clone();
            let job = store.get().table.get_mut(&job)?;
            let taken = (job.outcome.take(), job.span.take(), job.job.clone(), meter);
            Ok::<_, wasmtime::Error>(taken)
        })?;
        let (Some(receiver), Some(span)) = (receiver, span) else {
            return Ok(Err(Error::Other("the outcome of this job was asked for already".into())));
        };
        let wait = meter.wait();
        let ended = receiver.await.unwrap_or(Err(HostError::WorkerGone));
        drop(wait);
        note(span, &meter, &ended);
        match ended {
            Ok(outcome) => access.with(|mut store| store.get().hand_out(&facts, outcome, &meter)),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

/// Keeps where a job's time went.
fn note(mut span: OpenSpan, meter: &Meter, ended: &atelier_inference::Result<HostOutcome>) {
    let HostTimings { queue, load, run } = match ended {
        Ok(outcome) => outcome.timings,
        Err(error) => return span.fail(code(error)),
    };
    let usage = meter.context().usage();
    usage.queue.add(queue);
    usage.inference.add(load + run);
    let (scope, Some(began)) = (span.scope(), span.began()) else { return };
    scope.keep("queue", began, Duration::ZERO, queue);
    if !load.is_zero() {
        scope.keep("model.load", began, queue, load);
    }
    scope.keep("inference", began, queue + load, run);
}

fn code(error: &HostError) -> &'static str {
    match error {
        HostError::Cancelled => "cancelled",
        HostError::WorkerGone => "worker_gone",
        HostError::Overloaded { .. } => "overloaded",
        _ => "failed",
    }
}

impl Sandbox {
    /// Puts a finished job's pictures behind handles.
    fn hand_out(
        &mut self,
        job: &Job,
        outcome: HostOutcome,
        meter: &Meter,
    ) -> Result<std::result::Result<Outcome, Error>> {
        let mut pictures = Vec::with_capacity(outcome.pictures.len());
        for (picture, seed) in outcome.pictures.into_iter().zip(&job.seeds) {
            let image = match Image::charged(picture, meter) {
                Ok(image) => self.table.push(image)?,
                Err(why) => return Ok(Err(Error::Failed(why))),
            };
            pictures.push(Picture { image, seed: *seed });
        }
        let timings = outcome.timings;
        Ok(Ok(Outcome {
            pictures,
            model: job.model.id.to_string(),
            size: job.size.into(),
            steps: job.steps,
            guidance: job.guidance,
            schedule: job.schedule.clone(),
            refined: job.refiner.as_ref().map(Refined::from),
            step_cache: job.step_cache.map(Into::into),
            notes: outcome.notes,
            timings: Timings {
                queue_ms: timings.queue.as_millis() as u64,
                load_ms: timings.load.as_millis() as u64,
                run_ms: timings.run.as_millis() as u64,
            },
        }))
    }
}

/// A job's events on their way into a guest. A task of its own turns previews into files, one event ahead of the guest
/// at most, so a slow guest loses detail in the reader's bounded buffer and nothing piles up here.
struct Events {
    receiver: mpsc::Receiver<Event>,
    meter: Arc<Meter>,
    waiting: Option<Wait>,
}

impl Events {
    fn follow(reader: EventReader, meter: Arc<Meter>) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(forward(reader, sender));
        Self { receiver, meter, waiting: None }
    }
}

/// Ends with the job, or when nobody reads any more.
async fn forward(mut reader: EventReader, sender: mpsc::Sender<Event>) {
    loop {
        let event = tokio::select! {
            event = reader.next() => event,
            () = sender.closed() => None,
        };
        let Some(event) = event else { return };
        let Some(event) = translate(event).await else { continue };
        if sender.send(event).await.is_err() {
            return;
        }
    }
}

/// The guest's form of an event; `None` for a preview that cannot be written, which nobody needs to know.
async fn translate(event: HostEvent) -> Option<Event> {
    Some(match event {
        HostEvent::Queued { position, eta } => {
            Event::Queued(Queued { position, eta_ms: eta.map(|eta| eta.as_millis() as u64) })
        }
        HostEvent::Started => Event::Started,
        HostEvent::Step { step, total, elapsed } => {
            Event::Step(Step { step, total, elapsed_ms: elapsed.as_millis() as u64 })
        }
        HostEvent::Preview(preview) => Event::Preview(preview_file(preview).await?),
    })
}

async fn preview_file(preview: HostPreview) -> Option<Preview> {
    let HostPreview { index, step, pixels } = preview;
    let encoding = Encoding { format: Format::Png, quality: None, parameters: false };
    let write = move || encode(&HostPicture { pixels, parameters: None }, encoding);
    let png = tokio::task::spawn_blocking(write).await.ok()?.ok()?;
    Some(Preview { index, step, png })
}

impl StreamProducer<Sandbox> for Events {
    type Item = Event;
    type Buffer = Option<Event>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Sandbox>,
        mut destination: Destination<'a, Event, Option<Event>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        if destination.remaining(&mut store) == Some(0) {
            // the guest asks whether something is there; it will learn that by reading
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let polled = self.receiver.poll_recv(cx);
        self.waiting = match &polled {
            Poll::Pending if !finish => self.waiting.take().or_else(|| Some(self.meter.wait())),
            _ => None,
        };
        match polled {
            Poll::Ready(Some(event)) => {
                destination.set_buffer(Some(event));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(None) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}
