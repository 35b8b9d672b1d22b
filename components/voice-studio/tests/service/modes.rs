//! Modes: which can be worked in, and what is done where the wanted one cannot.

use serde_json::json;

use atelier_kit::host::{AbsentModel, Model, Size};

use crate::fake::{Script, painter};

const CHECK: &str = "/kuvagen/api/check_backend";

#[test]
fn a_mode_is_there_with_its_models() {
    let (_, answer) = Script::default().host().browser().get(CHECK);
    assert_eq!((&answer["available"], &answer["default_mode"]), (&json!(true), &json!("local_fast")));
    assert_eq!(answer["modes"]["local_quality"], json!({"available": true}));
    assert_eq!(answer["modes"]["cloud"]["available"], json!(false));
}

#[test]
fn the_systems_own_models_are_the_default() {
    let models = vec![painter("sdxl-lightning", true), painter("instruct-pix2pix", false)];
    let host =
        Script { config: [("OLLAMA_MODEL", "llama3".to_owned())].into(), models, ..Script::default() }.host();
    let (_, answer) = host.browser().get(CHECK);
    assert_eq!(answer["modes"]["local_fast"], json!({"available": true}));
    let reason = answer["modes"]["local_quality"]["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("`cosxl-edit`")
            && reason.contains("grants.models")
            && reason.contains("config.local-quality")
    );
    assert_eq!(answer["notes"], json!(["no effect yet: OLLAMA_MODEL"]));
}

#[test]
fn another_mode_takes_over_and_says_so() {
    let host = Script::default().host();
    let events = host.browser().events(&[("text", "create a boat"), ("mode", "cloud")]);
    let (_, done) = events.last().expect("an end");
    assert_eq!(done["image"]["mode"], "local_fast");
    let note = done["notes"][0].as_str().expect("a note");
    assert!(note.starts_with("local_fast was used: cloud is not to be had"), "{note}");
    assert_eq!(done["note_codes"], json!(["mode_replaced", null]), "the second is a model's");
}

#[test]
fn without_any_mode_nothing_is_begun() {
    let host = Script { models: Vec::new(), ..Script::default() }.host();
    let browser = host.browser();
    assert_eq!(browser.get(CHECK).1["default_mode"], json!(null));
    let (status, answer) = browser.command("create a boat");
    assert_eq!((status, &answer["error"]["code"]), (502, &json!("failed")));
}

/// A model of pictures that another server has, of 1024 pixels a side.
fn elsewhere(id: &str, edits: bool) -> Model {
    let side = Size { width: 1024, height: 1024 };
    Model {
        edit: edits,
        loaded: true,
        device: "elsewhere".into(),
        native_size: side,
        min_side: 1024,
        max_side: 1024,
        sizes: vec![side],
        ..painter(id, true)
    }
}

fn cloud(models: Vec<Model>) -> Script {
    let mut script = Script { ears: vec!["whisper-tiny", "whisper-1"], ..Script::default() };
    script.models.extend(models);
    script
}

#[test]
fn cloud_is_a_mode_like_the_others_where_other_servers_draw() {
    let host = cloud(vec![elsewhere("gemini-2.5-flash-image", true)]).host();
    let browser = host.browser();
    assert_eq!(browser.get(CHECK).1["modes"]["cloud"], json!({"available": true}));
    let events = browser.events(&[("audio", "create a boat"), ("mode", "cloud")]);
    let (_, done) = events.last().expect("an end");
    let image = &done["image"];
    assert_eq!((&image["mode"], &image["model"]), (&json!("cloud"), &json!("gemini-2.5-flash-image")));
    let events = browser.events(&[("text", "make it night"), ("mode", "cloud")]);
    let (_, done) = events.last().expect("an end");
    assert_eq!(done["image"]["mode"], "cloud", "{done}");
    let record = host.record.borrow();
    assert_eq!(record.speech[0].model, "whisper-1");
    let (created, edited) = (&record.orders[0].0, &record.orders[1].0);
    assert_eq!((created.steps, created.size), (None, None), "what was not asked is the server's to choose");
    assert_eq!(edited.size, Some(Size { width: 1024, height: 1024 }));
}

#[test]
fn the_provider_is_the_one_that_is_configured_and_so_are_its_models() {
    let models = vec![elsewhere("dall-e-3", false), elsewhere("gpt-image-1", true)];
    let host = cloud(models.clone()).with_config("CLOUD_PROVIDER", "openai").host();
    let answer = host.browser().get(CHECK).1;
    assert_eq!(answer["modes"]["cloud"], json!({"available": true}));
    assert_eq!(answer.get("notes"), None, "CLOUD_PROVIDER has an effect");
    let host = cloud(models).with_config("cloud", "create=dall-e-3, edit=gpt-image-1, listen=other").host();
    let (_, done) =
        host.browser().events(&[("audio", "create a boat"), ("mode", "cloud")]).pop().expect("an end");
    let notes = done["notes"].to_string();
    assert!(notes.contains("whisper-tiny listened: other is not to be had"), "{notes}");
    let host = Script::default().with_config("CLOUD_PROVIDER", "azure").host();
    assert_eq!(host.browser().get(CHECK).0, 500);
}

#[test]
fn without_a_key_the_cloud_is_not_to_be_had_and_says_what_is_missing() {
    let fix = "set the variable GEMINI_API_KEY (api-key-env of provider `google`)".to_owned();
    let absent =
        vec![AbsentModel { id: "gemini-2.5-flash-image".into(), source: "hub:owner/absent".into(), fix }];
    let host = Script { absent, ..Script::default() }.host();
    let (browser, answer) = (host.browser(), host.browser().get(CHECK).1);
    let state = &answer["modes"]["cloud"];
    assert!(state["reason"].as_str().is_some_and(|why| why.contains("GEMINI_API_KEY")), "{state}");
    let (_, done) = browser.events(&[("text", "create a boat"), ("mode", "cloud")]).pop().expect("an end");
    let note = done["notes"][0].as_str().expect("a note");
    assert!(done["image"]["mode"] == "local_fast" && note.contains("GEMINI_API_KEY"), "{note}");
}
