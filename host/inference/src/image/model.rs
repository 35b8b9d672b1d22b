//! What a model that makes pictures can do, and within which limits: the only source of validation and defaults.

use std::sync::Arc;

use crate::{CacheKind, DefaultRefiner, ModelCard, Precision, Size};

/// What a model can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Features {
    /// A picture from a prompt alone.
    pub text_to_image: bool,
    /// A picture from a prompt and a picture.
    pub image_to_image: bool,
    /// A negative prompt.
    pub negative_prompt: bool,
    /// A picture changed as a prompt says.
    pub edit: bool,
    /// A part of a picture painted anew.
    pub inpaint: bool,
    /// Being told of the picture's original size, crop and target size.
    pub framing: bool,
    /// A guidance scale, whether predictions are mixed by it or the model takes it as an input.
    pub guidance: bool,
    /// Layers left out at the text encoder's end.
    pub clip_skip: bool,
    /// Weights in brackets.
    pub emphasis: bool,
}

impl Features {
    /// Nothing at all.
    pub const NONE: Self = Self {
        text_to_image: false,
        image_to_image: false,
        negative_prompt: false,
        edit: false,
        inpaint: false,
        framing: false,
        guidance: false,
        clip_skip: false,
        emphasis: false,
    };

    /// Everything that there is.
    pub const ALL: Self = Self {
        text_to_image: true,
        image_to_image: true,
        negative_prompt: true,
        edit: true,
        inpaint: true,
        framing: true,
        guidance: true,
        clip_skip: true,
        emphasis: true,
    };
}

/// A model that makes pictures, and its limits. Sides are in pixels.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ImageModel {
    /// What every model has. Its bytes are with adapters and ControlNets.
    #[serde(flatten)]
    pub card: ModelCard,
    /// What it can do.
    pub features: Features,
    /// The size it was trained on.
    pub native_size: Size,
    /// The smallest side.
    pub min_side: u32,
    /// The largest side.
    pub max_side: u32,
    /// Sides are multiples of this.
    pub side_multiple: u32,
    /// The only sizes that it makes, the native one among them; empty where every size within its sides is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<Size>,
    /// Denoising steps when the request names none.
    pub default_steps: u32,
    /// Guidance scale when the request names none.
    pub default_guidance: f64,
    /// How much of the schedule is run on a picture to start from when the request does not say.
    pub default_strength: f64,
    /// How closely an edit keeps to its picture when the request does not say.
    pub default_image_guidance: f64,
    /// Names that a request's schedule may take, the default first.
    pub schedules: Vec<String>,
    /// Adapters that a request may name.
    pub adapters: Vec<String>,
    /// ControlNets that a request may give pictures for.
    pub controls: Vec<String>,
    /// Words that were learned beside the text encoder's vocabulary.
    pub words: Vec<String>,
    /// Models that can end what this one begins, in the manifest's order; they list none themselves.
    #[serde(serialize_with = "ids")]
    pub refiners: Vec<Arc<ImageModel>>,
    /// Which of them does when the request does not say. It may be missing among them: its files are not here then.
    pub refiner: Option<DefaultRefiner>,
    /// The step cache that a request may ask for.
    pub step_cache: CacheKind,
    /// What its denoiser multiplies.
    pub precision: Precision,
}

fn ids<S: serde::Serializer>(
    models: &[Arc<ImageModel>],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(models.iter().map(|model| &model.card.id))
}
