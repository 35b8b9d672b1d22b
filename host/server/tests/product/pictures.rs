//! Pictures by the embedded model: repeatable, self-describing, and the same by every way in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use crate::host::{GENERATIONS, Host, JSON, PNG, atelier};

/// Few steps: these tests compare bytes, not beauty.
fn request(seed: u64) -> Value {
    json!({ "prompt": "a red boat on the sea at sunset", "size": "256x256", "seed": seed, "steps": 3 })
}

fn bytes_of(picture: &Value) -> Vec<u8> {
    STANDARD.decode(picture["base64_encoded_image"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn the_same_seed_gives_the_same_bytes_and_another_seed_gives_others() {
    let host = Host::start().await;
    let first = host.picture(request(7)).await;
    assert_eq!(first, host.picture(request(7)).await);
    assert_ne!(first, host.picture(request(8)).await);
    assert!(first.starts_with(b"\x89PNG"));
}

#[tokio::test]
async fn two_pictures_of_one_request_are_those_of_two_requests_with_the_echoed_seeds() {
    let host = Host::start().await;
    let mut both = request(41);
    both["n"] = json!(2);
    let answer = host.post(GENERATIONS, JSON, both).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    for picture in answer["data"].as_array().unwrap() {
        let seed = picture["seed"].as_u64().unwrap();
        assert_eq!(bytes_of(picture), host.picture(request(seed)).await, "seed {seed}");
    }
}

#[tokio::test]
async fn a_picture_file_tells_how_it_was_made_and_can_be_made_again_from_that() {
    let host = Host::start().await;
    let file = host.folder.path().join("boat.png");
    std::fs::write(&file, host.picture(request(5)).await).unwrap();
    let output = atelier(host.folder.path()).args(["inspect", "--json"]).arg(&file).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let parameters = told.get("parameters").unwrap_or(&told);
    assert_eq!(parameters["prompt"], "a red boat on the sea at sunset", "{told:#}");
    assert_eq!(parameters["seed"], 5);
    assert_eq!(parameters["steps"], 3);
    let again = json!({
        "prompt": parameters["prompt"],
        "seed": parameters["seed"],
        "steps": parameters["steps"],
        "guidance": parameters["guidance"],
        "schedule": parameters["schedule"],
        "model": parameters["model"],
        "size": "256x256",
    });
    assert_eq!(std::fs::read(&file).unwrap(), host.picture(again).await);
}

#[tokio::test]
async fn without_a_seed_the_host_chooses_one_and_tells_it() {
    let host = Host::start().await;
    let mut unseeded = request(0);
    unseeded.as_object_mut().unwrap().remove("seed");
    let answer = host.post(GENERATIONS, JSON, unseeded).await.json();
    let seed = answer["data"][0]["seed"].as_u64().unwrap();
    assert_eq!(bytes_of(&answer["data"][0]), host.picture(request(seed)).await);
}

#[tokio::test]
async fn a_size_that_the_model_does_not_make_is_said_in_the_answer() {
    let host = Host::start().await;
    let answer = host.post(GENERATIONS, JSON, request(1)).await.json();
    let notes = answer["notes"].to_string();
    assert!(notes.contains("128x128") && notes.contains("256x256"), "{notes}");
    let png = bytes_of(&answer["data"][0]);
    assert_eq!(png[16..24], [0, 0, 1, 0, 0, 0, 1, 0], "256 by 256 in the header");
}

#[tokio::test]
async fn a_model_that_is_not_granted_is_refused_with_the_key_to_add() {
    let host = Host::start().await;
    let mut other = request(1);
    other["model"] = json!("sdxl");
    let answer = host.post(GENERATIONS, PNG, other).await;
    assert!(answer.status.is_client_error() || answer.status == StatusCode::BAD_GATEWAY, "{}", answer.status);
    assert!(answer.text().contains("sdxl") && answer.text().contains("atelier-nano"), "{}", answer.text());
}
