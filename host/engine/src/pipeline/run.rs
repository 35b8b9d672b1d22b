//! The denoise loop as the worker's `Run`.
//! Adds what the loop does not know: when previews are due, and what the user should be told at the end.

use std::sync::Arc;

use atelier_inference::{self as inference, Decoder, Finished, Job, Preview, Run, StepState, Task};

use super::{Denoise, Pipeline};
use crate::Result;
use crate::adapters::Attached;

const TILED: &str =
    "decoded in tiles: whole pictures of this size do not fit the host's memory (engine.memory-bytes)";
const LAID_OVER_WHITE: &str = "the source's transparent parts were laid over white";

/// One job, stepped by the worker.
pub(crate) struct DenoiseRun {
    denoise: Denoise,
    /// Steps from one preview to the next; none without previews.
    preview_every: Option<u32>,
    /// Given away with the pictures.
    notes: Vec<String>,
    /// Off their layers when the run ends, in whatever way.
    _adapters: Attached,
}

impl DenoiseRun {
    /// `note` is what the engine has to say of the job; `is_tiled` whether its pictures do not fit the memory whole.
    pub(crate) fn new(
        pipeline: Arc<Pipeline>,
        job: &Job,
        note: Option<String>,
        is_tiled: bool,
    ) -> Result<Self> {
        // before the texts are encoded: a refusal should cost nothing
        if job.preview_every.is_some() {
            pipeline.previewer.check()?;
        }
        if job.decoder == Decoder::Tiny {
            pipeline.tiny_decoder()?;
        }
        // text encoders have adapters as well, so these come first
        let adapters = pipeline.attach(job)?;
        let denoise = Denoise::new(pipeline, job)?;
        let denoise = if is_tiled { denoise.tiled() } else { denoise };
        let mut notes = denoise.conditioning().notes.clone();
        notes.extend(note);
        notes.extend(is_tiled.then(|| TILED.into()));
        // of a part that is painted anew, transparency is the mask
        let is_part = matches!(job.task, Task::Inpaint { .. });
        if !is_part && job.task.picture().is_some_and(|picture| !picture.is_opaque()) {
            notes.push(LAID_OVER_WHITE.into());
        }
        Ok(Self { denoise, preview_every: job.preview_every.map(u32::from), notes, _adapters: adapters })
    }

    fn step(&mut self) -> Result<StepState> {
        if !self.denoise.step()? {
            let notes = std::mem::take(&mut self.notes);
            return Ok(StepState::Done(Finished { pictures: self.denoise.pictures()?, notes }));
        }
        let (total, step) = self.denoise.progress();
        let (total, step) = (total as u32, step as u32);
        // the last step's preview would be the picture itself
        let is_due = step < total && self.preview_every.is_some_and(|every| step.is_multiple_of(every));
        let previews = if is_due { self.previews(step)? } else { Vec::new() };
        Ok(StepState::Step { step, total, previews })
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
}
