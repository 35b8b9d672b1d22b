//! An order becomes pictures here: prompt → states (`prompt`, `emphasis`), seeds and source → latents (`latents`), the denoise loop
//! (`denoise`), whom and what it asks (`denoiser`, `guidance`), what steers it (`control`), what it need not
//! compute anew (`step_cache`), pixels (`picture`) and previews (`preview`); `run` puts these behind the engine's `Run`,
//! `family` is what tells one model's pipeline from another's, and `footprint` tells how much memory all this will take.
//! Knows every network and no file format; the engine owns it, one order uses it at a time.

mod control;
mod denoise;
mod denoiser;
mod emphasis;
mod family;
mod flux;
mod footprint;
mod guidance;
mod latents;
mod picture;
mod preview;
mod prompt;
mod run;
mod step_cache;

use std::collections::BTreeMap;
use std::path::PathBuf;

use atelier_inference::{Adapted, ImageOrder, Precision, StepCache};
use candle_core::Device;

use crate::adapters::{Adapter, Attached, Bound};
use crate::engine::Extras;
use crate::files::ModelFiles;
use crate::models::controlnet::ControlNet;
use crate::models::vae::{self, Vae};
use crate::schedule::ScheduleConfig;
use crate::{Error, Result};
use denoiser::Denoiser;
use preview::Previewer;
use prompt::TextEncoders;

pub use denoise::{Decoding, Denoise, Latent};
pub(crate) use denoiser::DenoiserConfig;
pub(crate) use family::{Family, Numbers, SourceUse, TextLayout};
pub use flux::FluxText;
pub(crate) use footprint::{Footprint, Networks};
pub(crate) use preview::{PreviewMeans, small_autoencoder};
pub use prompt::{Conditioning, Row, Text, rows};
pub(crate) use run::{DenoiseRun, Left};
pub use step_cache::Passes;

/// A model with all its weights in memory.
#[derive(Debug)]
pub struct Pipeline {
    family: Family,
    text_encoders: TextEncoders,
    denoiser: Denoiser,
    vae: Vae,
    /// Chosen at loading, so that an order that wants previews which cannot be made is refused before it begins.
    previewer: Previewer,
    /// What every run's schedule is built from.
    schedule: ScheduleConfig,
    /// By their names in requests.
    adapters: BTreeMap<String, Bound>,
    /// Those that are part of the model.
    fixed_adapters: Vec<Bound>,
    /// By their names in requests.
    controls: BTreeMap<String, ControlNet>,
    device: Device,
    /// What the denoiser multiplies.
    precision: Precision,
}

/// Reads `scheduler/scheduler_config.json`.
/// Also read by the catalog, which must name the default schedule before any weights are loaded.
#[doc(hidden)]
pub fn schedule_config(files: &ModelFiles) -> Result<ScheduleConfig> {
    const NAME: &str = "scheduler/scheduler_config.json";
    ScheduleConfig::from_json(&files.text(NAME)?, &files.path(NAME))
}

impl Pipeline {
    /// Reads every component of a diffusers folder.
    /// The checker and the feature extractor that older folders carry are left alone.
    /// The denoiser and its ControlNets multiply in `precision`, which the device has kernels for; everything else in f32.
    pub fn open(files: &ModelFiles, extras: &Extras, device: &Device, precision: Precision) -> Result<Self> {
        let vae = Vae::open(files, vae::FOLDER, device)?;
        let family = Family::read(files)?;
        let text_encoders = TextEncoders::open(files, family.text, &extras.embeddings, device)?;
        let denoiser = Denoiser::open(files, &family, device, precision)?;
        let (component, slots) = denoiser.slots();
        let places = text_encoders.places().with(component, slots);
        let bind = |path: &PathBuf| Adapter::open(path)?.bind(&places, device);
        let adapters = extras.adapters.iter().map(|(id, path)| Ok((id.clone(), bind(path)?)));
        let control = |(id, path): &(String, PathBuf)| {
            let net = ControlNet::open(&ModelFiles::folder(path), ".", device, precision)?;
            Ok((id.clone(), net))
        };
        Ok(Self {
            controls: extras.controls.iter().map(control).collect::<Result<_>>()?,
            adapters: adapters.collect::<Result<_>>()?,
            fixed_adapters: extras.fixed_adapters.iter().map(bind).collect::<Result<_>>()?,
            text_encoders,
            family,
            denoiser,
            previewer: Previewer::open(files, device)?,
            schedule: schedule_config(files)?,
            vae,
            device: device.clone(),
            precision,
        })
    }

    /// The small autoencoder, which may be the model's own.
    fn tiny_decoder(&self) -> Result<&Vae> {
        match &self.previewer {
            Previewer::Own => Ok(&self.vae),
            Previewer::Beside(small) => Ok(small),
            Previewer::Matrix(..) | Previewer::Nothing => Err(preview::no_small_autoencoder()),
        }
    }

    /// Puts the model's and the order's adapters on their layers, as long as the result lives.
    fn attach(&self, order: &ImageOrder) -> Result<Attached> {
        let chosen = order.adapters.iter().map(|Adapted { id, weight }| match self.adapters.get(id) {
            Some(bound) => Ok((bound, *weight)),
            None => Err(Error::Invalid { field: "adapters", reason: format!("`{id}` is not loaded") }),
        });
        let fixed = self.fixed_adapters.iter().map(|bound| Ok((bound, 1.0)));
        Attached::new(&fixed.chain(chosen).collect::<Result<Vec<_>>>()?)
    }
}

/// Images of an order that share one pass. On the CPU each runs alone: it is as fast, and image `i` of a batch then equals the
/// single image of its seed to the last bit. So does each whose first block decides how much of a pass it needs.
fn lane(device: &Device, order: &ImageOrder) -> usize {
    let decides = matches!(order.step_cache, Some(StepCache::FirstBlock { .. }));
    if device.is_cpu() || decides { 1 } else { order.seeds.len() }
}
