//! A model's configurations, each checked alone and then held against each other, so that what does not fit fails when the
//! host starts and names its file.
//!
//! Comes from `ModelFiles`; the catalog's entry (`info`) and what runs will take are told from it. Reads no tensor.

use std::path::Path;

use atelier_inference::Precision;
use candle_core::Device;

use crate::files::ModelFiles;
use crate::models::clip::{self, ClipConfig};
use crate::models::controlnet::{self, ControlNetConfig};
use crate::models::flux::FluxConfig;
use crate::models::t5::{self, T5Config};
use crate::models::unet::UNetConfig;
use crate::models::vae::{self, VaeConfig};
use crate::pipeline::{
    DenoiserConfig, Family, Footprint, Networks, TextLayout, schedule_config, small_autoencoder,
};
use crate::schedule::ScheduleConfig;
use crate::tokenizer::{ClipTokenizer, T5Tokenizer};
use crate::weights::Weights;
use crate::{Error, Result};

const UNET_CONFIG: &str = "unet/config.json";
const SCHEDULE_CONFIG: &str = "scheduler/scheduler_config.json";
/// How names of schedules begin that walk straight lines between noise and picture.
const FLOW_MATCH: &str = "flow_match";

/// The configurations of a folder, each checked alone.
pub(super) struct Components {
    pub(super) family: Family,
    /// Of every CLIP encoder, in the family's order.
    text: Vec<ClipConfig>,
    /// FLUX's other encoder, with the bytes that it takes in memory.
    t5: Option<(T5Config, u64)>,
    pub(super) denoiser: DenoiserConfig,
    pub(super) vae: VaeConfig,
    pub(super) schedule: ScheduleConfig,
}

impl Components {
    /// Reads everything but the weights.
    pub(super) fn read(files: &ModelFiles) -> Result<Self> {
        let family = Family::read(files)?;
        let text = family.text.folders().iter().map(|(_, encoder)| ClipConfig::read(files, encoder));
        Ok(Self {
            text: text.collect::<Result<_>>()?,
            t5: (family.text == TextLayout::Flux).then(|| t5::describe(files)).transpose()?,
            denoiser: DenoiserConfig::read(files, &family)?,
            vae: VaeConfig::read(files, vae::FOLDER)?,
            schedule: schedule_config(files)?,
            family,
        })
    }

    /// Bytes that the networks take once they are loaded, the denoiser in `precision`, whatever that of their files; with the small
    /// autoencoder for previews where the model needs one.
    pub(super) fn memory(&self, files: &ModelFiles, precision: Precision) -> Result<u64> {
        let small = match self.vae {
            VaeConfig::Tiny(_) => None,
            VaeConfig::Kl(_) => small_autoencoder(files, self.vae.latent_channels())?,
        };
        let text = self.family.text.folders().iter().map(|(_, encoder)| (*encoder, clip::STEM));
        let plain = text
            .chain([(vae::FOLDER, vae::STEM)])
            .chain(small.map(|folder| (folder, vae::STEM)))
            .map(|(folder, stem)| Ok(Weights::load(files, folder, stem, &Device::Cpu)?.bytes()))
            .sum::<Result<u64>>()?;
        let t5 = self.t5.as_ref().map_or(0, |(_, bytes)| *bytes);
        Ok(plain + t5 + self.denoiser.memory_bytes(files, precision)?)
    }

    /// What runs take, if they may take `room` bytes.
    pub(super) fn footprint(&self, files: &ModelFiles, room: u64, device: &Device) -> Result<Footprint> {
        let folder = small_autoencoder(files, self.vae.latent_channels())?;
        let tiny = folder.map(|folder| VaeConfig::read(files, folder)).transpose()?;
        let networks = Networks {
            text: &self.text,
            t5: self.t5.as_ref().map(|(config, _)| config),
            denoiser: &self.denoiser,
            vae: &self.vae,
            tiny: tiny.as_ref(),
        };
        Ok(Footprint::new(networks, room, device))
    }

    /// Bytes that a ControlNet in a folder takes once it is loaded, if it fits the denoiser.
    pub(super) fn control_memory(&self, folder: &Path, precision: Precision) -> Result<u64> {
        let DenoiserConfig::UNet(unet) = &self.denoiser else {
            let (value, supported) = ("a FLUX model".into(), "models that a UNet draws; remove the key");
            return Err(Error::Unsupported { what: "controls of", value, supported });
        };
        let files = ModelFiles::folder(folder);
        ControlNetConfig::read(&files, ".")?.check(&files, ".", unet, self.vae.factor())?;
        let weights = Weights::load(&files, ".", controlnet::STEM, &Device::Cpu)?;
        Ok(weights.in_precision(precision).bytes())
    }

    /// What one component hands to the next must fit: else the first job would end in a tensor error about shapes
    /// that names no file.
    pub(super) fn check(&self, files: &ModelFiles) -> Result<()> {
        match &self.denoiser {
            DenoiserConfig::UNet(unet) => self.check_unet(files, unet)?,
            DenoiserConfig::Flux(flux) => self.check_flux(files, flux)?,
        }
        let mut folders = self.family.text.folders().iter().zip(&self.text);
        folders.try_for_each(|((tokenizer, _), text)| check_tokenizer(files, tokenizer, text))
    }

    fn check_unet(&self, files: &ModelFiles, unet: &UNetConfig) -> Result<()> {
        let malformed = |reason| Err(files.malformed(UNET_CONFIG, reason));
        let latents = self.vae.latent_channels();
        for (key, channels, expected) in [
            ("in_channels", unet.in_channels, self.family.input_channels(latents)),
            ("out_channels", unet.out_channels, latents),
        ] {
            if channels != expected {
                return malformed(format!(
                    "{key} is {channels}; a {} pipeline with the vae's {latents} latent_channels needs {expected}",
                    self.family.name
                ));
            }
        }
        let width: usize = self.text.iter().map(|text| text.hidden_size).sum();
        if unet.cross_attention_dim != width {
            let unet = unet.cross_attention_dim;
            return malformed(format!(
                "cross_attention_dim {unet} is not the text encoders' hidden_size {width}"
            ));
        }
        self.check_added(files, unet)
    }

    /// XL's second embedding must take the pooled text and the numbers that its pipeline has.
    fn check_added(&self, files: &ModelFiles, unet: &UNetConfig) -> Result<()> {
        let wanted = self.family.numbers.count();
        let pooled = self.text.last().and_then(|text| text.projection_dim).unwrap_or_default();
        let found = unet.added.map_or(Some(0), |added| added.numbers(pooled));
        if found == Some(wanted) {
            return Ok(());
        }
        let reason = format!(
            "projection_class_embeddings_input_dim and addition_time_embed_dim must leave room for a pooled text of \
             {pooled} and {wanted} numbers, as a {} pipeline has them",
            self.family.name
        );
        Err(files.malformed(UNET_CONFIG, reason))
    }

    /// Both texts, the latents and the schedule; and T5's tokenizer, as `check_tokenizer` does it for CLIP's.
    fn check_flux(&self, files: &ModelFiles, flux: &FluxConfig) -> Result<()> {
        let pooled = self.text.last().map(|text| text.projection_dim.unwrap_or(text.hidden_size));
        let (d_model, ids) = self.t5.as_ref().map_or((0, 0), |(t5, _)| (t5.d_model, t5.vocab_size));
        for (folder, what, found, wanted) in [
            (vae::FOLDER, "latent_channels", self.vae.latent_channels(), flux.latent_channels()),
            ("text_encoder", "hidden_size", pooled.unwrap_or_default(), flux.pooled_projection_dim),
            (t5::FOLDER, "d_model", d_model, flux.joint_attention_dim),
        ] {
            if found != wanted {
                return Err(
                    files.malformed(folder, format!("{what} {found} is not the transformer's {wanted}"))
                );
            }
        }
        let schedule = self.schedule.default_name()?;
        if !schedule.starts_with(FLOW_MATCH) {
            let reason = format!("{schedule} means nothing to FLUX; FlowMatchEulerDiscreteScheduler does");
            return Err(files.malformed(SCHEDULE_CONFIG, reason));
        }
        if T5Tokenizer::open(files)?.vocabulary() > ids {
            let reason = format!("has more than the {ids} ids that text_encoder_2 knows");
            return Err(files.malformed("tokenizer_2", reason));
        }
        Ok(())
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
