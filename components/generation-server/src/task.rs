//! A task on its way to whoever works it off: the payload of a background job, and what that job leaves behind. Both are read by the
//! component that wrote them, or by another version of it, which may have to refuse them.

use atelier_kit::host::{Model, Size};
use serde::{Deserialize, Serialize};

use crate::wish::Wish;

/// What is to be drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// The id of the model that draws, as it was when the task was taken.
    pub(crate) model: String,
    pub(crate) prompt: String,
    pub(crate) negative_prompt: Option<String>,
    /// Width and height in pixels; none where an image is changed.
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) steps: u32,
    /// None for a model that runs without.
    pub(crate) guidance: Option<f64>,
    pub(crate) strength: Option<f64>,
    pub(crate) seed: Option<u64>,
    /// The name of the object that is changed.
    pub(crate) input: Option<String>,
    /// What stands before the service's paths, for those who ask from outside.
    pub(crate) base: String,
}

impl Task {
    /// A wish for a model that can fulfil it.
    pub(crate) fn new(wish: &Wish, model: &Model, base: &str) -> Self {
        let scale = wish.guidance.scale;
        Self {
            model: model.id.clone(),
            prompt: wish.prompt.clone(),
            negative_prompt: wish.negative_prompt.clone(),
            size: wish.size.map(|size| (size.width, size.height)),
            steps: wish.steps,
            guidance: (model.guidance || wish.guidance.is_named).then_some(scale),
            strength: wish.strength,
            seed: wish.seed,
            input: None,
            base: base.to_owned(),
        }
    }

    /// Reads a payload.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    /// The payload.
    pub(crate) fn payload(&self) -> Vec<u8> {
        written(self)
    }

    /// The size that was asked for.
    pub(crate) fn size(&self) -> Option<Size> {
        self.size.map(|(width, height)| Size { width, height })
    }
}

/// What a completed job leaves behind: its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// The picture's name in its container.
    pub(crate) object: String,
    /// Where its copy is, if there was one when the job ended.
    pub(crate) copied_to: Option<String>,
    /// What stands before the service's paths.
    pub(crate) base: String,
    /// What clients are told.
    pub(crate) message: String,
}

impl Made {
    /// Reads a result.
    pub(crate) fn read(result: &[u8]) -> Option<Self> {
        serde_json::from_slice(result).ok()
    }

    /// Where clients find it: the copy, or the picture of a session that is known. A result that is another's as well, who asked for
    /// the same, is found under either.
    pub(crate) fn url(&self, id: &str) -> String {
        self.copied_to.clone().unwrap_or_else(|| format!("{}/api/{id}/image", self.base))
    }

    /// The result.
    pub(crate) fn result(&self) -> Vec<u8> {
        written(self)
    }
}

/// Both have texts and numbers only, which JSON always has a form for: a number that is none was refused with its field.
fn written(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
