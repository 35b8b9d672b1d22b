//! `POST /api/batch`, which the README has under "Future Enhancements".

use atelier_kit::fake::{Script, json};
use atelier_kit::jobs::{JobsError, Priority};
use serde_json::{Value, json as value};

use crate::{fault, faults, flux, post, posted, reply, work_off};

const BATCH: &str = "/api/batch";

fn task(prompt: &str) -> Value {
    value!({"model": "flux", "prompt": prompt})
}

/// README line: "- Batch processing support".
#[test]
fn tasks_are_kept_in_their_order_and_worked_off_one_by_one() {
    let host = flux().host();
    let mut tasks: Vec<_> = ["a", "b", "c"].map(task).into();
    tasks[1]["priority"] = value!("high");
    let (status, answer) = post(&host, BATCH, &value!({ "tasks": tasks }));
    let sessions = answer["tasks"].as_array().expect("a list");
    assert_eq!((status, sessions.len()), (200, 3), "{answer}");
    let ids: std::collections::BTreeSet<_> =
        sessions.iter().map(|task| task["session_id"].to_string()).collect();
    assert_eq!(ids.len(), 3);
    assert!(sessions.iter().all(|task| task["status"] == "pending"), "{answer}");
    assert_eq!(host.record.borrow().background.submissions[1].priority, Priority::High);
    for prompt in ["a", "b", "c"] {
        work_off(&host).expect("a picture");
        assert_eq!(host.record.borrow().orders.last().expect("an order").order.prompt, prompt);
    }
}

#[test]
fn one_task_that_is_wrong_refuses_them_all_and_every_fault_is_told() {
    let host = flux().host();
    let body = value!({"tasks": [task("a"), {"model": "sdxl", "width": 1}, {"prompt": "b"}, 7]});
    let fields: Vec<_> = faults(post(&host, BATCH, &body)).into_iter().map(|(field, _)| field).collect();
    let expected = ["tasks/1/model", "tasks/1/prompt", "tasks/1/width", "tasks/2/model", "tasks/3"];
    assert_eq!(fields, expected);
    assert!(host.record.borrow().background.submissions.is_empty());
    let unguided = atelier_kit::host::Model { guidance: false, ..flux().models[0].clone() };
    let host = Script { models: vec![unguided], ..flux() }.host();
    let body = value!({"tasks": [task("a"), {"model": "flux", "prompt": "a", "guidance_scale": 7.5}]});
    assert_eq!(fault(post(&host, BATCH, &body)), "tasks/1/guidance_scale");
    assert!(host.record.borrow().background.submissions.is_empty());
}

#[test]
fn a_place_in_a_batch_is_told_as_fastapi_tells_it() {
    let body = value!({"tasks": [task("a"), {"model": "flux"}]});
    let (status, answer) = post(&flux().host(), BATCH, &body);
    assert_eq!((status, &answer["detail"][0]["loc"]), (422, &value!(["body", "tasks", 1, "prompt"])));
}

#[test]
fn a_webhook_that_the_host_refuses_is_that_tasks() {
    let reason = "`webhook` of job 1: `http://10.0.0.1/` is no public address".to_owned();
    let host = Script { jobs: Err(JobsError::Invalid(reason)), ..flux() }.host();
    let told = |url| value!({"model": "flux", "prompt": "a", "webhook_url": url});
    let body = value!({"tasks": [told("https://example.com/"), told("http://10.0.0.1/")]});
    let why = "`http://10.0.0.1/` is no public address".to_owned();
    assert_eq!(faults(post(&host, BATCH, &body)), [("tasks/1/webhook_url".to_owned(), why)]);
}

#[test]
fn a_batch_has_1_to_100_tasks() {
    let host = flux().host();
    assert_eq!(fault(post(&host, BATCH, &value!({"tasks": []}))), "tasks");
    assert_eq!(fault(post(&host, BATCH, &value!({"tasks": vec![task("a"); 101]}))), "tasks");
    let (status, answer) = post(&host, BATCH, &value!({"tasks": vec![task("a"); 100]}));
    assert_eq!((status, answer["tasks"].as_array().map(Vec::len)), (200, Some(100)));
}

#[test]
fn what_is_no_batch_says_what_to_send() {
    let host = flux().host();
    for body in
        [value!([task("a")]), value!({}), value!({"tasks": {}}), value!({"tasks": [task("a")], "x": 1})]
    {
        let text = &faults(post(&host, BATCH, &body))[0].1;
        assert!(text.contains("{\"tasks\": [1 to 100 objects]}"), "{text}");
    }
    let mut large = posted(BATCH, &value!({}));
    large.body = vec![b' '; (1 << 20) + 1];
    assert_eq!(json(reply(&host, large)).0, 413);
}

#[test]
fn a_batch_sent_again_under_its_key_is_the_same_batch() {
    let host = flux().host();
    let keyed = |tasks: &[Value]| {
        let mut request = posted(BATCH, &value!({ "tasks": tasks }));
        request.headers.add("idempotency-key", "monday");
        json(reply(&host, request))
    };
    let first = keyed(&[task("a"), task("b")]);
    assert_eq!((first.0, keyed(&[task("a"), task("b")])), (200, first.clone()));
    let used = "`idempotency-key` was used for another task; send this one under a new key";
    assert_eq!(keyed(&[task("a"), task("c")]), (409, value!({ "detail": used })));
    assert_eq!(host.record.borrow().background.submissions.len(), 2);
}

#[test]
fn a_queue_that_is_full_keeps_none_and_says_when_to_come_back() {
    let host = Script { jobs: Err(JobsError::Full("tenant.quotas.waiting-jobs".into())), ..flux() }.host();
    let (status, answer) = post(&host, BATCH, &value!({"tasks": [task("a")]}));
    assert!(status == 429 && answer["detail"].to_string().contains("waiting-jobs"), "{answer}");
}

#[test]
fn a_task_for_a_model_without_weights_refuses_the_batch() {
    let body = value!({"tasks": [task("a"), {"model": "qwen-multi-angle", "prompt": "a", "view": "top"}]});
    let host = flux().host();
    assert_eq!(post(&host, BATCH, &body).0, 501);
    assert!(host.record.borrow().background.submissions.is_empty());
}
