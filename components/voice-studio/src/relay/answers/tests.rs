//! Answers that are right, wrong, and meant to be wrong.

use serde_json::json;

use super::*;

fn refused<T>(found: Result<T, Snag>) -> String {
    match found {
        Ok(_) => panic!("it was believed"),
        Err(Snag::Silent(why) | Snag::Gone(why)) => format!("gone: {why}"),
        Err(Snag::Failed(failure)) => failure.text().to_owned(),
    }
}

fn right() -> Value {
    let image = format!("data:image/webp;base64,{}", STANDARD.encode("RIFF"));
    json!({"image": image, "seed": 7, "model": "nano", "prompt": "a boat", "mode": "local_fast", "notes": ["a note"]})
}

#[test]
fn each_field_of_a_result_is_looked_at() {
    let found = result(&right()).unwrap_or_else(|_| panic!("it is right"));
    assert_eq!((found.file.as_slice(), found.seed, found.mode), (&b"RIFF"[..], 7, Mode::LocalFast));
    for (field, wrong) in [
        ("image", json!("data:image/webp;base64,no base64")),
        ("image", json!("RIFF")),
        ("seed", json!(-1)),
        ("seed", json!("7")),
        ("model", json!("a".repeat(201))),
        ("prompt", json!(null)),
        ("mode", json!("local_slow")),
        ("notes", json!("a note")),
    ] {
        let mut answer = right();
        answer[field] = wrong;
        assert!(refused(result(&answer)).contains(&format!("`{field}`")), "{field}");
    }
    assert!(refused(result(&Value::Null)).contains("`image`"));
}

#[test]
fn an_intention_keeps_the_rules_of_the_contract() {
    let intention_of = |action: &str, target: &str, prompt: &str| {
        intention(&json!({"action": action, "target": target, "prompt": prompt}))
    };
    assert!(intention_of("edit", "the sky", "make it red").is_ok());
    assert!(intention_of("undo", "", "").is_ok());
    let long = "a".repeat(1_001);
    for (action, target, prompt) in [
        ("delete", "", "a"),
        ("create", "", " "),
        ("create", "the sky", "a"),
        ("undo", "", "a"),
        ("create", "", "a\nb"),
        ("create", "", long.as_str()),
    ] {
        assert!(intention_of(action, target, prompt).is_err(), "{action} {target} {prompt}");
    }
}

#[test]
fn a_task_is_named_by_letters_and_digits_alone() {
    let id = |id: &str| task_id(&json!({ "task_id": id }));
    assert!(id("0f-1").is_ok());
    for wrong in ["", "../health", "a?b", "a b", "ä", &"a".repeat(201)] {
        assert!(id(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_standing_is_told_once_and_a_preview_is_a_png() {
    let queued = json!({"status": "queued", "position": 2, "eta_seconds": 3});
    let first = told(&queued).unwrap_or_else(|_| panic!("it is right"));
    let event = Event::Queued { position: 2, eta_ms: Some(3_000) };
    assert_eq!(first.events_after(&Told::default()), [event]);
    let again = told(&queued).unwrap_or_else(|_| panic!("it is right"));
    assert_eq!(again.events_after(&first), []);
    let shown = |bytes: &[u8]| {
        let preview = format!("data:image/png;base64,{}", STANDARD.encode(bytes));
        told(&json!({"status": "processing", "step": 2, "steps": 4, "preview": preview, "preview_step": 2}))
    };
    let painting = shown(PNG).unwrap_or_else(|_| panic!("it is right"));
    assert_eq!(painting.events_after(&first).len(), 2);
    let known = painting.after(first);
    assert_eq!(
        (known.preview_step(), shown(PNG).map(|told| told.events_after(&known).len()).ok()),
        (2, Some(0))
    );
    assert!(refused(shown(b"<svg onload=alert(1)>")).contains("`preview`"));
    for wrong in
        [json!({"status": "queued"}), json!({"status": "done"}), json!({"status": "failed", "error": "x"})]
    {
        assert!(told(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_no_backend_is_gone_and_what_says_why_is_believed() {
    assert!(refused(value(200, b"<html>")).starts_with("gone"));
    assert!(refused(value(503, b"")).contains("status 503"));
    assert!(refused(value(401, b"{}")).contains("BACKEND_API_KEY"));
    assert!(refused(value(404, br#"{"detail": "no", "code": "not_found"}"#)).starts_with("gone"));
    assert_eq!(
        refused(value(422, br#"{"detail": "`audio` is noise", "code": "invalid"}"#)),
        "`audio` is noise"
    );
}
