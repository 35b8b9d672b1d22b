//! How a task comes along, for whoever asks: words in the job's message, and the last preview in a file of its own, which goes with
//! the end of the task.

use atelier_kit::host::Event;

use super::{keep, lease};
use crate::api::Studio;
use crate::progress::Follow;

/// Previews of a run that was cut short go after so many seconds.
const PREVIEW_SECONDS: u64 = 3_600;
/// What drawing is of a task, in percent; the rest is writing the file.
const DRAWING: u64 = 98;

/// How far a picture is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stage {
    pub(super) step: u32,
    pub(super) steps: u32,
    /// The step of the preview that is kept.
    pub(super) preview: Option<u32>,
}

impl Stage {
    /// In words, as the job's message has it.
    fn written(self) -> String {
        let preview = self.preview.map_or(String::new(), |step| format!(", preview of step {step}"));
        format!("step {} of {}{preview}", self.step, self.steps)
    }

    /// From a job's message; none, where it says something else.
    pub(super) fn read(message: &str) -> Option<Self> {
        let (steps, preview) = message.split_once(", preview of step ").unwrap_or((message, ""));
        let (step, steps) = steps.strip_prefix("step ")?.split_once(" of ")?;
        Some(Self { step: step.parse().ok()?, steps: steps.parse().ok()?, preview: preview.parse().ok() })
    }
}

/// Where the preview of a step is.
pub(super) fn preview_name(id: &str, step: u32) -> String {
    format!("{id}-{step}.png")
}

/// Tells of one task.
pub(super) struct Report<'a, H> {
    host: &'a H,
    id: &'a str,
    stage: Stage,
    /// When the last preview was kept, and when the lease was looked at last, in seconds since 1970.
    shown: u64,
    looked: u64,
}

impl<'a, H: Studio> Report<'a, H> {
    pub(super) fn of(host: &'a H, id: &'a str) -> Self {
        Self { host, id, stage: Stage::default(), shown: 0, looked: 0 }
    }

    /// Nothing comes any more.
    pub(super) async fn end(self) {
        self.forget().await;
        lease::end(self.host, self.id).await;
    }

    /// Calls the task off when nobody asks for it any more, which ends the run.
    pub(super) async fn look(&mut self) {
        let now = self.host.unix_seconds();
        if now != std::mem::replace(&mut self.looked, now) && lease::is_over(self.host, self.id).await {
            self.forget().await;
            lease::end(self.host, self.id).await;
            let _ = self.host.cancel(self.id).await;
        }
    }

    /// What is told of a task is not the task: where it cannot be kept, the picture is drawn all the same.
    async fn report(&self, message: &str) {
        let percent = u64::from(self.stage.step) * DRAWING / u64::from(self.stage.steps.max(1));
        let _ = self.host.report(percent.min(DRAWING) as u8, message).await;
    }

    async fn forget(&self) {
        if let Some(step) = self.stage.preview {
            let _ = keep::remove(self.host, &preview_name(self.id, step)).await;
        }
    }

    async fn preview(&mut self, step: u32, png: &[u8]) {
        let now = self.host.unix_seconds();
        // one a second at most: each is written to the disk
        if now == self.shown {
            return;
        }
        let kept = keep::put(self.host, &preview_name(self.id, step), png, PREVIEW_SECONDS).await;
        if kept.is_ok() {
            self.forget().await;
            (self.shown, self.stage.preview) = (now, Some(step));
            self.report(&self.stage.written()).await;
        }
    }
}

impl<H: Studio> Follow for Report<'_, H> {
    fn is_followed(&self) -> bool {
        true
    }

    async fn painting(&mut self, event: Event, unloaded: Option<&str>) {
        self.look().await;
        match event {
            Event::Queued { position, .. } => self.report(&format!("{position} pictures before it")).await,
            Event::Started => {
                if let Some(model) = unloaded {
                    self.report(&format!("loading {model}")).await;
                }
            }
            Event::Step { step, total, .. } => {
                (self.stage.step, self.stage.steps) = (step, total);
                self.report(&self.stage.written()).await;
            }
            Event::Preview { step, png, .. } => self.preview(step, &png).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_read_as_it_was_written() {
        for preview in [None, Some(3)] {
            let stage = Stage { step: 4, steps: 8, preview };
            assert_eq!(Stage::read(&stage.written()), Some(stage));
        }
        for other in ["", "loading nano", "step x of 8", "2 pictures before it"] {
            assert_eq!(Stage::read(other), None, "{other}");
        }
    }
}
