//! Two models for one job: a base model works from noise up to a share of the schedule and leaves its latents to a
//! refiner, which does the rest (the ensemble of experts of arXiv 2307.01952, 2.5). Decides who refines a job; how the
//! latents travel is the engine's matter, and who is in memory meanwhile the worker's.

use std::sync::Arc;

use super::order::in_sides;
use crate::{Error, ImageModel, ModelId, Result, Size, Source};

/// The share after which a refiner takes over when nobody says; as its makers propose.
pub const DEFAULT_REFINER_SHARE: f64 = 0.8;

/// Who is to end what a job's model begins, unchecked.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Refine {
    /// The model's default refiner, if it has one and the job can be refined.
    #[default]
    Default,
    /// Nobody: the job's model does everything.
    Never,
    /// A model by its id.
    By {
        /// One of the model's refiners.
        model: ModelId,
        /// The share of the schedule after which it takes over, between 0 and 1; the default refiner's own or
        /// [`DEFAULT_REFINER_SHARE`] when `None`.
        share: Option<f64>,
    },
}

/// The refiner of a model's jobs that do not name one.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct DefaultRefiner {
    /// Its id.
    pub model: ModelId,
    /// The share of the schedule after which it takes over, between 0 and 1.
    pub share: f64,
}

/// The model that ends a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Refiner {
    /// As the catalog describes it.
    pub model: Arc<ImageModel>,
    /// The share of the schedule after which it takes over, between 0 and 1: `denoising_end` in diffusers.
    pub share: f64,
}

/// Who refines a job of `model`. Its own default passes over what cannot be refined; a refiner that is asked for by name
/// does not.
pub(crate) fn checked(
    asked: &Refine,
    source: Option<&Source>,
    (size, schedule): (Size, &str),
    model: &ImageModel,
) -> Result<Option<Refiner>> {
    let can_be_refined = matches!(source, None | Some(Source::Start { .. }));
    let own = model.refiner.as_ref();
    let (id, share) = match asked {
        Refine::Never => return Ok(None),
        Refine::Default => match own.filter(|_| can_be_refined) {
            Some(own) => (&own.model, own.share),
            None => return Ok(None),
        },
        Refine::By { model: id, share } => {
            let usual = own.filter(|own| own.model == *id).map_or(DEFAULT_REFINER_SHARE, |own| own.share);
            (id, share.unwrap_or(usual))
        }
    };
    let refused = |reason: String| Err(Error::invalid("refiner", reason));
    if !can_be_refined {
        return refused("edits and parts of pictures are not refined; leave it out".into());
    }
    let Some(refiner) = model.refiners.iter().find(|refiner| refiner.card.id == *id) else {
        let known: Vec<&str> = model.refiners.iter().map(|refiner| refiner.card.id.as_str()).collect();
        let known = if known.is_empty() { "nothing".into() } else { known.join(", ") };
        return refused(format!("`{id}` cannot refine what model `{}` begins; {known} can", model.card.id));
    };
    // a NaN fails the comparison and is refused with the rest
    if !(share > 0.0 && share < 1.0) {
        return refused(format!("takes over after a share between 0 and 1, not {share}"));
    }
    if !in_sides(size, refiner) {
        let (low, high) = (refiner.min_side, refiner.max_side);
        return refused(format!("`{id}` takes sides of {low} to {high}, not {size}"));
    }
    if !refiner.schedules.iter().any(|known| known == schedule) {
        return refused(format!("`{id}` has no schedule `{schedule}`; name another schedule"));
    }
    Ok(Some(Refiner { model: refiner.clone(), share }))
}
