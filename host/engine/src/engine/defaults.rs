//! What somebody who knows a model says of its use beyond what its files can tell: with how many steps, how much guidance
//! and which schedule it was meant to run. Laid over the catalog's entry last, and held against the model's own limits.

use atelier_inference::{ImageModel, Size};

use crate::Result;
use crate::files::ModelFiles;

/// What requests get that do not say. `None` keeps what the files say.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// Width and height.
    pub size: Option<Size>,
    /// Denoising steps.
    pub steps: Option<u32>,
    /// Guidance scale.
    pub guidance: Option<f64>,
    /// How closely an edit keeps to its picture.
    pub image_guidance: Option<f64>,
    /// A schedule's name, out of those that fit the model.
    pub schedule: Option<String>,
    /// The model was distilled to run without guidance: it is refused, as is a negative prompt, which would change nothing.
    pub is_guidance_free: bool,
}

impl Defaults {
    /// The manifest's first key of these that says anything.
    pub(super) fn key(&self) -> Option<&'static str> {
        let said = [
            ("size", self.size.is_some()),
            ("steps", self.steps.is_some()),
            ("guidance", self.guidance.is_some()),
            ("image-guidance", self.image_guidance.is_some()),
            ("schedule", self.schedule.is_some()),
            ("guidance", self.is_guidance_free),
        ];
        said.into_iter().find(|(_, is_said)| *is_said).map(|(key, _)| key)
    }

    /// Lays these over what the files say.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] for a schedule that does not fit the model, or a size that it would refuse.
    pub(super) fn apply(&self, files: &ModelFiles, info: &mut ImageModel) -> Result<()> {
        info.native_size = self.size.unwrap_or(info.native_size);
        info.default_steps = self.steps.unwrap_or(info.default_steps);
        info.default_guidance = self.guidance.unwrap_or(info.default_guidance);
        info.default_image_guidance = self.image_guidance.unwrap_or(info.default_image_guidance);
        info.features.negative_prompt &= !self.is_guidance_free;
        info.features.guidance &= !self.is_guidance_free;
        if let Some(schedule) = &self.schedule {
            let place = info.schedules.iter().position(|name| name == schedule);
            let place = place.ok_or_else(|| {
                let known = info.schedules.join(", ");
                files.malformed("", format!("the default schedule `{schedule}` is none of {known}"))
            })?;
            info.schedules[..=place].rotate_right(1);
        }
        let Size { width, height } = info.native_size;
        let fits = |side: u32| {
            (info.min_side..=info.max_side).contains(&side) && side.is_multiple_of(info.side_multiple)
        };
        if fits(width) && fits(height) {
            return Ok(());
        }
        let reason = format!(
            "the default size {width}x{height} must be multiples of {} from {} to {}",
            info.side_multiple, info.min_side, info.max_side
        );
        Err(files.malformed("", reason))
    }
}
