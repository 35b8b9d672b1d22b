//! An engine without a model, for tests and examples only. Its pictures are flat colours made from prompt and seed, and
//! every answer says that it is fake. Compiled only with the feature `fake`.

use std::sync::Arc;
use std::time::Duration;

use crate::{
    CacheKind, Engine, Error, Estimate, Features, Finished, HandOver, Job, ModelId, ModelInfo, Pixels,
    Preview, Result, Run, Size, StepState,
};

/// The note that every fake answer carries.
pub const NOTE: &str = "made by the fake engine: no model has seen this prompt";

/// What the model claims to take while it is loaded.
const MODEL_BYTES: u64 = 1 << 20;

/// Serves a model named `fake`, and others like it, each of which can refine what the rest begin.
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeEngine {
    /// How long each step pretends to work.
    pub step: Duration,
    /// How long loading pretends to take.
    pub load: Duration,
    /// Names of further models.
    pub others: &'static [&'static str],
}

impl Engine for FakeEngine {
    fn models(&self) -> Vec<ModelInfo> {
        let named = |id: &&str| ModelInfo {
            id: ModelId::new(*id),
            family: "fake".into(),
            source: "fake".into(),
            description: "flat colours for tests; no model at all".into(),
            features: Features::ALL,
            native_size: Size { width: 64, height: 64 },
            min_side: 8,
            max_side: 1_024,
            side_multiple: 8,
            default_steps: 4,
            default_guidance: 3.0,
            default_strength: 0.8,
            default_image_guidance: 1.5,
            schedules: vec!["ddim".into(), "euler".into()],
            adapters: vec!["ink".into(), "wash".into()],
            controls: vec!["edges".into(), "depth".into()],
            words: Vec::new(),
            refiners: Vec::new(),
            refiner: None,
            step_cache: CacheKind::Deep { branches: 4 },
            memory_bytes: MODEL_BYTES,
            device: "cpu".into(),
        };
        let models: Vec<ModelInfo> = ["fake"].iter().chain(self.others).map(named).collect();
        let refined = |model: &ModelInfo| {
            let others = models.iter().filter(|other| other.id != model.id).cloned().map(Arc::new);
            ModelInfo { refiners: others.collect(), ..model.clone() }
        };
        models.iter().map(refined).collect()
    }

    fn memory_bytes(&self) -> u64 {
        1 << 30
    }

    fn estimate(&self) -> Estimate {
        Arc::new(|job| u64::from(job.size.width) * u64::from(job.size.height) * 4 * job.seeds.len() as u64)
    }

    fn load(&mut self, _: &ModelId) -> Result<()> {
        std::thread::sleep(self.load);
        Ok(())
    }

    fn unload(&mut self, _: &ModelId) {}

    fn begin(&mut self, job: &Job) -> Result<Box<dyn Run>> {
        let share = job.refiner.as_ref().map_or(1.0, |refiner| refiner.share);
        let until = (f64::from(job.steps) * share).ceil() as u32;
        Ok(Box::new(FakeRun { job: job.clone(), done: 0, until, step: self.step }))
    }

    fn take_over(&mut self, job: &Job, left: HandOver) -> Result<Box<dyn Run>> {
        let done = left.0.downcast::<u32>().map_or(0, |done| *done);
        Ok(Box::new(FakeRun { job: job.clone(), done, until: job.steps, step: self.step }))
    }
}

struct FakeRun {
    job: Job,
    done: u32,
    /// Steps after which this model's share is done.
    until: u32,
    step: Duration,
}

impl Run for FakeRun {
    fn next_step(&mut self) -> Result<StepState> {
        if self.job.prompt.contains("please fail") {
            return Err(Error::Failed("the fake engine was asked to fail".into()));
        }
        if self.done == self.job.steps {
            let pictures = (0..self.job.seeds.len()).map(|index| self.flat(index, self.job.size));
            let pictures = pictures.collect::<Result<_>>()?;
            return Ok(StepState::Done(Finished { pictures, notes: vec![NOTE.into()] }));
        }
        if self.done == self.until {
            return Ok(StepState::HandOver);
        }
        std::thread::sleep(self.step);
        self.done += 1;
        let due = self.job.preview_every.is_some_and(|every| self.done % every == 0);
        let previews = if due { self.previews()? } else { Vec::new() };
        Ok(StepState::Step { step: self.done, total: self.job.steps, previews })
    }

    fn hand_over(self: Box<Self>) -> Result<HandOver> {
        Ok(HandOver(Box::new(self.done)))
    }
}

impl FakeRun {
    fn previews(&self) -> Result<Vec<Preview>> {
        let small = Size { width: 16, height: 16 };
        let preview =
            |index| Ok(Preview { index: index as u32, step: self.done, pixels: self.flat(index, small)? });
        (0..self.job.seeds.len()).map(preview).collect()
    }

    fn flat(&self, index: usize, size: Size) -> Result<Pixels> {
        let seed = self.job.seeds.get(index).copied().unwrap_or_default();
        let hash = blake3::hash(format!("{seed} {}", self.job.prompt).as_bytes());
        let [red, green, blue, ..] = *hash.as_bytes();
        let count = size.width as usize * size.height as usize;
        Pixels::new(size.width, size.height, [red, green, blue, u8::MAX].repeat(count))
    }
}
