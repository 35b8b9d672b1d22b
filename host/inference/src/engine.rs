//! What the worker thread needs of an engine, and nothing more. A run is a generator: between two steps the worker may
//! cancel, report, or take another run's step.

use std::time::Duration;

use crate::{Job, ModelId, ModelInfo, Pixels, Result};

/// Loads models and starts runs. Owned by one thread for its whole life, so it needs no locks.
pub trait Engine: Send {
    /// The models, in the manifest's order; the same for the engine's whole life. Must not load weights.
    fn models(&self) -> Vec<ModelInfo>;

    /// Whether a model's weights are in memory.
    fn is_loaded(&self, id: &ModelId) -> bool;

    /// Loads the job's model if need be, encodes the prompt and prepares the first step.
    fn begin(&mut self, job: &Job) -> Result<Begun>;
}

/// A run that is ready for its first step.
pub struct Begun {
    /// The run.
    pub run: Box<dyn Run>,
    /// How long loading the model took; zero when it was in memory.
    pub load: Duration,
}

/// One job on its way through the denoiser.
pub trait Run {
    /// Does one step, or ends the run. Not called again after `Done` or an error.
    fn next_step(&mut self) -> Result<StepState>;
}

/// What one call of [`Run::next_step`] did.
pub enum StepState {
    /// A denoising step ended.
    Step {
        /// Steps done, from 1.
        step: u32,
        /// Steps in all.
        total: u32,
        /// Previews, when the job asked for one after this step.
        previews: Vec<Preview>,
    },
    /// The pictures are decoded.
    Done(Finished),
}

/// An unfinished picture, small.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Which picture of the job, from 0.
    pub index: u32,
    /// The step after which it was taken, from 1.
    pub step: u32,
    /// Its pixels.
    pub pixels: Pixels,
}

/// The result of a run.
pub struct Finished {
    /// One picture per seed, in the job's order.
    pub pictures: Vec<Pixels>,
    /// What a user should know, such as a prompt that took several chunks.
    pub notes: Vec<String>,
}
