//! The whole service against the kit's fake host: one binary, so that there is one link step. A test that stands for a line of
//! the original's README quotes it; `../../README.md` lists them.

mod batches;
mod changing;
mod drawing;
mod errors;
mod health;
mod pages;
mod sessions;
mod views;
mod working;

use atelier_kit::Request;
use atelier_kit::fake::{Fake, Script, drawing, form, get, json, whole};
use atelier_kit::http::{Reply, Response};
use atelier_kit::jobs::{Job, JobFailure, State};
use futures::executor::block_on;
use serde_json::Value;

pub(crate) const T2I: &str = "/api/flux/t2i";
pub(crate) const I2I: &str = "/api/flux/i2i";

/// The id that a fake gives its first job.
pub(crate) const FIRST: &str = "00000000-0000-4000-8000-000000000001";

/// A host whose `flux` is a model that draws, changes, follows guidance and negative prompts.
pub(crate) fn flux() -> Script {
    Script { models: vec![drawing("flux-dev")], ..Script::default() }
}

pub(crate) fn reply(host: &Fake, request: Request) -> Reply {
    block_on(generation_server::api::handle(host.clone(), Ok(request)))
}

pub(crate) fn answer(host: &Fake, request: Request) -> Response {
    whole(reply(host, request))
}

pub(crate) fn posted(path: &str, body: &Value) -> Request {
    let headers = [("content-type", "application/json")].into_iter().collect();
    Request {
        method: "POST".into(),
        path: path.into(),
        headers,
        body: body.to_string().into(),
        ..Request::default()
    }
}

/// Posts JSON and gives status and JSON.
pub(crate) fn post(host: &Fake, path: &str, body: &Value) -> (u16, Value) {
    json(reply(host, posted(path, body)))
}

/// Posts a form and gives status and JSON.
pub(crate) fn send(host: &Fake, path: &str, parts: &[(&str, &str)]) -> (u16, Value) {
    json(reply(host, form(path, parts)))
}

/// Reads something and gives status and JSON.
pub(crate) fn read(host: &Fake, path: &str) -> (u16, Value) {
    json(reply(host, get(path)))
}

/// How a task stands.
pub(crate) fn status(host: &Fake, id: &str) -> Value {
    let (status, answer) = read(host, &format!("/api/{id}/status"));
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The id of a task that must be taken.
pub(crate) fn submitted((status, answer): (u16, Value)) -> String {
    assert_eq!((status, answer["status"].as_str()), (200, Some("pending")), "{answer}");
    answer["session_id"].as_str().expect("an id").to_owned()
}

/// The places and texts of the faults of a refusal. A place is what stands behind `body`, apart by `/`.
pub(crate) fn faults((status, answer): (u16, Value)) -> Vec<(String, String)> {
    let faults = answer["detail"].as_array().unwrap_or_else(|| panic!("{status} {answer}"));
    assert_eq!(status, 422, "{answer}");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let place = |fault: &Value| {
        let steps = fault["loc"].as_array().expect("a place");
        assert_eq!(steps[0], "body", "{fault}");
        steps[1..].iter().map(text).collect::<Vec<_>>().join("/")
    };
    faults.iter().map(|fault| (place(fault), text(&fault["msg"]))).collect()
}

/// The only fault's place.
pub(crate) fn fault(answer: (u16, Value)) -> String {
    let faults = faults(answer);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].0.clone()
}

/// Begins the first job that waits, as the host does.
pub(crate) fn begun(host: &Fake) -> Job {
    let mut record = host.record.borrow_mut();
    let background = &mut record.background;
    let index = background.standings.iter().position(|standing| standing.state == State::Pending);
    let index = index.expect("a job that waits");
    let standing = &mut background.standings[index];
    standing.state = State::Processing;
    standing.attempts += 1;
    let submission = &background.submissions[index];
    Job {
        id: standing.id.clone(),
        kind: submission.kind.clone(),
        payload: submission.payload.clone(),
        attempt: standing.attempts,
    }
}

/// Works the first job off that waits, and writes down what came of it, as the host does.
pub(crate) fn work_off(host: &Fake) -> Result<Vec<u8>, JobFailure> {
    let job = begun(host);
    let ended = block_on(generation_server::work::run(host, job.clone()));
    let mut record = host.record.borrow_mut();
    let standing = record.background.standings.iter_mut().find(|standing| standing.id == job.id);
    let standing = standing.expect("the job");
    match &ended {
        Ok(result) => (standing.state, standing.result) = (State::Completed, Some(result.clone())),
        Err(JobFailure::Temporary(text)) if job.attempt < 3 => {
            (standing.state, standing.error) = (State::Pending, Some(text.clone()));
        }
        Err(JobFailure::Permanent(text) | JobFailure::Temporary(text)) => {
            (standing.state, standing.error) = (State::Failed, Some(text.clone()));
        }
    }
    ended
}
