//! The latents that a run starts from: noise, or a picture's latents with noise.
//! Draws from the job's generators and leaves them where the first step goes on.

use atelier_inference::{Job, Pixels};
use candle_core::{DType, Tensor};

use super::{Pipeline, picture};
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
        match &job.source {
            None => Ok((noise.draw(&like)? * schedule.init_noise_sigma())?),
            Some((pixels, _)) => {
                let original = self.source_latents(pixels, job.seeds.len(), noise)?;
                let noise = noise.draw(&like)?;
                schedule.add_noise(&original, &noise)
            }
        }
    }

    /// A picture's latents, once per image, each sampled by its own generator and scaled for the denoiser.
    fn source_latents(&self, pixels: &Pixels, images: usize, noise: &mut PerImage) -> Result<Tensor> {
        // encoded once: the images differ in the sample that is drawn from it, not in the distribution
        let encoded = self.vae.encode(&picture::to_tensor(pixels, &self.device)?)?;
        let latents = encoded.repeat(images)?.sample(noise)?;
        if !picture::is_finite(&latents)? {
            return Err(Error::NotFinite { op: "the autoencoder's encoder" });
        }
        Ok((latents * self.vae.scaling_factor())?)
    }
}
