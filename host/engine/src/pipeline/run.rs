//! The denoise loop as the worker's `Run`.
//! Adds what the loop does not know: when previews are due, and what the user should be told at the end.

use std::sync::Arc;

use atelier_inference::{
    self as inference, Finished, HandOver, ImageOrder, Made, Precision, Preview, Run, StepCache, StepState,
    Task,
};

use super::{Denoise, Latent, Passes, Pipeline};
use crate::Result;
use crate::adapters::Attached;

const TILED: &str =
    "decoded in tiles: whole pictures of this size do not fit the host's memory (engine.memory-bytes)";
const IN_BF16: &str = "computed in bf16 (engine.precision)";
const LAID_OVER_WHITE: &str = "the source's transparent parts were laid over white";

/// One order, stepped by the worker.
pub(crate) struct DenoiseRun {
    denoise: Denoise,
    /// Steps from one preview to the next; none without previews.
    preview_every: Option<u32>,
    /// Steps that another model did before.
    before: u32,
    /// Steps that another model will do.
    rest: u32,
    /// Given away with the pictures.
    notes: Vec<String>,
    /// What the order asked for.
    step_cache: Option<StepCache>,
    /// Those of another model that did steps before.
    passes_before: Passes,
    /// Off their layers when the run ends, in whatever way.
    _adapters: Attached,
}

/// What a run leaves to its order's refiner.
pub(crate) struct Left {
    latent: Latent,
    done: u32,
    passes: Passes,
    notes: Vec<String>,
}

impl DenoiseRun {
    /// `note` is what the engine has to say of the order; `is_tiled` whether its pictures do not fit the memory whole;
    /// `rest` how many steps are left to a refiner, which then decodes.
    pub(crate) fn new(
        pipeline: Arc<Pipeline>,
        order: &ImageOrder,
        note: Option<String>,
        is_tiled: bool,
        rest: usize,
    ) -> Result<Self> {
        // before the texts are encoded: a refusal should cost nothing
        let means = pipeline.previewer.means();
        match rest {
            0 => means.check(order)?,
            _ if order.preview_every.is_some() => means.check_previews()?,
            _ => {}
        }
        // text encoders have adapters as well, so these come first
        let adapters = pipeline.attach(order)?;
        let is_bf16 = pipeline.precision == Precision::Bf16;
        let denoise = Denoise::new(pipeline, order)?;
        let is_tiled = is_tiled && rest == 0;
        let denoise = if is_tiled { denoise.tiled() } else { denoise };
        let mut notes = denoise.conditioning().notes.clone();
        notes.extend(note);
        notes.extend(is_tiled.then(|| TILED.into()));
        notes.extend(is_bf16.then(|| IN_BF16.into()));
        // of a part that is painted anew, transparency is the mask
        let is_part = matches!(order.task, Task::Inpaint { .. });
        if !is_part && order.task.picture().is_some_and(|picture| !picture.is_opaque()) {
            notes.push(LAID_OVER_WHITE.into());
        }
        Ok(Self {
            denoise,
            preview_every: order.preview_every.map(u32::from),
            before: 0,
            rest: rest as u32,
            notes,
            step_cache: order.step_cache,
            passes_before: Passes::default(),
            _adapters: adapters,
        })
    }

    /// The second run of an order, on its refiner. The order's adapters are the first model's.
    pub(crate) fn take_over(
        pipeline: Arc<Pipeline>,
        order: &ImageOrder,
        left: Left,
        note: Option<String>,
        is_tiled: bool,
    ) -> Result<Self> {
        let Left { latent, done: before, passes: passes_before, mut notes } = left;
        let denoise = Denoise::take_over(pipeline, order, latent)?;
        let denoise = if is_tiled { denoise.tiled() } else { denoise };
        let own = denoise.conditioning().notes.iter().cloned().chain(note);
        let own = own.chain(is_tiled.then(|| TILED.into())).collect::<Vec<String>>();
        // both models may say the same of a long prompt
        notes.extend(own.into_iter().filter(|note| !notes.contains(note)).collect::<Vec<_>>());
        Ok(Self {
            denoise,
            preview_every: order.preview_every.map(u32::from),
            before,
            rest: 0,
            notes,
            step_cache: order.step_cache,
            passes_before,
            _adapters: Attached::default(),
        })
    }

    fn step(&mut self) -> Result<StepState> {
        if !self.denoise.step()? {
            if self.rest > 0 {
                return Ok(StepState::HandOver);
            }
            let mut notes = std::mem::take(&mut self.notes);
            notes.extend(self.step_cache.map(|cache| self.passes().note(cache)));
            return Ok(StepState::Done(Finished { made: Made::Pictures(self.denoise.pictures()?), notes }));
        }
        let (total, step) = self.denoise.progress();
        let (total, step) = (self.before + total as u32 + self.rest, self.before + step as u32);
        // the last step's preview would be the picture itself
        let is_due = step < total && self.preview_every.is_some_and(|every| step.is_multiple_of(every));
        let previews = if is_due { self.previews(step)? } else { Vec::new() };
        Ok(StepState::Step { step, total, previews })
    }

    /// Those of both models, where there are two.
    fn passes(&self) -> Passes {
        self.passes_before.plus(self.denoise.passes())
    }

    fn previews(&self, step: u32) -> Result<Vec<Preview>> {
        let pixels = self.denoise.previews()?;
        Ok((0..).zip(pixels).map(|(index, pixels)| Preview { index, step, pixels }).collect())
    }
}

impl Run for DenoiseRun {
    fn next_step(&mut self) -> inference::Result<StepState> {
        self.step().map_err(inference::Error::from)
    }

    fn hand_over(self: Box<Self>) -> inference::Result<HandOver> {
        let passes = self.passes();
        let Self { denoise, notes, .. } = *self;
        let (_, done) = denoise.progress();
        Ok(HandOver(Box::new(Left { done: done as u32, passes, latent: denoise.hand_over(), notes })))
    }
}
