//! A handler that answers at once and paints later: `POST /` submits a job for each line of its body, `GET /` lists them,
//! `GET /{id}` says how a job stands, `GET /{id}.png` is its picture, `DELETE /{id}` calls it off. The host calls `run` for each
//! job in an instance of its own, also after a restart.

wit_bindgen::generate!({ path: "../../wit", world: "atelier:host/job-handler", generate_all });

use atelier::host::generation::{self, Event, Request as Order, text_to_image};
use atelier::host::images::{Encoding, Format};
use atelier::host::jobs::{self, Cache, Standing, Submission, Webhook};
use exports::atelier::host::job_runner::{Failure, Guest as Worker, Job};
use exports::wasi::http0_3_0::handler::Guest;
use wasi::http0_3_0::types::{ErrorCode, Fields, Method, Request, Response};

const MODEL: &str = "atelier-nano";

struct Painter;

impl Guest for Painter {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let name = path.trim_start_matches('/').to_owned();
        let answer = match request.get_method() {
            Method::Post => submit(request).await,
            Method::Delete => jobs::cancel(name).await.map(|status| (200, shown(&status).into_bytes())),
            _ if name.is_empty() => list().await,
            _ => match name.strip_suffix(".png") {
                Some(id) => jobs::status(id.into()).await.map(|status| match status.result {
                    Some(picture) => (200, picture),
                    None => (409, shown(&status).into_bytes()),
                }),
                None => jobs::status(name).await.map(|status| (200, shown(&status).into_bytes())),
            },
        };
        Ok(match answer {
            Ok((status, body)) => respond(status, body),
            Err(jobs::Error::NotFound) => respond(404, b"there is no such job\n".to_vec()),
            Err(error @ (jobs::Error::Invalid(_) | jobs::Error::KeyUsed(_))) => {
                respond(400, format!("{error}\n").into_bytes())
            }
            Err(error) => respond(503, format!("{error}\n").into_bytes()),
        })
    }
}

impl Worker for Painter {
    /// Paints what the payload says. A run that the host's end cut short is done anew: nothing here outlives it but the result.
    async fn run(job: Job) -> Result<Vec<u8>, Failure> {
        let prompt = String::from_utf8(job.payload).map_err(|_| Failure::Permanent("no text".into()))?;
        let job = text_to_image(order(prompt), Vec::new()).await.map_err(failed)?;
        let mut events = job.events();
        while let Some(event) = events.next().await {
            if let Event::Step(step) = event {
                let progress = u8::try_from(step.step * 95 / step.total.max(1)).unwrap_or(95);
                let message = format!("step {} of {}", step.step, step.total);
                // a job that was called off has nobody to tell
                let _ = jobs::report(progress, message).await;
            }
        }
        let outcome = job.outcome().await.map_err(failed)?;
        let picture =
            outcome.pictures.into_iter().next().ok_or_else(|| Failure::Permanent("no picture".into()))?;
        let png = Encoding { format: Format::Png, quality: None, parameters: true };
        picture.image.encode(png).await.map_err(|error| Failure::Permanent(error.to_string()))
    }
}

/// What may be otherwise in a moment is tried again; what is wrong with the prompt is not.
fn failed(error: generation::Error) -> Failure {
    match error {
        generation::Error::Overloaded(_) | generation::Error::WorkerGone | generation::Error::TimedOut(_) => {
            Failure::Temporary(error.to_string())
        }
        error => Failure::Permanent(error.to_string()),
    }
}

fn order(prompt: String) -> Order {
    Order {
        model: MODEL.into(),
        prompt,
        negative_prompt: None,
        size: None,
        steps: None,
        guidance: None,
        seed: None,
        count: 1,
        schedule: None,
        clip_skip: None,
        guidance_rescale: None,
        emphasis: None,
        seed_profile: None,
        decoder: None,
        adapters: Vec::new(),
        framing: None,
        refine: None,
        step_cache: None,
        preview_every: None,
    }
}

/// A job for each line of the body, all of them or none; the answer has their ids, a line each. A client that is not sure whether
/// its request came through sends it again with the same `idempotency-key`, and gets the same jobs. The address in `webhook` is
/// told of their ends, and pictures of the last `cache` seconds will do.
async fn submit(request: Request) -> Result<(u16, Vec<u8>), jobs::Error> {
    let headers = request.get_headers();
    let header = |name| headers.get(name).first().map(|value| String::from_utf8_lossy(value).into_owned());
    let (key, webhook) = (header("idempotency-key"), header("webhook"));
    let cache = match header("cache").map(|seconds| seconds.parse()) {
        None => None,
        Some(Ok(seconds)) => Some(Cache { seconds, models: vec![MODEL.into()] }),
        Some(Err(_)) => return Err(jobs::Error::Invalid("`cache` is a number of seconds".into())),
    };
    drop(headers);
    let (_done, outcome) = wit_future::new(|| Ok(()));
    let (body, _trailers) = Request::consume_body(request, outcome);
    let prompts = String::from_utf8_lossy(&body.collect().await).into_owned();
    let submission = |(index, prompt): (usize, &str)| Submission {
        kind: "paint".into(),
        payload: prompt.into(),
        key: key.as_ref().map(|key| format!("{key} {index}")),
        priority: None,
        start_within_seconds: None,
        keep_seconds: None,
        attempts: None,
        webhook: webhook.clone().map(|url| Webhook { url, occasions: Vec::new() }),
        cache: cache.clone(),
    };
    let receipts = jobs::submit(prompts.lines().enumerate().map(submission).collect()).await?;
    let ids: String = receipts.into_iter().map(|receipt| receipt.id + "\n").collect();
    Ok((202, ids.into_bytes()))
}

/// The newest jobs, a line each.
async fn list() -> Result<(u16, Vec<u8>), jobs::Error> {
    let page = jobs::list(None, 100).await?;
    let lines: String = page.jobs.iter().map(|job| format!("{} {}", job.id, shown(job))).collect();
    Ok((200, lines.into_bytes()))
}

/// How a job stands, in one line.
fn shown(status: &Standing) -> String {
    let state = format!("{:?}", status.state).trim_start_matches("State::").to_lowercase();
    let known = if status.cached { "known" } else { &status.message };
    let said = status.error.as_deref().unwrap_or(known);
    let before = status.position.map_or(String::new(), |position| format!(", {position} before it"));
    format!("{state} {} % {said}{before}\n", status.progress)
}

fn respond(status: u16, bytes: Vec<u8>) -> Response {
    let (mut body, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(contents), no_trailers);
    // each of them is a status
    let _ = response.set_status_code(status);
    wit_bindgen::spawn_local(async move {
        body.write_all(bytes).await;
        drop(trailers);
    });
    response
}

export!(Painter);
