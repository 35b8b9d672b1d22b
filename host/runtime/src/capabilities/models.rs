//! `models`: what the route may use, as the catalog describes it now.

use std::sync::Arc;

use atelier_inference::{CacheKind, ImageModel, ModelId};
use wasmtime::Result;

use super::{Access, Capabilities, caller};
use crate::bindings::models::{AbsentModel, Host, HostWithStore};
use crate::bindings::types::{self, Features, ModelInfo, StepCacheKind};
use crate::sandbox::Sandbox;

impl types::Host for Sandbox {}
impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn list(access: &Access) -> Result<Vec<ModelInfo>> {
        let caller = caller(access).await;
        let (scheduler, catalog) = (&caller.host.scheduler, caller.host.scheduler.catalog());
        let grants = &caller.route.grants.models;
        let granted = |model: &&Arc<ImageModel>| grants.contains(&model.card.id);
        let describe = |model: &Arc<ImageModel>| describe(model, scheduler.is_loaded(&model.card.id), grants);
        let own = catalog.image_models().filter(granted).map(describe);
        let elsewhere = caller.host.all_provided().iter();
        let elsewhere = elsewhere.filter_map(|model| model.info.image().ok()).filter(granted);
        // there is nothing to load
        Ok(own.chain(elsewhere.map(|model| self::describe(model, true, grants))).collect())
    }

    async fn absent(access: &Access) -> Result<Vec<AbsentModel>> {
        let caller = caller(access).await;
        let absent = caller.route.grants.absent.iter().cloned();
        let told = |crate::AbsentModel { id, source, fix }| AbsentModel { id: id.to_string(), source, fix };
        Ok(absent.map(told).collect())
    }
}

fn describe(info: &ImageModel, loaded: bool, grants: &[ModelId]) -> ModelInfo {
    let refiners = info.refiners.iter().map(|refiner| &refiner.card.id).filter(|id| grants.contains(id));
    let own = info.refiner.iter().map(|refiner| &refiner.model).find(|id| grants.contains(id));
    ModelInfo {
        id: info.card.id.to_string(),
        family: info.card.family.clone(),
        source: info.card.source.clone(),
        description: info.card.description.clone(),
        features: features(info),
        native_size: info.native_size.into(),
        min_side: info.min_side,
        max_side: info.max_side,
        side_multiple: info.side_multiple,
        sizes: info.sizes.iter().map(|size| (*size).into()).collect(),
        default_steps: info.default_steps,
        default_guidance: info.default_guidance,
        default_strength: info.default_strength,
        default_image_guidance: info.default_image_guidance,
        schedules: info.schedules.clone(),
        adapters: info.adapters.clone(),
        controls: info.controls.clone(),
        words: info.words.clone(),
        refiners: refiners.map(ToString::to_string).collect(),
        default_refiner: own.map(ToString::to_string),
        step_cache: match info.step_cache {
            CacheKind::Deep { branches } => StepCacheKind::Deep(branches),
            CacheKind::FirstBlock => StepCacheKind::FirstBlock,
        },
        loaded,
        memory_bytes: Some(info.card.memory_bytes),
        device: info.card.device.clone(),
    }
}

fn features(info: &ImageModel) -> Features {
    let mut features = Features::empty();
    for (has, feature) in [
        (info.features.text_to_image, Features::TEXT_TO_IMAGE),
        (info.features.image_to_image, Features::IMAGE_TO_IMAGE),
        (info.features.negative_prompt, Features::NEGATIVE_PROMPT),
        (info.features.edit, Features::EDIT),
        (info.features.inpaint, Features::INPAINT),
        (info.features.framing, Features::FRAMING),
        (info.features.guidance, Features::GUIDANCE),
        (info.features.clip_skip, Features::CLIP_SKIP),
        (info.features.emphasis, Features::EMPHASIS),
    ] {
        if has {
            features |= feature;
        }
    }
    features
}
