//! What happens while a task is worked off: what is told, where the picture goes, and what a second attempt does.

use std::rc::Rc;

use atelier_kit::copies::{CopyError, ObjectCopy, Service, ServiceState};
use atelier_kit::fake::{Fake, Script};
use atelier_kit::host::Event;
use atelier_kit::jobs::{Job, JobFailure, State};
use atelier_kit::storage::{Storage, StorageError};
use futures::executor::block_on;
use serde_json::{Value, json};

use crate::{FIRST, T2I, begun, flux, post, posted, reply, status, submitted, work_off};

/// When the fakes' tasks are submitted: 1,700,000,000 s after 1970.
const OBJECT: &str = "20231114_221320_00000000-0000-4000-8000-000000000001.png";

fn small() -> Value {
    json!({"prompt": "a", "width": 128, "height": 128})
}

fn object(host: &Fake) -> Option<Vec<u8>> {
    block_on(host.read("generations", OBJECT)).expect("read")
}

fn copied(is_there: bool) -> Script {
    let url = "https://image-generation-outputs.s3.us-east-1.amazonaws.com/".into();
    Script { copy: Ok(Some(ObjectCopy { url, is_there })), ..flux() }
}

/// README lines: "**Progress Tracking**: Real-time progress updates", "\"progress\": 60, \"message\": \"Generation complete, uploading to
/// S3...\"".
#[test]
fn every_step_is_told_and_60_is_the_picture_on_its_way() {
    let events = vec![
        Event::Queued { position: 2, eta_ms: None },
        Event::Queued { position: 0, eta_ms: None },
        Event::Started,
        Event::Step { step: 1, total: 4, elapsed_ms: 1 },
        Event::Step { step: 4, total: 4, elapsed_ms: 4 },
    ];
    let host = Script { events, ..flux() }.host();
    submitted(post(&host, T2I, &small()));
    work_off(&host).expect("a picture");
    let expected = [
        (10, "Starting generation..."),
        (10, "Waiting for the model, 2 before it"),
        (22, "Generating, step 1 of 4"),
        (60, "Generating, step 4 of 4"),
        (60, "Generation complete, uploading to S3..."),
    ];
    let told = host.record.borrow().background.reports.clone();
    let told: Vec<_> = told.iter().map(|(progress, message)| (*progress, message.as_str())).collect();
    assert_eq!(told, expected);
}

/// README lines: "**S3 Storage**: Generated images/videos automatically uploaded to AWS S3", and its answer "Completed". The container and
/// the folder of the key are the manifest's to join.
#[test]
fn the_result_is_where_s3_has_it_under_the_originals_name() {
    let host = copied(true).host();
    submitted(post(&host, T2I, &small()));
    work_off(&host).expect("a picture");
    assert_eq!(object(&host).as_deref(), Some(&b"png 128x128"[..]));
    let url = format!("https://image-generation-outputs.s3.us-east-1.amazonaws.com/generations/{OBJECT}");
    let expected = json!({
        "session_id": FIRST, "status": "completed", "progress": 100,
        "message": "Generation completed successfully; a note", "result_url": url, "error": null
    });
    assert_eq!(status(&host, FIRST), expected);
}

#[test]
fn without_s3_the_picture_is_served_here_and_a_copy_that_waits_is_told() {
    let waits =
        "Generation completed successfully; the upload to S3 waits, the picture is served here; a note";
    let plain = "Generation completed successfully; a note";
    let broken = Script { copy: Err(CopyError::Failed("the storage failed".into())), ..flux() };
    let degraded = Service {
        id: "s3".into(),
        kind: "s3".into(),
        state: ServiceState::Degraded,
        waiting: 3,
        reason: Some("refused".into()),
    };
    let away = Script { services: vec![degraded], ..copied(false) };
    for (script, message) in [(flux(), plain), (copied(false), waits), (broken, waits), (away, waits)] {
        let host = script.host();
        submitted(post(&host, T2I, &small()));
        work_off(&host).expect("a picture");
        let found = status(&host, FIRST);
        assert_eq!(found["result_url"], format!("/api/{FIRST}/image"));
        assert_eq!((found["message"].as_str(), found["status"].as_str()), (Some(message), Some("completed")));
    }
}

#[test]
fn addresses_begin_with_the_routes_prefix_or_with_what_the_operator_says() {
    let url = |script: Script| {
        let host = script.host();
        let mut request = posted(T2I, &small());
        request.headers.add("x-forwarded-prefix", "/generator");
        reply(&host, request);
        work_off(&host).expect("a picture");
        status(&host, FIRST)["result_url"].clone()
    };
    assert_eq!(url(flux()), format!("/generator/api/{FIRST}/image"));
    let configured = flux().with_config("public-url", "https://pictures.example/");
    assert_eq!(url(configured), format!("https://pictures.example/api/{FIRST}/image"));
}

#[test]
fn a_second_attempt_finds_the_picture_of_the_first_and_draws_none() {
    let host = flux().host();
    submitted(post(&host, T2I, &small()));
    let job = begun(&host);
    // the host ends after the picture is written, and before it knows of the result
    block_on(generation_server::work::run(&host, job.clone())).expect("a picture");
    host.record.borrow_mut().unix_seconds += 60;
    host.record.borrow_mut().background.standings[0].state = State::Pending;
    work_off(&host).expect("the same picture");
    assert_eq!(host.record.borrow().orders.len(), 1);
    assert_eq!(status(&host, FIRST)["status"], "completed");
    assert!(object(&host).is_some());
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    let failing = |objects| {
        let host = Script { objects: Err(objects), ..flux() }.host();
        submitted(post(&host, T2I, &small()));
        work_off(&host).expect_err("no storage")
    };
    let text = |text: &str| format!("Storage error: {text}");
    assert_eq!(failing(StorageError::Failed("disk".into())), JobFailure::Temporary(text("disk")));
    assert_eq!(failing(StorageError::Full("quota".into())), JobFailure::Permanent(text("quota")));
    let host = flux().host();
    submitted(post(&host, T2I, &small()));
    let without = Fake { script: Rc::new(Script { models: Vec::new(), ..flux() }), ..host.clone() };
    let text = "Model inference error: model `flux-dev` is not granted to this route any more".to_owned();
    assert_eq!(work_off(&without), Err(JobFailure::Permanent(text)));
}

#[test]
fn a_payload_of_another_version_is_refused() {
    for payload in [&b""[..], b"{}", b"\xff", b"[1]"] {
        let job = Job { id: FIRST.into(), kind: "flux/t2i".into(), payload: payload.into(), attempt: 1 };
        let ended = block_on(generation_server::work::run(&flux().host(), job));
        assert!(matches!(ended, Err(JobFailure::Permanent(text)) if text.contains("another version")));
    }
}
