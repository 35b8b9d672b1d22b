//! Which models can end what others begin: those of Stable Diffusion XL whose latents are the same. Goes by the
//! configurations alone.

use std::sync::Arc;

use atelier_inference::ImageModel;

use super::painter::Painter;
use crate::models::vae::VaeConfig;
use crate::pipeline::{Family, Numbers, SourceUse};
use crate::{Error, Result};

/// What has to be the same of two models for one to go on with the other's latents.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Latents {
    channels: usize,
    /// Pixels per latent, along a side.
    factor: usize,
    scale: f64,
    /// Whether they can be begun without a picture; a refiner cannot.
    has_beginning: bool,
}

impl Latents {
    /// `None` for a model that has no part in this.
    pub(super) fn of(family: &Family, vae: &VaeConfig) -> Option<Self> {
        let is_xl = family.numbers != Numbers::None && family.source == SourceUse::Start;
        let (channels, factor, scale) = (vae.latent_channels(), vae.factor(), vae.scaling_factor());
        is_xl.then_some(Self { channels, factor, scale, has_beginning: family.numbers == Numbers::Sizes })
    }

    fn go_on_with(self, first: Self) -> bool {
        first.has_beginning && self == Self { has_beginning: self.has_beginning, ..first }
    }
}

/// Tells every model which others can refine what it begins.
///
/// # Errors
/// [`Error::Model`] for a model whose default refiner is another kind of model. One that is not here is left to the jobs
/// that would need it.
pub(super) fn introduce(models: &mut [&mut Painter]) -> Result<()> {
    let all: Vec<(Arc<ImageModel>, Option<Latents>)> =
        models.iter().map(|model| (Arc::new(model.info.clone()), model.latents)).collect();
    for model in models {
        let can = |(other, latents): &&(Arc<ImageModel>, Option<Latents>)| {
            let both = latents.zip(model.latents);
            other.card.id != model.info.card.id
                && both.is_some_and(|(second, first)| second.go_on_with(first))
        };
        let refiners: Vec<_> = all.iter().filter(can).map(|(other, _)| other.clone()).collect();
        if let Some(own) = &model.info.refiner {
            let is = |info: &Arc<ImageModel>| info.card.id == own.model;
            if all.iter().any(|(other, _)| is(other)) && !refiners.iter().any(is) {
                let reason = format!(
                    "`{}` cannot go on with the latents of this one; both must be of Stable Diffusion XL, with the \
                     same kind of autoencoder",
                    own.model
                );
                let source = Box::new(Error::Invalid { field: "refiner", reason });
                return Err(Error::Model { id: model.info.card.id.to_string(), source });
            }
        }
        model.info.refiners = refiners;
    }
    Ok(())
}
