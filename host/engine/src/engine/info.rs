//! What the catalog says of a model that makes pictures, read from its configurations and its weights' headers alone, so that a host with
//! many models starts at once. What these can tell to be wrong fails here, when the host starts, and not at the first
//! job.
//!
//! Comes from a `ModelSpec`, goes into `ImageModel`. Builds no network and reads no tensor.

use atelier_inference::{Features, ImageModel, ModelCard, Precision, Size};
use candle_core::Device;
use serde::Deserialize;

use super::ModelSpec;
use super::components::Components;
use super::refining::Latents;
use crate::adapters::Adapter;
use crate::files::ModelFiles;
use crate::pipeline::{Family, Footprint, Numbers, PreviewMeans, SourceUse, TextLayout};
use crate::schedule::ScheduleConfig;
use crate::textual_inversion::Inversion;
use crate::{Error, Result, schedule};

/// Written by operators and training scripts, not by diffusers, so its keys are ours and unknown ones are refused.
const OVERRIDES: &str = "atelier.json";
/// Sides in pixels that any model may be asked for.
/// The upper end bounds memory: attention over a picture of twice the side costs sixteen times as much.
const SIDES: (u32, u32) = (64, 1_024);
/// Steps, guidance scale and strength for plain models, and for those distilled to take guidance as an input. Strengths are
/// those of diffusers' pipelines; XL's refiner changes less.
const DEFAULTS: (u32, f64, f64) = (25, 7.5, 0.8);
const DISTILLED_DEFAULTS: (u32, f64, f64) = (4, 8.5, 0.8);
const REFINER_DEFAULTS: (u32, f64, f64) = (25, 7.5, 0.3);
/// The same for FLUX.1, as their authors publish them; schnell takes no guidance.
const FLUX_DEV_DEFAULTS: (u32, f64, f64) = (28, 3.5, 0.6);
const FLUX_SCHNELL_DEFAULTS: (u32, f64, f64) = (4, 0.0, 0.6);
const DEFAULT_IMAGE_GUIDANCE: f64 = 1.5;

/// A model's own word on its limits and defaults, in its folder.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Overrides {
    #[serde(alias = "about")]
    description: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    min_side: Option<u32>,
    max_side: Option<u32>,
    steps: Option<u32>,
    guidance: Option<f64>,
    image_guidance: Option<f64>,
    strength: Option<f64>,
    // written by training scripts, for people
    #[serde(rename = "name")]
    _name: Option<String>,
    #[serde(rename = "trained_steps")]
    _trained_steps: Option<u64>,
    negative_prompt: String,
}

/// What the files say of a model.
pub(super) struct Described {
    /// The catalog's entry.
    pub(super) info: ImageModel,
    /// For those who use the default schedule.
    pub(super) note: Option<String>,
    /// What its runs take.
    pub(super) footprint: Footprint,
    /// What every run's schedule is built from.
    pub(super) schedule: ScheduleConfig,
    pub(super) previews: PreviewMeans,
    pub(super) latents: Option<Latents>,
}

/// Reads everything but the weights.
pub(super) fn describe(
    spec: &ModelSpec,
    budget: u64,
    device: &Device,
    precision: Precision,
) -> Result<Described> {
    let files = &spec.files;
    let components = Components::read(files)?;
    components.check(files)?;
    let overrides = match files.contains(OVERRIDES) {
        true => files.json(OVERRIDES)?,
        false => Overrides::default(),
    };
    let mut info = components.info(spec, components.memory(files, precision)?, device)?;
    info.precision = precision;
    info.card.description = description(spec, &components.family, &overrides, &info);
    overrides.apply(files, &mut info)?;
    spec.extras.defaults.apply(files, &mut info)?;
    for path in &spec.extras.fixed_adapters {
        info.card.memory_bytes += Adapter::open(path)?.memory_bytes();
    }
    for (id, path) in &spec.extras.adapters {
        info.card.memory_bytes += Adapter::open(path)?.memory_bytes();
        info.adapters.push(id.clone());
    }
    for (id, path) in &spec.extras.controls {
        info.card.memory_bytes += components.control_memory(path, precision)?;
        info.controls.push(id.clone());
    }
    if components.family.text == TextLayout::Flux && !spec.extras.embeddings.is_empty() {
        let (value, supported) =
            ("a FLUX model".into(), "models whose texts CLIP alone reads; remove the key");
        return Err(Error::Unsupported { what: "embeddings of", value, supported });
    }
    for path in &spec.extras.embeddings {
        info.words.push(Inversion::open(path, None, &Device::Cpu)?.word().into());
    }
    let room = budget.saturating_sub(info.card.memory_bytes);
    let footprint = components.footprint(files, room, device)?;
    // said of the files' own schedule alone
    let note = components.schedule.default_note().filter(|_| spec.extras.defaults.schedule.is_none());
    Ok(Described {
        info,
        note,
        footprint,
        previews: PreviewMeans::of(files, &components.vae)?,
        latents: Latents::of(&components.family, &components.vae),
        schedule: components.schedule,
    })
}

/// The first that there is: the manifest's text, the folder's own, a plain fact. A checker that the folder lists and
/// nobody runs is said, because users of the original pipeline rely on it.
fn description(spec: &ModelSpec, family: &Family, overrides: &Overrides, info: &ImageModel) -> String {
    let own = spec.description.clone().or_else(|| overrides.description.clone());
    let own = own.unwrap_or_else(|| format!("{}, {}", family.title(), info.native_size));
    if family.has_checker { format!("{own}; its safety checker is not run") } else { own }
}

impl Components {
    /// The facts without description and overrides. Schedules are named with the folder's own first, which is the
    /// default, and then the others that fit it.
    fn info(&self, spec: &ModelSpec, memory: u64, device: &Device) -> Result<ImageModel> {
        let factor = self.vae.factor() as u32;
        let (height, width) = self.denoiser.sample_size();
        let native_size = Size { width: width as u32 * factor, height: height as u32 * factor };
        let first = self.schedule.default_name()?;
        let others = schedule::names_for(&self.schedule).into_iter().filter(|name| *name != first);
        let (default_steps, default_guidance, default_strength) = self.defaults();
        Ok(ImageModel {
            card: ModelCard { memory_bytes: memory, ..spec.card(self.family.name, device) },
            features: self.features(),
            native_size,
            // the native size is always allowed, however small or large a model was trained
            min_side: SIDES.0.min(native_size.width).min(native_size.height),
            max_side: SIDES.1.max(native_size.width).max(native_size.height),
            side_multiple: factor * self.denoiser.side_multiple() as u32,
            sizes: Vec::new(),
            default_steps,
            default_guidance,
            default_strength,
            default_image_guidance: DEFAULT_IMAGE_GUIDANCE,
            schedules: [first.clone()].into_iter().chain(others).collect(),
            adapters: Vec::new(),
            controls: Vec::new(),
            words: Vec::new(),
            // known once all models are
            refiners: Vec::new(),
            refiner: spec.extras.refiner.clone(),
            step_cache: self.denoiser.step_cache(),
            precision: Precision::F32,
        })
    }

    /// Steps, guidance scale and strength.
    fn defaults(&self) -> (u32, f64, f64) {
        match (self.family.text, self.denoiser.takes_guidance()) {
            (TextLayout::Flux, true) => FLUX_DEV_DEFAULTS,
            (TextLayout::Flux, false) => FLUX_SCHNELL_DEFAULTS,
            (_, true) => DISTILLED_DEFAULTS,
            (TextLayout::Second, false) => REFINER_DEFAULTS,
            (TextLayout::One | TextLayout::Both, false) => DEFAULTS,
        }
    }

    /// FLUX mixes no predictions, and T5, which reads its texts, was not trained on words that weigh more than others.
    fn features(&self) -> Features {
        let (family, takes_guidance) = (&self.family, self.denoiser.takes_guidance());
        let is_flux = family.text == TextLayout::Flux;
        Features {
            text_to_image: family.source == SourceUse::Start && family.numbers != Numbers::Score,
            image_to_image: family.source == SourceUse::Start,
            negative_prompt: !takes_guidance && !is_flux,
            edit: family.edits(),
            inpaint: !family.edits(),
            framing: family.numbers != Numbers::None,
            guidance: takes_guidance || !is_flux,
            clip_skip: !is_flux,
            emphasis: !is_flux,
        }
    }
}

impl Overrides {
    /// Lays the folder's own numbers over what was derived.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a native size that the model's own limits would refuse, or for no steps.
    fn apply(&self, files: &ModelFiles, info: &mut ImageModel) -> Result<()> {
        if !self.negative_prompt.is_empty() {
            let reason = "negative_prompt must be empty: requests bring their own";
            return Err(files.malformed(OVERRIDES, reason));
        }
        if !info.features.guidance && self.guidance.is_some_and(|scale| scale > 1.0) {
            return Err(files.malformed(OVERRIDES, "guidance must be 1 or less: the model takes none"));
        }
        let set = |field: &mut u32, value: Option<u32>| *field = value.unwrap_or(*field);
        set(&mut info.native_size.width, self.width);
        set(&mut info.native_size.height, self.height);
        set(&mut info.min_side, self.min_side);
        set(&mut info.max_side, self.max_side);
        set(&mut info.default_steps, self.steps);
        info.default_guidance = self.guidance.unwrap_or(info.default_guidance);
        info.default_strength = self.strength.unwrap_or(info.default_strength);
        info.default_image_guidance = self.image_guidance.unwrap_or(info.default_image_guidance);
        let fits = |side: u32| {
            (info.min_side..=info.max_side).contains(&side) && side.is_multiple_of(info.side_multiple)
        };
        if fits(info.native_size.width) && fits(info.native_size.height) && info.default_steps > 0 {
            return Ok(());
        }
        let reason = format!(
            "size {} must be multiples of {} from {} to {}, and steps 1 or more",
            info.native_size, info.side_multiple, info.min_side, info.max_side
        );
        Err(files.malformed(OVERRIDES, reason))
    }
}
