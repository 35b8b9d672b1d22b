//! What a fake host does: every test changes what it is about.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::{Fake, Record};
use crate::copies::{CopyError, ObjectCopy, Service};
use crate::host::{AbsentModel, Choice, Event, GenerationError, Model, Size, StageError, StepCacheKind};
use crate::jobs::JobsError;
use crate::machine::{Figures, MachineError};
use crate::speech::{Language, Transcript};
use crate::storage::StorageError;

/// What a fake does.
#[derive(Clone, Debug)]
pub struct Script {
    /// The route's configuration.
    pub config: HashMap<&'static str, String>,
    /// Models that make pictures.
    pub models: Vec<Model>,
    /// Models that are granted and not there.
    pub absent: Vec<AbsentModel>,
    /// Models that write down speech.
    pub ears: Vec<&'static str>,
    /// What they hear.
    pub heard: Transcript,
    /// Why no job is taken, if none is.
    pub refuse: Option<GenerationError>,
    /// Why jobs end without a result, if they do.
    pub fails: Option<GenerationError>,
    /// What happens to jobs of pictures.
    pub events: Vec<Event>,
    /// Whether they go on for ever after that.
    pub never_ends: bool,
    /// What the select stage says.
    pub select: Result<Choice, StageError>,
    /// Whether values can be kept.
    pub storage: Result<(), StorageError>,
    /// Whether objects can be written.
    pub objects: Result<(), StorageError>,
    /// Whether background jobs are taken.
    pub jobs: Result<(), JobsError>,
    /// How many clients are in every room.
    pub listeners: u32,
    /// How the machine fares.
    pub usage: Result<Figures, MachineError>,
    /// How the servers fare that copies go to.
    pub services: Vec<Service>,
    /// What becomes of objects' copies; container and name are written behind the address.
    pub copy: Result<Option<ObjectCopy>, CopyError>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            config: HashMap::new(),
            models: vec![drawing("nano")],
            absent: Vec::new(),
            ears: vec!["ear"],
            heard: said(" A red boat. "),
            refuse: None,
            fails: None,
            events: Vec::new(),
            never_ends: false,
            select: Err(StageError::NotConfigured("add `select` to route \"a\"".into())),
            storage: Ok(()),
            objects: Ok(()),
            jobs: Ok(()),
            listeners: 0,
            usage: Ok(Figures { cores: 2, cpu_percent: Some(12.5), jobs_waiting: 3, ..Figures::default() }),
            services: Vec::new(),
            copy: Ok(None),
        }
    }
}

impl Script {
    /// The host that does so.
    pub fn host(self) -> Fake {
        let record = Record { unix_seconds: 1_700_000_000, ..Record::default() };
        Fake { script: Rc::new(self), record: Rc::new(RefCell::new(record)), memory: Rc::default() }
    }

    /// The same script with one more key of the configuration.
    #[must_use]
    pub fn with_config(mut self, key: &'static str, value: &str) -> Self {
        self.config.insert(key, value.into());
        self
    }
}

/// English speech of three seconds.
pub fn said(text: &str) -> Transcript {
    let english = Language { code: "en".into(), name: "english".into(), probability: Some(0.9) };
    let language = Some(english);
    Transcript { text: text.into(), language, seconds: 3.0, model: "ear".into(), ..Transcript::default() }
}

/// A model that draws pictures of 128 pixels a side, and starts from others.
pub fn drawing(id: &str) -> Model {
    let native_size = Size { width: 128, height: 128 };
    Model {
        id: id.into(),
        family: "nano".into(),
        source: format!("builtin:{id}"),
        description: "small pictures".into(),
        text_to_image: true,
        image_to_image: true,
        negative_prompt: true,
        edit: false,
        inpaint: true,
        framing: false,
        guidance: true,
        clip_skip: true,
        emphasis: true,
        native_size,
        min_side: 64,
        max_side: 256,
        side_multiple: 8,
        sizes: Vec::new(),
        default_steps: 20,
        default_guidance: 4.0,
        default_strength: 0.8,
        default_image_guidance: 1.5,
        schedules: vec!["ddim".into()],
        adapters: Vec::new(),
        controls: Vec::new(),
        words: Vec::new(),
        refiners: Vec::new(),
        default_refiner: None,
        step_cache: StepCacheKind::Deep(2),
        loaded: true,
        memory_bytes: None,
        device: "cpu".into(),
    }
}
