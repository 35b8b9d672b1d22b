//! The network that a run asks at every step, whichever family it is of: one question for all, and what the rest of a
//! pipeline and the catalog must know of it. The only place that tells one kind of denoiser from another.

use atelier_inference::{CacheKind, Precision};
use candle_core::{Device, Tensor};

use super::family::{Family, TextLayout};
use super::step_cache::Cache;
use crate::Result;
use crate::adapters::Component;
use crate::files::ModelFiles;
use crate::models::controlnet::Residuals;
use crate::models::flux::{self, FluxConfig, FluxInput, FluxTransformer};
use crate::models::unet::{self, ALL_SKIPS, Added, Deep, Input, UNet, UNetConfig};
use crate::schedule::ScheduleConfig;
use crate::weights::{Slots, Weights};

/// Latents' sides where no file names them: of Stable Diffusion 1, and of FLUX, whose pipelines hold it.
const UNET_SAMPLE: (usize, usize) = (64, 64);
const FLUX_SAMPLE: (usize, usize) = (128, 128);

/// A denoiser with its weights.
#[derive(Debug)]
pub(super) enum Denoiser {
    UNet(Box<UNet>),
    Flux(Box<FluxTransformer>),
}

/// A checked configuration of either kind.
#[derive(Debug, Clone)]
pub(crate) enum DenoiserConfig {
    UNet(UNetConfig),
    Flux(FluxConfig),
}

/// What a denoiser is asked, for a batch of b.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// Noisy latents, with the channels of a picture after them where the model takes one: (b, in channels, h, w).
    pub(super) x: &'a Tensor,
    /// The same for all.
    pub(super) timestep: f64,
    /// The text's states: (b, tokens, width).
    pub(super) states: &'a Tensor,
    /// The pooled text, for those that look at it: (b, width).
    pub(super) pooled: Option<&'a Tensor>,
    /// For XL: (b, count).
    pub(super) numbers: Option<&'a Tensor>,
    /// The guidance scale; those that do not take it as an input leave it alone.
    pub(super) guidance: f64,
}

impl Denoiser {
    /// Reads the folder of the family's kind.
    pub(super) fn open(
        files: &ModelFiles,
        family: &Family,
        device: &Device,
        precision: Precision,
    ) -> Result<Self> {
        Ok(match family.text {
            TextLayout::Flux => Self::Flux(Box::new(FluxTransformer::open(files, device, precision)?)),
            TextLayout::One | TextLayout::Both | TextLayout::Second => {
                Self::UNet(Box::new(UNet::open(files, device, precision)?))
            }
        })
    }

    /// Whether the guidance scale is an input, instead of two predictions that are mixed.
    pub(super) fn takes_guidance(&self) -> bool {
        match self {
            Self::UNet(unet) => unet.takes_guidance(),
            Self::Flux(flux) => flux.takes_guidance(),
        }
    }

    /// Where adapters are attached, and what they call the network.
    pub(super) fn slots(&self) -> (Component, &Slots) {
        match self {
            Self::UNet(unet) => (Component::UNet, unet.slots()),
            Self::Flux(flux) => (Component::Transformer, flux.slots()),
        }
    }

    /// The schedule's configuration for latents of this size, on which some depend.
    pub(super) fn schedule(&self, config: &ScheduleConfig, height: usize, width: usize) -> ScheduleConfig {
        match self {
            Self::UNet(_) => config.clone(),
            Self::Flux(flux) => config.for_image_tokens(flux.config().image_tokens(height, width)),
        }
    }

    /// One pass, to (b, latent channels, h, w). `cache` holds what earlier passes of the same lane left. `steer` is asked what
    /// ControlNets add, where a denoiser can take it, and told how many skips it will compute.
    pub(super) fn forward(
        &self,
        question: Question<'_>,
        cache: Option<&mut Cache>,
        steer: impl FnOnce(&Input<'_>, usize) -> Result<Option<Residuals>>,
    ) -> Result<Tensor> {
        let Question { x, timestep, states, pooled, numbers, guidance } = question;
        let full = |value: f64| Tensor::full(value as f32, x.dim(0)?, x.device());
        let (timesteps, scale) = (&full(timestep)?, full(guidance)?);
        let guidance = self.takes_guidance().then_some(&scale);
        Ok(match self {
            Self::UNet(unet) => {
                let added = pooled.zip(numbers);
                let added =
                    added.map(|(pooled, numbers)| Added { pooled: pooled.clone(), numbers: numbers.clone() });
                let input = Input { x, timesteps, context: states, guidance, added: added.as_ref() };
                let deep = cache.and_then(Cache::deep);
                let needed = deep.as_deref().map_or(ALL_SKIPS, Deep::needed);
                unet.forward_with(&input, steer(&input, needed)?.as_ref(), deep)?
            }
            Self::Flux(flux) => {
                let Some(pooled) = pooled else {
                    return Err(candle_core::Error::Msg("a question without a pooled text".into()).into());
                };
                let input = FluxInput { timesteps, text: states, pooled, guidance };
                flux.forward_with(x, input, cache.and_then(Cache::first_block))?
            }
        })
    }
}

impl DenoiserConfig {
    /// Reads the configuration of the family's kind, or tells it from the weights' headers.
    pub(crate) fn read(files: &ModelFiles, family: &Family) -> Result<Self> {
        match family.text {
            TextLayout::Flux => flux::describe(files, Precision::F32).map(|(config, _)| Self::Flux(config)),
            TextLayout::One | TextLayout::Both | TextLayout::Second => {
                UNetConfig::read(files).map(Self::UNet)
            }
        }
    }

    /// Bytes that the network takes in memory, from the headers alone.
    pub(crate) fn memory_bytes(&self, files: &ModelFiles, precision: Precision) -> Result<u64> {
        match self {
            Self::UNet(_) => {
                let weights = Weights::load(files, unet::FOLDER, unet::STEM, &Device::Cpu)?;
                Ok(weights.in_precision(precision).bytes())
            }
            Self::Flux(_) => flux::describe(files, precision).map(|(_, bytes)| bytes),
        }
    }

    /// See [`Denoiser::takes_guidance`].
    pub(crate) fn takes_guidance(&self) -> bool {
        match self {
            Self::UNet(unet) => unet.time_cond_proj_dim.is_some(),
            Self::Flux(flux) => flux.guidance_embeds,
        }
    }

    /// The step cache that fits it.
    pub(crate) fn step_cache(&self) -> CacheKind {
        match self {
            Self::UNet(unet) => CacheKind::Deep { branches: unet::skips(unet).len() as u32 },
            Self::Flux(_) => CacheKind::FirstBlock,
        }
    }

    /// Height and width of the latents that it was trained on.
    pub(crate) fn sample_size(&self) -> (usize, usize) {
        match self {
            Self::UNet(unet) => unet.sample_size.unwrap_or(UNET_SAMPLE),
            Self::Flux(_) => FLUX_SAMPLE,
        }
    }

    /// Latents' sides are multiples of this.
    pub(crate) fn side_multiple(&self) -> usize {
        match self {
            Self::UNet(_) => 1,
            Self::Flux(flux) => flux.patch(),
        }
    }
}
