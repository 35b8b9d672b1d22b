//! `atelier_inference::Engine` on candle: the models of the manifest, their weights loaded and unloaded as the domain
//! decides. The one place where this crate's errors become the domain's.
//!
//! Owned by the inference worker's one thread, so nothing here locks. Knows neither queue nor route: an order comes in
//! checked against `ModelInfo`, a run goes out and is stepped by the worker. What makes pictures is a `painter`, what writes
//! down speech a `listener`, what replies a `talker`.

mod components;
mod defaults;
mod info;
mod listener;
mod painter;
mod refining;
mod talker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use atelier_inference::{
    self as inference, DefaultRefiner, Estimate, HandOver, ImageOrder, ModelCard, ModelId, ModelInfo, Order,
    Precision, Run, StepState,
};
use candle_core::Device;
use serde::Deserialize;

use crate::converse;
use crate::device::{self, DeviceChoice};
use crate::files::ModelFiles;
use crate::pipeline::{DenoiseRun, Left};
use crate::precision::PrecisionChoice;
use crate::{Error, Result};
use listener::Listener;
use painter::Painter;
use talker::Talker;

pub use defaults::Defaults;

/// What to serve, and on which device.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    /// The device for every model.
    pub device: DeviceChoice,
    /// What denoisers and ControlNets multiply.
    pub precision: PrecisionChoice,
    /// The models, in the order in which they are listed.
    pub models: Vec<ModelSpec>,
    /// Bytes for models and runs together, as the scheduler is told; what the engine proposes when `None`. Pictures that do
    /// not fit it whole are decoded in tiles.
    pub memory_bytes: Option<u64>,
}

/// One model of the manifest.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// Its name in requests.
    pub id: String,
    /// Where the files come from, as people should read it.
    pub source: String,
    /// The files, in diffusers' layout.
    pub files: ModelFiles,
    /// One sentence for people, over what the files say.
    pub description: Option<String>,
    /// What is laid beside the model's own files.
    pub extras: Extras,
}

/// What others than the model's own files say of it.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    /// Adapters that requests may name, with a file or a folder each.
    pub adapters: Vec<(String, PathBuf)>,
    /// ControlNets that requests may give pictures for, with a folder each.
    pub controls: Vec<(String, PathBuf)>,
    /// Files of words that are learned beside the text encoders' vocabulary.
    pub embeddings: Vec<PathBuf>,
    /// Adapters that are part of the model: every run has them, with a weight of 1, and no request names them.
    pub fixed_adapters: Vec<PathBuf>,
    /// How it is meant to be used.
    pub defaults: Defaults,
    /// Which other model ends its pictures when a request does not say.
    pub refiner: Option<DefaultRefiner>,
}

impl ModelSpec {
    /// Refuses what the manifest lays beside the model that is for pictures.
    fn for_pictures_only(&self, what: &'static str) -> Result<()> {
        let key = self.extras.key().or(self.files.has_other_vae().then_some("vae"));
        key.map_or(Ok(()), |key| {
            let (value, supported) = (format!("`{key}`"), "for pictures; remove the key");
            Err(Error::Unsupported { what, value, supported })
        })
    }

    /// What every model has, without what its files alone can tell.
    fn card(&self, family: &str, device: &Device) -> ModelCard {
        ModelCard {
            id: ModelId::new(&self.id),
            family: family.into(),
            source: self.source.clone(),
            description: String::new(),
            memory_bytes: 0,
            device: device::name(device).into(),
        }
    }
}

impl Extras {
    /// The manifest's first key of these that says anything; all are for pictures.
    fn key(&self) -> Option<&'static str> {
        let said = [
            ("adapters", !self.adapters.is_empty()),
            ("controls", !self.controls.is_empty()),
            ("embeddings", !self.embeddings.is_empty()),
            ("refiner", self.refiner.is_some()),
        ];
        let own = said.into_iter().find(|(_, is_said)| *is_said).map(|(key, _)| key);
        own.or_else(|| self.defaults.key())
    }
}

/// Models on one device.
pub struct CandleEngine {
    device: Device,
    models: Vec<Model>,
}

/// A model of the catalog, with or without its weights.
enum Model {
    Painter(Box<Painter>),
    Listener(Listener),
    Talker(Box<Talker>),
}

impl CandleEngine {
    /// Opens the device and reads every model's configuration; weights are left for later.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is not there, [`Error::Precision`] where it does not compute in what was asked for;
    /// [`Error::Model`] names the model and the file that is missing
    /// or asks for something unknown.
    pub fn new(config: EngineConfig) -> Result<CandleEngine> {
        let device = config.device.open()?;
        let precision = config.precision.settle(&device)?;
        let budget = config.memory_bytes.unwrap_or_else(|| device::proposed_memory_bytes(&device));
        let open = |spec: ModelSpec| {
            let id = spec.id.clone();
            let model = Model::new(spec, budget, &device, precision);
            model.map_err(|source| Error::Model { id, source: Box::new(source) })
        };
        let mut models: Vec<Model> = config.models.into_iter().map(open).collect::<Result<_>>()?;
        let mut painters: Vec<&mut Painter> = models.iter_mut().filter_map(Model::painter).collect();
        refining::introduce(&mut painters)?;
        Ok(CandleEngine { device, models })
    }

    fn model(&mut self, id: &ModelId) -> Result<&mut Model> {
        let known: Vec<String> = self.models.iter().map(|model| model.id().to_string()).collect();
        self.models.iter_mut().find(|model| model.id() == id).ok_or_else(|| {
            let reason = format!("there is no model `{id}`; known: {}", known.join(", "));
            Error::Invalid { field: "model", reason }
        })
    }

    fn painter(&mut self, id: &ModelId) -> Result<&mut Painter> {
        let reason = format!("`{id}` makes no pictures");
        self.model(id)?.painter().ok_or(Error::Invalid { field: "model", reason })
    }

    fn listener(&mut self, id: &ModelId) -> Result<&mut Listener> {
        match self.model(id)? {
            Model::Listener(listener) => Ok(listener),
            _ => Err(Error::Invalid { field: "model", reason: format!("`{id}` writes down no speech") }),
        }
    }

    fn talker(&mut self, id: &ModelId) -> Result<&mut Talker> {
        match self.model(id)? {
            Model::Talker(talker) => Ok(talker),
            _ => Err(Error::Invalid { field: "model", reason: format!("`{id}` replies to nothing") }),
        }
    }

    fn paint(&mut self, order: &ImageOrder) -> Result<DenoiseRun> {
        let rest = match &order.refiner {
            Some(refiner) => self.painter(&refiner.model.card.id)?.steps_to_refine(order, refiner)?,
            None => 0,
        };
        self.painter(&order.model.card.id)?.start(order, rest)
    }

    /// The order's second run.
    fn refine(&mut self, order: &ImageOrder, left: Left) -> Result<DenoiseRun> {
        let refiner = order.refiner.as_ref().map_or(&order.model, |refiner| &refiner.model);
        self.painter(&refiner.card.id)?.refine(order, left)
    }
}

/// What of a folder's own `config.json` tells its kind.
#[derive(Deserialize)]
struct Kind {
    model_type: Option<String>,
}

impl Model {
    /// A folder with one network has a `config.json` of its own, and a GGUF file says what it is; pipelines and other single
    /// files are for pictures.
    fn new(spec: ModelSpec, budget: u64, device: &Device, precision: Precision) -> Result<Self> {
        const CONFIG: &str = "config.json";
        if spec.files.is_one_file() || converse::is_language(&spec.files)? {
            return Ok(Self::Talker(Box::new(Talker::new(spec, device)?)));
        }
        let is_one_network = spec.files.contains(CONFIG) && !spec.files.contains("model_index.json");
        if !is_one_network {
            return Ok(Self::Painter(Box::new(Painter::new(spec, budget, device, precision)?)));
        }
        match spec.files.json::<Kind>(CONFIG)?.model_type.as_deref() {
            Some(listener::MODEL_TYPE) => Ok(Self::Listener(Listener::new(spec, device)?)),
            other => Err(Error::Unsupported {
                what: "model_type in config.json:",
                value: other.unwrap_or("none").into(),
                supported: "whisper, llama, mistral, qwen2, qwen3, gemma3, phi3, and folders with a model_index.json",
            }),
        }
    }

    fn id(&self) -> &ModelId {
        match self {
            Self::Painter(painter) => &painter.info.card.id,
            Self::Listener(listener) => &listener.info.card.id,
            Self::Talker(talker) => &talker.info.card.id,
        }
    }

    fn painter(&mut self) -> Option<&mut Painter> {
        match self {
            Self::Painter(painter) => Some(painter),
            Self::Listener(_) | Self::Talker(_) => None,
        }
    }

    fn info(&self) -> ModelInfo {
        match self {
            Self::Painter(painter) => painter.info.clone().into(),
            Self::Listener(listener) => ModelInfo::Speech(listener.info.clone()),
            Self::Talker(talker) => ModelInfo::Language(talker.info.clone()),
        }
    }

    fn load(&mut self, device: &Device) -> Result<()> {
        let loaded = match self {
            Self::Painter(painter) => painter.load(device),
            Self::Listener(listener) => listener.load(device),
            Self::Talker(talker) => talker.load(device),
        };
        loaded.map_err(|source| Error::Model { id: self.id().to_string(), source: Box::new(source) })
    }

    fn unload(&mut self) {
        match self {
            Self::Painter(painter) => device::give_back_main_memory(painter.unload()),
            Self::Listener(listener) => device::give_back_main_memory(listener.unload()),
            Self::Talker(talker) => device::give_back_main_memory(talker.unload()),
        }
    }
}

impl inference::Engine for CandleEngine {
    fn models(&self) -> Vec<ModelInfo> {
        self.models.iter().map(Model::info).collect()
    }

    fn memory_bytes(&self) -> u64 {
        device::proposed_memory_bytes(&self.device)
    }

    fn estimate(&self) -> Estimate {
        let (mut painters, mut listeners, mut talkers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for model in &self.models {
            let id = model.id().clone();
            match model {
                Model::Painter(painter) => _ = painters.insert(id, painter.footprint.clone()),
                Model::Listener(listener) => _ = listeners.insert(id, listener.footprint.clone()),
                Model::Talker(talker) => _ = talkers.insert(id, talker.footprint.clone()),
            }
        }
        Arc::new(move |order| match order {
            Order::Image(order) => {
                let refiner = order.refiner.as_ref().map(|refiner| &refiner.model);
                let runs = [Some(&order.model), refiner].into_iter().flatten();
                runs.filter_map(|model| Some(painters.get(&model.card.id)?.bytes(order)))
                    .max()
                    .unwrap_or_default()
            }
            Order::Speech(order) => {
                listeners.get(&order.model.card.id).map_or(0, |footprint| footprint.bytes(order))
            }
            Order::Chat(order) => {
                talkers.get(&order.model.card.id).map_or(0, |footprint| footprint.bytes(order))
            }
        })
    }

    fn load(&mut self, id: &ModelId) -> inference::Result<()> {
        let device = self.device.clone();
        Ok(self.model(id)?.load(&device)?)
    }

    fn unload(&mut self, id: &ModelId) {
        // an unknown model is not loaded
        if let Ok(model) = self.model(id) {
            model.unload();
        }
    }

    fn begin(&mut self, order: &Order) -> inference::Result<Box<dyn Run>> {
        Ok(match order {
            Order::Image(order) => Box::new(self.paint(order)?),
            Order::Speech(order) => Box::new(self.listener(&order.model.card.id)?.start(order)?),
            Order::Chat(order) => Box::new(self.talker(&order.model.card.id)?.start(order)?),
        })
    }

    fn step_together(&mut self, runs: &mut [&mut dyn Run]) -> Vec<inference::Result<StepState>> {
        talker::step_together(runs)
    }

    fn take_over(&mut self, order: &ImageOrder, left: HandOver) -> inference::Result<Box<dyn Run>> {
        let foreign = |_| inference::Error::Failed("what was handed over is not of this engine".into());
        let left = left.0.downcast::<Left>().map_err(foreign)?;
        Ok(Box::new(self.refine(order, *left)?))
    }
}

impl From<Error> for inference::Error {
    fn from(error: Error) -> Self {
        match error {
            // the only variant that the client can mend; all others are the operator's
            Error::Invalid { field, reason } => Self::Invalid { field, reason },
            other if other.is_out_of_memory() => Self::OutOfMemory(other.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}
