//! The backend's endpoints: what they take and answer, and how a task comes along.

use std::pin::pin;

use atelier_kit::Request;
use atelier_kit::fake::{form, get};
use atelier_kit::host::GenerationError;
use futures::executor::block_on;
use serde_json::{Value, json};

use crate::fake::{Fake, Script, post};

fn backend() -> Fake {
    Script::default().with_config("serve", "backend").host()
}

fn ask(host: &Fake, request: Request) -> (u16, Value) {
    block_on(host.ask(request))
}

fn standing(host: &Fake, id: &Value) -> Value {
    ask(host, get(&format!("/task_status/{}", id.as_str().expect("an id")))).1
}

/// README line: `GET /health`.
#[test]
fn its_health_says_what_there_is_to_work_with() {
    let (status, answer) = ask(&backend(), get("/health"));
    assert_eq!((status, &answer["status"]), (200, &json!("healthy")));
    assert_eq!(
        answer["modes"],
        json!({"local_fast": {"available": true}, "local_quality": {"available": true}})
    );
    assert_eq!(answer["transcription"], json!({"available": true, "model": "whisper-tiny"}));
    let host =
        Script { models: Vec::new(), ears: Vec::new(), ..Script::default() }.with_config("serve", "backend");
    let (status, answer) = ask(&host.host(), get("/health"));
    assert_eq!((status, &answer["status"]), (200, &json!("degraded")));
    assert!(answer["transcription"]["reason"].as_str().is_some_and(|why| why.contains("grants.models")));
}

/// README line: `POST /transcribe`.
#[test]
fn a_recording_is_written_down() {
    let host = backend();
    let (status, answer) = ask(&host, form("/transcribe", &[("audio@", "a boat"), ("language", "fi")]));
    let expected = json!({"text": "a boat", "language": "en", "duration": 0.0, "model": ""});
    assert_eq!((status, answer), (200, expected));
    assert_eq!(host.record.borrow().speech[0].language.as_deref(), Some("fi"));
    let (status, answer) = ask(&host, form("/transcribe", &[("audio@", "--")]));
    assert_eq!((status, &answer["text"]), (200, &json!("")), "nothing is a transcript as well");
    for (parts, field) in [
        (&[][..], "audio"),
        (&[("audio@", "a"), ("audio@", "b")], "audio"),
        (&[("audio@", "noise")], "audio"),
        (&[("audio@", "a"), ("language", "sv")], "language"),
        (&[("audio@", "a"), ("prompt", "b")], "prompt"),
    ] {
        let (status, answer) = ask(&host, form("/transcribe", parts));
        assert_eq!((status, &answer["field"], &answer["code"]), (422, &json!(field), &json!("invalid")));
        assert!(answer["detail"].as_str().is_some_and(|text| text.contains(field)), "{answer}");
    }
}

/// README line: `POST /llm`.
#[test]
fn a_command_is_understood_as_json_and_as_a_form() {
    let host = backend();
    let expected = json!({"action": "create", "target": "", "prompt": "a boat"});
    for request in [
        post("/llm", &json!({"text": "create a boat"})),
        post("/llm", &json!({"prompt": "create a boat"})),
        post("/llm", &json!({"text": null, "prompt": "create a boat"})),
        form("/llm", &[("text", "create a boat")]),
    ] {
        assert_eq!(ask(&host, request), (200, expected.clone()));
    }
    for (body, code) in [
        (json!({"text": "nonsense"}), "not_understood"),
        (json!({}), "invalid"),
        (json!({"text": "a", "prompt": "b"}), "invalid"),
        (json!({"text": "a", "history": []}), "invalid"),
        (json!({"text": null}), "invalid"),
        (json!({"text": "a".repeat(1_001)}), "invalid"),
    ] {
        let (status, answer) = ask(&host, post("/llm", &body));
        assert_eq!((status, &answer["code"]), (422, &json!(code)), "{answer}");
    }
}

/// README lines: `POST /generate_image`, `GET /task_status/{task_id}`, "`queued` → `processing` → `completed`", "Single image
/// generation/editing task processed at a time", "Real-time progress updates with partial image previews".
#[test]
fn a_picture_is_queued_shown_while_it_is_drawn_and_there_at_the_end() {
    let host = Script { slow: true, ..Script::default() }.with_config("serve", "backend").host();
    let (status, first) = ask(&host, post("/generate_image", &json!({"prompt": "a boat", "seed": 5})));
    assert_eq!((status, &first["status"], &first["position"]), (200, &json!("queued"), &json!(0)));
    let (_, second) =
        ask(&host, form("/generate_image", &[("prompt", "a house"), ("mode", "local_quality")]));
    assert_eq!((&second["status"], &second["position"]), (&json!("queued"), &json!(1)));
    let (id, job) = (first["task_id"].clone(), host.begin().expect("a job"));
    let shown = block_on(async {
        let path = format!("/task_status/{}", id.as_str().expect("an id"));
        let (mut run, mut shown) = (pin!(voice_studio::api::run(host.clone(), job.clone())), Vec::new());
        let outcome = loop {
            match futures::poll!(run.as_mut()) {
                std::task::Poll::Ready(outcome) => break outcome,
                std::task::Poll::Pending => {
                    // a preview that is not known is told at once, whatever time there is to wait
                    let query = (shown.len() == 5).then(|| "wait_ms=1000&preview_after=1".to_owned());
                    shown.push(host.ask(Request { query, ..get(&path) }).await.1);
                }
            }
        };
        host.end(&job.id, outcome);
        shown
    });
    let messages: Vec<_> = shown.iter().map(|task| task["message"].as_str().expect("words")).collect();
    let expected = [
        "",
        "2 pictures before it",
        "loading nano",
        "step 1 of 4",
        "step 2 of 4",
        "step 2 of 4, preview of step 2",
    ];
    assert_eq!(messages[..6], expected);
    assert!(shown.iter().all(|task| task["status"] == "processing" && task["position"].is_null()));
    let painting = &shown[5];
    assert_eq!(
        (&painting["step"], &painting["steps"], &painting["progress"]),
        (&json!(2), &json!(4), &json!(49))
    );
    assert_eq!(painting["preview"], "data:image/png;base64,ZWFybHk=");
    let done = standing(&host, &id);
    assert_eq!(
        (&done["status"], &done["preview"], &done["error"]),
        (&json!("completed"), &json!(null), &json!(null))
    );
    let result = json!({
        "prompt": "a boat", "seed": 7, "model": "nano", "mode": "local_fast", "width": 128, "height": 128,
        "notes": ["a note"], "image": "data:image/webp;base64,d2VicCBhIGJvYXQ=",
    });
    assert_eq!(done["result"], result);
    let record = host.record.borrow();
    assert_eq!((record.orders[0].0.seed, record.orders[0].0.steps), (Some(5), Some(4)));
    assert!(
        host.memory.objects.borrow().keys().all(|(_, name)| !name.ends_with(".png")),
        "the preview is gone"
    );
    assert_eq!(standing(&host, &second["task_id"])["position"], 0);
}

/// README line: `POST /edit_image`.
#[test]
fn a_picture_is_changed_as_a_form_and_as_json() {
    let host = backend();
    for request in [
        form("/edit_image", &[("image@", "a boat"), ("prompt", "make it night"), ("mode", "local_fast")]),
        post("/edit_image", &json!({"image": "YSBib2F0", "prompt": "make it night"})),
        post("/edit_image", &json!({"image": "data:image/png;base64,YSBib2F0", "prompt": "make it night"})),
    ] {
        let (status, task) = ask(&host, request);
        assert_eq!((status, &task["status"]), (200, &json!("queued")), "{task}");
        block_on(host.work_off());
        assert_eq!(standing(&host, &task["task_id"])["result"]["model"], "nano-edit");
    }
    assert!(host.record.borrow().orders.iter().all(|(_, picture)| picture.as_deref() == Some("a boat")));
    for (body, field) in [
        (json!({"prompt": "make it night"}), "image"),
        (json!({"image": "no base64!", "prompt": "make it night"}), "image"),
        (json!({"image": "//79", "prompt": "make it night"}), "image"),
        (json!({"image": "YSBib2F0"}), "prompt"),
        (json!({"image": "YSBib2F0", "prompt": "a", "mode": "cloud"}), "mode"),
        (json!({"image": "YSBib2F0", "prompt": "a", "strength": 1}), "strength"),
    ] {
        let (status, answer) = ask(&host, post("/edit_image", &body));
        assert_eq!((status, &answer["field"]), (422, &json!(field)), "{answer}");
    }
}

#[test]
fn a_task_that_fails_says_why() {
    let refuse = GenerationError::Overloaded { reason: "the queue is full".into(), retry_after_ms: 2_100 };
    let host = Script { refuse: Some(refuse), ..Script::default() }.with_config("serve", "backend").host();
    let (_, task) = ask(&host, post("/generate_image", &json!({"prompt": "a boat"})));
    block_on(host.work_off());
    let failed = standing(&host, &task["task_id"]);
    assert_eq!((&failed["status"], &failed["result"]), (&json!("failed"), &json!(null)));
    let error = json!({"code": "busy", "message": "the queue is full; try again later"});
    assert_eq!(failed["error"], error);
    assert_eq!(host.record.borrow().orders.len(), 3, "a full queue is tried again");
    let host = Script { models: Vec::new(), ..Script::default() }.with_config("serve", "backend").host();
    let (status, answer) = ask(&host, post("/generate_image", &json!({"prompt": "a boat"})));
    assert_eq!((status, &answer["code"]), (502, &json!("failed")), "what could only fail is not queued");
}

#[test]
fn a_task_is_called_off_waited_for_and_known_by_its_id_alone() {
    let host = backend();
    let (_, task) = ask(&host, post("/generate_image", &json!({"prompt": "a boat"})));
    let path = format!("/task_status/{}", task["task_id"].as_str().expect("an id"));
    let waiting = Request { query: Some("wait_ms=1000".into()), ..get(&path) };
    assert_eq!(ask(&host, waiting).1["status"], "completed", "the fake works while it is waited for");
    let (_, task) = ask(&host, post("/generate_image", &json!({"prompt": "a house"})));
    let path = format!("/task_status/{}", task["task_id"].as_str().expect("an id"));
    let (status, answer) = ask(&host, Request { method: "DELETE".into(), ..get(&path) });
    assert_eq!(
        (status, &answer["status"], &answer["error"]["code"]),
        (200, &json!("cancelled"), &json!("cancelled"))
    );
    assert_eq!(host.begin(), None);
    for (path, query, status) in [
        ("/task_status/nobodys", None, 404),
        ("/task_status/", None, 404),
        ("/task_status/a/b", None, 404),
        (path.as_str(), Some("wait_ms=20001"), 422),
        (path.as_str(), Some("pause=1"), 422),
    ] {
        let (found, answer) = ask(&host, Request { query: query.map(str::to_owned), ..get(path) });
        assert_eq!(found, status, "{path} {query:?}");
        assert!(answer["detail"].is_string() && answer["code"].is_string(), "{answer}");
    }
}

#[test]
fn a_task_that_nobody_asks_for_any_more_is_called_off() {
    let host = backend();
    for is_asked in [true, false] {
        let (_, task) = ask(&host, post("/generate_image", &json!({"prompt": "a boat", "lease_s": 30})));
        host.clock.set(host.clock.get() + 20);
        if is_asked {
            standing(&host, &task["task_id"]);
        }
        host.clock.set(host.clock.get() + 20);
        block_on(host.work_off());
        let expected = if is_asked { "completed" } else { "cancelled" };
        assert_eq!(standing(&host, &task["task_id"])["status"], expected);
    }
    assert!(host.memory.objects.borrow().keys().all(|(_, name)| !name.ends_with(".lease")));
}

#[test]
fn the_same_request_under_a_key_is_the_same_task() {
    let host = backend();
    let keyed = |body: Value| {
        let mut request = post("/edit_image", &body);
        request.headers.add("idempotency-key", "monday");
        ask(&host, request)
    };
    let body = json!({"image": "YSBib2F0", "prompt": "make it night"});
    let (_, first) = keyed(body.clone());
    assert_eq!(keyed(body).1["task_id"], first["task_id"]);
    let (status, answer) = keyed(json!({"image": "YSBib2F0", "prompt": "make it day"}));
    assert_eq!((status, &answer["code"]), (409, &json!("key_used")));
}

#[test]
fn files_of_tasks_go_when_their_time_is_over() {
    let host = backend();
    ask(&host, post("/edit_image", &json!({"image": "YSBib2F0", "prompt": "make it night"})));
    block_on(host.work_off());
    assert_eq!(host.memory.objects.borrow().len(), 2, "the picture to change, and the result");
    host.clock.set(host.clock.get() + 5 * 3_600);
    ask(&host, post("/generate_image", &json!({"prompt": "a house"})));
    block_on(host.work_off());
    assert_eq!(host.memory.objects.borrow().len(), 1);
}

#[test]
fn a_route_serves_what_it_is_told_to() {
    for (serve, health, page) in [("studio", 404, 200), ("backend", 200, 404), ("both", 200, 200)] {
        let host = Script::default().with_config("serve", serve).host();
        let status = |path: &str| host.browser().answer(get(path)).status;
        assert_eq!((status("/health"), status("/kuvagen/")), (health, page), "{serve}");
        let document = host.browser().get("/openapi.json").1;
        assert_eq!(document["paths"]["/health"].is_object(), health == 200);
        assert_eq!(document["paths"]["/kuvagen/gallery"].is_object(), page == 200);
    }
    let (status, answer) = Script::default().with_config("serve", "all").host().browser().get("/kuvagen/");
    assert_eq!(status, 500);
    assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("`serve`")));
    let response = backend().browser().answer(get("/generate_image"));
    assert_eq!((response.status, response.headers.get("allow")), (405, Some("POST")));
}

/// README line: "`queued` → `processing` → `completed`".
#[test]
fn whoever_has_just_asked_hears_that_the_picture_waits() {
    let host = backend();
    host.begins.set(true);
    let mut request = post("/generate_image", &json!({"prompt": "a boat"}));
    request.headers.add("idempotency-key", "monday");
    let (_, task) = ask(&host, request.clone());
    assert_eq!(
        (&task["status"], &task["position"], &task["progress"]),
        (&json!("queued"), &json!(0), &json!(0))
    );
    assert_eq!(standing(&host, &task["task_id"])["status"], "processing", "it had begun already");
    assert_eq!(ask(&host, request).1["status"], "processing", "an older task is told as it stands");
}
