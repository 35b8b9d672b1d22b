//! A run's step cache: what each lane's denoiser keeps from one pass to the next, and what is told of it at the end.

use atelier_inference::{ImageOrder, StepCache};

use super::denoiser::Denoiser;
use super::{Pipeline, lane};
use crate::models::flux::FirstBlock;
use crate::models::unet::Deep;
use crate::{Error, Result};

/// What passes of one lane take over, as its denoiser knows it.
#[derive(Debug)]
pub(super) enum Cache {
    Deep(Deep),
    FirstBlock(FirstBlock),
}

/// Passes through the denoiser.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passes {
    /// In all.
    pub all: usize,
    /// Those that took over what an earlier one made.
    pub shortened: usize,
}

impl Cache {
    fn new(asked: StepCache, denoiser: &Denoiser) -> Result<Self> {
        match (asked, denoiser) {
            (StepCache::Deep { interval, branch }, Denoiser::UNet(_)) => {
                Ok(Self::Deep(Deep::new(interval as usize, branch as usize)))
            }
            (StepCache::FirstBlock { threshold }, Denoiser::Flux(_)) => {
                Ok(Self::FirstBlock(FirstBlock::new(threshold)))
            }
            // the catalog says which kind a model takes, and an order was held against it
            _ => Err(Error::Invalid { field: "step-cache", reason: format!("{asked} is for other models") }),
        }
    }

    pub(super) fn deep(&mut self) -> Option<&mut Deep> {
        if let Self::Deep(deep) = self { Some(deep) } else { None }
    }

    pub(super) fn first_block(&mut self) -> Option<&mut FirstBlock> {
        if let Self::FirstBlock(first) = self { Some(first) } else { None }
    }

    fn passes(&self) -> Passes {
        let (all, shortened) = match self {
            Self::Deep(deep) => deep.passes(),
            Self::FirstBlock(first) => first.passes(),
        };
        Passes { all, shortened }
    }
}

impl Pipeline {
    /// One cache for each lane of the order, as images of one lane share their passes; none where none was asked for.
    pub(super) fn caches(&self, order: &ImageOrder) -> Result<Vec<Cache>> {
        let Some(asked) = order.step_cache else { return Ok(Vec::new()) };
        let lanes = order.seeds.len().div_ceil(lane(&self.device, order));
        (0..lanes).map(|_| Cache::new(asked, &self.denoiser)).collect()
    }
}

impl Passes {
    /// Of all lanes.
    pub(super) fn of(caches: &[Cache]) -> Self {
        caches.iter().map(Cache::passes).fold(Self::default(), Self::plus)
    }

    /// Of two runs.
    pub(super) fn plus(self, other: Self) -> Self {
        Self { all: self.all + other.all, shortened: self.shortened + other.shortened }
    }

    /// What a user should know of an order's cache.
    pub(super) fn note(self, cache: StepCache) -> String {
        let Self { all, shortened } = self;
        format!("step cache {cache}: {shortened} of {all} passes took over what an earlier one had made")
    }
}
