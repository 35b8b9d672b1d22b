//! What becomes of commands: pictures that are made, changed and taken back, and what is told meanwhile.

use serde_json::json;

use crate::fake::Script;

#[test]
fn a_spoken_command_is_told_step_by_step_and_ends_with_its_picture() {
    let host = Script::default().host();
    let browser = host.browser();
    let events =
        browser.events(&[("audio", "create a red boat"), ("language", "en"), ("mode", "local_quality")]);
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "transcript",
        "understood",
        "queued",
        "loading",
        "progress",
        "progress",
        "preview",
        "progress",
        "done",
    ];
    assert_eq!(names, expected);
    assert_eq!(events[0].1, json!({"text": "create a red boat", "language": "en"}));
    assert_eq!(events[1].1, json!({"action": "create", "prompt": "a red boat", "target": ""}));
    assert_eq!(events[2].1, json!({"position": 2, "eta_ms": 1500}));
    assert_eq!(events[3].1, json!({"model": "nano"}));
    assert_eq!(events[5].1, json!({"step": 2, "steps": 4, "percent": 50}));
    assert_eq!(events[6].1, json!({"step": 2, "image": "data:image/png;base64,ZWFybHk="}));
    let done = &events[8].1;
    let image = &done["image"];
    assert_eq!(
        (&image["prompt"], &image["mode"], &image["seed"]),
        (&json!("a red boat"), &json!("local_quality"), &json!(7))
    );
    assert_eq!((&image["created"], &image["parent"]), (&json!("2026-11-22T20:15:30Z"), &json!(null)));
    assert!(
        image["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("20261122-201530-") && name.ends_with(".webp"))
    );
    assert_eq!((&done["current"], &done["notes"]), (&image["name"], &json!(["a note"])));
    assert_eq!((&done["session"]["image_count"], &done["session"]["images_left"]), (&json!(1), &json!(9)));
    let record = host.record.borrow();
    assert_eq!(record.speech[0].language.as_deref(), Some("en"));
    assert_eq!((record.orders[0].0.steps, record.orders[0].0.preview_every), (Some(12), Some(2)));
}

#[test]
fn a_picture_is_changed_and_taken_back() {
    let host = Script::default().host();
    let browser = host.browser();
    let (_, first) = browser.command("create a red boat");
    let (status, second) = browser.command("make it night");
    assert_eq!((status, &second["image"]["parent"]), (200, &first["image"]["name"]));
    assert_eq!(host.record.borrow().orders[1].1.as_deref(), Some("a red boat"));
    let (_, back) = browser.command("back");
    assert_eq!((&back["action"], &back["current"]), (&json!("undo"), &first["image"]["name"]));
    assert_eq!(back["session"]["image_count"], 2, "what is taken back stays in the gallery");
    let (status, none) = browser.command("back");
    assert_eq!((status, &none["error"]["code"]), (422, &json!("nothing_to_undo")));
    // the picture that the client shows counts
    let name = second["image"]["name"].as_str().expect("a name");
    let events = browser.events(&[("text", "make it day"), ("image", name)]);
    let (_, done) = events.last().expect("an end");
    assert_eq!(done["image"]["parent"], second["image"]["name"]);
}

#[test]
fn what_asks_for_no_picture_makes_none() {
    let host = Script::default().host();
    let (status, answer) = host.browser().command("what time is it");
    assert_eq!((status, &answer["action"], &answer["image"]), (200, &json!("none"), &json!(null)));
    assert!(host.record.borrow().orders.is_empty());
}

#[test]
fn without_a_listener_of_events_no_previews_are_made_and_styles_add_to_new_pictures() {
    let host = Script { style: Some("in oil"), ..Script::default() }.host();
    let browser = host.browser();
    let (_, made) = browser.command("create a boat");
    assert_eq!(made["image"]["prompt"], "a boat, in oil");
    browser.command("make it night");
    let record = host.record.borrow();
    assert_eq!(record.orders[0].0.preview_every, None);
    assert_eq!(record.orders[1].0.prompt, "make it night");
}

#[test]
fn the_listener_is_of_the_size_that_is_configured() {
    let host = Script::default().with_config("LOCAL_MODEL_SIZE", "turbo").host();
    host.browser().events(&[("audio", "create a boat")]);
    assert_eq!(host.record.borrow().speech[0].model, "whisper-turbo");
    let host = Script::default().with_config("LOCAL_MODEL_SIZE", "medium").host();
    let events = host.browser().events(&[("audio", "create a boat")]);
    let text = events[0].1["message"].as_str().expect("a text");
    assert!(
        text.contains("LOCAL_MODEL_SIZE `medium`") && text.contains("whisper-tiny, whisper-turbo"),
        "{text}"
    );
}

#[test]
fn a_command_in_writing_may_come_as_json() {
    let host = Script::default().host();
    let browser = host.browser();
    let body = json!({"text": "create a boat", "mode": "local_quality", "image": null});
    let (status, done) = browser.post("/kuvagen/process_command", &body);
    assert_eq!((status, &done["image"]["mode"]), (200, &json!("local_quality")), "{done}");
    let (status, answer) = browser.post("/kuvagen/process_command", &json!({"text": null}));
    assert_eq!((status, &answer["error"]["field"]), (422, &json!("text")));
}
