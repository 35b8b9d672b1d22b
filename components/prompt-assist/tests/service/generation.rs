//! Pictures: defaults, sizes, seeds, models, sources and the forms of an answer.

use atelier_kit::host::{Choice, Size, StageError};
use serde_json::json;

use crate::fake::{Fake, GENERATE, Script, large, nano, post};

fn note(host: &Fake) -> String {
    let (status, answer) = host.post_json(GENERATE, &json!({"prompt": "a cat"}));
    assert_eq!(status, 200, "{answer}");
    answer["notes"][0].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_example_of_the_readme_is_answered_in_the_documented_shape() {
    let host = Script::default().host();
    let body = json!({"prompt": "A sunset", "use_enhancer": false, "n": 2, "size": "512x512", "seed": 5});
    let (status, answer) = host.post_json(GENERATE, &body);
    assert_eq!(status, 200);
    assert_eq!(
        answer,
        json!({
            "created_at_unix_timestamp": 1_700_000_000,
            "data": [
                {"base64_encoded_image": "cG5nIDUxMng1MTI=", "content_type": "image/png", "seed": 5},
                {"base64_encoded_image": "cG5nIDUxMng1MTI=", "content_type": "image/png", "seed": 6},
            ],
            "notes": ["rendered at 128x128 by atelier-nano, scaled to 512x512 by the finish stage"],
        })
    );
}

#[test]
fn a_model_that_draws_the_size_is_asked_for_it_and_nothing_is_noted() {
    let select = Ok(Choice { model: "sd15".into(), reason: "fits".into() });
    let host = Script { models: vec![large()], select, ..Script::default() }.host();
    let (_, answer) = host.post_json(GENERATE, &json!({"prompt": "a", "size": "768x768"}));
    assert_eq!(answer["notes"], json!([]));
    assert_eq!(host.record.borrow().orders[0].0.size, Some(Size { width: 768, height: 768 }));
}

#[test]
fn without_a_finish_stage_the_host_scales_and_a_note_says_so() {
    let finish = Err(StageError::NotConfigured("add finish".into()));
    let host = Script { finish, ..Script::default() }.host();
    assert_eq!(note(&host), "rendered at 128x128 by atelier-nano, scaled to 512x512 by the host");
    assert_eq!(host.record.borrow().resized, 1);
}

#[test]
fn a_finish_stage_that_refuses_is_passed_over_and_a_note_says_so() {
    let host = Script { finish: Err(StageError::Refused("too odd".into())), ..Script::default() }.host();
    assert!(note(&host).ends_with("by the host; the finish stage left the picture as it was: too odd"));
}

#[test]
fn every_value_of_the_request_reaches_the_job() {
    let host = Script::default().host();
    let body = json!({
        "prompt": "a", "n": 3, "seed": 9, "steps": 12, "guidance": 2.5, "schedule": "ddim", "negative_prompt": "dogs",
        "model": "builtin:atelier-nano", "image": "aGk=", "strength": 0.4,
    });
    assert_eq!(host.post_json(GENERATE, &body).0, 200);
    let record = host.record.borrow();
    let (order, strength) = &record.orders[0];
    assert_eq!((order.count, order.seed, order.steps, order.guidance), (3, Some(9), Some(12), Some(2.5)));
    assert_eq!(order.schedule.as_deref(), Some("ddim"));
    assert_eq!(order.negative_prompt.as_deref(), Some("dogs"));
    assert_eq!((*strength, order.preview_every), (Some(0.4), None));
    assert_eq!(record.hints[0].wanted.as_deref(), Some("builtin:atelier-nano"));
    assert!(record.hints[0].has_source);
}

#[test]
fn the_enhanced_prompt_is_drawn_and_echoed() {
    let host = Script::default().host();
    let (_, answer) = host.post_json(GENERATE, &json!({"prompt": "a cat", "use_enhancer": true}));
    assert_eq!(answer["enhanced_prompt"], "a cat for atelier-nano");
    assert_eq!(host.record.borrow().orders[0].0.prompt, "a cat for atelier-nano");
}

#[test]
fn a_client_that_takes_png_gets_the_file_itself() {
    let host = Script::default().host();
    let response = host.answer(post(GENERATE, r#"{"prompt": "a", "seed": 3}"#, "image/png"));
    assert_eq!((response.status, response.body.as_slice()), (200, &b"png 512x512"[..]));
    assert_eq!(response.headers.get("content-type"), Some("image/png"));
    assert_eq!(response.headers.get("x-seed"), Some("3"));
    assert!(response.headers.get("x-notes").is_some_and(|note| note.contains("128x128")));
}

#[test]
fn two_pictures_do_not_fit_into_one_png() {
    let host = Script::default().host();
    let response = host.answer(post(GENERATE, r#"{"prompt": "a", "n": 2}"#, "image/png"));
    assert_eq!(response.status, 400);
    assert!(host.record.borrow().orders.is_empty(), "nothing is drawn for an answer that cannot be given");
}

#[test]
fn without_a_select_stage_the_first_model_draws() {
    let select = Err(StageError::NotConfigured("add select".into()));
    let host = Script { models: vec![large()], select, ..Script::default() }.host();
    assert_eq!(host.post_json(GENERATE, &json!({"prompt": "a"})).0, 200);
    assert_eq!(host.record.borrow().orders[0].0.model, "sd15");
}

#[test]
fn the_operators_model_is_found_by_its_hub_name() {
    let select = Err(StageError::NotConfigured("add select".into()));
    let script = Script { models: vec![nano(), large()], select, ..Script::default() };
    let host = script.with_config("TEXT_TO_IMAGE_STABLE_DIFFUSION_MODEL_ID", "owner/name").host();
    assert_eq!(host.post_json(GENERATE, &json!({"prompt": "a"})).0, 200);
    assert_eq!(host.record.borrow().orders[0].0.model, "sd15");
}

#[test]
fn a_prompt_that_the_model_cannot_read_is_refused_and_never_cut() {
    let host = Script { longest_prompt: 3, ..Script::default() }.host();
    let (status, answer) = host.post_json(GENERATE, &json!({"prompt": "a cat"}));
    assert_eq!(
        (status, &answer["error"]),
        (400, &json!("`prompt` is longer than the encoder reads; shorten it"))
    );
}
