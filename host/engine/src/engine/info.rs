//! What the catalog says of a model, read from its configurations and its weights' headers alone, so that a host with
//! many models starts at once. What these can tell to be wrong fails here, when the host starts, and not at the first
//! job.
//!
//! Comes from a `ModelSpec`, goes into `ModelInfo`. Builds no network and reads no tensor.

use atelier_inference::{Features, ModelId, ModelInfo, Size};
use candle_core::Device;
use serde::Deserialize;

use super::ModelSpec;
use crate::adapters::Adapter;
use crate::files::ModelFiles;
use crate::models::clip::{self, ClipConfig};
use crate::models::unet::{self, UNetConfig};
use crate::models::vae::{self, VaeConfig};
use crate::pipeline::{Family, Footprint, Numbers, SourceUse, schedule_config, small_autoencoder};
use crate::schedule::{self, ScheduleConfig};
use crate::textual_inversion::Inversion;
use crate::tokenizer::ClipTokenizer;
use crate::weights::Weights;
use crate::{Result, device};

/// Written by operators and training scripts, not by diffusers, so its keys are ours and unknown ones are refused.
const OVERRIDES: &str = "atelier.json";
/// Sides in pixels that any model may be asked for.
/// The upper end bounds memory: attention over a picture of twice the side costs sixteen times as much.
const SIDES: (u32, u32) = (64, 1_024);
/// Steps and guidance scale for plain models, and for those distilled to take guidance as an input.
const DEFAULTS: (u32, f64) = (25, 7.5);
const DISTILLED_DEFAULTS: (u32, f64) = (4, 8.5);
/// Strength and image guidance scale, as in diffusers' pipelines; XL's refiner changes less.
const DEFAULT_STRENGTH: f64 = 0.8;
const REFINER_STRENGTH: f64 = 0.3;
const DEFAULT_IMAGE_GUIDANCE: f64 = 1.5;
/// Latents' side where the denoiser's configuration names none; of Stable Diffusion 1.
const SAMPLE_SIZE: (usize, usize) = (64, 64);

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

/// The configurations of a folder, each checked alone; `check` then holds them against each other.
struct Components {
    family: Family,
    /// Of every encoder, in the family's order.
    text: Vec<ClipConfig>,
    unet: UNetConfig,
    vae: VaeConfig,
    schedule: ScheduleConfig,
}

/// What the files say of a model.
pub(super) struct Described {
    /// The catalog's entry.
    pub(super) info: ModelInfo,
    /// For those who use the default schedule.
    pub(super) note: Option<String>,
    /// What its runs take.
    pub(super) footprint: Footprint,
}

/// Reads everything but the weights.
pub(super) fn describe(spec: &ModelSpec, budget: u64, device: &Device) -> Result<Described> {
    let files = &spec.files;
    let components = Components::read(files)?;
    components.check(files)?;
    let overrides = match files.contains(OVERRIDES) {
        true => files.json(OVERRIDES)?,
        false => Overrides::default(),
    };
    let mut info = components.info(spec, components.memory(files)?, device)?;
    info.description = description(spec, &components.family, &overrides, &info);
    overrides.apply(files, &mut info)?;
    for (id, path) in &spec.extras.adapters {
        info.memory_bytes += Adapter::open(path)?.memory_bytes();
        info.adapters.push(id.clone());
    }
    for path in &spec.extras.embeddings {
        info.words.push(Inversion::open(path, None, &Device::Cpu)?.word().into());
    }
    let room = budget.saturating_sub(info.memory_bytes);
    let footprint = components.footprint(files, room, device)?;
    Ok(Described { info, note: components.schedule.default_note(), footprint })
}

/// The first that there is: the manifest's text, the folder's own, a plain fact. A checker that the folder lists and
/// nobody runs is said, because users of the original pipeline rely on it.
fn description(spec: &ModelSpec, family: &Family, overrides: &Overrides, info: &ModelInfo) -> String {
    let own = spec.description.clone().or_else(|| overrides.description.clone());
    let own = own.unwrap_or_else(|| format!("{}, {}", family.title(), info.native_size));
    if family.has_checker { format!("{own}; its safety checker is not run") } else { own }
}

impl Components {
    fn read(files: &ModelFiles) -> Result<Self> {
        let family = Family::read(files)?;
        let text = family.text.folders().iter().map(|(_, encoder)| ClipConfig::read(files, encoder));
        Ok(Self {
            text: text.collect::<Result<_>>()?,
            family,
            unet: UNetConfig::read(files)?,
            vae: VaeConfig::read(files, vae::FOLDER)?,
            schedule: schedule_config(files)?,
        })
    }

    /// Bytes that the networks take once they are loaded, whatever precision their files have; with the small
    /// autoencoder for previews where the model needs one.
    fn memory(&self, files: &ModelFiles) -> Result<u64> {
        let small = match self.vae {
            VaeConfig::Tiny(_) => None,
            VaeConfig::Kl(_) => small_autoencoder(files, self.vae.latent_channels())?,
        };
        let text = self.family.text.folders().iter().map(|(_, encoder)| (*encoder, clip::STEM));
        text.chain([(unet::FOLDER, unet::STEM), (vae::FOLDER, vae::STEM)])
            .chain(small.map(|folder| (folder, vae::STEM)))
            .map(|(folder, stem)| Weights::bytes_in_memory(files, folder, stem))
            .sum()
    }

    /// What runs take, if they may take `room` bytes.
    fn footprint(&self, files: &ModelFiles, room: u64, device: &Device) -> Result<Footprint> {
        let folder = small_autoencoder(files, self.vae.latent_channels())?;
        let tiny = folder.map(|folder| VaeConfig::read(files, folder)).transpose()?;
        Ok(Footprint::new(&self.text, &self.unet, &self.vae, tiny.as_ref(), room, device))
    }

    /// What one component hands to the next must fit: else the first job would end in a tensor error about shapes
    /// that names no file.
    fn check(&self, files: &ModelFiles) -> Result<()> {
        let malformed = |reason| Err(files.malformed("unet/config.json", reason));
        let latents = self.vae.latent_channels();
        for (key, channels, expected) in [
            ("in_channels", self.unet.in_channels, self.family.input_channels(latents)),
            ("out_channels", self.unet.out_channels, latents),
        ] {
            if channels != expected {
                return malformed(format!(
                    "{key} is {channels}; a {} pipeline with the vae's {latents} latent_channels needs {expected}",
                    self.family.name
                ));
            }
        }
        let width: usize = self.text.iter().map(|text| text.hidden_size).sum();
        if self.unet.cross_attention_dim != width {
            let unet = self.unet.cross_attention_dim;
            return malformed(format!(
                "cross_attention_dim {unet} is not the text encoders' hidden_size {width}"
            ));
        }
        self.check_added(files)?;
        let mut folders = self.family.text.folders().iter().zip(&self.text);
        folders.try_for_each(|((tokenizer, _), text)| check_tokenizer(files, tokenizer, text))
    }

    /// XL's second embedding must take the pooled text and the numbers that its pipeline has.
    fn check_added(&self, files: &ModelFiles) -> Result<()> {
        let wanted = self.family.numbers.count();
        let pooled = self.text.last().and_then(|text| text.projection_dim).unwrap_or_default();
        let found = self.unet.added.map_or(Some(0), |added| added.numbers(pooled));
        if found == Some(wanted) {
            return Ok(());
        }
        let reason = format!(
            "projection_class_embeddings_input_dim and addition_time_embed_dim must leave room for a pooled text of \
             {pooled} and {wanted} numbers, as a {} pipeline has them",
            self.family.name
        );
        Err(files.malformed("unet/config.json", reason))
    }

    /// The facts without description and overrides. Schedules are named with the folder's own first, which is the
    /// default, and then the others that fit it.
    fn info(&self, spec: &ModelSpec, memory: u64, device: &Device) -> Result<ModelInfo> {
        let factor = self.vae.factor() as u32;
        let (height, width) = self.unet.sample_size.unwrap_or(SAMPLE_SIZE);
        let native_size = Size { width: width as u32 * factor, height: height as u32 * factor };
        let is_distilled = self.unet.time_cond_proj_dim.is_some();
        let (default_steps, default_guidance) = if is_distilled { DISTILLED_DEFAULTS } else { DEFAULTS };
        let family = &self.family;
        let first = self.schedule.default_name()?;
        let others = schedule::names_for(&self.schedule).into_iter().filter(|name| *name != first);
        Ok(ModelInfo {
            id: ModelId::new(&spec.id),
            family: family.name.into(),
            source: spec.source.clone(),
            description: String::new(),
            features: Features {
                text_to_image: family.source == SourceUse::Start && family.numbers != Numbers::Score,
                image_to_image: family.source == SourceUse::Start,
                negative_prompt: !is_distilled,
                edit: family.edits(),
                inpaint: !family.edits(),
                framing: family.numbers != Numbers::None,
            },
            native_size,
            // the native size is always allowed, however small or large a model was trained
            min_side: SIDES.0.min(native_size.width).min(native_size.height),
            max_side: SIDES.1.max(native_size.width).max(native_size.height),
            side_multiple: factor,
            default_steps,
            default_guidance,
            default_strength: if family.numbers == Numbers::Score {
                REFINER_STRENGTH
            } else {
                DEFAULT_STRENGTH
            },
            default_image_guidance: DEFAULT_IMAGE_GUIDANCE,
            schedules: [first.clone()].into_iter().chain(others).collect(),
            adapters: Vec::new(),
            words: Vec::new(),
            memory_bytes: memory,
            device: device::name(device).into(),
        })
    }
}

/// An id outside of the embedding table would be a failed lookup in the middle of a job.
fn check_tokenizer(files: &ModelFiles, folder: &str, text: &ClipConfig) -> Result<()> {
    let tokenizer = ClipTokenizer::open(files, folder)?;
    let (tokens, positions, ids) = (tokenizer.max_length, text.max_position_embeddings, text.vocab_size);
    if tokens <= positions && tokenizer.vocabulary() <= ids {
        return Ok(());
    }
    Err(files
        .malformed(folder, format!("makes more than the text encoder's {positions} tokens of {ids} ids")))
}

impl Overrides {
    /// Lays the folder's own numbers over what was derived.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a native size that the model's own limits would refuse, or for no steps.
    fn apply(&self, files: &ModelFiles, info: &mut ModelInfo) -> Result<()> {
        if !self.negative_prompt.is_empty() {
            let reason = "negative_prompt must be empty: requests bring their own";
            return Err(files.malformed(OVERRIDES, reason));
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
