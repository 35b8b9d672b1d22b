//! The service's paths and methods. Knows how requests are told apart and nothing of how they are answered.

use atelier_kit::fastapi::Failure;
use atelier_kit::http::{BodyError, Reply, Request, Response};
use atelier_kit::{Copies, Host, Jobs, Storage, docs};

use crate::models::{Drawer, Make};
use crate::{batch, health, openapi, sessions, submit};

/// The path of batches, which no model is called.
pub(crate) const BATCH: &str = "/api/batch";

/// The most bytes of a request body: a picture of 25 MB, and room for the other parts.
pub const BODY_LIMIT: usize = 26 << 20;

const READ: &str = "GET, HEAD";

/// Everything that this handler asks of its host.
pub trait Capable: Host + Storage + Jobs + Copies {}

impl<H: Host + Storage + Jobs + Copies> Capable for H {}

/// What a path stands for.
#[derive(Debug, PartialEq)]
enum Place<'a> {
    Task(&'static Drawer, Make),
    /// What the service has for later: videos.
    Later(&'a str),
    Batch,
    Status(&'a str),
    Image(&'a str),
    Session(&'a str),
    Health,
    Document,
    Other,
}

/// Answers one request.
pub async fn handle(host: impl Capable, request: Result<Request, BodyError>) -> Reply {
    let response = match request {
        Ok(request) => route(&host, request).await,
        Err(error) => Err(Failure::of_body(error, BODY_LIMIT, "send a smaller picture")),
    };
    response.unwrap_or_else(|failure| failure.response()).into()
}

async fn route(host: &impl Capable, request: Request) -> Result<Response, Failure> {
    let path = request.path.clone();
    let place = place(&path);
    let allow = allowed(&place);
    if !allow.split(", ").any(|method| method == request.method) {
        // an unknown path is not found, whatever the method
        let page = docs::answer(&request, openapi::TITLE);
        return Err(if matches!((&place, page), (Place::Other, None)) {
            Failure::not_found()
        } else {
            Failure::wrong_method(allow)
        });
    }
    match place {
        Place::Task(drawer, make) => submit::answer(host, request, drawer, make).await,
        Place::Later(task) => Err(Failure::new(
            501,
            format!("`{task}` is not implemented: this server makes pictures only; use t2i or i2i"),
        )),
        Place::Batch => batch::answer(host, &request).await,
        Place::Status(id) => sessions::status(host, id).await,
        Place::Image(id) => sessions::image(host, id).await,
        Place::Session(id) => sessions::cancel(host, id).await,
        Place::Health => Ok(health::answer(host).await),
        Place::Document => Ok(Response::json(200, &openapi::document(docs::base(&request)))),
        Place::Other => docs::answer(&request, openapi::TITLE).ok_or_else(Failure::not_found),
    }
}

/// Two segments below `/api` are a model and what it is to make, or a session and what is asked of it; no session has a model's name.
fn place(path: &str) -> Place<'_> {
    let parts: Vec<_> = path.split('/').skip(1).collect();
    match parts.as_slice() {
        [""] => Place::Health,
        ["openapi.json"] => Place::Document,
        ["api", "batch"] => Place::Batch,
        ["api", id] if !id.is_empty() => Place::Session(id),
        ["api", name, what] => match (Drawer::named(name), *what) {
            (Some(drawer), "t2i") => Place::Task(drawer, Make::FromText),
            (Some(drawer), "i2i") => Place::Task(drawer, Make::FromImage),
            (Some(_), "t2v" | "i2v") => Place::Later(what),
            (None, "status") => Place::Status(name),
            (None, "image") => Place::Image(name),
            _ => Place::Other,
        },
        _ => Place::Other,
    }
}

fn allowed(place: &Place<'_>) -> &'static str {
    match place {
        Place::Task(..) | Place::Later(_) | Place::Batch => "POST",
        Place::Session(_) => "DELETE",
        _ => READ,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_and_sessions_share_their_place_below_api() {
        assert!(
            matches!(place("/api/flux/t2i"), Place::Task(drawer, Make::FromText) if drawer.name == "flux")
        );
        assert!(
            matches!(place("/api/qwen-multi-angle/i2i"), Place::Task(drawer, Make::FromImage) if drawer.view)
        );
        assert_eq!(place("/api/flux/i2v"), Place::Later("i2v"));
        assert_eq!(place("/api/550e8400/status"), Place::Status("550e8400"));
        assert_eq!(place("/api/550e8400/image"), Place::Image("550e8400"));
        assert_eq!(place("/api/550e8400"), Place::Session("550e8400"));
        assert_eq!(place("/api/batch"), Place::Batch);
        for path in ["/api", "/api/", "/api/flux/status", "/api/flux/t2i/", "/api/sdxl/t2i", "//", "/x"] {
            assert_eq!(place(path), Place::Other, "{path}");
        }
    }
}
