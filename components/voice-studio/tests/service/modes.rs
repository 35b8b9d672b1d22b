//! Modes: which can be worked in, and what is done where the wanted one cannot.

use serde_json::json;

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
}

#[test]
fn without_any_mode_nothing_is_begun() {
    let host = Script { models: Vec::new(), ..Script::default() }.host();
    let browser = host.browser();
    assert_eq!(browser.get(CHECK).1["default_mode"], json!(null));
    let (status, answer) = browser.command("create a boat");
    assert_eq!((status, &answer["error"]["code"]), (502, &json!("failed")));
}
