//! `POST /api/flux/t2i`: every field, its default and bounds, and what becomes of it when the task is worked off.

use atelier_kit::fake::{Fake, Script, drawing};
use atelier_kit::host::{AbsentModel, GenerationError, Model, Order, Size};
use atelier_kit::jobs::{Cache, JobFailure, JobsError, Priority, Webhook};
use serde_json::{Value, json};

use crate::{FIRST, T2I, fault, faults, flux, post, status, submitted, work_off};

/// What is ordered of the model for a body that is right.
fn ordered(host: &Fake, body: &Value) -> Order {
    submitted(post(host, T2I, body));
    work_off(host).expect("a picture");
    host.record.borrow().orders.last().cloned().expect("an order").order
}

fn with(field: &str, value: &Value) -> Value {
    json!({"prompt": "A serene lake", field: value})
}

/// README lines: "**Async Task Processing**: All generation tasks run in background, returning immediately with a session_id", and the
/// answer of its first example.
#[test]
fn a_task_is_answered_with_its_id_at_once() {
    let host = flux().host();
    let body = json!({
        "prompt": "A serene lake with mountains at sunset",
        "width": 1024, "height": 768, "guidance_scale": 7.5, "num_inference_steps": 50
    });
    let expected = json!({
        "session_id": FIRST,
        "status": "pending",
        "message": "Task submitted. Use /api/{session_id}/status to check progress."
    });
    assert_eq!(post(&host, T2I, &body), (200, expected));
    assert!(host.record.borrow().orders.is_empty(), "nothing is drawn within the request");
    let kept = host.record.borrow().background.submissions[0].clone();
    assert_eq!((kept.kind.as_str(), kept.priority, kept.keep_seconds), ("flux/t2i", Priority::Normal, None));
}

/// README lines: "\"width\": \"int (default: 512)\"", "\"height\": \"int (default: 512)\"", "\"num_inference_steps\": \"int (default:
/// 50)\"", "\"guidance_scale\": \"float (default: 7.5)\"".
#[test]
fn a_prompt_alone_has_the_defaults() {
    let large = Model { max_side: 1_024, ..flux().models[0].clone() };
    let host = Script { models: vec![large], ..flux() }.host();
    let order = ordered(&host, &json!({"prompt": "A serene lake"}));
    let size = Some(Size { width: 512, height: 512 });
    assert_eq!((order.size, order.steps, order.guidance, order.seed), (size, Some(50), Some(7.5), None));
    assert_eq!((order.prompt.as_str(), order.negative_prompt, order.count), ("A serene lake", None, 1));
    assert_eq!(status(&host, FIRST)["message"], "Generation completed successfully; a note");
}

/// README line: "\"negative_prompt\": \"string (optional)\"". Forms send what was left empty.
#[test]
fn a_negative_prompt_that_is_empty_is_none_even_for_a_model_that_takes_none() {
    let body = with("negative_prompt", &json!(""));
    assert_eq!(ordered(&flux().host(), &body).negative_prompt, None);
    let plain = Model { negative_prompt: false, ..flux().models[0].clone() };
    let host = Script { models: vec![plain], ..flux() }.host();
    assert_eq!(ordered(&host, &body).negative_prompt, None);
}

/// README lines: "\"prompt\": \"string (required)\"", "\"negative_prompt\": \"string (optional)\"", "\"seed\": \"int (optional)\"".
#[test]
fn every_field_reaches_the_model_in_any_form_that_pydantic_takes() {
    let host = flux().host();
    let body = json!({
        "prompt": "A lake", "negative_prompt": "boats", "width": "128", "height": 64.0, "num_inference_steps": "4",
        "guidance_scale": "3", "seed": 9_007_199_254_740_991_u64,
    });
    let order = ordered(&host, &body);
    assert_eq!(order.size, Some(Size { width: 128, height: 64 }));
    assert_eq!((order.steps, order.guidance, order.seed), (Some(4), Some(3.0), Some(9_007_199_254_740_991)));
    assert_eq!(order.negative_prompt.as_deref(), Some("boats"));
}

#[test]
fn values_past_their_bounds_are_refused_by_field() {
    for (field, values) in [
        ("prompt", vec![json!(""), json!(1), json!("a".repeat(8_193))]),
        ("negative_prompt", vec![json!(1), json!("a".repeat(8_193))]),
        ("width", vec![json!(63), json!(2_049), json!("wide"), Value::Null]),
        ("height", vec![json!(63), json!(2_049), json!(512.5)]),
        ("num_inference_steps", vec![json!(0), json!(151), json!([])]),
        ("guidance_scale", vec![json!(-0.1), json!(50.1), json!("much")]),
        ("seed", vec![json!(-1), json!(9_007_199_254_740_992_u64)]),
        ("priority", vec![json!("urgent"), json!(1)]),
    ] {
        for value in values {
            let host = flux().host();
            assert_eq!(fault(post(&host, T2I, &with(field, &value))), field, "{value}");
            assert!(host.record.borrow().background.submissions.is_empty());
        }
    }
    let host = flux().host();
    let all = faults(post(&host, T2I, &json!({"width": 1, "callback": "http://a", "seed": -1})));
    let fields: Vec<_> = all.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["callback", "prompt", "width", "seed"]);
}

#[test]
fn a_priority_is_the_jobs() {
    let host = flux().host();
    for (word, priority) in [("low", Priority::Low), ("normal", Priority::Normal), ("high", Priority::High)] {
        submitted(post(&host, T2I, &with("priority", &json!(word))));
        assert_eq!(host.record.borrow().background.submissions.last().expect("one").priority, priority);
    }
}

/// README line: "TASK_TTL=3600  # Task status TTL in seconds".
#[test]
fn a_task_is_known_for_as_long_as_the_operator_says() {
    let host = flux().with_config("TASK_TTL", "60").host();
    submitted(post(&host, T2I, &json!({"prompt": "a"})));
    assert_eq!(host.record.borrow().background.submissions[0].keep_seconds, Some(60));
    for wrong in ["0", "604801", "an hour", "-1"] {
        let (status, answer) =
            post(&flux().with_config("TASK_TTL", wrong).host(), T2I, &json!({"prompt": "a"}));
        assert!(status == 502 && answer["detail"].to_string().contains("`config.TASK_TTL`"), "{answer}");
    }
}

#[test]
fn a_size_that_the_model_does_not_draw_is_scaled_and_said() {
    let host = flux().host();
    submitted(post(&host, T2I, &json!({"prompt": "a", "width": 1024, "height": 768})));
    work_off(&host).expect("a picture");
    let order = host.record.borrow().orders[0].order.clone();
    assert_eq!(order.size, Some(Size { width: 144, height: 112 }));
    let message = status(&host, FIRST)["message"].to_string();
    assert!(message.contains("rendered at 144x112 by flux-dev, scaled to 1024x768"), "{message}");
}

#[test]
fn what_a_model_cannot_obey_is_refused_and_its_defaults_are_left_out() {
    let unguided = Model { guidance: false, negative_prompt: false, ..flux().models[0].clone() };
    let script = || Script { models: vec![unguided.clone()], ..flux() };
    assert_eq!(ordered(&script().host(), &json!({"prompt": "a"})).guidance, None);
    assert_eq!(ordered(&script().host(), &with("guidance_scale", &json!(1))).guidance, Some(1.0));
    let body = json!({"prompt": "a", "guidance_scale": 7.5, "negative_prompt": "b"});
    let fields: Vec<_> =
        faults(post(&script().host(), T2I, &body)).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["negative_prompt", "guidance_scale"]);
    let only_changes = Model { text_to_image: false, ..flux().models[0].clone() };
    let host = Script { models: vec![only_changes], ..flux() }.host();
    assert_eq!(fault(post(&host, T2I, &json!({"prompt": "a"}))), "prompt");
}

/// README line: "**Flux**: Text-to-image and image-to-image generation". What it loads is FLUX.1-dev; an operator may say otherwise.
#[test]
fn the_operator_says_which_model_flux_stands_for_and_is_told_what_lacks() {
    let two = || Script { models: vec![drawing("flux-dev"), drawing("nano")], ..flux() };
    assert_eq!(ordered(&two().host(), &json!({"prompt": "a"})).model, "flux-dev");
    assert_eq!(ordered(&two().with_config("flux", "nano").host(), &json!({"prompt": "a"})).model, "nano");
    let (status, answer) = post(&two().with_config("flux", "nobody").host(), T2I, &json!({"prompt": "a"}));
    let text = answer["detail"].as_str().unwrap_or_default();
    assert!(status == 502 && text.contains("`nobody`") && text.contains("grants.models"), "{text}");
    let absent = vec![AbsentModel {
        id: "flux-dev".into(),
        source: "hub:owner/absent".into(),
        fix: "run `atelier models pull flux-dev`".into(),
    }];
    let (status, answer) =
        post(&Script { models: Vec::new(), absent, ..flux() }.host(), T2I, &json!({"prompt": "a"}));
    assert!(status == 502 && answer["detail"].to_string().contains("models pull flux-dev"), "{answer}");
}

/// README line: "\"error\": \"Model inference error: GPU out of memory\"".
#[test]
fn a_model_that_fails_fails_the_task_in_the_originals_words() {
    let fails = Some(GenerationError::Failed("GPU out of memory".into()));
    let host = Script { fails, ..flux() }.host();
    let id = submitted(post(&host, T2I, &json!({"prompt": "a"})));
    let error = "Model inference error: GPU out of memory";
    assert_eq!(work_off(&host), Err(JobFailure::Permanent(error.into())));
    let expected = json!({
        "session_id": id, "status": "failed", "progress": 0, "message": "Generation failed", "result_url": null,
        "error": error
    });
    assert_eq!(status(&host, &id), expected);
}

/// README line under "Future Enhancements": "- Webhook notifications on task completion".
#[test]
fn a_webhook_is_the_jobs_and_one_that_the_host_refuses_is_named_by_its_field() {
    let host = flux().host();
    submitted(post(&host, T2I, &with("webhook_url", &json!("https://example.com/hook"))));
    let kept = host.record.borrow().background.submissions[0].webhook.clone();
    assert_eq!(kept, Some(Webhook::of_end("https://example.com/hook")));
    let told = "route `flux` tells nobody; add [route.webhooks] with a `secret-env` to it";
    let refusing = |text: String| Script { jobs: Err(JobsError::Invalid(text)), ..flux() }.host();
    let refused = post(
        &refusing(format!("`webhook` of job 0: {told}")),
        T2I,
        &with("webhook_url", &json!("https://a")),
    );
    assert_eq!(faults(refused), [("webhook_url".to_owned(), told.to_owned())]);
    let cached = json!({"prompt": "a", "seed": 7, "cache_seconds": 60});
    let host_says = "`cache.models` of job 0: `flux-dev` is not here".to_owned();
    assert_eq!(fault(post(&refusing(host_says), T2I, &cached)), "cache_seconds");
    for wrong in [json!(""), json!("h".repeat(2_049)), json!(1)] {
        assert_eq!(fault(post(&host, T2I, &with("webhook_url", &wrong))), "webhook_url");
    }
}

/// README line under "Future Enhancements": "- Result caching".
#[test]
fn a_cached_picture_is_that_of_the_model_and_only_for_a_seed() {
    let host = flux().host();
    submitted(post(&host, T2I, &json!({"prompt": "a", "seed": 7, "cache_seconds": 60})));
    let kept = host.record.borrow().background.submissions[0].cache.clone();
    assert_eq!(kept, Some(Cache { seconds: 60, models: vec!["flux-dev".into()] }));
    submitted(post(&host, T2I, &json!({"prompt": "a", "seed": 7})));
    assert_eq!(host.record.borrow().background.submissions[1].cache, None);
    assert_eq!(fault(post(&host, T2I, &with("cache_seconds", &json!(60)))), "cache_seconds");
    for wrong in [json!(0), json!(604_801), json!("long")] {
        assert_eq!(
            fault(post(&host, T2I, &json!({"prompt": "a", "seed": 7, "cache_seconds": wrong}))),
            "cache_seconds"
        );
    }
}
