//! The names of models: what they stand for, and what is said where that cannot be used.

use atelier_kit::fake::{Fake, Script, drawing, get, json};
use atelier_kit::host::{AbsentModel, Model};
use serde_json::{Value, json as value};

use crate::{GENERATE, MODELS, PROMPT, generate, post, reply};

fn list(host: &Fake) -> Value {
    let (status, list) = json(reply(host, get(MODELS)));
    assert_eq!(status, 200, "{list}");
    list
}

/// README line: "Lists available image generation models and their loaded status."
#[test]
fn both_names_are_listed_with_their_state() {
    let xl = Model { loaded: false, ..drawing("sdxl") };
    let list = list(&Script { models: vec![drawing("lcm"), xl], ..Script::default() }.host());
    let entry = |name: &str, loaded: bool| {
        value!({
            "name": name, "loaded": loaded, "available": true, "model": name, "description": "small pictures",
            "fix": null,
        })
    };
    assert_eq!(list, value!([entry("sdxl", false), entry("lcm", true)]));
}

/// README line: "The image generation models (SDXL, LCM) are defined in `app/constants.py`."
#[test]
fn the_operator_says_what_the_names_stand_for() {
    let host = Script::default().with_config("models", "sdxl=nano, lcm = nano").host();
    generate(&host, &[PROMPT]);
    generate(&host, &[PROMPT, ("model_name", "lcm")]);
    assert!(host.record.borrow().orders.iter().all(|found| found.order.model == "nano"));
    let list = list(&host);
    assert_eq!((&list[0]["name"], &list[0]["model"]), (&value!("sdxl"), &value!("nano")));
}

#[test]
fn a_name_without_a_granted_model_says_what_to_do() {
    let host = Script::default().host();
    let (status, answer) = post(&host, GENERATE, &[PROMPT]);
    let text = answer["detail"].as_str().unwrap_or_default();
    let expected = "the name `sdxl` stands for the model `sdxl`, which is not granted to this route: add its id to \
                    `grants.models`, or say in `config.models` which model stands for it";
    assert_eq!((status, text), (502, expected));
    let list = list(&host);
    assert_eq!((&list[0]["available"], &list[0]["loaded"]), (&value!(false), &value!(false)));
    assert_eq!(list[0]["fix"], expected);
}

/// README line: "Models are downloaded automatically on first use and cached in your home directory". Here an operator
/// fetches them once, and what is missing names the command.
#[test]
fn a_model_whose_files_are_not_here_names_what_brings_them() {
    let absent = vec![AbsentModel {
        id: "sdxl".into(),
        source: "hub:owner/absent".into(),
        fix: "run `atelier models pull sdxl`".into(),
    }];
    let host = Script { absent, ..Script::default() }.host();
    let (status, answer) = post(&host, GENERATE, &[PROMPT]);
    assert!(status == 502 && answer["detail"].to_string().contains("atelier models pull sdxl"), "{answer}");
    assert!(list(&host)[0]["fix"].to_string().contains("atelier models pull sdxl"));
}

#[test]
fn a_configuration_that_cannot_be_used_is_named() {
    for wrong in ["sdxl", "xl=nano", "sdxl=nano;lcm=nano,=", "=nano"] {
        let host = Script::default().with_config("models", wrong).host();
        for (status, answer) in [post(&host, GENERATE, &[PROMPT]), json(reply(&host, get(MODELS)))] {
            let text = answer["detail"].as_str().unwrap_or_default();
            assert!(status == 502 && text.contains("`config.models`"), "{wrong}: {text}");
        }
    }
}
