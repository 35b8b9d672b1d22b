//! The catalog: which models there are and what each allows. One table per model is the only source of validation,
//! defaults and what clients are told.

use std::fmt;
use std::sync::Arc;

use crate::{CacheKind, DefaultRefiner, Error, Result, Size};

/// A model's name in requests and in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ModelId(String);

impl ModelId {
    /// Takes any text; whether such a model exists is the catalog's matter.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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

/// One model and its limits. Sides are in pixels.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ModelInfo {
    /// The name in requests.
    pub id: ModelId,
    /// Found from the files, such as `stable-diffusion`.
    pub family: String,
    /// Where the files come from, as in the manifest.
    pub source: String,
    /// One sentence for people.
    pub description: String,
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
    pub refiners: Vec<Arc<ModelInfo>>,
    /// Which of them does when the request does not say. It may be missing among them: its files are not here then.
    pub refiner: Option<DefaultRefiner>,
    /// The step cache that a request may ask for.
    pub step_cache: CacheKind,
    /// Bytes that the model takes while it is loaded, its adapters and ControlNets included.
    pub memory_bytes: u64,
    /// `cpu` or `cuda`.
    pub device: String,
}

fn ids<S: serde::Serializer>(
    models: &[Arc<ModelInfo>],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(models.iter().map(|model| &model.id))
}

/// Every model of the engine, shared by all who ask. Nothing in it changes.
#[derive(Debug, Clone)]
pub struct Catalog {
    models: Arc<[ModelInfo]>,
}

impl Catalog {
    pub(crate) fn new(models: Vec<ModelInfo>) -> Self {
        Self { models: models.into() }
    }

    /// All models, in the manifest's order.
    pub fn iter(&self) -> impl Iterator<Item = &ModelInfo> {
        self.models.iter()
    }

    /// The model of that id, or the error that names those that exist.
    pub fn get(&self, id: &ModelId) -> Result<&ModelInfo> {
        self.iter().find(|info| info.id == *id).ok_or_else(|| Error::UnknownModel {
            id: id.to_string(),
            known: self.iter().map(|info| info.id.to_string()).collect(),
        })
    }

    /// The model's place in the catalog; one past the end when it is not there.
    pub(crate) fn place(&self, id: &ModelId) -> usize {
        self.iter().position(|info| info.id == *id).unwrap_or(self.models.len())
    }

    /// The model of that place.
    pub(crate) fn at(&self, place: usize) -> Option<&ModelInfo> {
        self.models.get(place)
    }
}
