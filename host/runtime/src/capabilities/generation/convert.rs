//! The domain's words for what a guest asks, and the guest's words for what the domain answers. Checks nothing: a request
//! is checked where it becomes a job.

use atelier_inference::{
    Adapted as HostAdapted, Control as HostControl, Crop, Decoder as HostDecoder, Emphasis as HostEmphasis,
    Error as HostError, Framing as HostFraming, ImageRequest, ModelId, Pixels, Refine,
    Refiner as HostRefiner, SeedProfile as HostSeedProfile, StepCache as HostStepCache,
};

use crate::bindings::generation::{
    Adapted, Control, Decoder, DeepCache, Emphasis, Error, Framing, Invalid, Outage, Overload, Refined,
    Refiner, Refining, Request, SeedProfile, StepCache,
};

impl From<Request> for ImageRequest {
    fn from(request: Request) -> Self {
        ImageRequest {
            prompt: request.prompt,
            negative_prompt: request.negative_prompt,
            size: request.size.map(Into::into),
            steps: request.steps,
            guidance: request.guidance,
            seed: request.seed,
            count: Some(request.count),
            schedule: request.schedule,
            clip_skip: request.clip_skip,
            guidance_rescale: request.guidance_rescale,
            emphasis: request.emphasis.map(Into::into).unwrap_or_default(),
            seed_profile: request.seed_profile.map(Into::into).unwrap_or_default(),
            decoder: request.decoder.map(Into::into).unwrap_or_default(),
            adapters: request.adapters.into_iter().map(Into::into).collect(),
            framing: request.framing.map(Into::into),
            refine: request.refine.map(Into::into).unwrap_or_default(),
            step_cache: request.step_cache.map(Into::into),
            controls: Vec::new(),
            preview_every: request.preview_every,
            source: None,
        }
    }
}

/// A control with its picture, scaled.
pub(super) fn steered((control, picture): (Control, Pixels)) -> HostControl {
    let Control { id, scale, start, end, .. } = control;
    let usual = HostControl::new(id, picture);
    HostControl {
        scale: scale.unwrap_or(usual.scale),
        start: start.unwrap_or(usual.start),
        end: end.unwrap_or(usual.end),
        ..usual
    }
}

impl From<Emphasis> for HostEmphasis {
    fn from(emphasis: Emphasis) -> Self {
        match emphasis {
            Emphasis::A1111 => Self::A1111,
            Emphasis::A1111NoNorm => Self::A1111NoNorm,
            Emphasis::Comfy => Self::Comfy,
        }
    }
}

impl From<SeedProfile> for HostSeedProfile {
    fn from(profile: SeedProfile) -> Self {
        match profile {
            SeedProfile::Diffusers => Self::Diffusers,
            SeedProfile::A1111 => Self::A1111,
            SeedProfile::Comfy => Self::Comfy,
        }
    }
}

impl From<Decoder> for HostDecoder {
    fn from(decoder: Decoder) -> Self {
        match decoder {
            Decoder::Full => Self::Full,
            Decoder::Tiny => Self::Tiny,
        }
    }
}

impl From<Adapted> for HostAdapted {
    fn from(adapted: Adapted) -> Self {
        HostAdapted { id: adapted.id, weight: adapted.weight }
    }
}

impl From<Refining> for Refine {
    fn from(refining: Refining) -> Self {
        match refining {
            Refining::Never => Self::Never,
            Refining::By(Refiner { model, share }) => Self::By { model: ModelId::new(model), share },
        }
    }
}

impl From<&HostRefiner> for Refined {
    fn from(HostRefiner { model, share }: &HostRefiner) -> Self {
        Self { model: model.card.id.to_string(), share: *share }
    }
}

impl From<StepCache> for HostStepCache {
    fn from(cache: StepCache) -> Self {
        match cache {
            StepCache::Deep(DeepCache { interval, branch }) => Self::Deep { interval, branch },
            StepCache::FirstBlock(threshold) => Self::FirstBlock { threshold },
        }
    }
}

impl From<HostStepCache> for StepCache {
    fn from(cache: HostStepCache) -> Self {
        match cache {
            HostStepCache::Deep { interval, branch } => Self::Deep(DeepCache { interval, branch }),
            HostStepCache::FirstBlock { threshold } => Self::FirstBlock(threshold),
        }
    }
}

impl From<Framing> for HostFraming {
    fn from(framing: Framing) -> Self {
        let crop = Crop { left: framing.crop_left, top: framing.crop_top };
        HostFraming { original: framing.original.into(), crop, target: framing.target.into() }
    }
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Overloaded { reason, retry_after } => {
                Error::Overloaded(Overload { reason, retry_after_ms: retry_after.as_millis() as u64 })
            }
            HostError::UnknownModel { id, .. } => Error::UnknownModel(format!("there is no model `{id}`")),
            HostError::Invalid { field, reason } => {
                Error::InvalidRequest(Invalid { field: field.into(), reason })
            }
            // what a caller can change of it are the pictures' size and number
            HostError::TooLarge { .. } => {
                Error::InvalidRequest(Invalid { field: "size".into(), reason: error.to_string() })
            }
            HostError::OutOfMemory(_) => Error::Failed(error.to_string()),
            HostError::Cancelled => Error::Cancelled,
            HostError::WorkerGone => Error::WorkerGone,
            HostError::Failed(text) => Error::Failed(text),
            HostError::Unavailable { reason, retry_after } => {
                let retry_after_ms = retry_after.map(|after| after.as_millis() as u64);
                Error::Unavailable(Outage { reason, retry_after_ms })
            }
            HostError::TimedOut(text) => Error::TimedOut(text),
        }
    }
}
