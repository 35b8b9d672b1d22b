//! `GET /api/{session_id}/status` and what else there is below a session: each state as the README writes it.

use atelier_kit::Request;
use atelier_kit::fake::{Fake, get, json};
use atelier_kit::jobs::{Standing, State};
use generation_server::view::view;
use serde_json::json as value;

use crate::{FIRST, T2I, answer, flux, post, read, reply, status, submitted, work_off};

fn standing(state: State) -> Standing {
    Standing { id: "550e8400-e29b-41d4-a716-446655440000".into(), state, ..Standing::default() }
}

fn delete(host: &Fake, id: &str) -> (u16, serde_json::Value) {
    json(reply(host, Request { method: "DELETE".into(), ..get(&format!("/api/{id}")) }))
}

/// README line: "- `pending`: Task is queued".
#[test]
fn a_task_that_waits_is_pending() {
    let host = flux().host();
    submitted(post(&host, T2I, &value!({"prompt": "a"})));
    let expected = value!({
        "session_id": FIRST, "status": "pending", "progress": 0, "message": "Task is queued", "result_url": null,
        "error": null
    });
    assert_eq!(status(&host, FIRST), expected);
    let third = Standing { position: Some(2), error: Some("a trap".into()), ..standing(State::Pending) };
    assert_eq!(view(&third)["message"], "Task is queued, 2 before it");
    assert_eq!(view(&third)["error"], serde_json::Value::Null);
}

/// README lines: "- `processing`: Task is being executed", and its answer "Processing".
#[test]
fn a_task_that_is_worked_on_is_processing_in_the_originals_very_bytes() {
    let message = "Generation complete, uploading to S3...".into();
    let text = view(&Standing { progress: 60, message, ..standing(State::Processing) }).to_string();
    let expected = r#"{"session_id":"550e8400-e29b-41d4-a716-446655440000","status":"processing","progress":60,"message":"Generation complete, uploading to S3...","result_url":null,"error":null}"#;
    assert_eq!(text, expected);
    assert_eq!(view(&standing(State::Processing))["message"], "Task is starting");
}

/// README lines: "- `failed`: Task failed, error message available", and its answer "Failed".
#[test]
fn a_task_that_failed_has_an_error_and_no_progress() {
    let error = Some("Model inference error: GPU out of memory".to_owned());
    let text = view(&Standing { progress: 40, error, ..standing(State::Failed) }).to_string();
    let expected = r#"{"session_id":"550e8400-e29b-41d4-a716-446655440000","status":"failed","progress":0,"message":"Generation failed","result_url":null,"error":"Model inference error: GPU out of memory"}"#;
    assert_eq!(text, expected);
}

/// README line: "- `completed`: Task completed successfully, result_url available".
#[test]
fn the_picture_of_a_task_that_is_done_is_served_and_of_another_is_not() {
    let host = flux().host();
    let id = submitted(post(&host, T2I, &value!({"prompt": "a", "width": 128, "height": 128})));
    let image = format!("/api/{id}/image");
    let (early, answered) = read(&host, &image);
    assert!(early == 404 && answered["detail"].to_string().contains("the task is pending"), "{answered}");
    work_off(&host).expect("a picture");
    assert_eq!(status(&host, &id)["result_url"], image);
    let picture = answer(&host, get(&image));
    assert_eq!((picture.status, picture.headers.get("content-type")), (200, Some("image/png")));
    assert_eq!(picture.body, b"png 128x128");
}

/// As the host completes a task whose picture it knows.
#[test]
fn a_task_with_the_result_of_another_has_a_picture_under_its_own_id() {
    let host = flux().host();
    let body = value!({"prompt": "a", "width": 128, "height": 128, "seed": 7, "cache_seconds": 60});
    submitted(post(&host, T2I, &body));
    let result = work_off(&host).expect("a picture");
    let id = submitted(post(&host, T2I, &body));
    host.record.borrow_mut().background.standings.iter_mut().filter(|known| known.id == id).for_each(
        |known| {
            (known.state, known.result) = (State::Completed, Some(result.clone()));
        },
    );
    let image = format!("/api/{id}/image");
    assert_eq!(status(&host, &id)["result_url"], image);
    assert_eq!(answer(&host, get(&image)).body, b"png 128x128");
}

#[test]
fn a_session_that_nobody_knows_is_not_found() {
    let host = flux().host();
    let none = (404, value!({"detail": "Session not found"}));
    for id in ["550e8400-e29b-41d4-a716-446655440000", "x", "..", "%00"] {
        assert_eq!(read(&host, &format!("/api/{id}/status")), none, "{id}");
        assert_eq!(read(&host, &format!("/api/{id}/image")), none, "{id}");
        assert_eq!(delete(&host, id), none, "{id}");
    }
}

#[test]
fn a_task_that_is_called_off_has_failed_and_one_that_ended_stays_as_it_is() {
    let host = flux().host();
    let id = submitted(post(&host, T2I, &value!({"prompt": "a"})));
    let expected = value!({
        "session_id": id, "status": "failed", "progress": 0, "message": "Generation cancelled", "result_url": null,
        "error": "cancelled"
    });
    assert_eq!(delete(&host, &id), (200, expected.clone()));
    assert_eq!(status(&host, &id), expected);
    let done = submitted(post(&host, T2I, &value!({"prompt": "a"})));
    work_off(&host).expect("a picture");
    assert_eq!(delete(&host, &done).1["status"], "completed");
}

#[test]
fn a_status_is_never_kept_by_a_cache() {
    let host = flux().host();
    submitted(post(&host, T2I, &value!({"prompt": "a"})));
    let answer = answer(&host, get(&format!("/api/{FIRST}/status")));
    assert_eq!(answer.headers.get("cache-control"), Some("no-store"));
}
