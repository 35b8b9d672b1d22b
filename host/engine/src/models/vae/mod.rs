//! Autoencoders between pictures and latents: `AutoencoderKL` and the small `AutoencoderTiny`, told apart by the
//! `_class_name` of `config.json`.

mod config;
mod kl;
mod tiling;
mod tiny;

use candle_core::{Device, Result as TensorResult, Tensor};
use serde_json::{Map, Value};

use crate::files::ModelFiles;
use crate::noise::NoiseSource;
use crate::weights::Weights;
use crate::{Error, Result};
use config::{KlConfig, TinyConfig};
use kl::AutoencoderKl;
pub(crate) use tiling::Tiling;
use tiny::AutoencoderTiny;

/// The component's folder in a diffusers layout.
pub(crate) const FOLDER: &str = "vae";
/// Its weights' file, without extension.
pub(crate) const STEM: &str = "diffusion_pytorch_model";

/// A checked configuration of either kind.
#[derive(Debug, Clone)]
pub(crate) enum VaeConfig {
    Kl(KlConfig),
    Tiny(TinyConfig),
}

/// An autoencoder with its weights.
#[derive(Debug)]
pub struct Vae {
    kind: Kind,
    scaling_factor: f64,
    shift_factor: f64,
    latent_channels: usize,
    factor: usize,
    tiling: Option<Tiling>,
}

#[derive(Debug)]
enum Kind {
    Kl(Box<AutoencoderKl>),
    Tiny(AutoencoderTiny),
}

/// What an encoder says of a picture.
#[derive(Debug)]
pub enum Encoded {
    /// A normal distribution over latents, (b, c, h, w) each.
    Posterior {
        /// Its mean.
        mean: Tensor,
        /// Its standard deviation.
        deviation: Tensor,
    },
    /// The latents themselves.
    Latents(Tensor),
}

impl Encoded {
    /// The most likely latents.
    pub fn mode(&self) -> &Tensor {
        match self {
            Self::Posterior { mean, .. } => mean,
            Self::Latents(latents) => latents,
        }
    }

    /// The same for each of `images`.
    pub fn repeat(&self, images: usize) -> TensorResult<Self> {
        let repeat = |x: &Tensor| x.repeat((images, 1, 1, 1));
        Ok(match self {
            Self::Posterior { mean, deviation } => {
                Self::Posterior { mean: repeat(mean)?, deviation: repeat(deviation)? }
            }
            Self::Latents(latents) => Self::Latents(repeat(latents)?),
        })
    }

    /// Latents drawn from the distribution; `noise` is asked for only where there is one.
    pub fn sample(&self, noise: &mut dyn NoiseSource) -> Result<Tensor> {
        match self {
            Self::Posterior { mean, deviation } => Ok((mean + (deviation * noise.draw(mean)?)?)?),
            Self::Latents(latents) => Ok(latents.clone()),
        }
    }
}

impl VaeConfig {
    /// Reads `<folder>/config.json`.
    pub(crate) fn read(files: &ModelFiles, folder: &str) -> Result<Self> {
        let name = format!("{folder}/config.json");
        let raw: Map<String, Value> = files.json(&name)?;
        match raw.get("_class_name").and_then(Value::as_str) {
            Some("AutoencoderKL") => KlConfig::read(files, &name).map(Self::Kl),
            Some("AutoencoderTiny") => TinyConfig::read(files, &name).map(Self::Tiny),
            other => Err(Error::Unsupported {
                what: "vae _class_name",
                value: other.unwrap_or("nothing").into(),
                supported: "AutoencoderKL, AutoencoderTiny",
            }),
        }
    }

    /// Pixels per latent, along a side.
    pub(crate) fn factor(&self) -> usize {
        match self {
            Self::Kl(config) => 1 << (config.block_out_channels.len() - 1),
            Self::Tiny(config) => 1 << (config.decoder_block_out_channels.len() - 1),
        }
    }

    /// Channels of the latents.
    pub(crate) fn latent_channels(&self) -> usize {
        match self {
            Self::Kl(config) => config.latent_channels,
            Self::Tiny(config) => config.latent_channels,
        }
    }

    /// How large pictures may be decoded piece by piece: in tiles of the size that the autoencoder was trained on. The
    /// small one needs none.
    pub(crate) fn tiling(&self) -> Option<Tiling> {
        match self {
            Self::Kl(config) => {
                let factor = self.factor();
                Some(Tiling { side: (config.sample_size / factor).max(1), factor })
            }
            Self::Tiny(_) => None,
        }
    }

    /// What the autoencoder's own latents are multiplied by for the denoiser.
    pub(crate) fn scaling_factor(&self) -> f64 {
        match self {
            Self::Kl(config) => config.scaling_factor,
            Self::Tiny(config) => config.scaling_factor,
        }
    }

    /// What is taken from them before that.
    pub(crate) fn shift_factor(&self) -> f64 {
        match self {
            Self::Kl(config) => config.shift_factor.unwrap_or_default(),
            Self::Tiny(_) => 0.0,
        }
    }
}

impl Vae {
    /// Reads a folder, such as `vae`.
    #[doc(hidden)]
    pub fn open(files: &ModelFiles, folder: &str, device: &Device) -> Result<Self> {
        let config = VaeConfig::read(files, folder)?;
        let weights = Weights::load(files, folder, STEM, device)?;
        let kind = match &config {
            VaeConfig::Kl(config) => {
                Kind::Kl(Box::new(weights.build(|vb| AutoencoderKl::load(config, vb))?.0))
            }
            VaeConfig::Tiny(config) => Kind::Tiny(weights.build(|vb| AutoencoderTiny::load(config, vb))?.0),
        };
        Ok(Self {
            kind,
            scaling_factor: config.scaling_factor(),
            shift_factor: config.shift_factor(),
            latent_channels: config.latent_channels(),
            factor: config.factor(),
            tiling: config.tiling(),
        })
    }

    /// Pixels per latent, along a side.
    pub fn factor(&self) -> usize {
        self.factor
    }

    /// Channels of the latents.
    pub fn latent_channels(&self) -> usize {
        self.latent_channels
    }

    /// By what encoded latents are multiplied before the denoiser sees them.
    pub fn scaling_factor(&self) -> f64 {
        self.scaling_factor
    }

    /// Latents of [`Vae::encode`] as the denoiser knows them.
    pub fn scaled(&self, latents: &Tensor) -> TensorResult<Tensor> {
        (latents - self.shift_factor)? * self.scaling_factor
    }

    /// Whether decoding is cheap enough for previews.
    pub fn is_tiny(&self) -> bool {
        matches!(self.kind, Kind::Tiny(_))
    }

    /// A picture (b, 3, h, w) within -1 to 1, to latents that are not yet scaled.
    pub fn encode(&self, picture: &Tensor) -> TensorResult<Encoded> {
        match &self.kind {
            Kind::Kl(vae) => vae.encode(picture),
            Kind::Tiny(vae) => Ok(Encoded::Latents(vae.encode(picture)?)),
        }
    }

    /// Latents as the denoiser knows them, to a picture within about -1 to 1.
    pub fn decode(&self, latents: &Tensor) -> TensorResult<Tensor> {
        self.decode_unscaled(&self.unscaled(latents)?)
    }

    /// The same in tiles, where the picture is larger than one and the autoencoder is not small.
    pub fn decode_tiled(&self, latents: &Tensor) -> TensorResult<Tensor> {
        let latents = self.unscaled(latents)?;
        let (.., height, width) = latents.dims4()?;
        match self.tiling.filter(|tiling| tiling.divides(height, width)) {
            Some(tiling) => tiling.decode(&latents, |tile| self.decode_unscaled(tile)),
            None => self.decode_unscaled(&latents),
        }
    }

    fn unscaled(&self, latents: &Tensor) -> TensorResult<Tensor> {
        (latents / self.scaling_factor)? + self.shift_factor
    }

    fn decode_unscaled(&self, latents: &Tensor) -> TensorResult<Tensor> {
        match &self.kind {
            Kind::Kl(vae) => vae.decode(latents),
            Kind::Tiny(vae) => vae.decode(latents),
        }
    }
}
