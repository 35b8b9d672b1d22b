//! `POST /api/{model}/t2i` and `/i2i`: from a request to a job that the host keeps. Everything that can be refused is refused here,
//! so that an id stands for work that can be done.

use atelier_kit::fastapi::Failure;
use atelier_kit::fields::{Fault, Faults};
use atelier_kit::http::{Request, Response};
use atelier_kit::jobs::{Cache, JobsError, Receipt, Submission, Webhook};
use atelier_kit::{Host, Jobs};
use serde_json::{Value, json};

use crate::api::Capable;
use crate::inputs::{self, Kept};
use crate::models::{self, Drawer, Make};
use crate::task::Task;
use crate::wish::{CACHE_SECONDS, WEBHOOK_URL, Wish};
use crate::{settings, view};

/// The header under which a client may send its tasks again.
pub(crate) const KEY: &str = "idempotency-key";

/// The longest key.
pub(crate) const MAX_KEY: usize = 255;

/// The service's word for a task in its errors.
pub(crate) const SESSION: &str = "Session";

/// What the original answers, letter for letter.
pub(crate) const MESSAGE: &str = "Task submitted. Use /api/{session_id}/status to check progress.";

/// What holds for every task of a request.
pub(crate) struct Terms {
    /// Under which the client may send it again.
    pub(crate) key: Option<String>,
    /// What stands before the service's paths.
    pub(crate) base: String,
    keep_seconds: Option<u32>,
}

impl Terms {
    /// Reads them off a request and the route's configuration.
    pub(crate) fn read(host: &impl Host, request: &Request) -> Result<Self, Failure> {
        let key = request.headers.get(KEY);
        if let Some(key) = key.filter(|key| !(1..=MAX_KEY).contains(&key.len())) {
            let text = format!("`{KEY}` has {} bytes; send 1 to {MAX_KEY}", key.len());
            return Err(Failure::new(400, text));
        }
        Ok(Self {
            key: key.map(str::to_owned),
            base: settings::base(host, request),
            keep_seconds: settings::task_ttl(host)?,
        })
    }

    /// The job of a task; `place` tells the tasks of a request apart.
    pub(crate) fn submission(
        &self,
        place: &str,
        drawer: &Drawer,
        make: Make,
        wish: &Wish,
        task: &Task,
    ) -> Submission {
        let kind = format!("{}/{}", drawer.name, make.word());
        Submission {
            key: self.key.as_ref().map(|key| format!("{place} {key}")),
            priority: wish.priority,
            keep_seconds: self.keep_seconds,
            webhook: wish.webhook_url.as_deref().map(Webhook::of_end),
            // the model is the task's, and the component and its plugins are the host's to compare
            cache: wish.cache_seconds.map(|seconds| Cache { seconds, models: vec![task.model.clone()] }),
            ..Submission::new(&kind, task.payload())
        }
    }
}

/// Answers with the id of a task.
pub(crate) async fn answer(
    host: &impl Capable,
    request: Request,
    drawer: &Drawer,
    make: Make,
) -> Result<Response, Failure> {
    let terms = Terms::read(host, &request)?;
    let mut wish = Wish::parse(request, drawer, make).await?;
    let model = drawer.model(host).await?;
    models::check(&model, &wish, make)?;
    let mut task = Task::new(&wish, &model, &terms.base);
    let input = match wish.image.take() {
        None => None,
        Some(image) => Some(input(host, &terms, image).await?),
    };
    task.input = input.as_ref().map(|input| input.name.clone());
    let submitted = kept(host, terms.submission("one", drawer, make, &wish, &task)).await;
    match (&submitted, &input) {
        (Ok(receipt), Some(input)) => {
            inputs::belongs(host, &input.name, &receipt.id).await.map_err(Failure::of_storage)?;
        }
        (Err(_), Some(input)) => inputs::give_up(host, input).await,
        (_, None) => {}
    }
    let receipt = submitted.map_err(|error| refused(error, |_, fault| fault))?;
    Ok(Response::json(200, &told(host, receipt, &wish).await))
}

/// Keeps the picture of a task. It is looked at now, so that what is no picture is never queued.
async fn input(host: &impl Capable, terms: &Terms, image: Vec<u8>) -> Result<Kept, Failure> {
    host.decode(image.clone()).await.map_err(|error| Failure::of_picture(error, "image"))?;
    inputs::keep(host, terms.key.as_deref(), &image).await.map_err(Failure::of_storage)
}

/// What the host refuses of jobs, in the request's words; `place` says whose fault it is among several tasks. Everything but who is
/// told, and what may be told again, is right by now.
pub(crate) fn refused(error: JobsError, place: impl Fn(usize, Fault) -> Fault) -> Failure {
    let called = |field: &str| match field {
        "webhook" => Some(WEBHOOK_URL.name()),
        "cache.models" | "cache.seconds" => Some(CACHE_SECONDS.name()),
        _ => None,
    };
    if let Some(wrong) = error.wrong()
        && let Some(field) = called(wrong.field)
    {
        let fault = Fault::invalid(Some(field), wrong.why);
        return Faults::from(vec![place(wrong.job, fault)]).into();
    }
    match error {
        // the host knows the key with the task's place before it
        JobsError::KeyUsed(_) => {
            Failure::new(409, format!("`{KEY}` was used for another task; send this one under a new key"))
        }
        error => Failure::of_jobs(error, SESSION),
    }
}

async fn kept(host: &impl Jobs, submission: Submission) -> Result<Receipt, JobsError> {
    let receipt = host.submit(vec![submission]).await?.into_iter().next();
    // a host that keeps no job and says nothing of it is broken
    receipt.ok_or_else(|| JobsError::Failed("the host kept no job".into()))
}

/// What a client is told of a task that is kept. One that was kept before, under its key, may have come further, and one whose picture is
/// known already may be done.
pub(crate) async fn told(host: &impl Jobs, receipt: Receipt, wish: &Wish) -> Value {
    let may_be_further = receipt.existed || wish.cache_seconds.is_some();
    let known = if may_be_further { host.status(&receipt.id).await.ok() } else { None };
    let status = known.map_or("pending", |standing| view::word(standing.state));
    json!({"session_id": receipt.id, "status": status, "message": MESSAGE})
}
