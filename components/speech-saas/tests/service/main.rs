//! The whole service against the kit's fake host: one binary, so that there is one link step. A test that stands for a line of
//! the original's README quotes it; `../../README.md` lists them.

mod audio;
mod errors;
mod images;
mod limits;
mod operating;
mod storing;

use atelier_kit::Request;
use atelier_kit::fake::{Fake, Script, drawing, form, get, json, whole};
use atelier_kit::host::Choice;
use atelier_kit::http::{Reply, Response};
use futures::executor::block_on;
use serde_json::Value;

pub(crate) const GENERATE: &str = "/generate-image";
pub(crate) const CLEANUP: &str = "/cleanup";

/// Two models, of which the select stage chooses the second.
pub(crate) fn both() -> Script {
    let choice = Choice { model: "realistic-vision".into(), reason: "It is a photograph.".into() };
    let models = vec![drawing("dreamshaper-8"), drawing("realistic-vision")];
    Script { models, select: Ok(choice), ..Script::default() }
}

pub(crate) fn reply(host: &Fake, request: Request) -> Reply {
    block_on(speech_saas::api::handle(host.clone(), Ok(request)))
}

pub(crate) fn answer(host: &Fake, request: Request) -> Response {
    whole(reply(host, request))
}

pub(crate) fn post(path: &str, body: &str) -> Request {
    Request { method: "POST".into(), path: path.into(), body: body.into(), ..Request::default() }
}

/// Asks for a picture and gives status and JSON.
pub(crate) fn generate(host: &Fake, body: &str) -> (u16, Value) {
    json(reply(host, post(GENERATE, body)))
}

/// Reads something and gives status and JSON.
pub(crate) fn read(host: &Fake, path: &str) -> (u16, Value) {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    json(reply(host, Request { query: query.map(str::to_owned), ..get(path) }))
}

/// Sends a recording and gives status and JSON.
pub(crate) fn transcribe(host: &Fake, parts: &[(&str, &str)]) -> (u16, Value) {
    json(reply(host, form("/transcribe-audio", parts)))
}

/// The text of an error.
pub(crate) fn text(answer: &Value) -> &str {
    assert_eq!(answer["success"], Value::Bool(false), "{answer}");
    answer["error"].as_str().unwrap_or_default()
}
