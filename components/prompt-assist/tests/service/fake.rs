//! A host that draws nothing: pictures are their sizes, jobs end when told to, and every call is written down.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use atelier_kit::fake::{drawing, events, json, whole};
use atelier_kit::host::{
    AbsentModel, Call, CallError, Choice, Event, GenerationError, Hints, ImageError, Job, Model, Order,
    Outcome, Prompt, Size, Source, StageError, StepCacheKind,
};
use atelier_kit::http::{Reply, Request, Response};
use atelier_kit::{Host, sse};
use futures::executor::block_on;
use futures::future;
use serde_json::Value;

/// What the fake does; every test changes what it is about.
pub(crate) struct Script {
    pub(crate) config: HashMap<&'static str, String>,
    pub(crate) models: Vec<Model>,
    pub(crate) absent: Vec<AbsentModel>,
    pub(crate) select: Result<Choice, StageError>,
    pub(crate) style: Result<(), StageError>,
    pub(crate) finish: Result<bool, StageError>,
    pub(crate) refuse: Option<GenerationError>,
    pub(crate) longest_prompt: usize,
    pub(crate) events: Vec<Event>,
    pub(crate) never_ends: bool,
    pub(crate) answer: Result<(u16, String), CallError>,
}

/// What was asked of the fake.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) hints: Vec<Hints>,
    pub(crate) orders: Vec<(Order, Option<f64>)>,
    pub(crate) calls: Vec<(String, Value)>,
    pub(crate) resized: usize,
    pub(crate) jobs_dropped: usize,
}

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) script: Rc<Script>,
    pub(crate) record: Rc<RefCell<Record>>,
}

/// The model of the default manifest.
pub(crate) fn nano() -> Model {
    Model {
        description: "small illustrations".into(),
        min_side: 128,
        max_side: 128,
        adapters: vec!["ink".into()],
        step_cache: StepCacheKind::Deep(9),
        ..drawing("atelier-nano")
    }
}

/// A model that draws the sizes of the service itself.
pub(crate) fn large() -> Model {
    let native = Size { width: 512, height: 512 };
    let (id, source) = ("sd15".into(), "hub:owner/name@main".into());
    Model { id, source, native_size: native, min_side: 256, max_side: 1024, device: "cuda".into(), ..nano() }
}

impl Default for Script {
    fn default() -> Self {
        Self {
            config: HashMap::new(),
            models: vec![nano()],
            absent: Vec::new(),
            select: Ok(Choice { model: "atelier-nano".into(), reason: "the only one".into() }),
            style: Ok(()),
            finish: Ok(true),
            refuse: None,
            longest_prompt: 4096,
            events: Vec::new(),
            never_ends: false,
            answer: Err(CallError("the connection was refused".into())),
        }
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

/// A job that tells its script and gives one picture for each that was ordered.
pub(crate) struct FakeJob {
    events: std::vec::IntoIter<Event>,
    never_ends: bool,
    order: Order,
    record: Rc<RefCell<Record>>,
}

impl Drop for FakeJob {
    fn drop(&mut self) {
        self.record.borrow_mut().jobs_dropped += 1;
    }
}

impl Job for FakeJob {
    type Image = Size;

    async fn next_event(&mut self) -> Option<Event> {
        let event = self.events.next();
        if event.is_none() && self.never_ends {
            future::pending::<()>().await;
        }
        event
    }

    async fn outcome(self) -> Result<Outcome<Size>, GenerationError> {
        let size = self.order.size.expect("a size is always ordered");
        let first = self.order.seed.unwrap_or(7);
        let pictures = (0..u64::from(self.order.count)).map(|i| (size, first + i)).collect();
        Ok(Outcome { pictures, model: self.order.model.clone(), size, notes: vec![] })
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

    async fn select(&self, hints: Hints, _candidates: &[Model]) -> Result<Choice, StageError> {
        self.record.borrow_mut().hints.push(hints);
        self.script.select.clone()
    }

    async fn finish(&self, picture: Size, _prompt: &str, target: Option<Size>) -> Result<Size, StageError> {
        let works = self.script.finish.clone()?;
        Ok(target.filter(|_| works).unwrap_or(picture))
    }

    async fn decode(&self, bytes: Vec<u8>) -> Result<Size, ImageError> {
        match bytes.as_slice() {
            b"bomb" => Err(ImageError::Refused("the picture is 65535x65535".into())),
            _ => Ok(Size { width: 10, height: 20 }),
        }
    }

    fn size(&self, picture: &Size) -> Size {
        *picture
    }

    fn share(&self, picture: &Size) -> Size {
        *picture
    }

    async fn resize(&self, _picture: &Size, size: Size) -> Result<Size, ImageError> {
        self.record.borrow_mut().resized += 1;
        Ok(size)
    }

    async fn png(&self, picture: &Size) -> Result<Vec<u8>, ImageError> {
        Ok(format!("png {picture}").into_bytes())
    }

    async fn generate(&self, order: Order, source: Source<'_, Size>) -> Result<FakeJob, GenerationError> {
        if !self.script.models.iter().any(|model| model.id == order.model) {
            let text = format!("model `{}` is not here: pull it", order.model);
            return Err(GenerationError::UnknownModel(text));
        }
        let strength = match source {
            Source::None => None,
            Source::Start { strength, .. } => Some(strength.unwrap_or(0.8)),
            Source::Edit { guidance, .. } => guidance,
            Source::Inpaint { strength, .. } => Some(strength.unwrap_or(1.0)),
        };
        self.record.borrow_mut().orders.push((order.clone(), strength));
        if let Some(error) = &self.script.refuse {
            return Err(error.clone());
        }
        if order.prompt.chars().count() > self.script.longest_prompt {
            let reason = "is longer than the encoder reads; shorten it".into();
            return Err(GenerationError::Invalid { field: "prompt".into(), reason });
        }
        let events = self.script.events.clone().into_iter();
        Ok(FakeJob { events, never_ends: self.script.never_ends, order, record: self.record.clone() })
    }

    async fn call(&self, call: Call) -> Result<(u16, Vec<u8>), CallError> {
        let body = serde_json::from_slice(&call.body).expect("json is posted");
        self.record.borrow_mut().calls.push((call.url, body));
        self.script.answer.clone().map(|(status, body)| (status, body.into_bytes()))
    }
}

impl Fake {
    pub(crate) fn reply(&self, request: Request) -> Reply {
        block_on(prompt_assist::api::handle(self.clone(), Ok(request)))
    }

    pub(crate) fn answer(&self, request: Request) -> Response {
        whole(self.reply(request))
    }

    /// Posts JSON and gives status and JSON.
    pub(crate) fn post_json(&self, path: &str, body: &Value) -> (u16, Value) {
        json(self.reply(post(path, &body.to_string(), "*/*")))
    }

    /// Posts for a stream and reads it to its end.
    pub(crate) fn stream(&self, body: &Value) -> Vec<(String, Value)> {
        let (head, told) = events(self.reply(post(GENERATE, &body.to_string(), "text/event-stream")));
        assert_eq!(head.headers, sse::head().with("vary", "accept").headers);
        told
    }
}

pub(crate) const GENERATE: &str = "/v1/images/generations";
pub(crate) const ENHANCE: &str = "/v1/prompts/enhance";

pub(crate) fn post(path: &str, body: &str, accept: &str) -> Request {
    let headers =
        [("accept", accept), ("content-type", "application/x-www-form-urlencoded")].into_iter().collect();
    Request {
        method: "POST".into(),
        path: path.into(),
        headers,
        body: body.as_bytes().to_vec(),
        ..Request::default()
    }
}
