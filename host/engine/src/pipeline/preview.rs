//! Small pictures of unfinished latents: decoded where a small autoencoder is at hand, else by one matrix.
//! Made from the model's own files; nothing here knows when a preview is due.

use candle_core::{Device, Tensor};

use crate::files::ModelFiles;
use crate::models::vae::{Vae, VaeConfig};
use crate::{Error, Result};

/// A small autoencoder for previews, beside the model's own.
const FOLDER: &str = "taesd";
/// Longest side of a preview, in pixels.
pub(super) const MAX_SIDE: usize = 256;
/// Scaled latents of Stable Diffusion 1 and 2 to red, green and blue within -1 to 1; published with ComfyUI (SD15).
const SD_MATRIX: [[f32; 3]; 4] = [
    [0.3512, 0.2297, 0.3227],
    [0.3250, 0.4974, 0.2350],
    [-0.2829, 0.1762, 0.2721],
    [-0.2120, -0.2616, -0.7177],
];
/// The scale of the latents that the matrix was fitted to.
const SD_SCALE: f64 = 0.18215;

/// How previews of a model are made.
#[derive(Debug)]
pub(super) enum Previewer {
    /// The model's own autoencoder is small.
    Own,
    /// A small autoencoder beside a large one.
    Beside(Box<Vae>),
    /// (3, latent channels, 1, 1)
    Matrix(Tensor),
    /// Neither is known for these latents.
    Nothing,
}

impl Previewer {
    /// Finds the best way that the folder's files allow.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a small autoencoder that is none or is made for other latents.
    pub(super) fn open(files: &ModelFiles, vae: &Vae, device: &Device) -> Result<Self> {
        if vae.is_tiny() {
            return Ok(Self::Own);
        }
        if let Some(folder) = small_autoencoder(files, vae.latent_channels())? {
            return Ok(Self::Beside(Box::new(Vae::open(files, folder, device)?)));
        }
        if vae.latent_channels() == SD_MATRIX.len() && (vae.scaling_factor() - SD_SCALE).abs() < 1e-9 {
            let matrix =
                Tensor::new(&SD_MATRIX, device)?.t()?.contiguous()?.reshape((3, SD_MATRIX.len(), 1, 1))?;
            return Ok(Self::Matrix(matrix));
        }
        Ok(Self::Nothing)
    }

    /// Latents (b, c, h, w) to pictures (b, 3, h', w') of at most 256 pixels a side, within about -1 to 1.
    pub(super) fn preview(&self, vae: &Vae, latents: &Tensor) -> Result<Tensor> {
        let pictures = match self {
            Self::Own => vae.decode(latents)?,
            Self::Beside(small) => small.decode(latents)?,
            Self::Matrix(matrix) => latents.conv2d(matrix, 0, 1, 1, 1)?,
            Self::Nothing => return Err(refused()),
        };
        let (_, _, height, width) = pictures.dims4()?;
        // whole factors: each preview pixel is the mean of a square, and pooling drops what does not fill one
        match height.max(width).div_ceil(MAX_SIDE) {
            1 => Ok(pictures),
            factor => Ok(pictures.avg_pool2d(factor)?),
        }
    }

    /// Refuses a job that wants previews where there are none.
    pub(super) fn check(&self) -> Result<()> {
        if matches!(self, Self::Nothing) { Err(refused()) } else { Ok(()) }
    }
}

/// The folder of the small autoencoder, if there is one; reads its configuration only.
///
/// # Errors
/// [`Error::Malformed`] when it is none, or is made for other latents.
pub(crate) fn small_autoencoder(files: &ModelFiles, latent_channels: usize) -> Result<Option<&'static str>> {
    if !files.contains(&format!("{FOLDER}/config.json")) {
        return Ok(None);
    }
    let config = VaeConfig::read(files, FOLDER)?;
    if !matches!(config, VaeConfig::Tiny(_)) || config.latent_channels() != latent_channels {
        let reason = "must be an AutoencoderTiny for the latents of vae/; mend or remove it";
        return Err(files.malformed(FOLDER, reason));
    }
    Ok(Some(FOLDER))
}

fn refused() -> Error {
    let reason =
        "this model has no previews; put an AutoencoderTiny for its latents into `taesd/` beside its vae";
    Error::Invalid { field: "preview-every", reason: reason.into() }
}
