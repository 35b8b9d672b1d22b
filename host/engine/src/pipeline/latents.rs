//! The latents that a run starts from: noise, or a picture's latents with noise.
//! Draws from the order's generators and leaves them where the first step goes on.

use atelier_inference::{ImageOrder, Mask, Pixels, Task};
use candle_core::{DType, Tensor};

use super::family::SourceUse;
use super::{Pipeline, picture};
use crate::models::vae::Encoded;
use crate::noise::{NoiseSource, PerImage};
use crate::schedule::Schedule;
use crate::{Error, Result};

/// What a run begins with. Tensors are (images, channels, height / factor, width / factor).
pub(super) struct Start {
    pub(super) latents: Tensor,
    /// For a part of a picture, where the denoiser has no channels for it.
    pub(super) kept: Option<Kept>,
    /// For a part of a picture, where the denoiser has: the mask, and the latents of what it leaves.
    pub(super) channels: Option<Tensor>,
}

/// What stays of a picture of which a part is painted anew: after each step its latents, noised to the level that the
/// others have, take their place outside of the mask (arXiv 2201.09865, without resampling).
pub(super) struct Kept {
    /// 1 where the picture is painted anew: (1, 1, h, w).
    mask: Tensor,
    original: Tensor,
    noise: Tensor,
}

impl Kept {
    /// Over latents that are about to begin step `next`, which there is none after the last.
    pub(super) fn over(&self, latents: Tensor, schedule: &dyn Schedule, next: usize) -> Result<Tensor> {
        let kept = match next < schedule.timesteps().len() {
            true => schedule.add_noise(next, &self.original, &self.noise)?,
            false => self.original.clone(),
        };
        let outside = self.mask.affine(-1.0, 1.0)?;
        Ok((kept.broadcast_mul(&outside)? + latents.broadcast_mul(&self.mask)?)?)
    }
}

impl Pipeline {
    /// The generators are used in diffusers' order: first the autoencoder's sample of a source, then the noise, then the
    /// sample of what a mask leaves.
    pub(super) fn start(
        &self,
        order: &ImageOrder,
        schedule: &dyn Schedule,
        noise: &mut PerImage,
    ) -> Result<Start> {
        let (height, width) = self.latent_size(order);
        let shape = (order.seeds.len(), self.vae.latent_channels(), height, width);
        let like = Tensor::zeros(shape, DType::F32, &self.device)?;
        match &order.task {
            Task::TextToImage | Task::Edit { .. } => {
                Ok(Start::of((noise.draw(&like)? * schedule.init_noise_sigma())?))
            }
            Task::ImageToImage { picture, .. } => {
                let original = self.source_latents(picture, order.seeds.len(), noise)?;
                let noise = noise.draw(&like)?;
                schedule.add_noise(0, &original, &noise).map(Start::of)
            }
            Task::Inpaint { picture, mask, strength } => {
                self.start_of_a_part(picture, mask, *strength, &like, schedule, noise)
            }
        }
    }

    /// Height and width of the order's latents.
    pub(super) fn latent_size(&self, order: &ImageOrder) -> (usize, usize) {
        let factor = self.vae.factor();
        (order.size.height as usize / factor, order.size.width as usize / factor)
    }

    /// Follows `StableDiffusionInpaintPipeline`, and `FluxInpaintPipeline` does the same: from noise alone where the whole schedule is run.
    fn start_of_a_part(
        &self,
        picture: &Pixels,
        mask: &Mask,
        strength: f64,
        like: &Tensor,
        schedule: &dyn Schedule,
        noise: &mut PerImage,
    ) -> Result<Start> {
        let images = like.dim(0)?;
        let has_channels = self.family.source == SourceUse::Masked;
        let is_whole = strength >= 1.0;
        let original = match has_channels && is_whole {
            true => None,
            false => Some(self.source_latents(picture, images, noise)?),
        };
        let drawn = noise.draw(like)?;
        let latents = match &original {
            Some(original) if !is_whole => schedule.add_noise(0, original, &drawn)?,
            _ => (&drawn * schedule.init_noise_sigma())?,
        };
        // sampled for every model, as diffusers does: later draws depend on it
        let left = self.left_latents(picture, mask, images, noise)?;
        let mask = self.latent_mask(mask, picture, like)?;
        if has_channels {
            let (.., height, width) = like.dims4()?;
            let channels = Tensor::cat(&[mask.broadcast_as((images, 1, height, width))?, left], 1)?;
            return Ok(Start { latents, kept: None, channels: Some(channels) });
        }
        let kept = original.map(|original| Kept { mask, original, noise: drawn });
        Ok(Start { latents, kept, channels: None })
    }

    /// The latents of what a mask leaves, once per image; the rest of the picture is grey.
    fn left_latents(
        &self,
        picture: &Pixels,
        mask: &Mask,
        images: usize,
        noise: &mut PerImage,
    ) -> Result<Tensor> {
        let whole = picture::to_tensor(picture, &self.device)?;
        let (.., height, width) = whole.dims4()?;
        let left: Vec<f32> = mask.pixels().iter().map(|is_new| f32::from(u8::from(!is_new))).collect();
        let left = Tensor::from_vec(left, (1, 1, height, width), &self.device)?;
        let encoded = self.vae.encode(&whole.broadcast_mul(&left)?)?;
        Ok(self.vae.scaled(&finite(encoded.repeat(images)?.sample(noise)?)?)?)
    }

    /// (1, 1, h, w) of the latents' size; each takes the pixel at its upper left, as diffusers scales masks.
    fn latent_mask(&self, mask: &Mask, picture: &Pixels, like: &Tensor) -> Result<Tensor> {
        let ((.., height, width), factor) = (like.dims4()?, self.vae.factor());
        let row = picture.width() as usize;
        let at = |y: usize, x: usize| mask.pixels().get(y * factor * row + x * factor).copied();
        let values = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        let values = values.map(|(y, x)| f32::from(u8::from(at(y, x).unwrap_or_default())));
        Ok(Tensor::from_vec(values.collect(), (1, 1, height, width), &self.device)?)
    }

    /// The picture to edit as further channels of the denoiser's input: its most likely latents, so no draw.
    pub(super) fn source_channels(&self, order: &ImageOrder) -> Result<Option<Tensor>> {
        let (Task::Edit { picture, .. }, SourceUse::Channels { is_scaled }) =
            (&order.task, self.family.source)
        else {
            return Ok(None);
        };
        let latents = finite(self.encode(picture)?.mode().clone())?;
        let factor = if is_scaled { self.vae.scaling_factor() } else { 1.0 };
        Ok(Some((latents * factor)?))
    }

    /// A picture's latents, once per image, each sampled by its own generator and scaled for the denoiser.
    fn source_latents(&self, pixels: &Pixels, images: usize, noise: &mut PerImage) -> Result<Tensor> {
        // encoded once: the images differ in the sample that is drawn from it, not in the distribution
        let latents = finite(self.encode(pixels)?.repeat(images)?.sample(noise)?)?;
        Ok(self.vae.scaled(&latents)?)
    }

    fn encode(&self, pixels: &Pixels) -> Result<Encoded> {
        Ok(self.vae.encode(&picture::to_tensor(pixels, &self.device)?)?)
    }
}

impl Start {
    pub(super) fn of(latents: Tensor) -> Self {
        Self { latents, kept: None, channels: None }
    }
}

fn finite(latents: Tensor) -> Result<Tensor> {
    match picture::is_finite(&latents)? {
        true => Ok(latents),
        false => Err(Error::NotFinite { op: "the autoencoder's encoder" }),
    }
}
