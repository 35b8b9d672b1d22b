//! What becomes of a prompt.

use atelier_kit::fake::Script;
use atelier_kit::host::{Choice, GenerationError, Model, Size, StageError};
use serde_json::json;

use crate::{both, generate, text};

/// README line: "`POST /generate-image` - Generate image from text prompt".
#[test]
fn a_prompt_becomes_a_picture_that_is_kept() {
    let host = both().host();
    let (status, answer) = generate(&host, r#"{"prompt": "a photo of a cat"}"#);
    let expected = json!({
        "filename": "1700000000-000001.png", "prompt": "a photo of a cat", "model": "realistic_vision", "seed": 7,
        "width": 128, "height": 128, "bytes": 11, "created_at": 1_700_000_000,
        "url": "/images/1700000000-000001.png", "success": true, "image_url": "/images/1700000000-000001.png",
        "reason": "It is a photograph.", "notes": ["a note"], "negative_prompt": null, "steps": 20, "guidance_scale": 4.0,
    });
    assert_eq!((status, answer), (200, expected));
    let record = host.record.borrow();
    let order = &record.orders[0].order;
    assert_eq!((order.model.as_str(), order.count, order.size), ("realistic-vision", 1, None));
    assert_eq!((order.steps, order.guidance, order.seed), (None, None, None));
}

/// README lines: "**Auto Style Detection**: Smart model selection based on prompt content", "Models are automatically selected
/// based on prompt content, or you can specify manually."
#[test]
fn the_prompt_chooses_the_model_or_the_request_names_it() {
    let host = both().host();
    generate(&host, r#"{"prompt": "a photo of a cat", "model": "auto", "width": 64, "height": 64}"#);
    assert_eq!(host.record.borrow().hints[0].prompt, "a photo of a cat");
    assert_eq!(host.record.borrow().hints[0].size, Some(Size { width: 64, height: 64 }));
    let (_, answer) = generate(&host, r#"{"prompt": "a photo of a cat", "model": "dreamshaper"}"#);
    assert_eq!(
        (&answer["model"], &answer["reason"]),
        (&json!("dreamshaper"), &json!("dreamshaper was asked for by name."))
    );
    assert_eq!(host.record.borrow().hints.len(), 1, "a name is not discussed");
    assert_eq!(host.record.borrow().orders[1].order.model, "dreamshaper-8");
}

#[test]
fn the_operator_says_what_the_names_stand_for() {
    let script = Script::default().with_config("models", "dreamshaper=nano, realistic_vision=nano");
    let host = script.host();
    let (status, answer) = generate(&host, r#"{"prompt": "a cat", "model": "realistic_vision"}"#);
    assert_eq!((status, host.record.borrow().orders[0].order.model.as_str()), (200, "nano"), "{answer}");
    let (status, answer) = generate(&Script::default().host(), r#"{"prompt": "a", "model": "dreamshaper"}"#);
    assert!(status == 502 && text(&answer).contains("`grants.models`"), "{answer}");
}

#[test]
fn without_a_select_stage_the_first_model_draws_and_a_broken_one_is_seen() {
    let select = Err(StageError::NotConfigured("add `select`".into()));
    let (_, answer) = generate(&Script { select, ..both() }.host(), r#"{"prompt": "a cat"}"#);
    assert_eq!(answer["model"], "dreamshaper");
    let select = Ok(Choice { model: "nobody".into(), reason: String::new() });
    assert_eq!(generate(&Script { select, ..both() }.host(), r#"{"prompt": "a cat"}"#).0, 502);
    let none = Script { models: Vec::new(), ..both() };
    let (status, answer) = generate(&none.host(), r#"{"prompt": "a cat"}"#);
    assert!(status == 502 && text(&answer).contains("`grants.models`"), "{answer}");
}

/// README line: "**Generation Parameters**: Inference steps, guidance scale".
#[test]
fn steps_and_guidance_are_the_requests_or_the_operators() {
    let script =
        || both().with_config("DEFAULT_INFERENCE_STEPS", "12").with_config("DEFAULT_GUIDANCE_SCALE", "6.5");
    let asked = |script: Script, body: &str| {
        let host = script.host();
        assert_eq!(generate(&host, body).0, 200);
        let order = host.record.borrow().orders[0].order.clone();
        (order.steps, order.guidance)
    };
    assert_eq!(asked(script(), r#"{"prompt": "a"}"#), (Some(12), Some(6.5)));
    assert_eq!(asked(script(), r#"{"prompt": "a", "steps": 3, "guidance_scale": 1}"#), (Some(3), Some(1.0)));
    let (_, answer) = generate(&script().host(), r#"{"prompt": "a", "negative_prompt": "rain", "steps": 3}"#);
    let used = json!(["rain", 3, 6.5]);
    assert_eq!(json!([answer["negative_prompt"], answer["steps"], answer["guidance_scale"]]), used);
    let mut free = script();
    free.models = free.models.into_iter().map(|model| Model { guidance: false, ..model }).collect();
    assert_eq!(asked(free, r#"{"prompt": "a"}"#), (Some(12), None), "an operator's default fits what it can");
}

/// README lines: "**Input Validation**: Comprehensive prompt and file validation", "**Input Sanitization**: Removes potentially
/// dangerous content".
#[test]
fn dangerous_content_is_taken_out_of_the_prompt_and_that_is_said() {
    let host = both().host();
    let (_, answer) = generate(
        &host,
        r#"{"prompt": "<script>x</script>a\u0000 cat\u202e", "negative_prompt": "<b>rain</b>"}"#,
    );
    assert_eq!(answer["prompt"], "x a cat");
    assert!(answer["notes"].to_string().contains("were taken out"), "{answer}");
    let record = host.record.borrow();
    assert_eq!(record.orders[0].order.prompt, "x a cat");
    assert_eq!(record.orders[0].order.negative_prompt.as_deref(), Some("rain"));
}

#[test]
fn what_the_model_refuses_is_named_as_the_request_names_it() {
    let reason = "is more than it draws".into();
    let refuse = Some(GenerationError::Invalid { field: "guidance".into(), reason });
    let (status, answer) = generate(&Script { refuse, ..both() }.host(), r#"{"prompt": "a"}"#);
    assert_eq!((status, text(&answer)), (400, "`guidance_scale` is more than it draws"));
}
