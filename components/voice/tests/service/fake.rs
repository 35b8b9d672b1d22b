//! A host that hears and understands what its script says, and draws nothing: recordings are the bytes that were sent,
//! pictures are their sizes, and every job is written down.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use atelier_kit::fake::{drawing, events, form, json, whole};
use atelier_kit::host::{
    AbsentModel, Call, CallError, Choice, Event, GenerationError, Hints, ImageError, Job, Model, Order,
    Outcome, Prompt, Size, Source, StageError,
};
use atelier_kit::http::{Reply, Request, Response};
use atelier_kit::intent::{Action, Intention, Interpret};
use atelier_kit::speech::{
    AudioError, Language, Segment, SpeechEvent, SpeechModel, SpeechOrder, Transcript, Transcription, Word,
};
use atelier_kit::{Host, Speech};
use futures::executor::block_on;
use futures::future;
use serde_json::Value;

/// What the fake does; every test changes what it is about.
pub(crate) struct Script {
    pub(crate) config: HashMap<&'static str, String>,
    pub(crate) ears: Vec<&'static str>,
    pub(crate) absent: Vec<AbsentModel>,
    pub(crate) heard: Result<Transcript, GenerationError>,
    pub(crate) refuse: Option<GenerationError>,
    pub(crate) never_ends: bool,
    pub(crate) intention: Result<Intention, StageError>,
    pub(crate) models: Vec<Model>,
    pub(crate) select: Result<Choice, StageError>,
    pub(crate) style: Result<(), StageError>,
}

/// What was asked of the fake.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) speech: Vec<SpeechOrder>,
    pub(crate) commands: Vec<String>,
    pub(crate) hints: Vec<(Hints, Vec<String>)>,
    /// Orders, and the size of the picture that each changes.
    pub(crate) orders: Vec<(Order, Option<Size>)>,
    pub(crate) jobs_dropped: usize,
}

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) script: Rc<Script>,
    pub(crate) record: Rc<RefCell<Record>>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            config: HashMap::new(),
            ears: vec!["ear", "whisper"],
            absent: Vec::new(),
            heard: Ok(boat()),
            refuse: None,
            never_ends: false,
            intention: Ok(intention(Action::Create, "", "a red boat")),
            models: vec![painter("nano", true, false), painter("nano-edit", false, true)],
            select: Err(StageError::NotConfigured("add `select` to route \"a\"".into())),
            style: Ok(()),
        }
    }
}

pub(crate) fn intention(action: Action, target: &str, prompt: &str) -> Intention {
    Intention { action, target: target.into(), prompt: prompt.into() }
}

/// A model that draws pictures of 128 pixels a side, or changes them.
pub(crate) fn painter(id: &str, draws: bool, edits: bool) -> Model {
    Model {
        description: String::new(),
        text_to_image: draws,
        image_to_image: draws,
        edit: edits,
        inpaint: false,
        clip_skip: false,
        emphasis: false,
        min_side: 128,
        max_side: 128,
        schedules: Vec::new(),
        ..drawing(id)
    }
}

impl Script {
    pub(crate) fn host(self) -> Fake {
        Fake { script: Rc::new(self), record: Rc::default() }
    }

    pub(crate) fn with_config(mut self, key: &'static str, value: &str) -> Self {
        self.config.insert(key, value.into());
        self
    }
}

/// Two sentences in Finnish, one with a word.
pub(crate) fn boat() -> Transcript {
    let segment = |start, end, text: &str, words| Segment {
        start,
        end,
        text: text.into(),
        tokens: vec![1, 2],
        avg_logprob: -0.25,
        compression_ratio: 1.5,
        no_speech_prob: 0.0,
        temperature: 0.0,
        words,
    };
    let word = Word { word: " vene.".into(), start: 1.0, end: 1.5 };
    Transcript {
        text: " Punainen vene. Se\n\nkulkee --> pois.".into(),
        language: Some(Language { code: "fi".into(), name: "finnish".into(), probability: Some(0.9) }),
        segments: vec![
            segment(0.0, 1.5, " Punainen vene.", vec![word]),
            segment(3_661.5, 3_662.0, " Se\n\nkulkee --> pois.", Vec::new()),
        ],
        seconds: 3_662.0,
        model: "ear".into(),
        notes: Vec::new(),
    }
}

/// A job that tells the segments of its script.
pub(crate) struct FakeTranscription {
    events: std::vec::IntoIter<SpeechEvent>,
    script: Rc<Script>,
    record: Rc<RefCell<Record>>,
}

impl Drop for FakeTranscription {
    fn drop(&mut self) {
        self.record.borrow_mut().jobs_dropped += 1;
    }
}

impl Transcription for FakeTranscription {
    async fn next_event(&mut self) -> Option<SpeechEvent> {
        let event = self.events.next();
        if event.is_none() && self.script.never_ends {
            future::pending::<()>().await;
        }
        event
    }

    async fn outcome(self) -> Result<Transcript, GenerationError> {
        self.script.heard.clone()
    }
}

impl Speech for Fake {
    type Recording = Vec<u8>;
    type Transcription = FakeTranscription;

    async fn speech_models(&self) -> Vec<SpeechModel> {
        let model = |id: &&str| SpeechModel {
            id: (*id).to_owned(),
            description: String::new(),
            languages: vec!["en".into(), "fi".into()],
        };
        self.script.ears.iter().map(model).collect()
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
        if let Some(error) = &self.script.refuse {
            return Err(error.clone());
        }
        let segments = self.script.heard.as_ref().map(|heard| heard.segments.clone()).unwrap_or_default();
        let heard = |segment: Segment| SpeechEvent::Heard {
            text: segment.text,
            heard_seconds: segment.end,
            total_seconds: 3_662.0,
        };
        let begin = [SpeechEvent::Queued { position: 1, eta_ms: None }, SpeechEvent::Started];
        let events: Vec<_> = begin.into_iter().chain(segments.into_iter().map(heard)).collect();
        let (script, record) = (self.script.clone(), self.record.clone());
        Ok(FakeTranscription { events: events.into_iter(), script, record })
    }
}

impl Interpret for Fake {
    async fn interpret(&self, command: String) -> Result<Intention, StageError> {
        self.record.borrow_mut().commands.push(command);
        self.script.intention.clone()
    }
}

/// A job of a picture, in two steps.
pub(crate) struct FakeJob {
    order: Order,
    step: u32,
}

impl Job for FakeJob {
    type Image = Size;

    async fn next_event(&mut self) -> Option<Event> {
        self.step += 1;
        (self.step <= 2).then_some(Event::Step { step: self.step, total: 2, elapsed_ms: 1 })
    }

    async fn outcome(self) -> Result<Outcome<Size>, GenerationError> {
        let Order { model, size, seed, .. } = self.order;
        let size = size.unwrap_or(Size { width: 128, height: 128 });
        Ok(Outcome { pictures: vec![(size, seed.unwrap_or(7))], model, size, notes: vec!["a note".into()] })
    }
}

impl Host for Fake {
    type Image = Size;
    type Job = FakeJob;

    fn config(&self, key: &str) -> Option<String> {
        self.script.config.get(key).cloned()
    }

    fn unix_seconds(&self) -> u64 {
        1_700_000_000
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
        self.script.style.clone()?;
        let model = prompt.model.clone().unwrap_or_default();
        Ok(Prompt { text: format!("{} for {model}", prompt.text), ..prompt })
    }

    async fn select(&self, hints: Hints, candidates: &[Model]) -> Result<Choice, StageError> {
        let ids = candidates.iter().map(|model| model.id.clone()).collect();
        self.record.borrow_mut().hints.push((hints, ids));
        self.script.select.clone()
    }

    async fn finish(&self, picture: Size, _prompt: &str, _target: Option<Size>) -> Result<Size, StageError> {
        Ok(picture)
    }

    async fn decode(&self, bytes: Vec<u8>) -> Result<Size, ImageError> {
        match bytes.as_slice() {
            b"bomb" => Err(ImageError::Refused("the picture is 65535x65535".into())),
            b"odd" => Ok(Size { width: 10, height: 20 }),
            _ => Ok(Size { width: 128, height: 128 }),
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
        let changed = match source {
            Source::None => None,
            Source::Edit { picture, .. } => Some(*picture),
            other => panic!("nothing else is asked for: {other:?}"),
        };
        self.record.borrow_mut().orders.push((order.clone(), changed));
        match &self.script.refuse {
            Some(error) => Err(error.clone()),
            None => Ok(FakeJob { order, step: 0 }),
        }
    }

    async fn call(&self, _call: Call) -> Result<(u16, Vec<u8>), CallError> {
        Err(CallError("nothing is posted here".into()))
    }
}

impl Fake {
    pub(crate) fn reply(&self, request: Request) -> Reply {
        block_on(voice::api::handle(self.clone(), Ok(request)))
    }

    pub(crate) fn answer(&self, request: Request) -> Response {
        whole(self.reply(request))
    }

    /// Posts a form and gives status and JSON.
    pub(crate) fn post_json(&self, path: &str, parts: &[(&str, &str)]) -> (u16, Value) {
        json(self.reply(post(path, parts)))
    }

    /// Posts a form and gives the text of the answer.
    pub(crate) fn post_text(&self, path: &str, parts: &[(&str, &str)]) -> String {
        let response = self.answer(post(path, parts));
        assert_eq!(response.status, 200);
        String::from_utf8(response.body).expect("text")
    }

    /// Posts for a stream and reads it to its end.
    pub(crate) fn stream(&self, request: Request) -> Vec<(String, Value)> {
        events(self.reply(request)).1
    }
}

pub(crate) const TRANSCRIBE: &str = "/v1/audio/transcriptions";
pub(crate) const TRANSLATE: &str = "/v1/audio/translations";

pub(crate) const LISTEN: &str = "/listen";

/// A form of these parts.
pub(crate) fn post(path: &str, parts: &[(&str, &str)]) -> Request {
    let named = |(name, content): &(&str, &str)| match *name {
        "file" | "audio" | "picture" => (format!("{name}@"), (*content).to_owned()),
        name => (name.to_owned(), (*content).to_owned()),
    };
    let parts: Vec<_> = parts.iter().map(named).collect();
    let parts: Vec<_> = parts.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
    form(path, &parts)
}
