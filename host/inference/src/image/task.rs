//! What a job does with the picture that it works on, if any: start from it, change it, paint a part of it anew. A source
//! is what a request gives, a task what is left of it once it fits the model.

use std::fmt;

use super::order::{MAX_GUIDANCE, within};
use crate::{Error, ImageModel, Pixels, Result, Size};

/// A picture to work on, scaled to the job's size by whoever made the request, unchecked.
#[derive(Debug, Clone)]
pub enum Source {
    /// To start from.
    Start {
        /// The picture.
        pixels: Pixels,
        /// How much of the schedule is run, over 0 to 1; the model's default when `None`.
        strength: Option<f64>,
    },
    /// To change as the prompt says.
    Edit {
        /// The picture.
        pixels: Pixels,
        /// How closely the result keeps to it, 0 to [`MAX_GUIDANCE`]; the model's default when `None`.
        guidance: Option<f64>,
    },
    /// To paint a part of it anew.
    Inpaint {
        /// The picture.
        pixels: Pixels,
        /// Which part, see [`Mask`]; where the picture itself is transparent when `None`.
        mask: Option<Pixels>,
        /// How much of the schedule is run, over 0 to 1; all of it when `None`.
        strength: Option<f64>,
    },
}

impl Source {
    pub(crate) fn pixels(&self) -> &Pixels {
        let (Self::Start { pixels, .. } | Self::Edit { pixels, .. } | Self::Inpaint { pixels, .. }) = self;
        pixels
    }
}

/// What a job does, with the picture that it works on, which is of exactly the job's size.
#[derive(Debug, Clone)]
pub enum Task {
    /// A picture from a prompt alone.
    TextToImage,
    /// A picture that starts from another one.
    ImageToImage {
        /// What it starts from.
        picture: Pixels,
        /// How much of the schedule is run, over 0 to 1.
        strength: f64,
    },
    /// A picture changed as the prompt says.
    Edit {
        /// What is changed.
        picture: Pixels,
        /// How closely the result keeps to it; guidance is off below 1.
        guidance: f64,
    },
    /// A part of a picture painted anew.
    Inpaint {
        /// What it is part of.
        picture: Pixels,
        /// Which part.
        mask: Mask,
        /// How much of the schedule is run, over 0 to 1.
        strength: f64,
    },
}

/// Which pixels are painted anew, row by row from the top.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask(Vec<bool>);

impl Mask {
    /// From a picture with transparency: where it is more transparent than not, as OpenAI's API has it. From an opaque
    /// one: where it is more white than black, as diffusers has it.
    pub fn of(pixels: &Pixels) -> Self {
        let is_opaque = pixels.is_opaque();
        let (pixels, _) = pixels.rgba().as_chunks::<4>();
        // the weights of PIL's greyscale, in thousandths
        let grey = |[red, green, blue, _]: [u8; 4]| {
            (299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue)) / 1_000
        };
        let is_new = |pixel: &[u8; 4]| if is_opaque { grey(*pixel) >= 128 } else { pixel[3] < 128 };
        Self(pixels.iter().map(is_new).collect())
    }

    /// Whether each pixel is painted anew.
    pub fn pixels(&self) -> &[bool] {
        &self.0
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let anew = self.0.iter().filter(|is_new| **is_new).count();
        write!(f, "Mask({anew} of {} pixels)", self.0.len())
    }
}

impl Task {
    /// The picture that is worked on.
    pub fn picture(&self) -> Option<&Pixels> {
        match self {
            Self::TextToImage => None,
            Self::ImageToImage { picture, .. }
            | Self::Edit { picture, .. }
            | Self::Inpaint { picture, .. } => Some(picture),
        }
    }

    /// The share of the schedule that is run.
    pub fn strength(&self) -> f64 {
        match self {
            Self::ImageToImage { strength, .. } | Self::Inpaint { strength, .. } => *strength,
            Self::TextToImage | Self::Edit { .. } => 1.0,
        }
    }
}

/// The task of a request, if its model does it with pictures of the job's size.
pub(crate) fn checked(source: Option<Source>, size: Size, model: &ImageModel) -> Result<Task> {
    let (features, id) = (model.features, &model.card.id);
    let refused = |reason: String| Err(Error::invalid("source", reason));
    let given = source.as_ref().map(|source| source.pixels().size());
    match &source {
        None if !features.text_to_image => {
            return refused(format!("model `{id}` needs a picture to work on"));
        }
        Some(Source::Start { .. }) if !features.image_to_image => {
            let edits =
                if features.edit { "; it changes pictures as a prompt says: ask for an edit" } else { "" };
            return refused(format!("model `{id}` does not start from pictures{edits}"));
        }
        Some(Source::Edit { .. }) if !features.edit => {
            return refused(format!("model `{id}` was not trained to change pictures as a prompt says"));
        }
        Some(Source::Inpaint { .. }) if !features.inpaint => {
            return refused(format!("model `{id}` does not paint parts of pictures anew"));
        }
        Some(Source::Inpaint { pixels, mask: None, .. }) if pixels.is_opaque() => {
            let reason = "is missing, and the picture is nowhere transparent; give a mask";
            return Err(Error::invalid("mask", reason));
        }
        Some(Source::Inpaint { pixels, mask: Some(mask), .. }) if mask.size() != pixels.size() => {
            let reason =
                format!("is {}, not {} like the picture; scale it first", mask.size(), pixels.size());
            return Err(Error::invalid("mask", reason));
        }
        _ => {}
    }
    if let Some(given) = given.filter(|given| *given != size) {
        return refused(format!("is {given}, not {size}; scale it first"));
    }
    Ok(match source {
        None => Task::TextToImage,
        Some(Source::Start { pixels: picture, strength }) => {
            Task::ImageToImage { picture, strength: checked_strength(strength, model.default_strength)? }
        }
        Some(Source::Edit { pixels: picture, guidance }) => {
            let guidance = guidance.unwrap_or(model.default_image_guidance);
            Task::Edit { picture, guidance: within("image-guidance", guidance, MAX_GUIDANCE)? }
        }
        Some(Source::Inpaint { pixels: picture, mask, strength }) => {
            let mask = Mask::of(mask.as_ref().unwrap_or(&picture));
            if !mask.pixels().contains(&true) {
                return Err(Error::invalid("mask", "leaves nothing to paint; mark a part of the picture"));
            }
            Task::Inpaint { picture, mask, strength: checked_strength(strength, 1.0)? }
        }
    })
}

/// How many of so many steps are run on a picture, at a strength of 0 to 1: diffusers' `get_timesteps` of the image-to-image
/// pipelines, which rounds down.
pub fn steps_run(steps: usize, strength: f64) -> usize {
    ((steps as f64 * strength) as usize).min(steps)
}

/// What is said of a strength that leaves no step.
pub fn no_steps_left(steps: usize, strength: f64) -> String {
    let least = 1.0 / steps as f64;
    format!("{strength} of {steps} steps leaves none to run; raise it to {least} or more")
}

/// How names of schedules begin that run a step whatever the strength: all of them, or rounded up.
const ALWAYS_RUN: [&str; 2] = ["lcm", "flow_match_euler"];

/// Refuses a strength that leaves none of the steps, before anybody waits for it. A model without schedules is another server's,
/// and takes the steps that it likes.
pub(crate) fn check_steps_left(task: &Task, steps: u32, schedule: &str) -> Result<()> {
    let (steps, strength) = (steps as usize, task.strength());
    let is_free = schedule.is_empty() || ALWAYS_RUN.iter().any(|name| schedule.starts_with(name));
    if is_free || steps_run(steps, strength) > 0 {
        return Ok(());
    }
    Err(Error::invalid("strength", no_steps_left(steps, strength)))
}

fn checked_strength(strength: Option<f64>, default: f64) -> Result<f64> {
    let strength = strength.unwrap_or(default);
    if strength > 0.0 && strength <= 1.0 {
        return Ok(strength);
    }
    Err(Error::invalid("strength", format!("{strength} is not over 0 and at most 1")))
}
