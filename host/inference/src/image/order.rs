//! A request for pictures becomes an order here, and only here is it checked: whoever holds an [`ImageOrder`] need not look
//! again.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::control::{self, Control};
use super::model::ImageModel;
use super::refiner::{self, Refine, Refiner};
use super::step_cache::{self, StepCache};
use super::task::{self, Source, Task};
use crate::{Error, ModelInfo, Result};

/// Most steps of one job.
pub const MAX_STEPS: u32 = 150;
/// Most pictures of one job: they share one denoiser batch.
pub const MAX_PICTURES: u32 = 8;
/// Highest guidance scale.
pub const MAX_GUIDANCE: f64 = 50.0;
/// Longest prompt in bytes; guards the tokenizer, whose cost grows with the text.
pub const MAX_PROMPT_BYTES: usize = 32 * 1024;
/// Most layers of the text encoder that may be skipped.
pub const MAX_CLIP_SKIP: u32 = 11;
/// Most adapters of one job.
pub const MAX_ADAPTERS: usize = 16;
/// Strongest weight of an adapter, in both directions.
pub const MAX_ADAPTER_WEIGHT: f64 = 10.0;
/// Largest side in pixels that XL may be told of; those of the pictures that it was trained on are well below.
pub const MAX_FRAMING_SIDE: u32 = 16_384;

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Size {
    /// From left to right.
    pub width: u32,
    /// From top to bottom.
    pub height: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// How the picture is said to have come from a photograph, for models that were trained to be told (XL).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Framing {
    /// The size before it was cropped.
    pub original: Size,
    /// Where the crop began.
    pub crop: Crop,
    /// The size that it was scaled to.
    pub target: Size,
}

/// What brackets in a prompt do; weights are written as in Stable Diffusion web UI, `(more)`, `[less]`, `(so much:1.3)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Emphasis {
    /// Nothing: they are text.
    #[default]
    None,
    /// States are multiplied by their weight, and each chunk keeps its mean.
    #[serde(rename = "a1111")]
    A1111,
    /// States are multiplied by their weight.
    #[serde(rename = "a1111-no-norm")]
    A1111NoNorm,
    /// States go away from those of a text without words, by their weight.
    Comfy,
}

/// Whose noise a seed stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeedProfile {
    /// diffusers with `torch.Generator("cpu")`: everything is drawn from torch's generator.
    #[default]
    #[serde(rename = "torch-cpu")]
    Diffusers,
    /// Stable Diffusion web UI as it is set up: everything is drawn as a CUDA device draws it.
    #[serde(rename = "a1111")]
    A1111,
    /// ComfyUI on a CUDA device: the first noise from torch's generator, later noise as the device draws it.
    Comfy,
}

/// An adapter of the model, and how strong it is.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Adapted {
    /// As in the manifest.
    pub id: String,
    /// 1 is as it was trained, 0 is nothing.
    pub weight: f64,
}

/// What turns latents into the picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decoder {
    /// The model's autoencoder.
    #[default]
    Full,
    /// The small autoencoder beside it (TAESD): many times faster, a little less sharp.
    Tiny,
}

/// Pixels cut off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Crop {
    /// From the left.
    pub left: u32,
    /// From the top.
    pub top: u32,
}

impl Framing {
    /// A whole picture of this size.
    pub fn whole(size: Size) -> Self {
        Self { original: size, crop: Crop::default(), target: size }
    }
}

/// What a caller asks for, unchecked. `None` takes the model's default.
#[derive(Debug, Clone, Default)]
pub struct ImageRequest {
    /// What to show.
    pub prompt: String,
    /// What not to show.
    pub negative_prompt: Option<String>,
    /// Width and height.
    pub size: Option<Size>,
    /// Denoising steps, 1 to [`MAX_STEPS`].
    pub steps: Option<u32>,
    /// Classifier-free guidance scale, 0 to [`MAX_GUIDANCE`]; 1 or less switches guidance off.
    pub guidance: Option<f64>,
    /// The first picture's seed; picture `i` uses `seed + i`.
    pub seed: Option<u64>,
    /// Pictures, 1 to [`MAX_PICTURES`].
    pub count: Option<u32>,
    /// The diffusion schedule's name.
    pub schedule: Option<String>,
    /// Text encoder layers to skip.
    pub clip_skip: Option<u32>,
    /// How far guidance is brought back to the prompt's own deviation, 0 to 1; 0 when `None`.
    pub guidance_rescale: Option<f64>,
    /// What brackets in the texts do.
    pub emphasis: Emphasis,
    /// Whose noise the seed stands for.
    pub seed_profile: SeedProfile,
    /// What turns latents into the picture.
    pub decoder: Decoder,
    /// Adapters of the model, all at once.
    pub adapters: Vec<Adapted>,
    /// Pictures that steer what is drawn, scaled to the job's size by whoever made the request, all at once.
    pub controls: Vec<Control>,
    /// For XL; a whole picture of the job's size when `None`.
    pub framing: Option<Framing>,
    /// Which model ends the pictures.
    pub refine: Refine,
    /// What passes through the denoiser take over from earlier ones; nothing when `None`.
    pub step_cache: Option<StepCache>,
    /// Steps between previews.
    pub preview_every: Option<u32>,
    /// A picture to work on.
    pub source: Option<Source>,
}

/// A request that fits its model. Every value is decided.
#[derive(Debug, Clone)]
pub struct ImageOrder {
    /// The model, as the catalog describes it.
    pub model: Arc<ImageModel>,
    /// What to show.
    pub prompt: String,
    /// What not to show; empty when nothing was named.
    pub negative_prompt: String,
    /// Width and height of every picture.
    pub size: Size,
    /// Denoising steps of the whole schedule; `strength` may run fewer.
    pub steps: u32,
    /// Guidance scale; guidance is off at 1 or less.
    pub guidance: f64,
    /// One per picture.
    pub seeds: Vec<u64>,
    /// A name out of the model's schedules.
    pub schedule: String,
    /// Text encoder layers to skip; 0 takes the last.
    pub clip_skip: u32,
    /// How far guidance is brought back to the prompt's own deviation, 0 to 1.
    pub guidance_rescale: f64,
    /// What brackets in the texts do.
    pub emphasis: Emphasis,
    /// Whose noise the seeds stand for.
    pub seed_profile: SeedProfile,
    /// What turns latents into the picture.
    pub decoder: Decoder,
    /// Adapters of the model, each once.
    pub adapters: Vec<Adapted>,
    /// Pictures that steer what is drawn, each for another ControlNet of the model.
    pub controls: Vec<Control>,
    /// What models that were trained so are told of the picture's size.
    pub framing: Framing,
    /// The model that ends the pictures, where that is another one.
    pub refiner: Option<Refiner>,
    /// What passes through the denoiser take over from earlier ones; it fits the refiner as well.
    pub step_cache: Option<StepCache>,
    /// Steps between previews; none when `None`.
    pub preview_every: Option<NonZeroU32>,
    /// What is made of what.
    pub task: Task,
}

impl ImageOrder {
    /// Checks a request against its model and decides every default. The error names the field and the fix.
    pub fn new(request: ImageRequest, model: &ModelInfo) -> Result<ImageOrder> {
        Self::with(request, model.image()?)
    }

    /// The same, with a model that is known to make pictures.
    pub fn with(request: ImageRequest, model: &Arc<ImageModel>) -> Result<ImageOrder> {
        let size = checked_size(&request, model)?;
        let schedule = checked_schedule(request.schedule, model)?;
        let refiner = refiner::checked(&request.refine, request.source.as_ref(), (size, &schedule), model)?;
        let order = ImageOrder {
            prompt: checked_text("prompt", request.prompt)?,
            negative_prompt: checked_negative(request.negative_prompt, model)?,
            size,
            steps: in_range("steps", request.steps.unwrap_or(model.default_steps), 1, MAX_STEPS)?,
            guidance: checked_guidance(request.guidance, model)?,
            seeds: seeds(request.seed, in_range("count", request.count.unwrap_or(1), 1, MAX_PICTURES)?),
            schedule,
            clip_skip: checked_skip(request.clip_skip.unwrap_or(0), model)?,
            guidance_rescale: checked_rescale(request.guidance_rescale.unwrap_or(0.0), model)?,
            emphasis: checked_emphasis(request.emphasis, model)?,
            seed_profile: request.seed_profile,
            decoder: request.decoder,
            adapters: checked_adapters(request.adapters, model)?,
            controls: control::checked(request.controls, request.source.as_ref(), size, model)?,
            framing: checked_framing(request.framing, size, model)?,
            step_cache: step_cache::checked(request.step_cache, model, refiner.as_ref())?,
            refiner,
            preview_every: checked_preview(request.preview_every)?,
            task: task::checked(request.source, size, model)?,
            model: model.clone(),
        };
        task::check_steps_left(&order.task, order.steps, &order.schedule)?;
        Ok(order)
    }

    /// What it is called where it does not fit.
    pub(crate) fn title(&self) -> String {
        let pictures = if self.seeds.len() == 1 { "picture" } else { "pictures" };
        format!("{} {pictures} of {}", self.seeds.len(), self.size)
    }

    /// Denoiser work of the whole order, in pixels times steps that are run times pictures.
    pub fn work(&self) -> u64 {
        let steps = (f64::from(self.steps) * self.task.strength()).ceil() as u64;
        u64::from(self.size.width) * u64::from(self.size.height) * steps * self.seeds.len() as u64
    }
}

fn checked_text(field: &'static str, text: String) -> Result<String> {
    if text.len() > MAX_PROMPT_BYTES {
        return Err(Error::invalid(field, format!("has {} bytes; at most {MAX_PROMPT_BYTES}", text.len())));
    }
    Ok(text)
}

fn checked_negative(text: Option<String>, model: &ImageModel) -> Result<String> {
    match text {
        Some(text) if !text.is_empty() && !model.features.negative_prompt => Err(Error::invalid(
            "negative-prompt",
            format!("model `{}` does not use one; leave it out", model.card.id),
        )),
        text => checked_text("negative-prompt", text.unwrap_or_default()),
    }
}

/// What switches guidance off is taken by every model: without it that is what happens.
fn checked_guidance(scale: Option<f64>, model: &ImageModel) -> Result<f64> {
    let scale = within("guidance", scale.unwrap_or(model.default_guidance), MAX_GUIDANCE)?;
    if scale > 1.0 && !model.features.guidance {
        let reason = format!("model `{}` was trained to run without; leave it out", model.card.id);
        return Err(Error::invalid("guidance", reason));
    }
    Ok(scale)
}

/// There is a prompt's own deviation to go back to only where it is mixed with a negative one.
fn checked_rescale(share: f64, model: &ImageModel) -> Result<f64> {
    let share = within("guidance-rescale", share, 1.0)?;
    if share > 0.0 && !model.features.negative_prompt {
        let reason = format!("model `{}` mixes no predictions; leave it out", model.card.id);
        return Err(Error::invalid("guidance-rescale", reason));
    }
    Ok(share)
}

fn checked_skip(layers: u32, model: &ImageModel) -> Result<u32> {
    if layers > 0 && !model.features.clip_skip {
        let reason =
            format!("model `{}` reads its text encoders' last layers only; leave it out", model.card.id);
        return Err(Error::invalid("clip-skip", reason));
    }
    in_range("clip-skip", layers, 0, MAX_CLIP_SKIP)
}

fn checked_emphasis(emphasis: Emphasis, model: &ImageModel) -> Result<Emphasis> {
    if emphasis != Emphasis::None && !model.features.emphasis {
        let reason = format!("model `{}` does not know weights in brackets; leave it out", model.card.id);
        return Err(Error::invalid("emphasis", reason));
    }
    Ok(emphasis)
}

fn checked_size(request: &ImageRequest, model: &ImageModel) -> Result<Size> {
    let own = request.source.as_ref().map(|source| source.pixels().size());
    let size = request.size.or(own).unwrap_or(model.native_size);
    if in_sides(size, model) {
        return Ok(size);
    }
    let known: Vec<String> = model.sizes.iter().map(Size::to_string).collect();
    let fits = match known.is_empty() {
        true => format!(
            "sides are multiples of {} from {} to {}",
            model.side_multiple, model.min_side, model.max_side
        ),
        false => format!("its sizes are {}", known.join(", ")),
    };
    Err(Error::invalid("size", format!("{size} does not fit model `{}`: {fits}", model.card.id)))
}

/// Whether the model makes pictures of this size.
pub(crate) fn in_sides(size: Size, model: &ImageModel) -> bool {
    if !model.sizes.is_empty() {
        return model.sizes.contains(&size);
    }
    let fits = |side: u32| {
        (model.min_side..=model.max_side).contains(&side) && side.is_multiple_of(model.side_multiple)
    };
    fits(size.width) && fits(size.height)
}

pub(crate) fn within(field: &'static str, value: f64, high: f64) -> Result<f64> {
    // a NaN fails the comparison and is refused with the rest
    if (0.0..=high).contains(&value) {
        Ok(value)
    } else {
        Err(Error::invalid(field, format!("{value} is not within 0 to {high}")))
    }
}

fn checked_adapters(adapters: Vec<Adapted>, model: &ImageModel) -> Result<Vec<Adapted>> {
    let refused = |reason| Err(Error::invalid("adapters", reason));
    if adapters.len() > MAX_ADAPTERS {
        return refused(format!("{} are too many; at most {MAX_ADAPTERS}", adapters.len()));
    }
    for (index, Adapted { id, weight }) in adapters.iter().enumerate() {
        if !model.adapters.contains(id) {
            let known = model.adapters.join(", ");
            let known = if known.is_empty() { "it has none".into() } else { format!("it has {known}") };
            return refused(format!("model `{}` has no adapter `{id}`; {known}", model.card.id));
        }
        if adapters[..index].iter().any(|before| before.id == *id) {
            return refused(format!("`{id}` is named twice; give it one weight"));
        }
        if !(-MAX_ADAPTER_WEIGHT..=MAX_ADAPTER_WEIGHT).contains(weight) {
            let range = format!("-{MAX_ADAPTER_WEIGHT} to {MAX_ADAPTER_WEIGHT}");
            return refused(format!("`{id}` has a weight of {weight}, which is not within {range}"));
        }
    }
    Ok(adapters)
}

fn checked_framing(framing: Option<Framing>, size: Size, model: &ImageModel) -> Result<Framing> {
    let Some(framing) = framing else { return Ok(Framing::whole(size)) };
    if !model.features.framing {
        let reason = format!("model `{}` was not trained to be told of sizes; leave it out", model.card.id);
        return Err(Error::invalid("framing", reason));
    }
    let Framing { original, crop, target } = framing;
    let sides = [original.width, original.height, target.width, target.height, crop.left, crop.top];
    match sides.iter().find(|side| **side > MAX_FRAMING_SIDE) {
        None => Ok(framing),
        Some(side) => Err(Error::invalid("framing", format!("{side} is over {MAX_FRAMING_SIDE} pixels"))),
    }
}

fn checked_schedule(name: Option<String>, model: &ImageModel) -> Result<String> {
    match name {
        None => Ok(model.schedules.first().cloned().unwrap_or_default()),
        Some(name) if model.schedules.contains(&name) => Ok(name),
        Some(name) => {
            let known = model.schedules.join(", ");
            Err(Error::invalid("schedule", format!("`{name}` is not one of {known}")))
        }
    }
}

fn checked_preview(every: Option<u32>) -> Result<Option<NonZeroU32>> {
    every
        .map(|steps| {
            NonZeroU32::new(steps).ok_or_else(|| Error::invalid("preview-every", "must be 1 or more"))
        })
        .transpose()
}

fn in_range(field: &'static str, value: u32, low: u32, high: u32) -> Result<u32> {
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(Error::invalid(field, format!("{value} is not within {low} to {high}")))
    }
}

/// Seeds that the host chooses fit 32 bits: torch's generator ignores the rest.
fn seeds(first: Option<u64>, count: u32) -> Vec<u64> {
    let first = first.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    (0..u64::from(count)).map(|i| first.wrapping_add(i)).collect()
}
