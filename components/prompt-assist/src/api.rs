//! The service's paths and methods, and the three forms of an answer: JSON, a PNG file, an event stream.
//! Knows how answers are sent and nothing of how they are made.

use atelier_kit::http::{BodyError, Reply, Request, Response};
use atelier_kit::{Host, accept, docs, sse};
use serde_json::json;

use crate::draw::draw;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::request::{Generation, MAX_BODY_BYTES, parse_enhancement};
use crate::{answer, enhance, openapi};

/// The path that enhances prompts.
pub(crate) const ENHANCE: &str = "/v1/prompts/enhance";
/// The path that generates pictures.
pub(crate) const GENERATE: &str = "/v1/images/generations";

const JSON: &str = "application/json";
const PNG: &str = "image/png";
const EVENTS: &str = "text/event-stream";

/// The most bytes of a request body.
pub const BODY_LIMIT: usize = MAX_BODY_BYTES;

/// Answers one request.
pub async fn handle<H: Host + Clone + 'static>(host: H, request: Result<Request, BodyError>) -> Reply {
    let reply = match request {
        Ok(request) => route(host, &request).await,
        Err(BodyError::TooLarge) => Err(Failure::too_large(BODY_LIMIT)),
        Err(BodyError::Incomplete) => Err(Failure::invalid("the body broke off; send it whole")),
    };
    reply.unwrap_or_else(|failure| failure.response().into())
}

async fn route<H: Host + Clone + 'static>(host: H, request: &Request) -> Result<Reply, Failure> {
    let method = request.method.as_str();
    match request.path.as_str() {
        ENHANCE | GENERATE if method != "POST" => Err(Failure::wrong_method(method, "POST")),
        ENHANCE => enhance_prompt(&host, request).await,
        GENERATE => generate(host, request).await,
        _ => page(request),
    }
}

/// The documentation, which is all that can be read.
fn page(request: &Request) -> Result<Reply, Failure> {
    let response = match request.path.as_str() {
        "/openapi.json" => Some(Response::json(200, &openapi::document(docs::base(request)))),
        _ => docs::answer(request, openapi::TITLE),
    };
    let response = response.ok_or_else(|| Failure::not_found(&request.path))?;
    // asked last: an unknown path is not found, whatever the method
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Err(Failure::wrong_method(&request.method, "GET, HEAD"));
    }
    Ok(response.into())
}

/// `POST /v1/prompts/enhance`.
async fn enhance_prompt(host: &impl Host, request: &Request) -> Result<Reply, Failure> {
    let prompt = parse_enhancement(&request.body)?;
    let (enhanced, note) = enhance::enhance_alone(host, prompt).await?;
    let mut answer = json!({"enhanced_prompt": enhanced});
    // the original's answer has one key, and this has as a rule
    if let Some(note) = note {
        answer["notes"] = json!([note]);
    }
    Ok(Response::json(200, &answer).into())
}

/// `POST /v1/images/generations`. The body is checked before an event stream begins, so faults have their own status.
async fn generate<H: Host + Clone + 'static>(host: H, request: &Request) -> Result<Reply, Failure> {
    let generation = Generation::parse(&request.body)?;
    // a client that takes none of the three gets JSON, as the service always answered
    let form = [JSON, PNG, EVENTS];
    match accept::preferred(request.headers.get("accept"), &form).map(|index| form[index]) {
        Some(EVENTS) => Ok(Reply::Stream(
            sse::head().with("vary", "accept"),
            Box::new(|writer| Box::pin(follow(host, generation, writer))),
        )),
        Some(PNG) => picture(&host, generation).await,
        _ => {
            let drawn = draw(&host, generation, &mut Progress::silent()).await?;
            Ok(Response::json(200, &answer::json(&drawn)).with("vary", "accept").into())
        }
    }
}

/// The PNG form, which has room for one picture.
async fn picture(host: &impl Host, generation: Generation) -> Result<Reply, Failure> {
    if generation.count > 1 {
        let count = generation.count;
        let text =
            format!("`n` is {count}, but `accept: image/png` takes one picture; give n 1 or accept JSON");
        return Err(Failure::invalid(text));
    }
    let drawn = draw(host, generation, &mut Progress::silent()).await?;
    let response = answer::png(drawn).ok_or_else(|| Failure::backend("the model gave no picture"))?;
    Ok(response.with("vary", "accept").into())
}

/// Writes the event stream: what happens to the job, then the answer or the error.
async fn follow<H: Host>(host: H, generation: Generation, writer: atelier_kit::http::BodyWriter) {
    // the stream has begun with status 200, so a failure can only be told as an event
    let mut progress = Progress::to(writer.clone());
    let work = async {
        match draw(&host, generation, &mut progress).await {
            Ok(drawn) => progress.send("result", &answer::json(&drawn)).await,
            Err(failure) => progress.send("error", &failure.body()).await,
        }
    };
    sse::keeping_alive(writer, || host.sleep_ms(sse::KEEP_ALIVE_MS), work).await;
}
