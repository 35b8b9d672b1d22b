//! What the worker thread needs of an engine, and nothing more. A run is a generator: between two steps the worker may
//! cancel, report, or take another run's step; of runs that say so, it may take the next steps together.

use std::any::Any;
use std::sync::Arc;

use crate::{Error, ImageOrder, ModelId, ModelInfo, Order, Pixels, Reply, Result, SpeechDelta, Transcript};

/// Tells the most bytes that an order's run takes at any time, beside its model: those of the device, and what the run keeps
/// until its end; the larger one of two runs. Asked on any thread before the job is queued, so it goes by the order's shape
/// alone.
pub type Estimate = Arc<dyn Fn(&Order) -> u64 + Send + Sync>;

/// Loads models and starts runs. Owned by one thread for its whole life, so it needs no locks. Which models are loaded is
/// decided outside; an engine keeps what it was told to load, and nothing else.
pub trait Engine: Send {
    /// The models, in the manifest's order; the same for the engine's whole life. Must not load weights.
    fn models(&self) -> Vec<ModelInfo>;

    /// Bytes that models and runs may take together when nobody says otherwise.
    fn memory_bytes(&self) -> u64;

    /// How much memory runs take.
    fn estimate(&self) -> Estimate;

    /// Brings a model that is not loaded into memory. After an error, nothing of it is there.
    fn load(&mut self, id: &ModelId) -> Result<()>;

    /// Gives a loaded model's memory back. No run of it exists.
    fn unload(&mut self, id: &ModelId);

    /// Reads what is asked and prepares the first step. The order's model is loaded.
    fn begin(&mut self, order: &Order) -> Result<Box<dyn Run>>;

    /// The second run of an order that has a refiner, which is loaded; the order's own model may be gone. `left` comes from
    /// the first run of the same engine.
    fn take_over(&mut self, order: &ImageOrder, left: HandOver) -> Result<Box<dyn Run>> {
        let _ = left;
        Err(Error::Failed(format!("the engine does not refine what model `{}` begins", order.model.card.id)))
    }

    /// Does the next step of several runs of one model, each of which says [`Run::can_join`], and gives what became of each,
    /// in their order. To a run it is as if it had been alone, to the bit; an error is that of its run, and the others go on.
    /// An engine that reads its weights once for all of them does it here.
    fn step_together(&mut self, runs: &mut [&mut dyn Run]) -> Vec<Result<StepState>> {
        runs.iter_mut().map(|run| run.next_step()).collect()
    }
}

/// What a run leaves to the next one. Known to its engine alone, and small beside any model.
pub struct HandOver(pub Box<dyn Any>);

/// One order on its way through its model: the denoiser's steps, or the tokens of a transcription or a reply. An engine knows
/// its own runs again by their type.
pub trait Run: Any {
    /// Does one step, or ends the run. Not called again after `Done`, `HandOver` or an error.
    fn next_step(&mut self) -> Result<StepState>;

    /// Whether the next step can be done together with those of other runs, in [`Engine::step_together`].
    fn can_join(&self) -> bool {
        false
    }

    /// What is left to the order's refiner, after `HandOver`. Lets go of the model.
    fn hand_over(self: Box<Self>) -> Result<HandOver> {
        Err(Error::Failed("the run has nothing to hand over".into()))
    }
}

/// What one call of [`Run::next_step`] did.
pub enum StepState {
    /// A denoising step ended.
    Step {
        /// Steps done, from 1; a second run counts on.
        step: u32,
        /// Steps in all, of both runs where there are two.
        total: u32,
        /// Previews, when the job asked for one after this step.
        previews: Vec<Preview>,
    },
    /// More was heard, or written.
    Heard(SpeechDelta),
    /// A part of the conversation was read, or a token written. Text comes when it will stay: often there is none.
    Said(String),
    /// This model's share is done: the rest is for the order's refiner.
    HandOver,
    /// All is made.
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
    /// What was ordered.
    pub made: Made,
    /// What a user should know, such as a prompt that took several chunks.
    pub notes: Vec<String>,
}

impl Finished {
    /// The pictures; none where something else was made.
    pub fn pictures(&self) -> &[Pixels] {
        match &self.made {
            Made::Pictures(pictures) => pictures,
            Made::Transcript(_) | Made::Reply(_) => &[],
        }
    }
}

/// What runs make.
pub enum Made {
    /// One picture per seed, in the order's sequence.
    Pictures(Vec<Pixels>),
    /// All that was said.
    Transcript(Transcript),
    /// The whole reply.
    Reply(Reply),
}
