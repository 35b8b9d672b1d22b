//! The stream of events: what is told, in which order, and how it ends.

use atelier_kit::fake::{Script, drawing, events, form};
use atelier_kit::host::{Event, GenerationError, Model};
use atelier_kit::http::Reply;
use futures::channel::mpsc;
use futures::executor::block_on;
use futures::{FutureExt, StreamExt, poll};
use serde_json::json;

use crate::{GENERATE, PROMPT, generate, post, reply};

fn sdxl(events: Vec<Event>) -> Script {
    Script { models: vec![drawing("sdxl")], events, ..Script::default() }
}

/// README line: "Generates or modifies an image. Returns a streaming response of progress events."
#[test]
fn everything_that_happens_is_an_event_and_the_last_one_has_the_picture() {
    let happened = vec![
        Event::Queued { position: 2, eta_ms: Some(900) },
        Event::Started,
        Event::Step { step: 1, total: 3, elapsed_ms: 10 },
        Event::Preview { index: 0, step: 1, png: b"hi".to_vec() },
        Event::Step { step: 3, total: 3, elapsed_ms: 30 },
    ];
    let (head, told) = events(reply(&sdxl(happened).host(), form(GENERATE, &[PROMPT])));
    assert_eq!(head.headers.get("content-type"), Some("text/event-stream"));
    let request =
        json!({"prompt": PROMPT.1, "model_name": "sdxl", "steps": 25, "use_refiner": false, "seed": 7});
    let expected = [
        json!({"type": "queued", "position": 2, "eta_ms": 900}),
        json!({"type": "started", "model_name": "sdxl", "loading": false}),
        json!({"type": "progress", "step": 1, "total": 3, "percent": 33, "elapsed_ms": 10}),
        json!({"type": "preview", "step": 1, "image": "aGk=", "content_type": "image/png"}),
        json!({"type": "progress", "step": 3, "total": 3, "percent": 100, "elapsed_ms": 30}),
        json!({
            "type": "result", "image": "cG5nIDEyOHgxMjg=", "content_type": "image/png", "seed": 7,
            "size": "128x128", "model": "sdxl", "notes": ["a note"], "request": request,
        }),
    ];
    let data: Vec<_> = told.iter().map(|(_, data)| data.clone()).collect();
    assert_eq!(data, expected);
    assert!(told.iter().all(|(name, data)| data["type"] == name.as_str()), "{told:?}");
}

/// README line: "**Dynamic Model Loading:** Image generation models are loaded on demand and cached for efficiency."
#[test]
fn a_model_that_must_be_loaded_first_is_said_to_be() {
    let absent = Model { loaded: false, ..drawing("sdxl") };
    let host = Script { models: vec![absent], ..sdxl(vec![Event::Started]) }.host();
    assert_eq!(generate(&host, &[PROMPT])[0].1["loading"], json!(true));
}

#[test]
fn a_few_previews_are_asked_for() {
    for (steps, every) in [("25", 6), ("4", 1), ("1", 1)] {
        let host = sdxl(Vec::new()).host();
        generate(&host, &[PROMPT, ("steps", steps)]);
        assert_eq!(host.record.borrow().orders[0].order.preview_every, Some(every));
    }
}

#[test]
fn a_job_that_is_not_taken_has_its_own_status() {
    let full = GenerationError::Overloaded { reason: "the queue is full".into(), retry_after_ms: 1500 };
    let host = Script { refuse: Some(full), ..sdxl(Vec::new()) }.host();
    let Reply::Whole(response) = reply(&host, form(GENERATE, &[PROMPT])) else { panic!("a stream") };
    assert_eq!((response.status, response.headers.get("retry-after")), (429, Some("2")));
    let gone = Script { refuse: Some(GenerationError::WorkerGone), ..sdxl(Vec::new()) }.host();
    assert_eq!(post(&gone, GENERATE, &[PROMPT]).0, 502);
}

#[test]
fn a_job_that_fails_later_ends_the_stream_with_an_error() {
    let fails = Some(GenerationError::Failed("the weights are damaged".into()));
    let told = generate(&Script { fails, ..sdxl(vec![Event::Started]) }.host(), &[PROMPT]);
    let expected = json!({"type": "error", "status": 502, "detail": "the weights are damaged"});
    assert_eq!(told.last(), Some(&("error".to_owned(), expected)));
}

#[test]
fn a_client_that_goes_ends_the_job() {
    let host = Script { never_ends: true, ..sdxl(vec![Event::Started]) }.host();
    let Reply::Stream(_, producer) = reply(&host, form(GENERATE, &[PROMPT])) else { panic!("no stream") };
    let (writer, mut reader) = mpsc::channel(4);
    let mut work = producer(writer);
    block_on(async {
        assert!(poll!(&mut work).is_pending());
        assert!(reader.next().now_or_never().flatten().is_some(), "what happened before is told");
    });
    assert_eq!(host.record.borrow().jobs_dropped, 0);
    drop(work);
    assert_eq!(host.record.borrow().jobs_dropped, 1);
}
