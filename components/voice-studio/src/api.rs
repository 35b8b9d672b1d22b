//! The service's paths and methods. Knows how requests are told apart and nothing of how they are answered.

use atelier_kit::fields::{Field, Reader, Table, Text};
use atelier_kit::http::{BodyError, BodyWriter, Reply, Request, Response};
use atelier_kit::jobs::{Job, JobFailure, Standing};
use atelier_kit::{Album, Channels, Interpret, Jobs, Speech, Storage, accept, docs, origin, sse};
use serde_json::{Value, json};

use crate::accounts::{self, Credentials};
use crate::backend::{self, Endpoint};
use crate::command::Command;
use crate::failure::Failure;
use crate::gallery::Gallery;
use crate::progress::Progress;
use crate::settings::{Serve, Settings};
use crate::visitor::{Visitor, session_info};
use crate::{channel, openapi, page, pictures, workshop};

/// Where everything is, as in the system that this handler replaces.
pub(crate) const ROOT: &str = "/kuvagen";

/// The most bytes of a request body: a recording of minutes, and room for the other parts.
pub const BODY_LIMIT: usize = 26 << 20;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

static IMAGE: Field<Text> =
    Field::required("image", Text { min: 1, max: 100 }, "The picture that becomes the present one.");

/// The fields of `POST api/current`.
pub(crate) const CURRENT: Table = &[&IMAGE];

/// Everything that this handler asks of its host.
pub trait Studio:
    Album + Speech<Transcription: 'static> + Interpret + Storage + Jobs + Channels + Clone + 'static
{
}

impl<H> Studio for H where
    H: Album + Speech<Transcription: 'static> + Interpret + Storage + Jobs + Channels + Clone + 'static
{
}

/// Answers one request.
pub async fn handle(host: impl Studio, request: Result<Request, BodyError>) -> Reply {
    let serve = Serve::read(&host);
    let is_backends = match (&serve, &request) {
        (Ok(Serve::Backend), _) => true,
        (Ok(Serve::Both), Ok(request)) => Endpoint::of(&request.path).is_some(),
        _ => false,
    };
    let reply = match (serve, request) {
        (Err(failure), _) => Err(failure),
        (Ok(serve), Ok(request)) => route(host, serve, request).await,
        (_, Err(BodyError::TooLarge)) => Err(Failure::too_large(format!(
            "the body has more than {BODY_LIMIT} bytes; record a shorter command, or send a smaller picture"
        ))),
        (_, Err(BodyError::Incomplete)) => Err(Failure::invalid("the body broke off; send it whole")),
    };
    let written = if is_backends { Failure::detail } else { Failure::response };
    reply.unwrap_or_else(|failure| written(&failure).into())
}

/// Works a job off that the backend's endpoints submitted.
///
/// # Errors
/// Why there is no picture, for whoever asks how the task stands.
pub async fn run(host: impl Studio, job: Job) -> Result<Vec<u8>, JobFailure> {
    backend::tasks::run(host, job).await
}

/// How such a job reads to those who look at it from elsewhere: as at its endpoint, without files.
pub fn view(standing: &Standing) -> Value {
    backend::tasks::view(standing)
}

async fn route(host: impl Studio, serve: Serve, request: Request) -> Result<Reply, Failure> {
    let base = docs::base(&request).to_owned();
    let path = request.path.clone();
    match (path.strip_prefix(ROOT), Endpoint::of(&path)) {
        (Some(below), _) if serve.has_studio() => page_of_visitor(host, &base, below, request).await,
        (_, Some(endpoint)) if serve.has_backend() => {
            backend::answer(&host, endpoint, request).await.map(Reply::from)
        }
        _ => document(&request, serve, &base),
    }
}

/// What is below the studio's root.
async fn page_of_visitor(
    host: impl Studio,
    base: &str,
    below: &str,
    request: Request,
) -> Result<Reply, Failure> {
    let reads = matches!(request.method.as_str(), "GET" | "HEAD");
    // its answer would set another visitor's cookie in place of the one that the browser kept back
    if !reads && origin::is_elsewhere(&request) {
        return Err(Failure::other_site());
    }
    let only = |is_right: bool, allow| {
        if is_right { Ok(()) } else { Err(Failure::wrong_method(&request.method, allow)) }
    };
    match below {
        "" => Ok(elsewhere(base)),
        "/" => only(reads, "GET, HEAD").map(|()| page::page(&request).into()),
        "/api/check_backend" => {
            only(reads, "GET, HEAD")?;
            Ok(Response::json(200, &workshop::check(&host, &Settings::read(&host)?).await).into())
        }
        "/process_command" => {
            only(request.method == "POST", "POST")?;
            command(host, request).await
        }
        below => {
            if let Some(file) = below.strip_prefix("/page/").and_then(|name| page::file(name, &request)) {
                return only(reads, "GET, HEAD").map(|()| file.into());
            }
            visitors(&host, below, request).await.map(Reply::from)
        }
    }
}

/// What is a visitor's own.
async fn visitors(host: &impl Studio, below: &str, request: Request) -> Result<Response, Failure> {
    let place = Place::of(below).ok_or_else(|| Failure::not_found(&request.path))?;
    let allow = place.methods();
    if !allow.split(", ").any(|method| method == request.method) {
        return Err(Failure::wrong_method(&request.method, allow));
    }
    // a form of a page elsewhere can send text that reads as JSON, and cannot say that it is
    if !request.body.is_empty() && !request.is_of(JSON) {
        return Err(Failure::not_json());
    }
    let settings = Settings::read(host)?;
    let visitor = Visitor::of(host, &request, &settings).await?;
    let gallery = Gallery::load(host, &visitor.owner).await?;
    let response = match place {
        Place::SessionInfo => Response::json(200, &session_info(host, &visitor, &gallery, &settings).await?),
        Place::Gallery => Response::json(200, &gallery.shown()),
        Place::Image(name) => {
            let is_download =
                request.query.as_deref().is_some_and(|query| query.split('&').any(|key| key == "download"));
            pictures::serve(host, &gallery, name, false, is_download).await?
        }
        Place::Thumbnail(name) => pictures::serve(host, &gallery, name, true, false).await?,
        Place::Delete(name) => {
            Gallery::change(host, &visitor.owner, |gallery| gallery.remove(name)).await?;
            pictures::discard(host, name).await?;
            return Ok(visitor.remembered(Response::new(204, JSON, Vec::new())));
        }
        Place::Current => {
            let mut reader = Reader::new(&request.body, CURRENT).map_err(Failure::invalid)?;
            let name = reader.value(&IMAGE);
            let name = reader.check(name).map_err(Failure::from)?;
            Gallery::change(host, &visitor.owner, |gallery| gallery.choose(&name)).await?;
            Response::json(200, &json!({"current": name}))
        }
        Place::Register => {
            let visitor = accounts::register(host, visitor, &Credentials::parse(&request)?).await?;
            return told(host, &visitor, &settings).await;
        }
        Place::Login => {
            let visitor = accounts::log_in(host, visitor, &Credentials::parse(&request)?).await?;
            return told(host, &visitor, &settings).await;
        }
        Place::Logout => return told(host, &visitor.anonymous(host).await?, &settings).await,
    };
    Ok(visitor.remembered(response))
}

/// What a visitor is told after becoming another.
async fn told(host: &impl Studio, visitor: &Visitor, settings: &Settings) -> Result<Response, Failure> {
    let gallery = Gallery::load(host, &visitor.owner).await?;
    let info = session_info(host, visitor, &gallery, settings).await?;
    Ok(visitor.remembered(Response::json(200, &info)))
}

/// What is a visitor's own, by its path.
#[derive(Clone, Copy)]
enum Place<'a> {
    SessionInfo,
    Gallery,
    Image(&'a str),
    Thumbnail(&'a str),
    Delete(&'a str),
    Current,
    Register,
    Login,
    Logout,
}

impl<'a> Place<'a> {
    fn of(below: &'a str) -> Option<Self> {
        Some(match below {
            "/api/session_info" => Self::SessionInfo,
            "/gallery" => Self::Gallery,
            "/api/current" => Self::Current,
            "/api/register" => Self::Register,
            "/api/login" => Self::Login,
            "/api/logout" => Self::Logout,
            _ => match below.rsplit_once('/')? {
                ("/images", name) => Self::Image(name),
                ("/images/thumbnails", name) => Self::Thumbnail(name),
                ("/api/images", name) => Self::Delete(name),
                _ => return None,
            },
        })
    }

    fn methods(self) -> &'static str {
        match self {
            Self::SessionInfo | Self::Gallery | Self::Image(_) | Self::Thumbnail(_) => "GET, HEAD",
            Self::Delete(_) => "DELETE",
            Self::Current | Self::Register | Self::Login | Self::Logout => "POST",
        }
    }
}

/// Works on a command, and answers in the form that its client likes best. The form is checked before an event stream begins,
/// so that faults have their own status.
async fn command(host: impl Studio, request: Request) -> Result<Reply, Failure> {
    let settings = Settings::read(&host)?;
    let visitor = Visitor::of(&host, &request, &settings).await?;
    let wants_events = accept::preferred(request.headers.get("accept"), &[JSON, EVENTS]) == Some(1);
    let command = Command::parse(request).await?;
    if wants_events {
        let head = visitor.remembered(sse::head().with("vary", "accept"));
        let follow = |writer| async move { follow(host, visitor, settings, command, writer).await };
        return Ok(Reply::Stream(head, Box::new(|writer| Box::pin(follow(writer)))));
    }
    let done = channel::work(&host, &visitor, &settings, command, Progress::silent()).await?;
    Ok(visitor.remembered(Response::json(200, &done).with("vary", "accept")).into())
}

/// Writes the event stream: what happens, then what came of it or the error.
async fn follow(
    host: impl Studio,
    visitor: Visitor,
    settings: Settings,
    command: Command,
    writer: BodyWriter,
) {
    // the stream has begun with status 200, so a failure can only be told as an event
    let progress = Progress::to(writer.clone());
    let work = async {
        let _ = channel::work(&host, &visitor, &settings, command, progress).await;
    };
    sse::keeping_alive(writer, || host.sleep_ms(sse::KEEP_ALIVE_MS), work).await;
}

/// What is not below the root: the way there, and the documentation.
fn document(request: &Request, serve: Serve, base: &str) -> Result<Reply, Failure> {
    let response = match request.path.as_str() {
        "/" if serve.has_studio() => return Ok(elsewhere(base)),
        "/openapi.json" => Some(Response::json(200, &openapi::document(base, serve))),
        _ => docs::answer(request, openapi::TITLE),
    };
    let response = response.ok_or_else(|| Failure::not_found(&request.path))?;
    // asked last: an unknown path is not found, whatever the method
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Err(Failure::wrong_method(&request.method, "GET, HEAD"));
    }
    Ok(response.into())
}

/// The way to the page.
fn elsewhere(base: &str) -> Reply {
    let body: Value = json!({"page": format!("{base}{ROOT}/")});
    Response::json(307, &body).with("location", &format!("{base}{ROOT}/")).into()
}
