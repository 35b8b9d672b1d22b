//! The denoise loop as a value that is stepped, so that whoever holds it may look, report or stop between two steps.
//! Dropping it is cancelling it.
//!
//! Follows the loop that diffusers' pipelines share; how a step moves the latents is the schedule's, and what is asked of
//! the denoiser is `guidance`'s.

use std::sync::Arc;

use atelier_inference::{Decoder, ImageOrder, Pixels, Task};
use candle_core::Tensor;

use super::control::Steering;
use super::denoiser::Question;
use super::guidance::{Branch, Guidance};
use super::latents::{Kept, Start};
use super::step_cache::{Cache, Passes};
use super::{Conditioning, Pipeline, lane, picture};
use crate::models::unet::Input;
use crate::noise::PerImage;
use crate::schedule::{self, Schedule};
use crate::{Error, Result};

/// One order on its way from noise to latents.
pub struct Denoise {
    /// Shared with the engine and with nobody else: one order runs at a time.
    pipeline: Arc<Pipeline>,
    /// This run's own: multistep schedules keep what they saw.
    schedule: Box<dyn Schedule>,
    conditioning: Conditioning,
    /// What the denoiser is asked at every step.
    branches: Vec<Branch>,
    guidance: Guidance,
    /// The guidance scale, for models that take it as an input.
    scale: f64,
    decoding: Decoding,
    /// One generator per image, drawn from by the first latents and by stochastic schedules, in diffusers' order.
    noise: PerImage,
    /// (images, channels, h, w) at the noise level of step `done`.
    latents: Tensor,
    /// Images that share one pass.
    lane: usize,
    /// What the denoiser is steered by.
    steering: Vec<Steering>,
    /// What passes take over from earlier ones, lane by lane; none without a step cache.
    caches: Vec<Cache>,
    /// What stays of a picture of which a part is painted anew.
    kept: Option<Kept>,
    /// Further channels of every step's input: (images, channels, h, w).
    channels: Option<Tensor>,
    /// What the denoiser said at the last step, branch by branch, before guidance: (images, channels, h, w) each.
    /// Kept for the tests that compare a step with diffusers'.
    predictions: Vec<Tensor>,
    /// Steps done, and so the index of the next.
    done: usize,
    /// Steps to do; the schedule has more where a refiner does the rest.
    end: usize,
}

/// What a run leaves to another model: latents at the noise level where it stopped, and the generators as they are.
pub struct Latent {
    latents: Tensor,
    noise: PerImage,
}

/// How latents become pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoding {
    /// By the model's autoencoder, at once.
    Whole,
    /// By the model's autoencoder, tile by tile.
    Tiled,
    /// By the small autoencoder beside it.
    Tiny,
}

impl Denoise {
    /// Encodes the texts and makes the first latents.
    pub fn new(pipeline: Arc<Pipeline>, order: &ImageOrder) -> Result<Self> {
        let strength = match order.task {
            Task::ImageToImage { strength, .. } | Task::Inpaint { strength, .. } => Some(strength),
            Task::TextToImage | Task::Edit { .. } => None,
        };
        let (height, width) = pipeline.latent_size(order);
        let config = pipeline.denoiser.schedule(&pipeline.schedule, height, width);
        let schedule = schedule::build(&order.schedule, &config, order.steps as usize, strength)?;
        if schedule.timesteps().is_empty() {
            let reason = format!("leaves none of {} steps; raise strength or steps", order.steps);
            return Err(Error::Invalid { field: "strength", reason });
        }
        let end = match &order.refiner {
            Some(refiner) => steps_before_refiner(schedule.as_ref(), &pipeline, refiner.share)?,
            None => schedule.timesteps().len(),
        };
        let steering = pipeline.steering(order)?;
        let start = |pipeline: &Pipeline, schedule: &dyn Schedule| {
            let mut noise = PerImage::of(&order.seeds, order.seed_profile);
            Ok((pipeline.start(order, schedule, &mut noise)?, noise))
        };
        Ok(Self { end, steering, ..Self::over(pipeline, order, schedule, start)? })
    }

    /// The rest of a run that another model began, for the order's refiner. As in diffusers it encodes the texts itself,
    /// and its schedule remembers nothing of the steps before.
    pub fn take_over(pipeline: Arc<Pipeline>, order: &ImageOrder, left: Latent) -> Result<Self> {
        let share = order.refiner.as_ref().map_or(1.0, |refiner| refiner.share);
        let schedule =
            schedule::build_rest(&order.schedule, &pipeline.schedule, order.steps as usize, share)?;
        Self::over(pipeline, order, schedule, |_, _| Ok((Start::of(left.latents), left.noise)))
    }

    /// A run over a whole schedule.
    fn over(
        pipeline: Arc<Pipeline>,
        order: &ImageOrder,
        schedule: Box<dyn Schedule>,
        start: impl FnOnce(&Pipeline, &dyn Schedule) -> Result<(Start, PerImage)>,
    ) -> Result<Self> {
        let guidance = Guidance::of(order, pipeline.denoiser.takes_guidance());
        let conditioning = pipeline.condition(order, guidance.is_on())?;
        let branches = pipeline.branches(order, &conditioning, pipeline.source_channels(order)?.as_ref())?;
        let (Start { latents, kept, channels }, noise) = start(&pipeline, schedule.as_ref())?;
        Ok(Self {
            end: schedule.timesteps().len(),
            caches: pipeline.caches(order)?,
            lane: lane(&pipeline.device, order),
            pipeline,
            schedule,
            conditioning,
            branches,
            guidance,
            scale: order.guidance,
            decoding: if order.decoder == Decoder::Tiny { Decoding::Tiny } else { Decoding::Whole },
            noise,
            latents,
            steering: Vec::new(),
            kept,
            channels,
            predictions: Vec::new(),
            done: 0,
        })
    }

    /// The same run, decoded in tiles at its end.
    pub fn tiled(self) -> Self {
        Self { decoding: Decoding::Tiled, ..self }
    }

    /// Steps in all, and steps done.
    pub fn progress(&self) -> (usize, usize) {
        (self.end, self.done)
    }

    /// Gives up the model for what another one goes on with.
    pub fn hand_over(self) -> Latent {
        Latent { latents: self.latents, noise: self.noise }
    }

    /// One step; false when there was none left.
    pub fn step(&mut self) -> Result<bool> {
        let timesteps = &self.schedule.timesteps()[..self.end];
        let Some(&timestep) = timesteps.get(self.done) else { return Ok(false) };
        let input = self.schedule.scale_model_input(self.done, &self.latents)?;
        self.predictions = self.predict(&input, timestep)?;
        let guided = self.guidance.mix(&self.predictions)?;
        let latents = self.schedule.step(self.done, &guided, &self.latents, &mut self.noise)?;
        self.latents = match &self.kept {
            Some(kept) => kept.over(latents, self.schedule.as_ref(), self.done + 1)?,
            None => latents,
        };
        self.done += 1;
        // asked at every step: a NaN never heals, and the rest of the run would be time lost
        match picture::is_finite(&self.latents)? {
            true => Ok(true),
            false => Err(Error::NotFinite { op: "the denoiser" }),
        }
    }

    /// The run's own schedule.
    pub fn schedule(&self) -> &dyn Schedule {
        self.schedule.as_ref()
    }

    /// The latents after the steps done: (images, channels, h, w).
    pub fn latents(&self) -> &Tensor {
        &self.latents
    }

    /// What the denoiser said at the last step, in diffusers' order: of the negative prompt and of the prompt, or of
    /// prompt and picture, of the picture and of neither.
    pub fn predictions(&self) -> &[Tensor] {
        &self.predictions
    }

    /// The texts' states.
    pub fn conditioning(&self) -> &Conditioning {
        &self.conditioning
    }

    /// Passes through the denoiser so far, as the step cache counted them; none without one.
    pub fn passes(&self) -> Passes {
        Passes::of(&self.caches)
    }

    /// Decodes the latents: (images, 3, h, w) within about -1 to 1.
    pub fn decode(&self) -> Result<Tensor> {
        let pipeline = &self.pipeline;
        let decoded = self.by_lane(&self.latents, |latents| {
            Ok(match self.decoding {
                Decoding::Whole => pipeline.vae.decode(latents)?,
                Decoding::Tiled => pipeline.vae.decode_tiled(latents)?,
                Decoding::Tiny => pipeline.tiny_decoder()?.decode(latents)?,
            })
        })?;
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

    /// The denoiser's word on all images, a lane at a time: one prediction per branch.
    fn predict(&mut self, input: &Tensor, timestep: f64) -> Result<Vec<Tensor>> {
        let (images, lane) = (input.dim(0)?, self.lane);
        let mut lanes = vec![Vec::new(); self.branches.len()];
        for first in (0..images).step_by(lane) {
            let input = input.narrow(0, first, lane)?;
            let input = match &self.channels {
                Some(channels) => Tensor::cat(&[input, channels.narrow(0, first, lane)?], 1)?,
                None => input,
            };
            let out = self.predict_lane(first / lane, &input, timestep)?;
            for (index, lanes) in lanes.iter_mut().enumerate() {
                lanes.push(out.narrow(0, index * lane, lane)?);
            }
        }
        lanes.iter().map(|lanes| Ok(Tensor::cat(lanes, 0)?)).collect()
    }

    /// All branches in one pass of so many times the batch, as diffusers lays them out, for the lane of that index.
    fn predict_lane(&mut self, index: usize, input: &Tensor, timestep: f64) -> Result<Tensor> {
        let lane = input.dim(0)?;
        let each = |part: &dyn Fn(&Branch) -> Option<&Tensor>| {
            let rows = self.branches.iter().filter_map(part).map(|row| row.repeat(lane_of(lane, row)));
            let rows = rows.collect::<candle_core::Result<Vec<_>>>()?;
            if rows.is_empty() { Ok(None) } else { Tensor::cat(&rows, 0).map(Some) }
        };
        let input = input.repeat((self.branches.len(), 1, 1, 1))?;
        let input = match each(&|branch| branch.channels.as_ref())? {
            Some(channels) => Tensor::cat(&[input, channels], 1)?,
            None => input,
        };
        let pooled = each(&|branch| branch.text.pooled.as_ref())?;
        let numbers = each(&|branch| branch.numbers.as_ref())?;
        let Some(states) = each(&|branch| Some(&branch.text.states))? else {
            return Err(candle_core::Error::Msg("a step without a question".into()).into());
        };
        let question = Question {
            x: &input.contiguous()?,
            timestep,
            states: &states,
            pooled: pooled.as_ref(),
            numbers: numbers.as_ref(),
            guidance: self.scale,
        };
        let place = (self.done, self.schedule.timesteps().len());
        let (pipeline, steering) = (&self.pipeline, &self.steering);
        let steer = |asked: &Input<'_>, needed| pipeline.residuals(steering, place, asked, needed);
        pipeline.denoiser.forward(question, self.caches.get_mut(index), steer)
    }

    /// Applies `f` to as many images at a time as the device runs together.
    fn by_lane(&self, x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let (images, lane) = (x.dim(0)?, self.lane);
        let lanes = (0..images).step_by(lane).map(|first| f(&x.narrow(0, first, lane)?.contiguous()?));
        Ok(Tensor::cat(&lanes.collect::<Result<Vec<_>>>()?, 0)?)
    }
}

fn steps_before_refiner(schedule: &dyn Schedule, pipeline: &Pipeline, share: f64) -> Result<usize> {
    let steps = schedule::steps_before(schedule, &pipeline.schedule, share);
    if steps > 0 {
        return Ok(steps);
    }
    let reason = format!("takes over after {share} of the way, before the first of the steps that are run");
    Err(Error::Invalid { field: "refiner", reason })
}

/// How often each dimension of a branch's row is repeated: the first, once per image.
fn lane_of(lane: usize, row: &Tensor) -> Vec<usize> {
    let mut times = vec![1; row.rank()];
    times[0] = lane;
    times
}
