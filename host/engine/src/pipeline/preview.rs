//! Small pictures of unfinished latents: decoded where a small autoencoder is at hand, else by one matrix.
//! Made from the model's own files; nothing here knows when a preview is due.

use atelier_inference::{Decoder, ImageOrder};
use candle_core::{Device, Tensor};

use crate::files::ModelFiles;
use crate::models::vae::{self, Vae, VaeConfig};
use crate::{Error, Result};

/// A small autoencoder for previews, beside the model's own.
const FOLDER: &str = "taesd";
/// Longest side of a preview, in pixels.
pub(super) const MAX_SIDE: usize = 256;
/// Scaled latents of one family to red, green and blue within -1 to 1; published with ComfyUI.
#[derive(Debug, PartialEq)]
pub(crate) struct Colours {
    /// The scale and the shift of the latents that the matrix was fitted to.
    scale: f64,
    shift: f64,
    /// One row for each channel.
    matrix: &'static [[f32; 3]],
    bias: [f32; 3],
}

static COLOURS: [Colours; 3] = [
    // Stable Diffusion 1 and 2
    Colours {
        scale: 0.18215,
        shift: 0.0,
        matrix: &[
            [0.3512, 0.2297, 0.3227],
            [0.3250, 0.4974, 0.2350],
            [-0.2829, 0.1762, 0.2721],
            [-0.2120, -0.2616, -0.7177],
        ],
        bias: [0.0; 3],
    },
    // Stable Diffusion XL
    Colours {
        scale: 0.13025,
        shift: 0.0,
        matrix: &[
            [0.3651, 0.4232, 0.4341],
            [-0.2533, -0.0042, 0.1068],
            [0.1076, 0.1111, -0.0362],
            [-0.3165, -0.2492, -0.2188],
        ],
        bias: [0.1084, -0.0175, -0.0011],
    },
    // FLUX.1
    Colours {
        scale: 0.3611,
        shift: 0.1159,
        matrix: &[
            [-0.0346, 0.0244, 0.0681],
            [0.0034, 0.0210, 0.0687],
            [0.0275, -0.0668, -0.0433],
            [-0.0174, 0.0160, 0.0617],
            [0.0859, 0.0721, 0.0329],
            [0.0004, 0.0383, 0.0115],
            [0.0405, 0.0861, 0.0915],
            [-0.0236, -0.0185, -0.0259],
            [-0.0245, 0.0250, 0.1180],
            [0.1008, 0.0755, -0.0421],
            [-0.0515, 0.0201, 0.0011],
            [0.0428, -0.0012, -0.0036],
            [0.0817, 0.0765, 0.0749],
            [-0.1264, -0.0522, -0.1103],
            [-0.0280, -0.0881, -0.0499],
            [-0.1262, -0.0982, -0.0778],
        ],
        bias: [-0.0329, -0.0718, -0.0851],
    },
];

/// What previews of a model can be made by, told from its configurations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum PreviewMeans {
    /// The model's own autoencoder is small.
    Own,
    /// There is a small one beside it, in this folder.
    Beside(&'static str),
    /// A matrix was fitted to these latents.
    Matrix(&'static Colours),
    /// Neither is known for these latents.
    Nothing,
}

impl PreviewMeans {
    /// Finds the best way that the folder's files allow.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a small autoencoder that is none or is made for other latents.
    pub(crate) fn of(files: &ModelFiles, vae: &VaeConfig) -> Result<Self> {
        if matches!(vae, VaeConfig::Tiny(_)) {
            return Ok(Self::Own);
        }
        let channels = vae.latent_channels();
        if let Some(folder) = small_autoencoder(files, channels)? {
            return Ok(Self::Beside(folder));
        }
        let colours = COLOURS.iter().find(|colours| colours.are_of(vae));
        Ok(colours.map_or(Self::Nothing, Self::Matrix))
    }

    /// Refuses an order that wants previews, or to be decoded by a small autoencoder, where there is none.
    pub(crate) fn check(self, order: &ImageOrder) -> Result<()> {
        if order.preview_every.is_some() {
            self.check_previews()?;
        }
        let is_small = matches!(self, Self::Own | Self::Beside(_));
        if order.decoder == Decoder::Tiny && !is_small { Err(no_small_autoencoder()) } else { Ok(()) }
    }

    /// Refuses previews where there are none.
    pub(crate) fn check_previews(self) -> Result<()> {
        if self == Self::Nothing { Err(refused()) } else { Ok(()) }
    }
}

/// How previews of a model are made.
#[derive(Debug)]
pub(super) enum Previewer {
    /// The model's own autoencoder is small.
    Own,
    /// A small autoencoder beside a large one.
    Beside(Box<Vae>),
    /// The matrix as a 1x1 convolution: (3, latent channels, 1, 1), and (1, 3, 1, 1).
    Matrix(&'static Colours, Tensor, Tensor),
    Nothing,
}

impl Previewer {
    /// Opens what the folder's files allow.
    ///
    /// # Errors
    /// As [`PreviewMeans::of`], and whatever is wrong with the small autoencoder's weights.
    pub(super) fn open(files: &ModelFiles, device: &Device) -> Result<Self> {
        Ok(match PreviewMeans::of(files, &VaeConfig::read(files, vae::FOLDER)?)? {
            PreviewMeans::Own => Self::Own,
            PreviewMeans::Beside(folder) => Self::Beside(Box::new(Vae::open(files, folder, device)?)),
            PreviewMeans::Matrix(colours) => {
                let channels = colours.matrix.len();
                let matrix = Tensor::from_vec(colours.matrix.concat(), (channels, 3), device)?;
                let matrix = matrix.t()?.contiguous()?.reshape((3, channels, 1, 1))?;
                let bias = Tensor::new(&colours.bias, device)?.reshape((1, 3, 1, 1))?;
                Self::Matrix(colours, matrix, bias)
            }
            PreviewMeans::Nothing => Self::Nothing,
        })
    }

    /// What it makes them by.
    pub(super) fn means(&self) -> PreviewMeans {
        match self {
            Self::Own => PreviewMeans::Own,
            Self::Beside(_) => PreviewMeans::Beside(FOLDER),
            Self::Matrix(colours, ..) => PreviewMeans::Matrix(colours),
            Self::Nothing => PreviewMeans::Nothing,
        }
    }

    /// Latents (b, c, h, w) to pictures (b, 3, h', w') of at most 256 pixels a side, within about -1 to 1.
    pub(super) fn preview(&self, vae: &Vae, latents: &Tensor) -> Result<Tensor> {
        let pictures = match self {
            Self::Own => vae.decode(latents)?,
            Self::Beside(small) => small.decode(latents)?,
            Self::Matrix(_, matrix, bias) => latents.conv2d(matrix, 0, 1, 1, 1)?.broadcast_add(bias)?,
            Self::Nothing => return Err(refused()),
        };
        let (_, _, height, width) = pictures.dims4()?;
        // whole factors: each preview pixel is the mean of a square, and pooling drops what does not fill one
        match height.max(width).div_ceil(MAX_SIDE) {
            1 => Ok(pictures),
            factor => Ok(pictures.avg_pool2d(factor)?),
        }
    }
}

impl Colours {
    fn are_of(&self, vae: &VaeConfig) -> bool {
        let is = |value: f64, wanted: f64| (value - wanted).abs() < 1e-9;
        let (scale, shift) = (vae.scaling_factor(), vae.shift_factor());
        vae.latent_channels() == self.matrix.len() && is(scale, self.scale) && is(shift, self.shift)
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

/// What to answer where a picture is to be decoded by a small autoencoder and there is none.
pub(super) fn no_small_autoencoder() -> Error {
    let reason = "this model has no small autoencoder; put an AutoencoderTiny for its latents into \
                  `taesd/` beside its vae";
    Error::Invalid { field: "decoder", reason: reason.into() }
}

fn refused() -> Error {
    let reason =
        "this model has no previews; put an AutoencoderTiny for its latents into `taesd/` beside its vae";
    Error::Invalid { field: "preview-every", reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latents_of_flux_become_colours_by_matrix_and_bias() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/fixtures/flux-dev");
        let (files, device) = (ModelFiles::folder(folder), Device::Cpu);
        let vae = Vae::open(&files, "vae", &device).unwrap();
        let previewer = Previewer::open(&files, &device).unwrap();
        // one in the last channel, at the second of two latents
        let mut values = vec![0.0f32; 32];
        values[31] = 1.0;
        let latents = Tensor::from_vec(values, (1, 16, 1, 2), &device).unwrap();
        let colours =
            previewer.preview(&vae, &latents).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let expected = [-0.0329, -0.0329 - 0.1262, -0.0718, -0.0718 - 0.0982, -0.0851, -0.0851 - 0.0778];
        for (colour, expected) in colours.iter().zip(expected) {
            assert!((colour - expected).abs() < 1e-6, "{colours:?}");
        }
    }
}
