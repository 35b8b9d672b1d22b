//! A studio whose work another server does: what is asked there, what is believed, and what happens without it.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::fake::{Elsewhere, Fake, Script};

const CHECK: &str = "/kuvagen/api/check_backend";

/// A studio without models of its own.
fn front(elsewhere: Elsewhere) -> Fake {
    let script = Script { models: Vec::new(), ears: Vec::new(), ..Script::default() };
    script.with_config("BACKEND_URL", "http://gpu:8000").host().asking(elsewhere)
}

/// One with models of its own.
fn capable(elsewhere: Elsewhere) -> Fake {
    Script::default().with_config("BACKEND_URL", "http://gpu:8000/").host().asking(elsewhere)
}

fn backend() -> Fake {
    Script::default().with_config("serve", "backend").host()
}

fn says(answers: impl IntoIterator<Item = (u16, Value)>) -> Elsewhere {
    Elsewhere::Says(answers.into_iter().collect::<VecDeque<_>>())
}

fn healthy() -> (u16, Value) {
    (200, json!({"status": "healthy", "modes": {"local_fast": {"available": true}}}))
}

/// No answer within the time that there is.
fn silence() -> (u16, Value) {
    (0, Value::Null)
}

fn understood() -> (u16, Value) {
    (200, json!({"action": "create", "target": "", "prompt": "a boat"}))
}

fn done() -> (u16, Value) {
    let result = json!({
        "image": "data:image/webp;base64,d2VicCBhIGJvYXQ=", "prompt": "a boat, styled", "seed": 9, "model": "large",
        "mode": "local_fast", "width": 128, "height": 128, "notes": ["said there"],
    });
    (200, json!({"task_id": "t-1", "status": "completed", "result": result}))
}

/// README lines: "Routes requests to either local backend or cloud services", `BACKEND_URL`.
#[test]
fn another_server_hears_understands_and_draws() {
    let other = backend();
    let host = front(Elsewhere::Host(Box::new(other.clone())));
    let browser = host.browser();
    let (_, check) = browser.get(CHECK);
    assert_eq!((&check["available"], &check["default_mode"]), (&json!(true), &json!("local_fast")));
    assert_eq!(
        (&check["backend"], &check["modes"]["cloud"]["available"]),
        (&json!({"available": true}), &json!(false))
    );
    let events = browser.events(&[("audio", "create a boat"), ("language", "en"), ("mode", "local_quality")]);
    assert_eq!(events[0], ("transcript".into(), json!({"text": "create a boat", "language": "en"})));
    assert_eq!(events[1].1["action"], "create");
    let image = &events.last().expect("an end").1["image"];
    assert_eq!(
        (&image["prompt"], &image["mode"], &image["model"]),
        (&json!("a boat"), &json!("local_quality"), &json!("nano"))
    );
    // the second is made of the first, whose file goes there and comes from here
    let (status, changed) = browser.command("make it night");
    assert_eq!((status, &changed["image"]["parent"]), (200, &image["name"]));
    assert_eq!(changed["session"]["image_count"], 2);
    assert_eq!(browser.command("back").1["current"], image["name"]);
    assert_eq!(browser.get("/kuvagen/gallery").1["images"].as_array().map(Vec::len), Some(2));
    let there = other.record.borrow();
    assert_eq!((there.speech.len(), there.orders.len()), (1, 2));
    assert_eq!(there.orders[1].1.as_deref(), Some("a boat"));
    let here = host.record.borrow();
    assert!(here.orders.is_empty() && here.speech.is_empty());
    assert!(here.calls.iter().all(|call| call.timeout_ms <= 120_000 && call.max_answer_bytes <= 32 << 20));
    assert_eq!(here.calls[0].timeout_ms, 2_000, "a dead one is noticed in time");
}

/// README lines: "Queue position displayed", "Real-time progress updates with partial image previews".
#[test]
fn its_queue_steps_and_previews_are_told_as_if_they_were_here() {
    let png = "iVBORw0KGgo=";
    let painting = |step: u32, preview: Option<&str>| {
        let preview = preview.map(|png| format!("data:image/png;base64,{png}"));
        let known = preview.as_ref().map(|_| step);
        (
            200,
            json!({"status": "processing", "step": step, "steps": 4, "preview": preview, "preview_step": known}),
        )
    };
    let queued = |position: u32| {
        (200, json!({"task_id": "t-1", "status": "queued", "position": position, "eta_seconds": 3}))
    };
    let answers = [
        healthy(),
        understood(),
        queued(2),
        queued(2),
        queued(2),
        queued(0),
        painting(1, None),
        painting(2, Some(png)),
        painting(2, Some(png)),
        done(),
    ];
    let events = front(says(answers)).browser().events(&[("text", "create a boat")]);
    let told: Vec<_> = events[2..events.len() - 1].to_vec();
    let expected = [
        ("queued", json!({"position": 2, "eta_ms": 3000})),
        ("queued", json!({"position": 0, "eta_ms": 3000})),
        ("progress", json!({"step": 1, "steps": 4, "percent": 25})),
        ("progress", json!({"step": 2, "steps": 4, "percent": 50})),
        ("preview", json!({"step": 2, "image": format!("data:image/png;base64,{png}")})),
        ("progress", json!({"step": 4, "steps": 4, "percent": 100})),
    ];
    assert_eq!(told, expected.map(|(name, data)| (name.to_owned(), data)));
    let image = &events.last().expect("an end").1["image"];
    assert_eq!(
        (&image["seed"], &image["model"], &image["prompt"]),
        (&json!(9), &json!("large"), &json!("a boat, styled"))
    );
}

/// README lines: "System automatically falls back", "Ensure backend server is running and accessible".
#[test]
fn without_it_ones_own_models_work_and_a_note_says_so() {
    let host = capable(Elsewhere::Nobody);
    let browser = host.browser();
    let (_, check) = browser.get(CHECK);
    assert_eq!(
        (&check["backend"]["available"], &check["default_mode"]),
        (&json!(false), &json!("local_fast"))
    );
    assert!(check["backend"]["reason"].as_str().is_some_and(|why| why.contains("is the server running?")));
    let events = browser.events(&[("audio", "create a boat")]);
    let (_, done) = events.last().expect("an end");
    let note = done["notes"][0].as_str().expect("a note");
    assert!(note.starts_with("this server's own models were used: the backend is not to be had"), "{note}");
    assert_eq!(done["note_codes"], json!(["backend_away", null]));
    assert_eq!(host.record.borrow().orders.len(), 1);
    let (status, answer) = front(Elsewhere::Nobody).browser().command("create a boat");
    assert_eq!((status, &answer["error"]["code"]), (502, &json!("no_backend")));
    assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("BACKEND_URL")));
}

#[test]
fn one_that_is_gone_in_the_middle_is_replaced_and_one_that_comes_back_is_not() {
    let queued = (200, json!({"task_id": "t-1", "status": "queued", "position": 0}));
    for answers in [
        vec![healthy()],
        vec![healthy(), understood()],
        vec![healthy(), understood(), (503, json!({"error": {"code": "draining"}}))],
        vec![healthy(), understood(), queued.clone()],
        vec![
            healthy(),
            understood(),
            queued.clone(),
            (404, json!({"detail": "no such task", "code": "not_found"})),
        ],
    ] {
        let host = capable(says(answers));
        let (status, done) = host.browser().command("create a boat");
        assert_eq!((status, &done["image"]["model"]), (200, &json!("nano")), "{done}");
        assert_eq!(host.record.borrow().orders.len(), 1);
    }
    let gone = || (503, json!({}));
    let host = capable(says([healthy(), understood(), queued, gone(), gone(), gone(), done()]));
    let (_, done) = host.browser().command("create a boat");
    assert_eq!((&done["image"]["model"], &done["notes"]), (&json!("large"), &json!(["said there"])));
}

#[test]
fn what_it_refuses_is_refused_and_what_it_invents_is_an_error() {
    let host = front(Elsewhere::Host(Box::new(backend())));
    for (parts, status, code) in [
        (&[("text", "nonsense")][..], 422, "not_understood"),
        (&[("audio", "noise")], 422, "invalid"),
        (&[("audio", "long")], 413, "too_large"),
        (&[("audio", "--")], 422, "nothing_heard"),
    ] {
        let response = host.browser().answer(crate::fake::form(parts));
        let answer: Value = serde_json::from_slice(&response.body).expect("json");
        assert_eq!((response.status, &answer["error"]["code"]), (status, &json!(code)), "{answer}");
    }
    let queued = || (200, json!({"task_id": "t-1", "status": "queued", "position": 0}));
    let mut seedless = done();
    seedless.1["result"]["seed"] = json!("nine");
    for (field, answers) in [
        ("action", vec![(200, json!({"action": "delete_everything"}))]),
        ("prompt", vec![(200, json!({"action": "create", "target": "", "prompt": ""}))]),
        ("task_id", vec![understood(), (200, json!({"task_id": "../../admin"}))]),
        ("status", vec![understood(), queued(), (200, json!({"status": "thinking"}))]),
        ("seed", vec![understood(), queued(), seedless]),
    ] {
        let host = capable(says([healthy()].into_iter().chain(answers)));
        let (status, answer) = host.browser().command("create a boat");
        let text = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(status, 502, "{answer}");
        assert!(text.contains(&format!("no usable `{field}`")), "{text}");
    }
    let failed = json!({"status": "failed", "error": {"code": "busy", "message": "the queue is full"}});
    let host = capable(says([healthy(), understood(), queued(), (200, failed)]));
    assert_eq!(host.browser().command("create a boat").0, 429);
}

#[test]
fn its_key_goes_with_every_question() {
    let script =
        Script { models: Vec::new(), ..Script::default() }.with_config("BACKEND_API_KEY", "atl_secret");
    let host = script.with_config("BACKEND_URL", "http://gpu:8000").host();
    let host = host.asking(Elsewhere::Host(Box::new(backend())));
    host.browser().command("create a boat");
    let record = host.record.borrow();
    assert!(record.calls.len() > 3);
    assert!(record.calls.iter().all(|call| call.headers.get("authorization") == Some("Bearer atl_secret")));
}

/// A backend that is well and draws something long: falling back is for one that is away.
#[test]
fn one_that_has_much_to_do_is_busy_and_not_away() {
    for (parts, answers) in [
        (&[("text", "create a boat")][..], vec![healthy(), silence(), healthy()]),
        (&[("audio", "create a boat")], vec![healthy(), silence(), healthy()]),
    ] {
        let host = capable(says(answers));
        let response = host.browser().answer(crate::fake::form(parts));
        let answer: Value = serde_json::from_slice(&response.body).expect("json");
        assert_eq!((response.status, &answer["error"]["code"]), (429, &json!("busy")), "{answer}");
        assert_eq!(response.headers.get("retry-after"), Some("5"));
        assert!(host.record.borrow().orders.is_empty() && host.record.borrow().speech.is_empty());
    }
}
