//! An engine that does one call of `next_step` per permit, so that a test decides what happens when. No sleeps: both
//! sides wait on a condition, with a generous deadline that turns a hang into a failure. It has two models and room for
//! one of them: the last that was begun.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use atelier_inference::{
    Begun, Engine, Event, EventReader, Features, Finished, Job, ModelId, ModelInfo, Pixels, Preview, Request,
    Result, Run, Size, StepState,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// A model that allows everything, in sides of 8 to 64 pixels.
pub(crate) fn model() -> ModelInfo {
    ModelInfo {
        id: ModelId::new("scripted"),
        family: "scripted".into(),
        source: "scripted".into(),
        description: "does what a test says".into(),
        features: Features { text_to_image: true, image_to_image: true, negative_prompt: true },
        native_size: Size { width: 64, height: 32 },
        min_side: 8,
        max_side: 64,
        side_multiple: 8,
        default_steps: 4,
        default_guidance: 7.5,
        schedules: vec!["ddim".into(), "euler".into()],
        memory_bytes: None,
        device: "cpu".into(),
    }
}

/// Another model of the same kind.
pub(crate) fn other_model() -> ModelInfo {
    ModelInfo { id: ModelId::new("other"), ..model() }
}

/// A job of the scripted model.
pub(crate) fn job(prompt: &str, steps: u32) -> Job {
    Job::new(Request { prompt: prompt.into(), steps: Some(steps), ..Request::default() }, &model()).unwrap()
}

#[derive(Default)]
struct State {
    permits: u32,
    /// The worker waits for a permit.
    waiting: bool,
    begun: Vec<String>,
    loaded: Option<ModelId>,
    steps: u32,
}

/// The test's hand on the engine.
#[derive(Clone, Default)]
pub(crate) struct Remote(Arc<(Mutex<State>, Condvar)>);

impl Remote {
    /// An engine that obeys this remote.
    pub(crate) fn engine(&self) -> Box<dyn Engine> {
        Box::new(ScriptedEngine(self.clone()))
    }

    /// Lets the worker make `calls` more calls of `next_step`; the last of a job decodes.
    pub(crate) fn allow(&self, calls: u32) {
        self.0.0.lock().unwrap().permits += calls;
        self.0.1.notify_all();
    }

    /// Lets everything run.
    pub(crate) fn allow_all(&self) {
        self.0.0.lock().unwrap().permits = u32::MAX;
        self.0.1.notify_all();
    }

    /// Returns once the worker is inside `next_step` without a permit.
    pub(crate) fn wait_until_stuck(&self) {
        let (state, changed) = &*self.0;
        let stuck = |state: &mut State| !(state.waiting && state.permits == 0);
        let (_state, timeout) = changed.wait_timeout_while(state.lock().unwrap(), DEADLINE, stuck).unwrap();
        assert!(!timeout.timed_out(), "the worker never came to wait for a permit");
    }

    /// Prompts in the order in which their runs began.
    pub(crate) fn begun(&self) -> Vec<String> {
        self.0.0.lock().unwrap().begun.clone()
    }

    /// Steps done so far, of all jobs.
    pub(crate) fn steps(&self) -> u32 {
        self.0.0.lock().unwrap().steps
    }

    fn take_permit(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.waiting = true;
        changed.notify_all();
        let (mut state, timeout) =
            changed.wait_timeout_while(state, DEADLINE, |state| state.permits == 0).unwrap();
        assert!(!timeout.timed_out(), "the test never gave a permit");
        state.waiting = false;
        state.permits -= u32::from(state.permits != u32::MAX);
    }
}

struct ScriptedEngine(Remote);

impl Engine for ScriptedEngine {
    fn models(&self) -> Vec<ModelInfo> {
        vec![model(), other_model()]
    }

    fn is_loaded(&self, id: &ModelId) -> bool {
        self.0.0.0.lock().unwrap().loaded.as_ref() == Some(id)
    }

    fn begin(&mut self, job: &Job) -> Result<Begun> {
        assert_ne!(job.prompt, "panic at the beginning");
        let mut state = self.0.0.0.lock().unwrap();
        state.begun.push(job.prompt.clone());
        state.loaded = Some(job.model.id.clone());
        drop(state);
        let run = ScriptedRun { remote: self.0.clone(), job: job.clone(), done: 0 };
        Ok(Begun { run: Box::new(run), load: Duration::ZERO })
    }
}

struct ScriptedRun {
    remote: Remote,
    job: Job,
    done: u32,
}

impl Run for ScriptedRun {
    fn next_step(&mut self) -> Result<StepState> {
        self.remote.take_permit();
        assert_ne!(self.job.prompt, "panic in a step");
        if self.job.prompt == "fail in a step" {
            return Err(atelier_inference::Error::Failed("as the test wished".into()));
        }
        if self.done == self.job.steps {
            let pictures = self.job.seeds.iter().map(|&seed| pixels(8, 8, seed as u8)).collect();
            return Ok(StepState::Done(Finished { pictures, notes: vec!["scripted".into()] }));
        }
        self.done += 1;
        self.remote.0.0.lock().unwrap().steps += 1;
        let due = self.job.preview_every.is_some_and(|every| self.done % every == 0);
        let count = if due { self.job.seeds.len() as u32 } else { 0 };
        let preview = |index| Preview { index, step: self.done, pixels: pixels(8, 8, 0) };
        let previews = (0..count).map(preview).collect();
        Ok(StepState::Step { step: self.done, total: self.job.steps, previews })
    }
}

/// One grey.
pub(crate) fn pixels(width: u32, height: u32, grey: u8) -> Pixels {
    Pixels::new(width, height, [grey, grey, grey, 255].repeat((width * height) as usize)).unwrap()
}

/// Every event that is left, until the job has ended.
pub(crate) async fn drain(mut events: EventReader) -> Vec<Event> {
    let mut all = Vec::new();
    while let Some(event) = events.next().await {
        all.push(event);
    }
    all
}
