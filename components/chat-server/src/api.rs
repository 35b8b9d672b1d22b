//! The service's paths and methods. Knows how requests are told apart and nothing of how they are answered.

use atelier_kit::fastapi::Failure;
use atelier_kit::http::{BodyError, Reply, Request, Response};
use atelier_kit::{Host, Speech, docs};

use crate::{decode, draw, models, openapi};

/// The path that writes speech down.
pub(crate) const DECODE: &str = "/audio/decode";
/// The same under the group's other name: the service calls it `/transcript` in one place and `/audio` in another.
pub(crate) const DECODE_TOO: &str = "/transcript/decode";
/// The path that makes pictures.
pub(crate) const GENERATE: &str = "/image/generate";
/// The path that lists the models.
pub(crate) const MODELS: &str = "/image/models";

/// The most bytes of a request body: a recording or a picture of 25 MB, and room for the other parts.
pub const BODY_LIMIT: usize = 26 << 20;

/// Everything that this handler asks of its host.
pub trait Capable: Host<Job: 'static> + Speech + Clone + 'static {}

impl<H: Host<Job: 'static> + Speech + Clone + 'static> Capable for H {}

/// Answers one request.
pub async fn handle(host: impl Capable, request: Result<Request, BodyError>) -> Reply {
    let reply = match request {
        Ok(request) => route(host, request).await,
        Err(error) => {
            let advice = "send a smaller picture, or a recording that is shorter or in webm, ogg, mp3 or mp4";
            Err(Failure::of_body(error, BODY_LIMIT, advice))
        }
    };
    reply.unwrap_or_else(|failure| failure.response().into())
}

async fn route(host: impl Capable, request: Request) -> Result<Reply, Failure> {
    match request.path.as_str() {
        DECODE | DECODE_TOO | GENERATE if request.method != "POST" => Err(Failure::wrong_method("POST")),
        DECODE | DECODE_TOO => decode::answer(&host, request).await,
        GENERATE => draw::answer(host, request).await,
        _ => page(&host, &request).await,
    }
}

/// What can be read: the models and the documentation.
async fn page(host: &impl Capable, request: &Request) -> Result<Reply, Failure> {
    let is_read = matches!(request.method.as_str(), "GET" | "HEAD");
    let response = match request.path.as_str() {
        MODELS if is_read => Some(Response::json(200, &models::list(host).await?)),
        MODELS => return Err(Failure::wrong_method("GET, HEAD")),
        "/openapi.json" => Some(Response::json(200, &openapi::document(docs::base(request)))),
        _ => docs::answer(request, openapi::TITLE),
    };
    let response = response.ok_or_else(Failure::not_found)?;
    // asked last: an unknown path is not found, whatever the method
    if is_read { Ok(response.into()) } else { Err(Failure::wrong_method("GET, HEAD")) }
}
