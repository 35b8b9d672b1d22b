//! `atelier_inference::Engine` on candle: the models of the manifest, their weights loaded and unloaded as the domain
//! decides. The one place where this crate's errors become the domain's.
//!
//! Owned by the inference worker's one thread, so nothing here locks. Knows neither queue nor route: a job comes in
//! checked against `ModelInfo`, a run goes out and is stepped by the worker.

mod components;
mod defaults;
mod info;
mod refining;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use atelier_inference::{
    self as inference, DefaultRefiner, Estimate, HandOver, Job, ModelId, ModelInfo, Refiner, Run,
};
use candle_core::Device;

use crate::device::{self, DeviceChoice};
use crate::files::ModelFiles;
use crate::pipeline::{DenoiseRun, Footprint, Left, Pipeline, PreviewMeans};
use crate::schedule::{self, ScheduleConfig};
use crate::{Error, Result};
use info::Described;
use refining::Latents;

pub use defaults::Defaults;

/// What to serve, and on which device.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    /// The device for every model.
    pub device: DeviceChoice,
    /// The models, in the order in which they are listed.
    pub models: Vec<ModelSpec>,
    /// Bytes for models and runs together, as the scheduler is told; what the engine proposes when `None`. Pictures that do
    /// not fit it whole are decoded in tiles.
    pub memory_bytes: Option<u64>,
}

/// One model of the manifest.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// Its name in requests.
    pub id: String,
    /// Where the files come from, as people should read it.
    pub source: String,
    /// The files, in diffusers' layout.
    pub files: ModelFiles,
    /// One sentence for people, over what the files say.
    pub description: Option<String>,
    /// What is laid beside the model's own files.
    pub extras: Extras,
}

/// What others than the model's own files say of it.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    /// Adapters that requests may name, with a file or a folder each.
    pub adapters: Vec<(String, PathBuf)>,
    /// ControlNets that requests may give pictures for, with a folder each.
    pub controls: Vec<(String, PathBuf)>,
    /// Files of words that are learned beside the text encoders' vocabulary.
    pub embeddings: Vec<PathBuf>,
    /// Adapters that are part of the model: every run has them, with a weight of 1, and no request names them.
    pub fixed_adapters: Vec<PathBuf>,
    /// How it is meant to be used.
    pub defaults: Defaults,
    /// Which other model ends its pictures when a request does not say.
    pub refiner: Option<DefaultRefiner>,
}

/// Diffusion models on one device.
pub struct CandleEngine {
    device: Device,
    models: Vec<Model>,
}

/// A model of the catalog, with or without its weights.
struct Model {
    info: ModelInfo,
    files: ModelFiles,
    extras: Extras,
    /// What to tell those who use the default schedule, such as that it stands in for another.
    note: Option<String>,
    footprint: Footprint,
    schedule: ScheduleConfig,
    previews: PreviewMeans,
    /// What other models may go on with, if they can.
    latents: Option<Latents>,
    /// There while the model is loaded. A run holds it as well, until its end.
    pipeline: Option<Arc<Pipeline>>,
}

impl CandleEngine {
    /// Opens the device and reads every model's configuration; weights are left for later.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is not there; [`Error::Model`] names the model and the file that is missing
    /// or asks for something unknown.
    pub fn new(config: EngineConfig) -> Result<CandleEngine> {
        let device = config.device.open()?;
        let budget = config.memory_bytes.unwrap_or_else(|| device::proposed_memory_bytes(&device));
        let models = config.models.into_iter().map(|spec| Model::new(spec, budget, &device));
        let mut models: Vec<Model> = models.collect::<Result<_>>()?;
        refining::introduce(&mut models)?;
        Ok(CandleEngine { device, models })
    }

    fn model(&mut self, id: &ModelId) -> Result<&mut Model> {
        let known: Vec<String> = self.models.iter().map(|model| model.info.id.to_string()).collect();
        self.models.iter_mut().find(|model| model.info.id == *id).ok_or_else(|| {
            let reason = format!("there is no model `{id}`; known: {}", known.join(", "));
            Error::Invalid { field: "model", reason }
        })
    }

    /// Encodes the job's texts; the first step is the caller's.
    fn start(&mut self, job: &Job) -> Result<DenoiseRun> {
        let rest = match &job.refiner {
            Some(refiner) => self.model(&refiner.model.id)?.steps_to_refine(job, refiner)?,
            None => 0,
        };
        let model = self.model(&job.model.id)?;
        DenoiseRun::new(model.loaded()?, job, model.note(job), model.footprint.is_tiled(job), rest)
    }

    /// The job's second run.
    fn refine(&mut self, job: &Job, left: Left) -> Result<DenoiseRun> {
        let refiner = job.refiner.as_ref().map_or(&job.model.id, |refiner| &refiner.model.id);
        let model = self.model(refiner)?;
        DenoiseRun::take_over(model.loaded()?, job, left, model.note(job), model.footprint.is_tiled(job))
    }
}

impl Model {
    /// Everything but the weights.
    fn new(spec: ModelSpec, budget: u64, device: &Device) -> Result<Self> {
        let described = info::describe(&spec, budget, device);
        let Described { info, note, footprint, schedule, previews, latents } =
            described.map_err(|source| Error::Model { id: spec.id.clone(), source: Box::new(source) })?;
        let (files, extras) = (spec.files, spec.extras);
        Ok(Self { info, files, extras, note, footprint, schedule, previews, latents, pipeline: None })
    }

    fn loaded(&self) -> Result<Arc<Pipeline>> {
        self.pipeline.clone().ok_or_else(|| Error::NotLoaded { id: self.info.id.to_string() })
    }

    /// Steps that are left for this model as the job's refiner. What it could not do is refused before the other begins:
    /// most of the work would be done by then.
    fn steps_to_refine(&self, job: &Job, refiner: &Refiner) -> Result<usize> {
        self.previews.check(job)?;
        let rest = schedule::build_rest(&job.schedule, &self.schedule, job.steps as usize, refiner.share)?;
        Ok(rest.timesteps().len())
    }

    /// Reads the weights, if they are not there.
    fn load(&mut self, device: &Device) -> Result<()> {
        if self.pipeline.is_none() {
            let began = Instant::now();
            let opened = Pipeline::open(&self.files, &self.extras, device);
            let named = |source| Error::Model { id: self.info.id.to_string(), source: Box::new(source) };
            self.pipeline = Some(Arc::new(opened.map_err(named)?));
            tracing::info!(model = %self.info.id, seconds = began.elapsed().as_secs_f64(), "weights loaded");
        }
        Ok(())
    }

    /// What a user of the model's default schedule should know.
    fn note(&self, job: &Job) -> Option<String> {
        let is_default = self.info.schedules.first() == Some(&job.schedule);
        self.note.clone().filter(|_| is_default)
    }
}

impl inference::Engine for CandleEngine {
    fn models(&self) -> Vec<ModelInfo> {
        self.models.iter().map(|model| model.info.clone()).collect()
    }

    fn memory_bytes(&self) -> u64 {
        device::proposed_memory_bytes(&self.device)
    }

    fn estimate(&self) -> Estimate {
        let footprint = |model: &Model| (model.info.id.clone(), model.footprint.clone());
        let footprints: BTreeMap<ModelId, Footprint> = self.models.iter().map(footprint).collect();
        Arc::new(move |job| {
            let refiner = job.refiner.as_ref().map(|refiner| &refiner.model.id);
            let runs = [Some(&job.model.id), refiner].into_iter().flatten();
            runs.filter_map(|id| Some(footprints.get(id)?.bytes(job))).max().unwrap_or_default()
        })
    }

    fn load(&mut self, id: &ModelId) -> inference::Result<()> {
        let device = self.device.clone();
        Ok(self.model(id)?.load(&device)?)
    }

    fn unload(&mut self, id: &ModelId) {
        // an unknown model is not loaded
        if let Ok(model) = self.model(id) {
            device::give_back_main_memory(model.pipeline.take());
        }
    }

    fn begin(&mut self, job: &Job) -> inference::Result<Box<dyn Run>> {
        Ok(Box::new(self.start(job)?))
    }

    fn take_over(&mut self, job: &Job, left: HandOver) -> inference::Result<Box<dyn Run>> {
        let foreign = |_| inference::Error::Failed("what was handed over is not of this engine".into());
        let left = left.0.downcast::<Left>().map_err(foreign)?;
        Ok(Box::new(self.refine(job, *left)?))
    }
}

impl From<Error> for inference::Error {
    fn from(error: Error) -> Self {
        match error {
            // the only variant that the client can mend; all others are the operator's
            Error::Invalid { field, reason } => Self::Invalid { field, reason },
            other if other.is_out_of_memory() => Self::OutOfMemory(other.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}
