//! A host for tests of handlers: it draws and hears what its script says, writes down what was asked of it, and computes
//! nothing. Pictures are their sizes, recordings are the bytes that were sent. Compiled with the feature `fake` only.
//!
//! `exchange` has the requests that tests send and reads the answers; `script` is what a fake starts with; `jobs` keeps its
//! background jobs.

mod exchange;
mod jobs;
mod script;

use std::cell::RefCell;
use std::rc::Rc;

use futures::future;
use serde_json::Value;

use crate::channels::Channels;
use crate::copies::{Copies, CopyError, ObjectCopy, Service};
use crate::host::{
    AbsentModel, Call, CallError, Choice, Event, GenerationError, Hints, Host, ImageError, Job, Model, Order,
    Outcome, Prompt, Size, Source, StageError,
};
use crate::machine::{Figures, Machine, MachineError};
use crate::speech::{AudioError, Speech, SpeechEvent, SpeechModel, SpeechOrder, Transcript, Transcription};
use crate::storage::{Memory, Storage, StorageError};

pub use exchange::{events, form, get, json, whole};
pub use jobs::Submitted;
pub use script::{Script, drawing, said};

/// What was asked of a fake.
#[derive(Debug, Default)]
pub struct Record {
    /// Jobs of pictures, in order, refused ones included.
    pub orders: Vec<Ordered>,
    /// Jobs of speech, in order, refused ones included.
    pub speech: Vec<SpeechOrder>,
    /// What the select stage was told.
    pub hints: Vec<Hints>,
    /// Background jobs.
    pub background: Submitted,
    /// Jobs that have ended or were given up.
    pub jobs_dropped: usize,
    /// What rooms of clients were sent: the room, the event and its payload.
    pub published: Vec<(String, String, Value)>,
    /// What time it is; a test may let it pass.
    pub unix_seconds: u64,
}

/// A job of a picture as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordered {
    /// The order.
    pub order: Order,
    /// The size of the picture that it works on.
    pub source: Option<Size>,
    /// How much of that is to change.
    pub strength: Option<f64>,
}

/// A scripted host; copies of it share script and record.
#[derive(Clone, Debug)]
pub struct Fake {
    /// What it does.
    pub script: Rc<Script>,
    /// What was asked of it.
    pub record: Rc<RefCell<Record>>,
    /// What it keeps.
    pub memory: Rc<Memory>,
}

impl Channels for Fake {
    async fn publish(&self, room: &str, event: &str, payload: &Value) -> u32 {
        self.record.borrow_mut().published.push((room.into(), event.into(), payload.clone()));
        self.script.listeners
    }
}

/// A job of a picture: the script's events, then its end.
pub struct FakeJob {
    events: std::vec::IntoIter<Event>,
    order: Order,
    size: Size,
    fake: Fake,
}

impl Drop for FakeJob {
    fn drop(&mut self) {
        self.fake.record.borrow_mut().jobs_dropped += 1;
    }
}

impl Job for FakeJob {
    type Image = Size;

    async fn next_event(&mut self) -> Option<Event> {
        let event = self.events.next();
        if event.is_none() && self.fake.script.never_ends {
            future::pending::<()>().await;
        }
        event
    }

    async fn outcome(self) -> Result<Outcome<Size>, GenerationError> {
        if let Some(error) = &self.fake.script.fails {
            return Err(error.clone());
        }
        let first = self.order.seed.unwrap_or(7);
        let pictures = (0..u64::from(self.order.count)).map(|i| (self.size, first + i)).collect();
        let (model, notes) = (self.order.model.clone(), vec!["a note".into()]);
        Ok(Outcome { pictures, model, size: self.size, notes })
    }
}

impl Host for Fake {
    type Image = Size;
    type Job = FakeJob;

    fn config(&self, key: &str) -> Option<String> {
        self.script.config.get(key).cloned()
    }

    fn unix_seconds(&self) -> u64 {
        self.record.borrow().unix_seconds
    }

    async fn sleep_ms(&self, _ms: u64) {
        future::pending().await
    }

    async fn models(&self) -> Vec<Model> {
        self.script.models.clone()
    }

    async fn absent_models(&self) -> Vec<AbsentModel> {
        self.script.absent.clone()
    }

    async fn style(&self, prompt: Prompt) -> Result<Prompt, StageError> {
        Ok(Prompt { text: format!("{}, styled", prompt.text), ..prompt })
    }

    async fn select(&self, hints: Hints, _candidates: &[Model]) -> Result<Choice, StageError> {
        self.record.borrow_mut().hints.push(hints);
        self.script.select.clone()
    }

    async fn finish(&self, picture: Size, _prompt: &str, target: Option<Size>) -> Result<Size, StageError> {
        Ok(target.unwrap_or(picture))
    }

    /// Pictures are written as their sizes, such as `10x20`; anything else is none.
    async fn decode(&self, bytes: Vec<u8>) -> Result<Size, ImageError> {
        let text = String::from_utf8(bytes).unwrap_or_default();
        let sides = text.split_once('x').map(|(width, height)| (width.parse(), height.parse()));
        match sides {
            Some((Ok(width), Ok(height))) => Ok(Size { width, height }),
            _ => Err(ImageError::Refused("this is no picture".into())),
        }
    }

    fn size(&self, picture: &Size) -> Size {
        *picture
    }

    fn share(&self, picture: &Size) -> Size {
        *picture
    }

    async fn resize(&self, _picture: &Size, size: Size) -> Result<Size, ImageError> {
        Ok(size)
    }

    async fn png(&self, picture: &Size) -> Result<Vec<u8>, ImageError> {
        Ok(format!("png {picture}").into_bytes())
    }

    async fn generate(&self, order: Order, source: Source<'_, Size>) -> Result<FakeJob, GenerationError> {
        let (source, strength) = match source {
            Source::None => (None, None),
            Source::Start { picture, strength } | Source::Inpaint { picture, strength, .. } => {
                (Some(*picture), strength)
            }
            Source::Edit { picture, guidance } => (Some(*picture), guidance),
        };
        self.record.borrow_mut().orders.push(Ordered { order: order.clone(), source, strength });
        if let Some(error) = &self.script.refuse {
            return Err(error.clone());
        }
        let native = self.script.models.iter().find(|model| model.id == order.model);
        let native = native.ok_or_else(|| GenerationError::UnknownModel(order.model.clone()))?.native_size;
        let size = order.size.unwrap_or(native);
        Ok(FakeJob { events: self.script.events.clone().into_iter(), order, size, fake: self.clone() })
    }

    async fn call(&self, _call: Call) -> Result<(u16, Vec<u8>), CallError> {
        Err(CallError("nothing is posted here".into()))
    }
}

/// A job of speech: its end, and a word before it.
pub struct FakeTranscription(Fake, bool);

impl Drop for FakeTranscription {
    fn drop(&mut self) {
        self.0.record.borrow_mut().jobs_dropped += 1;
    }
}

impl Transcription for FakeTranscription {
    async fn next_event(&mut self) -> Option<SpeechEvent> {
        let is_first = !std::mem::replace(&mut self.1, true);
        is_first.then(|| SpeechEvent::Heard { text: "a".into(), heard_seconds: 1.0, total_seconds: 1.0 })
    }

    async fn outcome(self) -> Result<Transcript, GenerationError> {
        match &self.0.script.fails {
            Some(error) => Err(error.clone()),
            None => Ok(self.0.script.heard.clone()),
        }
    }
}

impl Speech for Fake {
    type Recording = Vec<u8>;
    type Transcription = FakeTranscription;

    async fn speech_models(&self) -> Vec<SpeechModel> {
        let ids = self.script.ears.iter();
        let languages = vec!["en".to_owned(), "fr".to_owned()];
        ids.map(|id| SpeechModel {
            id: (*id).to_owned(),
            description: String::new(),
            languages: languages.clone(),
        })
        .collect()
    }

    async fn recording(&self, bytes: Vec<u8>) -> Result<Vec<u8>, AudioError> {
        match bytes.as_slice() {
            b"noise" => Err(AudioError::Refused("this is no recording".into())),
            b"long" => Err(AudioError::TooLarge("601 seconds; limits.audio-seconds is 600".into())),
            _ => Ok(bytes),
        }
    }

    async fn transcribe(
        &self,
        order: SpeechOrder,
        _recording: &Vec<u8>,
    ) -> Result<FakeTranscription, GenerationError> {
        self.record.borrow_mut().speech.push(order);
        match &self.script.refuse {
            Some(error) => Err(error.clone()),
            None => Ok(FakeTranscription(self.clone(), false)),
        }
    }
}

impl Storage for Fake {
    async fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.script.storage.clone()?;
        self.memory.get(bucket, key).await
    }

    async fn replace(
        &self,
        bucket: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
    ) -> Result<bool, StorageError> {
        self.memory.replace(bucket, key, expected, value).await
    }

    async fn add(&self, bucket: &str, key: &str, delta: i64) -> Result<i64, StorageError> {
        self.script.storage.clone()?;
        self.memory.add(bucket, key, delta).await
    }

    async fn read(&self, container: &str, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.memory.read(container, name).await
    }

    async fn write(&self, container: &str, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.script.objects.clone()?;
        self.memory.write(container, name, bytes).await
    }

    async fn remove(&self, container: &str, name: &str) -> Result<(), StorageError> {
        self.memory.remove(container, name).await
    }
}

impl Machine for Fake {
    async fn usage(&self) -> Result<Figures, MachineError> {
        self.script.usage.clone()
    }
}

impl Copies for Fake {
    async fn services(&self) -> Vec<Service> {
        self.script.services.clone()
    }

    async fn object_copy(
        &self,
        container: &str,
        name: &str,
        _wait_ms: u32,
    ) -> Result<Option<ObjectCopy>, CopyError> {
        let placed = |copy: ObjectCopy| ObjectCopy { url: format!("{}{container}/{name}", copy.url), ..copy };
        self.script.copy.clone().map(|copy| copy.map(placed))
    }
}
