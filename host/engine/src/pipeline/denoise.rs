//! The denoise loop as a value that is stepped, so that whoever holds it may look, report or stop between two steps.
//! Dropping it is cancelling it.
//!
//! Follows the loop of diffusers' `StableDiffusionPipeline.__call__`; how a step moves the latents is the schedule's.

use std::sync::Arc;

use atelier_inference::{Job, Pixels};
use candle_core::{DType, Tensor};

use super::{Conditioning, Pipeline, picture};
use crate::noise::PerImage;
use crate::schedule::{self, Schedule};
use crate::{Error, Result};

/// One job on its way from noise to latents.
pub struct Denoise {
    /// Shared with the engine and with nobody else: one job runs at a time.
    pipeline: Arc<Pipeline>,
    /// This run's own: multistep schedules keep what they saw.
    schedule: Box<dyn Schedule>,
    conditioning: Conditioning,
    /// The guidance scale; 1 or less switches guidance off.
    guidance: f64,
    /// One generator per image, drawn from by the first latents and by stochastic schedules, in diffusers' order.
    noise: PerImage,
    /// (images, channels, h, w) at the noise level of step `done`.
    latents: Tensor,
    /// Kept for the tests that compare a step with diffusers'.
    prediction: Option<Prediction>,
    /// Steps done, and so the index of the next.
    done: usize,
}

/// What the denoiser said at the last step, before guidance: (images, channels, h, w) each.
#[derive(Debug)]
pub struct Prediction {
    /// For the prompt.
    pub prompt: Tensor,
    /// For the negative prompt; `None` when guidance is off.
    pub negative: Option<Tensor>,
}

impl Denoise {
    /// Encodes the texts and makes the first latents.
    pub fn new(pipeline: Arc<Pipeline>, job: &Job) -> Result<Self> {
        let strength = job.source.as_ref().map(|(_, strength)| *strength);
        let schedule = schedule::build(&job.schedule, &pipeline.schedule, job.steps as usize, strength)?;
        if schedule.timesteps().is_empty() {
            let reason = format!("leaves none of {} steps; raise strength or steps", job.steps);
            return Err(Error::Invalid { field: "strength", reason });
        }
        let conditioning = pipeline.condition(job)?;
        let mut noise = PerImage::new(&job.seeds);
        let latents = pipeline.first_latents(job, schedule.as_ref(), &mut noise)?;
        let guidance = job.guidance;
        Ok(Self { pipeline, schedule, conditioning, guidance, noise, latents, prediction: None, done: 0 })
    }

    /// Steps in all, and steps done.
    pub fn progress(&self) -> (usize, usize) {
        (self.schedule.timesteps().len(), self.done)
    }

    /// One step; false when there was none left.
    pub fn step(&mut self) -> Result<bool> {
        let Some(&timestep) = self.schedule.timesteps().get(self.done) else { return Ok(false) };
        let input = self.schedule.scale_model_input(self.done, &self.latents)?;
        let prediction = self.predict(&input, timestep)?;
        let guided = prediction.guided(self.guidance)?;
        self.latents = self.schedule.step(self.done, &guided, &self.latents, &mut self.noise)?;
        self.prediction = Some(prediction);
        self.done += 1;
        // asked at every step: a NaN never heals, and the rest of the run would be time lost
        match picture::is_finite(&self.latents)? {
            true => Ok(true),
            false => Err(Error::NotFinite { op: "the denoiser" }),
        }
    }

    /// The latents after the steps done: (images, channels, h, w).
    pub fn latents(&self) -> &Tensor {
        &self.latents
    }

    /// What the denoiser said at the last step.
    pub fn prediction(&self) -> Option<&Prediction> {
        self.prediction.as_ref()
    }

    /// The texts' states.
    pub fn conditioning(&self) -> &Conditioning {
        &self.conditioning
    }

    /// Decodes the latents: (images, 3, h, w) within about -1 to 1.
    pub fn decode(&self) -> Result<Tensor> {
        let decoded = self.by_lane(&self.latents, |latents| Ok(self.pipeline.vae.decode(latents)?))?;
        match picture::is_finite(&decoded)? {
            true => Ok(decoded),
            false => Err(Error::NotFinite { op: "the autoencoder's decoder" }),
        }
    }

    /// One picture per seed.
    pub fn pictures(&self) -> Result<Vec<Pixels>> {
        let decoded = self.decode()?;
        (0..decoded.dim(0)?).map(|index| picture::to_pixels(&decoded.get(index)?)).collect()
    }

    /// One small picture per seed of the latents as they are.
    pub fn previews(&self) -> Result<Vec<Pixels>> {
        let latents = match self.done < self.schedule.timesteps().len() {
            // brings the noisy latents to the size that the decoder knows
            true => self.schedule.scale_model_input(self.done, &self.latents)?,
            false => self.latents.clone(),
        };
        let pictures =
            self.by_lane(&latents, |latents| self.pipeline.previewer.preview(&self.pipeline.vae, latents))?;
        (0..pictures.dim(0)?).map(|index| picture::to_pixels(&pictures.get(index)?)).collect()
    }

    /// The denoiser's word on all images, a lane at a time, before guidance.
    fn predict(&self, input: &Tensor, timestep: f64) -> Result<Prediction> {
        let images = input.dim(0)?;
        let lane = self.pipeline.lane(images);
        let (mut prompt, mut negative) = (Vec::new(), Vec::new());
        for first in (0..images).step_by(lane) {
            let out = self.predict_lane(&input.narrow(0, first, lane)?, timestep)?;
            prompt.push(out.prompt);
            negative.extend(out.negative);
        }
        let negative = (!negative.is_empty()).then(|| Tensor::cat(&negative, 0)).transpose()?;
        Ok(Prediction { prompt: Tensor::cat(&prompt, 0)?, negative })
    }

    /// Both texts' predictions in one pass of twice the batch.
    fn predict_lane(&self, input: &Tensor, timestep: f64) -> Result<Prediction> {
        let lane = input.dim(0)?;
        let prompt = self.conditioning.prompt.repeat((lane, 1, 1))?;
        let Some(negative) = &self.conditioning.negative else {
            return Ok(Prediction { prompt: self.forward(input, &prompt, timestep)?, negative: None });
        };
        // the negative half first, as diffusers lays it out
        let context = Tensor::cat(&[negative.repeat((lane, 1, 1))?, prompt], 0)?;
        let both = self.forward(&Tensor::cat(&[input, input], 0)?, &context, timestep)?;
        Ok(Prediction { prompt: both.narrow(0, lane, lane)?, negative: Some(both.narrow(0, 0, lane)?) })
    }

    /// One pass of the denoiser: `input` (b, channels, h, w) and `context` (b, tokens, width) at one timestep.
    fn forward(&self, input: &Tensor, context: &Tensor, timestep: f64) -> Result<Tensor> {
        let (batch, device) = (input.dim(0)?, input.device());
        let timesteps = Tensor::full(timestep as f32, batch, device)?;
        let guidance = Tensor::full(self.guidance as f32, batch, device)?.to_dtype(DType::F32)?;
        let guidance = self.pipeline.unet.takes_guidance().then_some(&guidance);
        Ok(self.pipeline.unet.forward(&input.contiguous()?, &timesteps, context, guidance)?)
    }

    /// Applies `f` to as many images at a time as the device runs together.
    fn by_lane(&self, x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let images = x.dim(0)?;
        let lane = self.pipeline.lane(images);
        let lanes = (0..images).step_by(lane).map(|first| f(&x.narrow(0, first, lane)?.contiguous()?));
        Ok(Tensor::cat(&lanes.collect::<Result<Vec<_>>>()?, 0)?)
    }
}

impl Prediction {
    /// Classifier-free guidance (arXiv 2207.12598): away from the negative prompt, by `scale`.
    fn guided(&self, scale: f64) -> Result<Tensor> {
        match &self.negative {
            None => Ok(self.prompt.clone()),
            Some(negative) => Ok((negative + ((&self.prompt - negative)? * scale)?)?),
        }
    }
}
