//! The whole service against the kit's fake host: one binary, so that there is one link step. A test that stands for a line of
//! the original's README quotes it; `../../README.md` lists them.

mod audio;
mod errors;
mod events;
mod images;
mod models;
mod pages;

use atelier_kit::Request;
use atelier_kit::fake::{Fake, events, form, json};
use atelier_kit::http::Reply;
use futures::executor::block_on;
use serde_json::Value;

pub(crate) const DECODE: &str = "/audio/decode";
pub(crate) const GENERATE: &str = "/image/generate";
pub(crate) const MODELS: &str = "/image/models";

/// A recording and a prompt that are right.
pub(crate) const FILE: (&str, &str) = ("file@", "sound");
pub(crate) const PROMPT: (&str, &str) = ("prompt", "A futuristic cityscape at sunset");

pub(crate) fn reply(host: &Fake, request: Request) -> Reply {
    block_on(chat_server::api::handle(host.clone(), Ok(request)))
}

/// Posts a form and gives status and JSON.
pub(crate) fn post(host: &Fake, path: &str, parts: &[(&str, &str)]) -> (u16, Value) {
    json(reply(host, form(path, parts)))
}

/// Posts a form for a picture and gives its events.
pub(crate) fn generate(host: &Fake, parts: &[(&str, &str)]) -> Vec<(String, Value)> {
    events(reply(host, form(GENERATE, parts))).1
}

/// The place and the text of the only fault of a refusal.
pub(crate) fn fault(host: &Fake, path: &str, parts: &[(&str, &str)]) -> (String, String) {
    let (status, answer) = post(host, path, parts);
    let faults = answer["detail"].as_array().unwrap_or_else(|| panic!("{status} {answer}"));
    assert_eq!((status, faults.len()), (422, 1), "{answer}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert_eq!(faults[0]["loc"][0], "body");
    (text(&faults[0]["loc"][1]), text(&faults[0]["msg"]))
}
