//! [`Host`] on the bindings: one short method for each import, and the conversions of their types.
//!
//! Errors keep their texts, which the host has made safe to show; several of its cases become one where a handler
//! would answer them alike. No method decides anything.

use crate::bindings::atelier::host::{finish, generation, images, models, select, style, types};
use crate::bindings::wasi::clocks0_3_0::{monotonic_clock, system_clock};
use crate::bindings::wasi::config::store;
use crate::host::{
    AbsentModel, Call, CallError, Choice, Event, GenerationError, Hints, Host, ImageError, Job, Model, Order,
    Outcome, Prompt, Refine, Size, Source, StageError, StepCache, StepCacheKind,
};

const NANOSECONDS_PER_MS: u64 = 1_000_000;

/// What the manifest grants to this component. Only what is called is imported.
#[derive(Clone, Copy, Debug)]
pub struct Granted;

/// A job of `generation`, and its events until they end.
pub struct RunningJob {
    job: generation::Job,
    events: wit_bindgen::StreamReader<generation::Event>,
}

impl Job for RunningJob {
    type Image = images::Image;

    async fn next_event(&mut self) -> Option<Event> {
        self.events.next().await.map(event)
    }

    async fn outcome(self) -> Result<Outcome<images::Image>, GenerationError> {
        let found = self.job.outcome().await.map_err(generation_error)?;
        let pictures = found.pictures.into_iter().map(|picture| (picture.image, picture.seed)).collect();
        Ok(Outcome { pictures, model: found.model, size: plain(found.size), notes: found.notes })
    }
}

impl Host for Granted {
    type Image = images::Image;
    type Job = RunningJob;

    fn config(&self, key: &str) -> Option<String> {
        // a store that fails is a key that is not set: every key has a default or an error of its own
        store::get(key).ok().flatten()
    }

    fn unix_seconds(&self) -> u64 {
        // a clock before 1970 is a broken host; a wrong time stamp is no reason to withhold a picture
        u64::try_from(system_clock::now().seconds).unwrap_or(0)
    }

    async fn sleep_ms(&self, ms: u64) {
        monotonic_clock::wait_for(ms.saturating_mul(NANOSECONDS_PER_MS)).await;
    }

    async fn models(&self) -> Vec<Model> {
        models::list().await.into_iter().map(model).collect()
    }

    async fn absent_models(&self) -> Vec<AbsentModel> {
        let absent = models::absent().await.into_iter();
        let told = |models::AbsentModel { id, source, fix }| AbsentModel { id, source, fix };
        absent.map(told).collect()
    }

    async fn style(&self, prompt: Prompt) -> Result<Prompt, StageError> {
        let Prompt { text, negative, model } = prompt;
        let styled = style::style(style::Prompt { text, negative, model }).await.map_err(style_error)?;
        Ok(Prompt { text: styled.text, negative: styled.negative, model: styled.model })
    }

    async fn select(&self, hints: Hints, candidates: &[Model]) -> Result<Choice, StageError> {
        let Hints { prompt, size, has_source, wanted } = hints;
        let hints = select::Hints { prompt, size: size.map(wire), has_source, wanted };
        let candidates = candidates.iter().map(model_info).collect();
        let choice = select::select(hints, candidates).await.map_err(select_error)?;
        Ok(Choice { model: choice.model, reason: choice.reason })
    }

    async fn finish(
        &self,
        picture: images::Image,
        prompt: &str,
        target: Option<Size>,
    ) -> Result<images::Image, StageError> {
        let context = finish::Context { prompt: prompt.to_owned(), target: target.map(wire) };
        finish::finish(picture, context).await.map_err(finish_error)
    }

    async fn decode(&self, bytes: Vec<u8>) -> Result<images::Image, ImageError> {
        images::Image::decode(bytes).await.map_err(image_error)
    }

    fn size(&self, picture: &images::Image) -> Size {
        plain(picture.size())
    }

    fn share(&self, picture: &images::Image) -> images::Image {
        picture.share()
    }

    async fn resize(&self, picture: &images::Image, size: Size) -> Result<images::Image, ImageError> {
        picture.resize(wire(size), images::Filter::Lanczos3).await.map_err(image_error)
    }

    async fn png(&self, picture: &images::Image) -> Result<Vec<u8>, ImageError> {
        let encoding = images::Encoding { format: images::Format::Png, quality: None, parameters: true };
        picture.encode(encoding).await.map_err(image_error)
    }

    async fn generate(
        &self,
        order: Order,
        source: Source<'_, images::Image>,
    ) -> Result<RunningJob, GenerationError> {
        let request = request(order);
        let job = match source {
            Source::None => generation::text_to_image(request, Vec::new()).await,
            Source::Start { picture, strength } => {
                generation::image_to_image(request, picture, strength, Vec::new()).await
            }
            Source::Edit { picture, guidance } => generation::edit(request, picture, guidance).await,
            Source::Inpaint { picture, mask, strength } => {
                generation::inpaint(request, picture, mask, strength, Vec::new()).await
            }
        };
        let job = job.map_err(generation_error)?;
        // the host gives out one stream per job, so it is kept beside the handle
        let events = job.events();
        Ok(RunningJob { job, events })
    }

    async fn call(&self, call: Call) -> Result<(u16, Vec<u8>), CallError> {
        super::client::call(call).await
    }
}

/// Conversions towards the host are called `wire`, those from it `plain`.
fn wire(size: Size) -> types::Size {
    types::Size { width: size.width, height: size.height }
}

fn plain(size: types::Size) -> Size {
    Size { width: size.width, height: size.height }
}

fn request(order: Order) -> generation::Request {
    generation::Request {
        model: order.model,
        prompt: order.prompt,
        negative_prompt: order.negative_prompt,
        size: order.size.map(wire),
        steps: order.steps,
        guidance: order.guidance,
        seed: order.seed,
        count: order.count,
        schedule: order.schedule,
        // no first-party handler offers these
        clip_skip: None,
        guidance_rescale: None,
        emphasis: None,
        seed_profile: None,
        decoder: None,
        adapters: order.adapters.into_iter().map(adapted).collect(),
        framing: None,
        refine: order.refine.map(refining),
        step_cache: order.step_cache.map(step_cache),
        preview_every: order.preview_every,
    }
}

fn adapted((id, weight): (String, f64)) -> generation::Adapted {
    generation::Adapted { id, weight }
}

fn refining(refine: Refine) -> generation::Refining {
    match refine {
        Refine::Never => generation::Refining::Never,
        Refine::By { model, share } => generation::Refining::By(generation::Refiner { model, share }),
    }
}

fn step_cache(cache: StepCache) -> generation::StepCache {
    match cache {
        StepCache::Deep { interval, branch } => {
            generation::StepCache::Deep(generation::DeepCache { interval, branch })
        }
        StepCache::FirstBlock { threshold } => generation::StepCache::FirstBlock(threshold),
    }
}

fn event(event: generation::Event) -> Event {
    match event {
        generation::Event::Queued(it) => Event::Queued { position: it.position, eta_ms: it.eta_ms },
        generation::Event::Started => Event::Started,
        generation::Event::Step(it) => {
            Event::Step { step: it.step, total: it.total, elapsed_ms: it.elapsed_ms }
        }
        generation::Event::Preview(it) => Event::Preview { index: it.index, step: it.step, png: it.png },
    }
}

pub(super) fn generation_error(error: generation::Error) -> GenerationError {
    match error {
        generation::Error::AccessDenied(text) => GenerationError::AccessDenied(text),
        generation::Error::UnknownModel(text) => GenerationError::UnknownModel(text),
        generation::Error::InvalidRequest(it) => {
            GenerationError::Invalid { field: it.field, reason: it.reason }
        }
        generation::Error::Overloaded(it) => {
            GenerationError::Overloaded { reason: it.reason, retry_after_ms: it.retry_after_ms }
        }
        generation::Error::Cancelled => GenerationError::Cancelled,
        generation::Error::WorkerGone => GenerationError::WorkerGone,
        generation::Error::Failed(text) => GenerationError::Failed(text),
        generation::Error::Unavailable(it) => {
            GenerationError::Unavailable { reason: it.reason, retry_after_ms: it.retry_after_ms }
        }
        generation::Error::TimedOut(text) => GenerationError::TimedOut(text),
        generation::Error::Other(text) => GenerationError::Other(text),
    }
}

/// Four kinds of fault lie in the client's bytes or numbers, and one anywhere else.
pub(super) fn image_error(error: images::Error) -> ImageError {
    use images::Error::{Invalid, Malformed, Other, TooLarge, Unsupported};
    match error {
        Unsupported(text) | Malformed(text) | TooLarge(text) | Invalid(text) => ImageError::Refused(text),
        Other(text) => ImageError::Failed(text),
    }
}

fn style_error(error: style::Error) -> StageError {
    match error {
        style::Error::Refused(text) => StageError::Refused(text),
        style::Error::NotConfigured(text) => StageError::NotConfigured(text),
        style::Error::Failed(text) => StageError::Failed(text),
    }
}

fn select_error(error: select::Error) -> StageError {
    match error {
        // no candidate can do what the request asks for: to the client that is a refusal like any other
        select::Error::NoMatch(text) => StageError::Refused(text),
        select::Error::NotConfigured(text) => StageError::NotConfigured(text),
        select::Error::Failed(text) => StageError::Failed(text),
    }
}

fn finish_error(error: finish::Error) -> StageError {
    match error {
        finish::Error::Refused(text) => StageError::Refused(text),
        finish::Error::NotConfigured(text) => StageError::NotConfigured(text),
        finish::Error::Failed(text) => StageError::Failed(text),
    }
}

fn model(info: types::ModelInfo) -> Model {
    let can = |feature| info.features.contains(feature);
    Model {
        text_to_image: can(types::Features::TEXT_TO_IMAGE),
        image_to_image: can(types::Features::IMAGE_TO_IMAGE),
        negative_prompt: can(types::Features::NEGATIVE_PROMPT),
        edit: can(types::Features::EDIT),
        inpaint: can(types::Features::INPAINT),
        framing: can(types::Features::FRAMING),
        guidance: can(types::Features::GUIDANCE),
        clip_skip: can(types::Features::CLIP_SKIP),
        emphasis: can(types::Features::EMPHASIS),
        id: info.id,
        family: info.family,
        source: info.source,
        description: info.description,
        native_size: plain(info.native_size),
        min_side: info.min_side,
        max_side: info.max_side,
        side_multiple: info.side_multiple,
        sizes: info.sizes.into_iter().map(plain).collect(),
        default_steps: info.default_steps,
        default_guidance: info.default_guidance,
        default_strength: info.default_strength,
        default_image_guidance: info.default_image_guidance,
        schedules: info.schedules,
        adapters: info.adapters,
        controls: info.controls,
        words: info.words,
        refiners: info.refiners,
        default_refiner: info.default_refiner,
        step_cache: match info.step_cache {
            types::StepCacheKind::Deep(branches) => StepCacheKind::Deep(branches),
            types::StepCacheKind::FirstBlock => StepCacheKind::FirstBlock,
        },
        loaded: info.loaded,
        memory_bytes: info.memory_bytes,
        device: info.device,
    }
}

/// The way back, for the candidates that a select stage is shown.
fn model_info(model: &Model) -> types::ModelInfo {
    let mut features = types::Features::empty();
    features.set(types::Features::TEXT_TO_IMAGE, model.text_to_image);
    features.set(types::Features::IMAGE_TO_IMAGE, model.image_to_image);
    features.set(types::Features::NEGATIVE_PROMPT, model.negative_prompt);
    features.set(types::Features::EDIT, model.edit);
    features.set(types::Features::INPAINT, model.inpaint);
    features.set(types::Features::FRAMING, model.framing);
    features.set(types::Features::GUIDANCE, model.guidance);
    features.set(types::Features::CLIP_SKIP, model.clip_skip);
    features.set(types::Features::EMPHASIS, model.emphasis);
    types::ModelInfo {
        id: model.id.clone(),
        family: model.family.clone(),
        source: model.source.clone(),
        description: model.description.clone(),
        features,
        native_size: wire(model.native_size),
        min_side: model.min_side,
        max_side: model.max_side,
        side_multiple: model.side_multiple,
        sizes: model.sizes.iter().copied().map(wire).collect(),
        default_steps: model.default_steps,
        default_guidance: model.default_guidance,
        default_strength: model.default_strength,
        default_image_guidance: model.default_image_guidance,
        schedules: model.schedules.clone(),
        adapters: model.adapters.clone(),
        controls: model.controls.clone(),
        words: model.words.clone(),
        refiners: model.refiners.clone(),
        default_refiner: model.default_refiner.clone(),
        step_cache: match model.step_cache {
            StepCacheKind::Deep(branches) => types::StepCacheKind::Deep(branches),
            StepCacheKind::FirstBlock => types::StepCacheKind::FirstBlock,
        },
        loaded: model.loaded,
        memory_bytes: model.memory_bytes,
        device: model.device.clone(),
    }
}
