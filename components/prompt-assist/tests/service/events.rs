//! The event stream: its order, its end, its errors, and what happens when the client goes.

use atelier_kit::host::{Event, GenerationError};
use atelier_kit::http::Reply;
use futures::executor::block_on;
use futures::{StreamExt, future};
use serde_json::json;

use crate::fake::{GENERATE, Script, post};

fn story() -> Vec<Event> {
    vec![
        Event::Queued { position: 2, eta_ms: Some(900) },
        Event::Started,
        Event::Step { step: 1, total: 2, elapsed_ms: 40 },
        Event::Preview { index: 0, step: 1, png: b"hi".to_vec() },
    ]
}

#[test]
fn a_follower_is_told_everything_and_gets_the_answer_last() {
    let host = Script { events: story(), ..Script::default() }.host();
    let told = host.stream(&json!({"prompt": "a", "seed": 1}));
    let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["queued", "started", "step", "preview", "result"]);
    assert_eq!(told[0].1, json!({"position": 2, "eta_ms": 900}));
    assert_eq!(told[2].1, json!({"step": 1, "total": 2, "elapsed_ms": 40}));
    assert_eq!(told[3].1["base64_encoded_image"], "aGk=");
    assert_eq!(told[4].1["data"][0]["seed"], 1);
    assert_eq!(host.record.borrow().orders[0].0.preview_every, Some(5));
}

#[test]
fn an_error_ends_the_stream_in_the_error_shape() {
    let full = GenerationError::Overloaded { reason: "the queue is full".into(), retry_after_ms: 1 };
    let host = Script { refuse: Some(full), ..Script::default() }.host();
    let told = host.stream(&json!({"prompt": "a"}));
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0.as_str(), &told[0].1["status_code"]), ("error", &json!(429)));
}

#[test]
fn a_request_that_is_wrong_is_a_400_and_no_stream() {
    let host = Script::default().host();
    let response = host.answer(post(GENERATE, "{}", "text/event-stream"));
    assert_eq!(response.status, 400);
}

#[test]
fn dropping_the_stream_drops_the_job() {
    let host = Script { events: story(), never_ends: true, ..Script::default() }.host();
    let request = post(GENERATE, r#"{"prompt": "a"}"#, "text/event-stream");
    let Reply::Stream(_, producer) = host.reply(request) else { panic!("a whole answer") };
    let (writer, mut reader) = futures::channel::mpsc::channel(8);
    let client = async {
        for _ in story() {
            reader.next().await;
        }
    };
    let work = producer(writer);
    match block_on(future::select(work, Box::pin(client))) {
        future::Either::Right((_, work)) => drop(work),
        future::Either::Left(_) => panic!("the job never ends"),
    }
    assert_eq!(host.record.borrow().jobs_dropped, 1);
}
