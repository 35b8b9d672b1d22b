//! A handler that submits background jobs, as its request's body tells it line by line, and works them off: the kind of a job
//! says what is done with its payload.

wit_bindgen::generate!({ path: "../../../../../wit", world: "atelier:host/viewed-job-handler", generate_all });

use atelier::host::jobs::{self, Cache, Error, Occasion, Page, Priority, Standing, Submission, Webhook};
use exports::atelier::host::job_runner::{Failure, Guest as Worker, Job};
use exports::atelier::host::job_view::Guest as Viewer;
use exports::wasi::http0_3_0::handler::Guest;
use wasi::clocks0_3_0::monotonic_clock::wait_for;
use wasi::http0_3_0::types::{ErrorCode, Fields, Request, Response};

const MILLISECOND: u64 = 1_000_000;

struct Runner;

impl Guest for Runner {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (_done, outcome) = wit_future::new(|| Ok(()));
        let (stream, _trailers) = Request::consume_body(request, outcome);
        let body = String::from_utf8_lossy(&stream.collect().await).into_owned();
        let mut answers = Vec::new();
        for line in body.lines() {
            answers.push(act(line).await.unwrap_or_else(|error| format!("error: {}", told(error))));
        }
        let (mut writer, contents) = wit_stream::new();
        let (trailers, no_trailers) = wit_future::new(|| Ok(None));
        let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
        wit_bindgen::spawn_local(async move {
            writer.write_all(answers.join("\n").into_bytes()).await;
            drop(trailers);
        });
        Ok(response)
    }
}

impl Worker for Runner {
    async fn run(job: Job) -> Result<Vec<u8>, Failure> {
        let text = String::from_utf8_lossy(&job.payload).into_owned();
        match job.kind.as_str() {
            "echo" => Ok(format!("{text} at attempt {}", job.attempt).into_bytes()),
            "report" => {
                for progress in [20, 40] {
                    jobs::report(progress, format!("{text} {progress}")).await.unwrap();
                }
                wait_for(600_000 * MILLISECOND).await;
                Ok(Vec::new())
            }
            "bad-report" => Ok(told(jobs::report(101, String::new()).await.unwrap_err()).into_bytes()),
            "wait" => {
                wait_for(text.parse::<u64>().unwrap() * MILLISECOND).await;
                Ok(Vec::new())
            }
            "refuse" => Err(Failure::Permanent(text)),
            "flaky" if job.attempt == 1 => Err(Failure::Temporary(text)),
            "flaky" => Ok(b"at last".to_vec()),
            "trap" => panic!("on purpose"),
            "spin" => loop {
                std::hint::black_box(0);
            },
            "again" => {
                Ok(submit("echo", &text, None, None).await.map_err(|_| Failure::Permanent("".into()))?.into())
            }
            "large" => Ok(vec![0; text.parse().unwrap()]),
            other => Err(Failure::Permanent(format!("there is no kind `{other}`"))),
        }
    }
}

impl Viewer for Runner {
    /// Says how a job reads; of some kinds in ways that the host does not take.
    async fn describe(standing: Standing) -> Result<String, String> {
        match standing.kind.as_str() {
            "flaky" => Ok("[]".into()),
            "large" => Ok(format!("{{{}}}", " ".repeat(65_535))),
            "trap" => panic!("on purpose"),
            "refuse" => Err("it is not to be seen".into()),
            _ => {
                let (id, reads) = (standing.id.clone(), shown(standing));
                Ok(format!("{{\"id\": \"{id}\", \"reads\": \"{reads}\"}}"))
            }
        }
    }
}

async fn act(line: &str) -> Result<String, Error> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["submit", kind, text] => submit(kind, text, None, None).await,
        ["submit", kind, text, "key", key] => submit(kind, text, Some(key), None).await,
        ["submit", kind, text, "first"] => submit(kind, text, None, Some(Priority::High)).await,
        ["tell", url, occasions, kind, text] => {
            let occasions = match occasions {
                "both" => vec![Occasion::Ended, Occasion::Begun, Occasion::Ended],
                "ended" => vec![Occasion::Ended],
                _ => Vec::new(),
            };
            let webhook = Some(Webhook { url: url.into(), occasions });
            let told = Submission { webhook, ..submission(kind, text, None, None) };
            Ok(jobs::submit(vec![told]).await?.remove(0).id)
        }
        ["cached", seconds, kind, text] => cached(kind, text, seconds, Vec::new()).await,
        ["cached", seconds, kind, text, model] => cached(kind, text, seconds, vec![model.into()]).await,
        ["batch", count, kind, text] => {
            let batch = vec![submission(kind, text, None, None); count.parse().unwrap()];
            let receipts = jobs::submit(batch).await?;
            Ok(receipts.into_iter().map(|receipt| receipt.id).collect::<Vec<_>>().join(" "))
        }
        ["attempts", count] => {
            let attempts = Some(count.parse().unwrap());
            jobs::submit(vec![Submission { attempts, ..submission("echo", "", None, None) }]).await?;
            Ok("kept".into())
        }
        ["status", id] => Ok(shown(jobs::status(id.into()).await?)),
        ["list", count] => listed(jobs::list(None, count.parse().unwrap()).await?),
        ["list", count, after] => listed(jobs::list(Some(after.into()), count.parse().unwrap()).await?),
        ["cancel", id] => Ok(shown(jobs::cancel(id.into()).await?)),
        ["report"] => jobs::report(1, String::new()).await.map(|()| "reported".into()),
        _ => Ok(format!("what is `{line}`?")),
    }
}

/// Submits work that may have been done before.
async fn cached(kind: &str, text: &str, seconds: &str, models: Vec<String>) -> Result<String, Error> {
    let cache = Some(Cache { seconds: seconds.parse().unwrap(), models });
    let submission = Submission { cache, ..submission(kind, text, None, None) };
    Ok(jobs::submit(vec![submission]).await?.remove(0).id)
}

fn submission(kind: &str, text: &str, key: Option<&str>, priority: Option<Priority>) -> Submission {
    Submission {
        kind: kind.into(),
        payload: text.into(),
        key: key.map(str::to_owned),
        priority,
        start_within_seconds: None,
        keep_seconds: None,
        attempts: None,
        webhook: None,
        cache: None,
    }
}

async fn submit(
    kind: &str,
    text: &str,
    key: Option<&str>,
    priority: Option<Priority>,
) -> Result<String, Error> {
    let receipts = jobs::submit(vec![submission(kind, text, key, priority)]).await?;
    Ok(receipts.into_iter().map(|receipt| receipt.id).collect())
}

/// State, progress, attempts, message, result or error.
fn shown(status: Standing) -> String {
    let result = status.result.map(|result| String::from_utf8_lossy(&result).into_owned());
    let said = result.or(status.error).unwrap_or(status.message);
    format!("{:?} {} {} {said}", status.state, status.progress, status.attempts).replace("State::", "")
}

/// Ids, and where the next page begins.
fn listed(page: Page) -> Result<String, Error> {
    let ids: Vec<String> = page.jobs.into_iter().map(|job| job.id).collect();
    Ok(format!("{} then {}", ids.join(" "), page.next.unwrap_or_default()))
}

fn told(error: Error) -> String {
    match error {
        Error::Invalid(text) => format!("invalid: {text}"),
        Error::KeyUsed(text) => format!("key used: {text}"),
        Error::Full(text) => format!("full: {text}"),
        Error::NotFound => "not found".into(),
        Error::NotRunning => "not running".into(),
        Error::Failed(text) => format!("failed: {text}"),
    }
}

export!(Runner);
