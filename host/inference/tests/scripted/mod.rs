//! An engine that does one call of `next_step` per permit, so that a test decides what happens when. No sleeps: both
//! sides wait on a condition, with a generous deadline that turns a hang into a failure. It has three models, and room
//! for one of them unless a test says otherwise; a run takes a byte for each pixel of each picture.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod talk;

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use atelier_inference::{
    CacheKind, Engine, Error, Estimate, Event, EventReader, Features, Finished, HandOver, ImageModel,
    ImageOrder, ImageRequest, Job, Made, ModelCard, ModelId, ModelInfo, Order, Pixels, Precision, Preview,
    Result, Run, Size, StepState,
};

const DEADLINE: Duration = Duration::from_secs(60);
/// What each model takes while it is loaded.
pub(crate) const MODEL_BYTES: u64 = 1_000_000;
/// What the engine proposes as a budget: one model, and a run of any size that it allows.
const MEMORY_BYTES: u64 = 1_500_000;

fn card() -> ModelCard {
    ModelCard {
        id: ModelId::new("scripted"),
        family: "scripted".into(),
        source: "scripted".into(),
        description: "does what a test says".into(),
        memory_bytes: MODEL_BYTES,
        device: "cpu".into(),
    }
}

/// A model that allows everything, in sides of 8 to 64 pixels.
pub(crate) fn model() -> ImageModel {
    ImageModel {
        card: card(),
        features: Features::ALL,
        native_size: Size { width: 64, height: 32 },
        min_side: 8,
        max_side: 64,
        side_multiple: 8,
        sizes: Vec::new(),
        default_steps: 4,
        default_guidance: 7.5,
        default_strength: 0.8,
        default_image_guidance: 1.5,
        schedules: vec!["ddim".into(), "euler".into()],
        adapters: vec!["ink".into(), "wash".into()],
        controls: vec!["edges".into(), "depth".into()],
        words: Vec::new(),
        refiners: Vec::new(),
        refiner: None,
        step_cache: CacheKind::Deep { branches: 9 },
        precision: Precision::F32,
    }
}

/// Another model of the same kind.
pub(crate) fn other_model() -> ImageModel {
    named("other")
}

/// A third.
pub(crate) fn third_model() -> ImageModel {
    named("third")
}

fn named(id: &str) -> ImageModel {
    let model = model();
    ImageModel { card: ModelCard { id: ModelId::new(id), ..model.card.clone() }, ..model }
}

/// An order, if it fits the model.
pub(crate) fn order(request: ImageRequest, model: &ImageModel) -> Result<ImageOrder> {
    ImageOrder::with(request, &Arc::new(model.clone()))
}

/// A job of the scripted model.
pub(crate) fn job(prompt: &str, steps: u32) -> Job {
    Job::new(
        order(
            ImageRequest { prompt: prompt.into(), steps: Some(steps), ..ImageRequest::default() },
            &model(),
        )
        .unwrap(),
    )
}

#[derive(Default)]
struct State {
    permits: u32,
    /// The worker waits for a permit.
    waiting: bool,
    begun: Vec<String>,
    moves: Vec<String>,
    unloadable: Option<ModelId>,
    steps: u32,
    /// Of conversations: who took part in each step.
    said: Vec<String>,
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

    /// Loads and unloads in their order, as in `load scripted`.
    pub(crate) fn moves(&self) -> Vec<String> {
        self.0.0.lock().unwrap().moves.clone()
    }

    /// From now on, loading this model runs out of memory; `None` ends that.
    pub(crate) fn fail_to_load(&self, id: Option<&str>) {
        self.0.0.lock().unwrap().unloadable = id.map(ModelId::new);
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
        vec![model().into(), other_model().into(), third_model().into()]
    }

    fn memory_bytes(&self) -> u64 {
        MEMORY_BYTES
    }

    fn estimate(&self) -> Estimate {
        Arc::new(|order| {
            let order = painted(order);
            u64::from(order.size.width * order.size.height) * order.seeds.len() as u64
        })
    }

    fn load(&mut self, id: &ModelId) -> Result<()> {
        let mut state = self.0.0.0.lock().unwrap();
        if state.unloadable.as_ref() == Some(id) {
            return Err(Error::OutOfMemory(format!("no room for `{id}`")));
        }
        state.moves.push(format!("load {id}"));
        Ok(())
    }

    fn unload(&mut self, id: &ModelId) {
        self.0.0.0.lock().unwrap().moves.push(format!("unload {id}"));
    }

    fn begin(&mut self, order: &Order) -> Result<Box<dyn Run>> {
        let order = painted(order);
        assert_ne!(order.prompt, "panic at the beginning");
        self.0.0.0.lock().unwrap().begun.push(order.prompt.clone());
        let share = order.refiner.as_ref().map_or(1.0, |refiner| refiner.share);
        let until = (f64::from(order.steps) * share) as u32;
        Ok(Box::new(ScriptedRun { remote: self.0.clone(), order: order.clone(), done: 0, until }))
    }

    fn take_over(&mut self, order: &ImageOrder, left: HandOver) -> Result<Box<dyn Run>> {
        let done = *left.0.downcast::<u32>().unwrap();
        self.0.0.0.lock().unwrap().begun.push(format!("{} after {done} steps", order.prompt));
        Ok(Box::new(ScriptedRun { remote: self.0.clone(), order: order.clone(), done, until: order.steps }))
    }
}

/// All that the engine is asked for.
fn painted(order: &Order) -> &ImageOrder {
    match order {
        Order::Image(order) => order,
        Order::Speech(_) | Order::Chat(_) => panic!("every model paints"),
    }
}

struct ScriptedRun {
    remote: Remote,
    order: ImageOrder,
    done: u32,
    until: u32,
}

impl Run for ScriptedRun {
    fn next_step(&mut self) -> Result<StepState> {
        self.remote.take_permit();
        assert_ne!(self.order.prompt, "panic in a step");
        if self.order.prompt == "fail in a step" {
            return Err(Error::Failed("as the test wished".into()));
        }
        if self.order.prompt == "run out of memory" {
            return Err(Error::OutOfMemory("as the test wished".into()));
        }
        if self.done == self.order.steps {
            let pictures = self.order.seeds.iter().map(|&seed| pixels(8, 8, seed as u8)).collect();
            return Ok(StepState::Done(Finished {
                made: Made::Pictures(pictures),
                notes: vec!["scripted".into()],
            }));
        }
        if self.done == self.until {
            return Ok(StepState::HandOver);
        }
        self.done += 1;
        self.remote.0.0.lock().unwrap().steps += 1;
        let due = self.order.preview_every.is_some_and(|every| self.done % every == 0);
        let count = if due { self.order.seeds.len() as u32 } else { 0 };
        let preview = |index| Preview { index, step: self.done, pixels: pixels(8, 8, 0) };
        let previews = (0..count).map(preview).collect();
        Ok(StepState::Step { step: self.done, total: self.order.steps, previews })
    }

    fn hand_over(self: Box<Self>) -> Result<HandOver> {
        Ok(HandOver(Box::new(self.done)))
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
