//! Pictures that steer what is drawn: edges, depths, poses, each for one of the model's ControlNets (arXiv 2302.05543).

use crate::{Error, ImageModel, Pixels, Result, Size, Source};

/// Most control pictures of one job: each costs half a denoiser at every step.
pub const MAX_CONTROLS: usize = 4;
/// Strongest scale of a control picture.
pub const MAX_CONTROL_SCALE: f64 = 10.0;

/// A picture that steers what is drawn.
#[derive(Debug, Clone)]
pub struct Control {
    /// The ControlNet, as in the manifest.
    pub id: String,
    /// The picture, of the job's size.
    pub picture: Pixels,
    /// How strongly, 0 to [`MAX_CONTROL_SCALE`]; 1 is as it was trained.
    pub scale: f64,
    /// The share of the steps after which it begins to steer, 0 to 1.
    pub start: f64,
    /// The share of the steps after which it ends, over `start` and at most 1.
    pub end: f64,
}

impl Control {
    /// A picture that steers from the first step to the last, as it was trained to.
    pub fn new(id: impl Into<String>, picture: Pixels) -> Self {
        Self { id: id.into(), picture, scale: 1.0, start: 0.0, end: 1.0 }
    }
}

/// Controls that the model has, each once and within its range.
pub(crate) fn checked(
    controls: Vec<Control>,
    source: Option<&Source>,
    size: Size,
    model: &ImageModel,
) -> Result<Vec<Control>> {
    let refused = |reason| Err(Error::invalid("controls", reason));
    if controls.len() > MAX_CONTROLS {
        return refused(format!("{} are too many; at most {MAX_CONTROLS}", controls.len()));
    }
    if !controls.is_empty() && matches!(source, Some(Source::Edit { .. })) {
        return refused("edits are steered by their picture alone; leave them out".into());
    }
    for (index, Control { id, picture, scale, start, end }) in controls.iter().enumerate() {
        if !model.controls.contains(id) {
            let known = model.controls.join(", ");
            let known = if known.is_empty() { "it has none".into() } else { format!("it has {known}") };
            return refused(format!("model `{}` has no control `{id}`; {known}", model.card.id));
        }
        if controls[..index].iter().any(|before| before.id == *id) {
            return refused(format!("`{id}` is named twice; give it one picture"));
        }
        if picture.size() != size {
            return refused(format!(
                "`{id}` has a picture of {}, not {size}; scale it first",
                picture.size()
            ));
        }
        if !(0.0..=MAX_CONTROL_SCALE).contains(scale) {
            return refused(format!(
                "`{id}` has a scale of {scale}, which is not within 0 to {MAX_CONTROL_SCALE}"
            ));
        }
        // a NaN fails the comparisons and is refused with the rest
        if !(*start >= 0.0 && start < end && *end <= 1.0) {
            return refused(format!(
                "`{id}` steers from {start} to {end}; both are within 0 to 1, in this order"
            ));
        }
    }
    Ok(controls)
}
