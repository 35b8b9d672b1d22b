//! A host whose recordings are what is said in them, whose pictures are their own descriptions, and which keeps what it is
//! given in its memory. A [`Browser`] asks it and keeps its cookie. What it asks of another server, a second fake answers, or a
//! script does.

mod background;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use atelier_kit::channels::{self, Client, Peer, Welcome};
use atelier_kit::fake::{drawing, events, get, whole};
use atelier_kit::host::{
    AbsentModel, Call, CallError, Choice, Event, GenerationError, Hints, ImageError, Job, Model, Order,
    Outcome, Prompt, Size, Source, StageError,
};
use atelier_kit::http::{Reply, Request, Response};
use atelier_kit::intent::{Action, Intention, Interpret};
use atelier_kit::speech::{
    AudioError, Language, SpeechEvent, SpeechModel, SpeechOrder, Transcript, Transcription,
};
use atelier_kit::storage::{Memory, Storage, StorageError};
use atelier_kit::{Album, Channels, Host, Speech};
use futures::executor::block_on;
use futures::future;
use serde_json::Value;

pub(crate) use background::Elsewhere;

/// The side of the fake models' pictures.
const SIDE: Size = Size { width: 128, height: 128 };

/// What the fake does; every test changes what it is about.
pub(crate) struct Script {
    pub(crate) config: HashMap<&'static str, String>,
    pub(crate) ears: Vec<&'static str>,
    pub(crate) models: Vec<Model>,
    pub(crate) absent: Vec<AbsentModel>,
    pub(crate) refuse: Option<GenerationError>,
    pub(crate) style: Option<&'static str>,
    /// How many clients are in every room.
    pub(crate) listeners: u32,
    /// Of everything that is kept, once it is reached.
    pub(crate) stored_bytes: usize,
    /// Whether painting stops after each event until it is looked at again.
    pub(crate) slow: bool,
}

impl Default for Script {
    fn default() -> Self {
        let config = [
            ("local-fast", "create=nano, create-steps=4, edit=nano-edit"),
            ("local-quality", "create=nano, create-steps=12, edit=nano-edit"),
        ];
        Self {
            config: config.into_iter().map(|(key, value)| (key, value.to_owned())).collect(),
            ears: vec!["whisper-tiny", "whisper-turbo"],
            models: vec![painter("nano", true), painter("nano-edit", false)],
            absent: Vec::new(),
            refuse: None,
            style: None,
            listeners: 0,
            stored_bytes: usize::MAX,
            slow: false,
        }
    }
}

impl Script {
    pub(crate) fn with_config(mut self, key: &'static str, value: &str) -> Self {
        self.config.insert(key, value.into());
        self
    }

    pub(crate) fn host(self) -> Fake {
        Fake {
            script: Rc::new(self),
            memory: Rc::default(),
            record: Rc::default(),
            clock: Rc::new(Cell::new(1_795_378_530)),
            jobs: atelier_kit::fake::Script::default().host(),
            elsewhere: Rc::new(RefCell::new(Elsewhere::Nobody)),
            begins: Rc::default(),
        }
    }
}

/// A model that makes pictures, or changes them.
pub(crate) fn painter(id: &str, makes: bool) -> Model {
    let (min_side, max_side) = (SIDE.width, SIDE.width);
    Model { text_to_image: makes, edit: !makes, loaded: false, min_side, max_side, ..drawing(id) }
}

/// What was asked of the fake.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) speech: Vec<SpeechOrder>,
    /// Orders, and the picture that each changes.
    pub(crate) orders: Vec<(Order, Option<String>)>,
    pub(crate) calls: Vec<Call>,
    /// What rooms of clients were sent.
    pub(crate) published: Vec<(String, String, Value)>,
}

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) script: Rc<Script>,
    pub(crate) memory: Rc<Memory>,
    pub(crate) record: Rc<RefCell<Record>>,
    pub(crate) clock: Rc<Cell<u64>>,
    /// Keeps background jobs; nothing else is asked of it.
    pub(crate) jobs: atelier_kit::fake::Fake,
    pub(crate) elsewhere: Rc<RefCell<Elsewhere>>,
    /// Whether background jobs begin as soon as they are submitted.
    pub(crate) begins: Rc<Cell<bool>>,
}

/// A recording that was heard already.
pub(crate) struct FakeTranscription(String);

impl Transcription for FakeTranscription {
    async fn next_event(&mut self) -> Option<SpeechEvent> {
        None
    }

    async fn outcome(self) -> Result<Transcript, GenerationError> {
        let language = Language { code: "en".into(), name: "english".into(), probability: Some(0.9) };
        Ok(Transcript { text: format!(" {} ", self.0), language: Some(language), ..Transcript::default() })
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
        recording: &Vec<u8>,
    ) -> Result<FakeTranscription, GenerationError> {
        self.record.borrow_mut().speech.push(order);
        Ok(FakeTranscription(String::from_utf8_lossy(recording).trim_matches('-').to_owned()))
    }
}

impl Interpret for Fake {
    async fn interpret(&self, command: String) -> Result<Intention, StageError> {
        let intention =
            |action, prompt: &str| Intention { action, target: String::new(), prompt: prompt.into() };
        Ok(match command.split_once(' ') {
            Some(("create", what)) => intention(Action::Create, what),
            Some(("make", _)) => intention(Action::Edit, &command),
            _ if command == "back" => intention(Action::Undo, ""),
            _ if command == "nonsense" => return Err(StageError::Refused("this is no command".into())),
            _ => intention(Action::None, ""),
        })
    }
}

impl Channels for Fake {
    async fn publish(&self, room: &str, event: &str, payload: &Value) -> u32 {
        self.record.borrow_mut().published.push((room.into(), event.into(), payload.clone()));
        self.script.listeners
    }
}

/// A job of four steps, of which the second is shown.
pub(crate) struct FakeJob {
    order: Order,
    events: std::vec::IntoIter<Event>,
    slow: bool,
}

impl Job for FakeJob {
    type Image = String;

    async fn next_event(&mut self) -> Option<Event> {
        let mut waits = self.slow;
        future::poll_fn(|_| if std::mem::take(&mut waits) { Poll::Pending } else { Poll::Ready(()) }).await;
        self.events.next()
    }

    async fn outcome(self) -> Result<Outcome<String>, GenerationError> {
        let Order { model, prompt, .. } = self.order;
        Ok(Outcome { pictures: vec![(prompt, 7)], model, size: SIDE, notes: vec!["a note".into()] })
    }
}

impl Host for Fake {
    type Image = String;
    type Job = FakeJob;

    fn config(&self, key: &str) -> Option<String> {
        self.script.config.get(key).cloned()
    }

    fn unix_seconds(&self) -> u64 {
        self.clock.get()
    }

    /// Streams are not kept alive; whoever waits for a background job finds it done.
    async fn sleep_ms(&self, ms: u64) {
        if ms == atelier_kit::sse::KEEP_ALIVE_MS {
            future::pending::<()>().await;
        }
        // in a box: a job may wait as well
        let work: Pin<Box<dyn Future<Output = ()>>> = Box::pin(self.work_off());
        work.await;
    }

    async fn models(&self) -> Vec<Model> {
        self.script.models.clone()
    }

    async fn absent_models(&self) -> Vec<AbsentModel> {
        self.script.absent.clone()
    }

    async fn style(&self, prompt: Prompt) -> Result<Prompt, StageError> {
        match self.script.style {
            Some(style) => Ok(Prompt { text: format!("{}, {style}", prompt.text), ..prompt }),
            None => Err(StageError::NotConfigured("add `style` to route \"a\"".into())),
        }
    }

    async fn select(&self, _hints: Hints, _candidates: &[Model]) -> Result<Choice, StageError> {
        Err(StageError::NotConfigured("add `select` to route \"a\"".into()))
    }

    async fn finish(&self, picture: String, _: &str, _: Option<Size>) -> Result<String, StageError> {
        Ok(picture)
    }

    async fn decode(&self, bytes: Vec<u8>) -> Result<String, ImageError> {
        let text = String::from_utf8(bytes).map_err(|_| ImageError::Refused("no picture".into()))?;
        Ok(text.trim_start_matches("webp ").to_owned())
    }

    fn size(&self, picture: &String) -> Size {
        if picture.starts_with("large") { Size { width: 512, height: 512 } } else { SIDE }
    }

    fn share(&self, picture: &String) -> String {
        picture.clone()
    }

    async fn resize(&self, picture: &String, _size: Size) -> Result<String, ImageError> {
        Ok(picture.clone())
    }

    async fn png(&self, picture: &String) -> Result<Vec<u8>, ImageError> {
        Ok(format!("png {picture}").into_bytes())
    }

    async fn generate(&self, order: Order, source: Source<'_, String>) -> Result<FakeJob, GenerationError> {
        let changed = match source {
            Source::None => None,
            Source::Edit { picture, .. } => Some(picture.clone()),
            other => panic!("nothing else is asked for: {other:?}"),
        };
        self.record.borrow_mut().orders.push((order.clone(), changed));
        if let Some(error) = &self.script.refuse {
            return Err(error.clone());
        }
        let step = |step| Event::Step { step, total: 4, elapsed_ms: 1 };
        let events = vec![
            Event::Queued { position: 2, eta_ms: Some(1_500) },
            Event::Started,
            step(1),
            step(2),
            Event::Preview { index: 0, step: 2, png: b"early".to_vec() },
            step(4),
        ];
        Ok(FakeJob { order, events: events.into_iter(), slow: self.script.slow })
    }

    async fn call(&self, call: Call) -> Result<(u16, Vec<u8>), CallError> {
        self.record.borrow_mut().calls.push(call.clone());
        background::ask(self, call).await
    }
}

impl Album for Fake {
    async fn webp(&self, picture: &String) -> Result<Vec<u8>, ImageError> {
        Ok(format!("webp {picture}").into_bytes())
    }

    async fn thumbnail(&self, picture: &String, max_side: u32) -> Result<String, ImageError> {
        Ok(format!("{picture} in {max_side}"))
    }
}

impl Storage for Fake {
    async fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
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
        self.memory.add(bucket, key, delta).await
    }

    async fn read(&self, container: &str, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.memory.read(container, name).await
    }

    async fn write(&self, container: &str, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let stored: usize = self.memory.objects.borrow().values().map(Vec::len).sum();
        if stored + bytes.len() > self.script.stored_bytes {
            return Err(StorageError::Full("tenant.quotas.stored-bytes is used up".into()));
        }
        self.memory.write(container, name, bytes).await
    }

    async fn remove(&self, container: &str, name: &str) -> Result<(), StorageError> {
        self.memory.remove(container, name).await
    }
}

/// One who asks from somewhere, and keeps the cookie.
pub(crate) struct Browser<'a> {
    host: &'a Fake,
    address: &'static str,
    pub(crate) agent: Cell<&'static str>,
    pub(crate) cookie: RefCell<Option<String>>,
}

impl Fake {
    pub(crate) fn browser(&self) -> Browser<'_> {
        self.browser_at("192.0.2.1")
    }

    pub(crate) fn browser_at(&self, address: &'static str) -> Browser<'_> {
        Browser { host: self, address, agent: Cell::new("a test"), cookie: RefCell::default() }
    }
}

impl Browser<'_> {
    /// Connects with the browser's headers: the welcome, or why there is none.
    pub(crate) fn connect(&self) -> Result<Welcome, String> {
        let mut client = Client { id: "c".into(), path: "/kuvagen/socket.io/".into(), ..Client::default() };
        client.headers.add("x-forwarded-for", self.address);
        client.headers.add("user-agent", self.agent.get());
        if let Some(cookie) = &*self.cookie.borrow() {
            client.headers.add("cookie", &format!("other=1; {cookie}"));
        }
        block_on(voice_studio::channel::welcome(self.host.clone(), client))
    }

    /// Sends an event as one who was welcomed so.
    pub(crate) fn send(&self, welcome: &Welcome, name: &str, payload: Value) -> Result<Value, String> {
        let peer = Peer { id: "c".into(), note: welcome.note.clone() };
        let event = channels::Event { name: name.into(), payload };
        block_on(voice_studio::channel::receive(self.host.clone(), peer, event))
    }

    fn reply(&self, mut request: Request) -> Reply {
        request.headers.add("x-forwarded-for", self.address);
        request.headers.add("user-agent", self.agent.get());
        if let Some(cookie) = &*self.cookie.borrow() {
            request.headers.add("cookie", &format!("other=1; {cookie}"));
        }
        let reply = block_on(voice_studio::api::handle(self.host.clone(), Ok(request)));
        let (Reply::Whole(head) | Reply::Stream(head, _)) = &reply;
        if let Some(cookie) = head.headers.get("set-cookie") {
            let pair = cookie.split(';').next().expect("a pair").to_owned();
            self.cookie.replace(Some(pair));
        }
        reply
    }

    pub(crate) fn answer(&self, request: Request) -> Response {
        whole(self.reply(request))
    }

    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        json(&self.answer(get(path)))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        json(&self.answer(post(path, body)))
    }

    /// Gives a command in writing, and what came of it.
    pub(crate) fn command(&self, text: &str) -> (u16, Value) {
        json(&self.answer(form(&[("text", text)])))
    }

    /// Gives a form for a stream of events, and reads it to its end.
    pub(crate) fn events(&self, parts: &[(&str, &str)]) -> Vec<(String, Value)> {
        let mut request = form(parts);
        request.headers.add("accept", "text/event-stream");
        events(self.reply(request)).1
    }
}

fn json(response: &Response) -> (u16, Value) {
    (response.status, serde_json::from_slice(&response.body).unwrap_or(Value::Null))
}

pub(crate) fn post(path: &str, body: &Value) -> Request {
    Request {
        method: "POST".into(),
        path: path.into(),
        headers: [("content-type", "application/json")].into_iter().collect(),
        body: body.to_string().into_bytes(),
        ..Request::default()
    }
}

/// A command's form of these parts.
pub(crate) fn form(parts: &[(&str, &str)]) -> Request {
    let parts: Vec<_> =
        parts.iter().map(|(name, text)| (if *name == "audio" { "audio@" } else { name }, *text)).collect();
    atelier_kit::fake::form("/kuvagen/process_command", &parts)
}
