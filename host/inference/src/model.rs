//! The catalog: which models there are and what each allows. What every model has is here; what the kinds can do is
//! described beside their orders (`image/`, `speech/`, `chat/`).

use std::fmt;
use std::sync::Arc;

use crate::{Error, ImageModel, LanguageModel, Result, SpeechModel};

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

/// What a model's products multiply; their sums, and everything between them, are f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Values as they are.
    #[default]
    F32,
    /// Values rounded to bf16: 8 bits of the 24 stay.
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// What every model has.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ModelCard {
    /// The name in requests.
    pub id: ModelId,
    /// Found from the files, such as `stable-diffusion`, `whisper` or `llama`.
    pub family: String,
    /// Where the files come from, as in the manifest.
    pub source: String,
    /// One sentence for people.
    pub description: String,
    /// Bytes that the model takes while it is loaded.
    pub memory_bytes: u64,
    /// `cpu` or `cuda`.
    pub device: String,
}

/// A model, by what it makes.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelInfo {
    /// Pictures.
    Image(Arc<ImageModel>),
    /// Text from speech.
    Speech(Arc<SpeechModel>),
    /// Replies to a conversation.
    Language(Arc<LanguageModel>),
}

/// What a model makes; work is measured in a unit of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Image,
    Speech,
    Language,
}

impl ModelInfo {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Image(_) => Kind::Image,
            Self::Speech(_) => Kind::Speech,
            Self::Language(_) => Kind::Language,
        }
    }

    /// What every model has.
    pub fn card(&self) -> &ModelCard {
        match self {
            Self::Image(model) => &model.card,
            Self::Speech(model) => &model.card,
            Self::Language(model) => &model.card,
        }
    }

    /// The name in requests.
    pub fn id(&self) -> &ModelId {
        &self.card().id
    }

    /// The same as a model of pictures.
    ///
    /// # Errors
    /// [`Error::Invalid`] names `model` and what it makes instead.
    pub fn image(&self) -> Result<&Arc<ImageModel>> {
        match self {
            Self::Image(model) => Ok(model),
            other => Err(other.is_no("pictures")),
        }
    }

    /// The same as a model of speech.
    ///
    /// # Errors
    /// [`Error::Invalid`] names `model` and what it makes instead.
    pub fn speech(&self) -> Result<&Arc<SpeechModel>> {
        match self {
            Self::Speech(model) => Ok(model),
            other => Err(other.is_no("text from speech")),
        }
    }

    /// The same as a language model.
    ///
    /// # Errors
    /// [`Error::Invalid`] names `model` and what it makes instead.
    pub fn language(&self) -> Result<&Arc<LanguageModel>> {
        match self {
            Self::Language(model) => Ok(model),
            other => Err(other.is_no("replies")),
        }
    }

    fn is_no(&self, wanted: &str) -> Error {
        let made = match self {
            Self::Image(_) => "pictures",
            Self::Speech(_) => "text from speech",
            Self::Language(_) => "replies",
        };
        Error::invalid("model", format!("`{}` makes {made}, not {wanted}; name another", self.id()))
    }
}

/// The model's fields, with its `kind`.
impl serde::Serialize for ModelInfo {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Tagged<'a, M> {
            kind: &'static str,
            #[serde(flatten)]
            model: &'a M,
        }
        match self {
            Self::Image(model) => Tagged { kind: "image", model: &**model }.serialize(serializer),
            Self::Speech(model) => Tagged { kind: "speech", model: &**model }.serialize(serializer),
            Self::Language(model) => Tagged { kind: "language", model: &**model }.serialize(serializer),
        }
    }
}

impl From<ImageModel> for ModelInfo {
    fn from(model: ImageModel) -> Self {
        Self::Image(Arc::new(model))
    }
}

impl From<SpeechModel> for ModelInfo {
    fn from(model: SpeechModel) -> Self {
        Self::Speech(Arc::new(model))
    }
}

impl From<LanguageModel> for ModelInfo {
    fn from(model: LanguageModel) -> Self {
        Self::Language(Arc::new(model))
    }
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
        self.iter().find(|info| info.id() == id).ok_or_else(|| Error::UnknownModel {
            id: id.to_string(),
            known: self.iter().map(|info| info.id().to_string()).collect(),
        })
    }

    /// The models that make pictures, in the manifest's order.
    pub fn image_models(&self) -> impl Iterator<Item = &Arc<ImageModel>> {
        self.iter().filter_map(|info| info.image().ok())
    }

    /// The models that write down speech, in the manifest's order.
    pub fn speech_models(&self) -> impl Iterator<Item = &Arc<SpeechModel>> {
        self.iter().filter_map(|info| info.speech().ok())
    }

    /// The models that reply to conversations, in the manifest's order.
    pub fn language_models(&self) -> impl Iterator<Item = &Arc<LanguageModel>> {
        self.iter().filter_map(|info| info.language().ok())
    }

    /// The model's place in the catalog; one past the end when it is not there.
    pub(crate) fn place(&self, id: &ModelId) -> usize {
        self.iter().position(|info| info.id() == id).unwrap_or(self.models.len())
    }

    /// The model of that place.
    pub(crate) fn at(&self, place: usize) -> Option<&ModelInfo> {
        self.models.get(place)
    }
}
