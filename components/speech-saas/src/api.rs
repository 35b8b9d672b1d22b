//! The service's paths and methods. Knows how requests are told apart and nothing of how they are answered.

use atelier_kit::http::{BodyError, Reply, Request, Response};
use atelier_kit::{Host, Machine, Speech, Storage, docs};

use crate::failure::Failure;
use crate::settings::Settings;
use crate::{cleanup, generate, history, openapi, rate, status, transcribe};

/// The path that writes speech down.
pub(crate) const TRANSCRIBE: &str = "/transcribe-audio";
/// The path that makes pictures.
pub(crate) const GENERATE: &str = "/generate-image";
/// The path of the history; a picture's file is below it.
pub(crate) const IMAGES: &str = "/images";
/// The path that says how the service and its machine fare.
pub(crate) const STATUS: &str = "/status";
/// The path that takes old pictures away.
pub(crate) const CLEANUP: &str = "/cleanup";
/// The path that says whether the service can do its work.
pub(crate) const HEALTH: &str = "/health";

/// The most bytes of a request body: a recording of 25 MB, and room for the rest of its form.
pub const BODY_LIMIT: usize = 26 << 20;

const READ: &str = "GET, HEAD";

/// Everything that this handler asks of its host.
pub trait Capable: Host + Speech + Storage + Machine {}

impl<H: Host + Speech + Storage + Machine> Capable for H {}

/// Answers one request.
pub async fn handle(host: impl Capable, request: Result<Request, BodyError>) -> Reply {
    let response = match request {
        Ok(request) => route(&host, request).await,
        Err(BodyError::TooLarge) => {
            let text = format!("the body has more than {BODY_LIMIT} bytes; send a shorter recording");
            Err(Failure::new(413, text))
        }
        Err(BodyError::Incomplete) => Err(Failure::new(400, "the body broke off; send it whole")),
    };
    response.unwrap_or_else(|failure| failure.response()).into()
}

async fn route(host: &impl Capable, request: Request) -> Result<Response, Failure> {
    let method = request.method.clone();
    let wrong = |allow| Err(Failure::wrong_method(&method, allow));
    match request.path.as_str() {
        TRANSCRIBE | GENERATE | CLEANUP if method != "POST" => wrong("POST"),
        TRANSCRIBE | GENERATE | CLEANUP => work(host, request).await,
        // before what is wrong with the query
        IMAGES if !is_read(&method) => wrong(READ),
        _ => {
            let response = page(host, &request).await?;
            // asked last: an unknown path is not found, whatever the method
            if is_read(&method) { Ok(response) } else { wrong(READ) }
        }
    }
}

fn is_read(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

/// What costs something, and is limited by the minute.
async fn work(host: &impl Capable, request: Request) -> Result<Response, Failure> {
    let settings = Settings::read(host)?;
    rate::admit(host, &request, settings.requests_per_minute).await?;
    match request.path.as_str() {
        TRANSCRIBE => transcribe::answer(host, request).await,
        GENERATE => generate::answer(host, &request, &settings).await,
        _ => cleanup::answer(host, &request, &settings).await,
    }
}

/// What can be read.
async fn page(host: &impl Capable, request: &Request) -> Result<Response, Failure> {
    match request.path.as_str() {
        IMAGES => history::list(host, request).await,
        STATUS => status::answer(host).await,
        HEALTH => Ok(status::health(host).await),
        "/openapi.json" => Ok(Response::json(200, &openapi::document(docs::base(request)))),
        path => match path.strip_prefix(IMAGES).and_then(|rest| rest.strip_prefix('/')) {
            Some(name) => history::file(host, name).await,
            None => docs::answer(request, openapi::TITLE).ok_or_else(|| Failure::not_found(path)),
        },
    }
}
