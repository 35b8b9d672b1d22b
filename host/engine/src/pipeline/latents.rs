//! The latents that a run starts from: noise, or a picture's latents with noise.
//! Draws from the job's generators and leaves them where the first step goes on.

use atelier_inference::{Job, Pixels, Task};
use candle_core::{DType, Tensor};

use super::family::SourceUse;
use super::{Pipeline, picture};
use crate::models::vae::Encoded;
use crate::noise::{NoiseSource, PerImage};
use crate::schedule::Schedule;
use crate::{Error, Result};

impl Pipeline {
    /// (images, channels, height / factor, width / factor). The generators are used in diffusers' order: first the
    /// autoencoder's sample of a source, then the noise.
    pub(super) fn first_latents(
        &self,
        job: &Job,
        schedule: &dyn Schedule,
        noise: &mut PerImage,
    ) -> Result<Tensor> {
        let factor = self.vae.factor();
        let (height, width) = (job.size.height as usize / factor, job.size.width as usize / factor);
        let shape = (job.seeds.len(), self.vae.latent_channels(), height, width);
        let like = Tensor::zeros(shape, DType::F32, &self.device)?;
        match &job.task {
            Task::TextToImage | Task::Edit { .. } => Ok((noise.draw(&like)? * schedule.init_noise_sigma())?),
            Task::ImageToImage { picture, .. } => {
                let original = self.source_latents(picture, job.seeds.len(), noise)?;
                let noise = noise.draw(&like)?;
                schedule.add_noise(&original, &noise)
            }
        }
    }

    /// The picture to edit as further channels of the denoiser's input: its most likely latents, so no draw.
    pub(super) fn source_channels(&self, job: &Job) -> Result<Option<Tensor>> {
        let (Task::Edit { picture, .. }, SourceUse::Channels { is_scaled }) = (&job.task, self.family.source)
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
        Ok((latents * self.vae.scaling_factor())?)
    }

    fn encode(&self, pixels: &Pixels) -> Result<Encoded> {
        Ok(self.vae.encode(&picture::to_tensor(pixels, &self.device)?)?)
    }
}

fn finite(latents: Tensor) -> Result<Tensor> {
    match picture::is_finite(&latents)? {
        true => Ok(latents),
        false => Err(Error::NotFinite { op: "the autoencoder's encoder" }),
    }
}
