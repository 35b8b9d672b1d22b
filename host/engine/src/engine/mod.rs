//! `atelier_inference::Engine` on candle: the models of the manifest, their weights loaded at the first job and kept.
//! The one place where this crate's errors become the domain's.
//!
//! Owned by the inference worker's one thread, so nothing here locks. Knows neither queue nor route: a job comes in
//! checked against `ModelInfo`, a run goes out and is stepped by the worker.

mod info;

use std::sync::Arc;
use std::time::{Duration, Instant};

use atelier_inference::{self as inference, Begun, Job, ModelId, ModelInfo};
use candle_core::Device;

use crate::device::DeviceChoice;
use crate::files::ModelFiles;
use crate::pipeline::{DenoiseRun, Pipeline};
use crate::{Error, Result};

/// What to serve, and on which device.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    /// The device for every model.
    pub device: DeviceChoice,
    /// The models, in the order in which they are listed.
    pub models: Vec<ModelSpec>,
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
    /// What to tell those who use the default schedule, such as that it stands in for another.
    note: Option<String>,
    /// Loaded at the first job and never dropped: loading takes seconds, which that job reports.
    pipeline: Option<Arc<Pipeline>>,
}

impl CandleEngine {
    /// Opens the device and reads every model's configuration; weights are left for the first job.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is not there; [`Error::Model`] names the model and the file that is missing
    /// or asks for something unknown.
    pub fn new(config: EngineConfig) -> Result<CandleEngine> {
        let device = config.device.open()?;
        let models =
            config.models.into_iter().map(|spec| Model::new(spec, &device)).collect::<Result<_>>()?;
        Ok(CandleEngine { device, models })
    }

    /// Loads the model if need be and encodes the job's texts; the first step is the caller's.
    fn start(&mut self, job: &Job) -> Result<Begun> {
        let known =
            || self.models.iter().map(|model| model.info.id.to_string()).collect::<Vec<_>>().join(", ");
        let Some(index) = self.models.iter().position(|model| model.info.id == job.model.id) else {
            let reason = format!("there is no model `{}`; known: {}", job.model.id, known());
            return Err(Error::Invalid { field: "model", reason });
        };
        let (pipeline, load) = self.models[index].load(&self.device)?;
        let run = DenoiseRun::new(pipeline, job, self.models[index].note(job))?;
        Ok(Begun { run: Box::new(run), load })
    }
}

impl Model {
    /// Everything but the weights.
    fn new(spec: ModelSpec, device: &Device) -> Result<Self> {
        let described = info::describe(&spec, device);
        let (info, note) =
            described.map_err(|source| Error::Model { id: spec.id.clone(), source: Box::new(source) })?;
        Ok(Self { info, files: spec.files, note, pipeline: None })
    }

    /// The weights, and how long it took to load them; no time at all from the second job on.
    fn load(&mut self, device: &Device) -> Result<(Arc<Pipeline>, Duration)> {
        if let Some(pipeline) = &self.pipeline {
            return Ok((pipeline.clone(), Duration::ZERO));
        }
        let began = Instant::now();
        let opened = Pipeline::open(&self.files, device);
        let named = |source| Error::Model { id: self.info.id.to_string(), source: Box::new(source) };
        let pipeline = Arc::new(opened.map_err(named)?);
        self.pipeline = Some(pipeline.clone());
        tracing::info!(model = %self.info.id, seconds = began.elapsed().as_secs_f64(), "weights loaded");
        Ok((pipeline, began.elapsed()))
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

    fn is_loaded(&self, id: &ModelId) -> bool {
        self.models.iter().any(|model| model.info.id == *id && model.pipeline.is_some())
    }

    fn begin(&mut self, job: &Job) -> inference::Result<Begun> {
        Ok(self.start(job)?)
    }
}

impl From<Error> for inference::Error {
    fn from(error: Error) -> Self {
        match error {
            // the only variant that the client can mend; all others are the operator's
            Error::Invalid { field, reason } => Self::Invalid { field, reason },
            other => Self::Failed(other.to_string()),
        }
    }
}
