//! The service's paths and methods. Knows how requests are told apart and nothing of how they are answered.

use atelier_kit::http::{BodyError, Reply, Request, Response};
use atelier_kit::speech::Task;
use atelier_kit::{Host, Interpret, Speech, docs};

use crate::failure::Failure;
use crate::{listen, models, openapi, transcribe};

/// The path that writes speech down in its own language.
pub(crate) const TRANSCRIBE: &str = "/v1/audio/transcriptions";
/// The path that writes speech down in English.
pub(crate) const TRANSLATE: &str = "/v1/audio/translations";
/// The path that takes commands.
pub(crate) const LISTEN: &str = "/listen";
/// The path that lists the models.
pub(crate) const MODELS: &str = "/v1/models";

/// The most bytes of a request body: the largest file that OpenAI's interface takes, 25 MB, and room for the other parts.
pub const BODY_LIMIT: usize = 26 << 20;

/// Everything that this handler asks of its host.
pub trait Ears: Host + Speech<Transcription: 'static> + Interpret + Clone + 'static {}

impl<H: Host + Speech<Transcription: 'static> + Interpret + Clone + 'static> Ears for H {}

/// Answers one request.
pub async fn handle(host: impl Ears, request: Result<Request, BodyError>) -> Reply {
    let reply = match request {
        Ok(request) => route(host, request).await,
        Err(BodyError::TooLarge) => Err(Failure::too_large(format!(
            "the body has more than {BODY_LIMIT} bytes; send a shorter recording, or one in webm, ogg, mp3 or mp4"
        ))),
        Err(BodyError::Incomplete) => Err(Failure::invalid("the body broke off; send it whole")),
    };
    reply.unwrap_or_else(|failure| failure.response().into())
}

async fn route(host: impl Ears, request: Request) -> Result<Reply, Failure> {
    let method = request.method.as_str();
    match request.path.as_str() {
        TRANSCRIBE | TRANSLATE | LISTEN if method != "POST" => Err(Failure::wrong_method(method, "POST")),
        TRANSCRIBE => transcribe::answer(host, request, Task::Transcribe).await,
        TRANSLATE => transcribe::answer(host, request, Task::Translate).await,
        LISTEN => listen::answer(host, request).await,
        _ => page(&host, &request).await,
    }
}

/// What can be read: the models and the documentation.
async fn page(host: &impl Ears, request: &Request) -> Result<Reply, Failure> {
    let response = match request.path.as_str() {
        MODELS => Some(Response::json(200, &models::list(host).await)),
        "/openapi.json" => Some(Response::json(200, &openapi::document(docs::base(request)))),
        path => match path.strip_prefix(MODELS).and_then(|rest| rest.strip_prefix('/')) {
            Some(id) => Some(Response::json(200, &models::one(host, id).await?)),
            None => docs::answer(request, openapi::TITLE),
        },
    };
    let response = response.ok_or_else(|| Failure::not_found(&request.path))?;
    // asked last: an unknown path is not found, whatever the method
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Err(Failure::wrong_method(&request.method, "GET, HEAD"));
    }
    Ok(response.into())
}
