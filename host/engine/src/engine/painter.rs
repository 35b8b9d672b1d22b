//! A model that makes pictures: its catalog entry, and its networks while they are loaded.

use std::sync::Arc;
use std::time::Instant;

use atelier_inference::{ImageModel, ImageOrder, Precision, Refiner};
use candle_core::Device;

use super::info::{self, Described};
use super::refining::Latents;
use super::{Extras, ModelSpec};
use crate::files::ModelFiles;
use crate::pipeline::{DenoiseRun, Footprint, Left, Pipeline, PreviewMeans};
use crate::schedule::{self, ScheduleConfig};
use crate::{Error, Result};

/// A diffusion model, with or without its weights.
pub(super) struct Painter {
    pub(super) info: ImageModel,
    files: ModelFiles,
    extras: Extras,
    /// What to tell those who use the default schedule, such as that it stands in for another.
    note: Option<String>,
    pub(super) footprint: Footprint,
    schedule: ScheduleConfig,
    previews: PreviewMeans,
    /// What other models may go on with, if they can.
    pub(super) latents: Option<Latents>,
    /// There while the model is loaded. A run holds it as well, until its end.
    pipeline: Option<Arc<Pipeline>>,
}

impl Painter {
    /// Everything but the weights.
    pub(super) fn new(spec: ModelSpec, budget: u64, device: &Device, precision: Precision) -> Result<Self> {
        let Described { info, note, footprint, schedule, previews, latents } =
            info::describe(&spec, budget, device, precision)?;
        let (files, extras) = (spec.files, spec.extras);
        Ok(Self { info, files, extras, note, footprint, schedule, previews, latents, pipeline: None })
    }

    /// Encodes the order's texts; the first step is the caller's. `rest` are the steps that its refiner does.
    pub(super) fn start(&self, order: &ImageOrder, rest: usize) -> Result<DenoiseRun> {
        DenoiseRun::new(self.loaded()?, order, self.note(order), self.footprint.is_tiled(order), rest)
    }

    /// The order's second run, as its refiner.
    pub(super) fn refine(&self, order: &ImageOrder, left: Left) -> Result<DenoiseRun> {
        DenoiseRun::take_over(self.loaded()?, order, left, self.note(order), self.footprint.is_tiled(order))
    }

    /// Steps that are left for this model as the order's refiner. What it could not do is refused before the other begins:
    /// most of the work would be done by then.
    pub(super) fn steps_to_refine(&self, order: &ImageOrder, refiner: &Refiner) -> Result<usize> {
        self.previews.check(order)?;
        let rest =
            schedule::build_rest(&order.schedule, &self.schedule, order.steps as usize, refiner.share)?;
        Ok(rest.timesteps().len())
    }

    /// Reads the weights, if they are not there.
    pub(super) fn load(&mut self, device: &Device) -> Result<()> {
        if self.pipeline.is_none() {
            let began = Instant::now();
            let pipeline = Pipeline::open(&self.files, &self.extras, device, self.info.precision)?;
            self.pipeline = Some(Arc::new(pipeline));
            let model = &self.info.card.id;
            tracing::info!(%model, seconds = began.elapsed().as_secs_f64(), "weights loaded");
        }
        Ok(())
    }

    /// The networks, to be dropped.
    pub(super) fn unload(&mut self) -> Option<Arc<Pipeline>> {
        self.pipeline.take()
    }

    fn loaded(&self) -> Result<Arc<Pipeline>> {
        self.pipeline.clone().ok_or_else(|| Error::NotLoaded { id: self.info.card.id.to_string() })
    }

    /// What a user of the model's default schedule should know.
    fn note(&self, order: &ImageOrder) -> Option<String> {
        let is_default = self.info.schedules.first() == Some(&order.schedule);
        self.note.clone().filter(|_| is_default)
    }
}
