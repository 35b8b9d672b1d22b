//! Files that change while requests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use atelier_inference::ModelId;
use http::{Request, StatusCode};
use serde_json::Value;

use crate::client::{get, send};
use crate::house::{House, PAGE, folder, handler_with, manifest, route};

fn digest(status: &Value) -> String {
    status["routes"][0]["deployment"]["digest"].to_string()
}

#[tokio::test]
async fn a_changed_component_is_taken_up() {
    let house = House::plain().await;
    let before = digest(&house.status().await);
    house.put("a.wasm", handler_with("second"));
    let after = house.until("taken up", |status| digest(status) != before).await;
    assert_eq!(after["routes"][0]["error"], Value::Null);
    assert_eq!(get(house.edge, PAGE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_component_that_does_not_load_leaves_the_old_one_answering_and_says_why() {
    let house = House::plain().await;
    let before = digest(&house.status().await);
    let whole = handler_with("second");
    house.put("a.wasm", &whole[..whole.len() / 2]);
    let status = house.until("reported", |status| !status["routes"][0]["error"].is_null()).await;
    assert!(status["routes"][0]["error"].as_str().unwrap().contains("a.wasm"), "{status:#}");
    assert_eq!(digest(&status), before);
    assert_eq!(get(house.edge, PAGE).await.status, StatusCode::OK);
    house.put("a.wasm", whole);
    let status = house.until("repaired", |status| digest(status) != before).await;
    assert_eq!(status["routes"][0]["error"], Value::Null);
}

#[tokio::test]
async fn a_file_beyond_its_limit_is_not_read_and_the_old_one_answers() {
    let routes = route("a", "/", "limits = { component-bytes = \"16 MiB\" }");
    let house = House::with("", &routes).await;
    // 64 GiB that lie on no disk: whoever reads them has no memory left
    let large = std::fs::File::create(house.file("being-written")).unwrap();
    large.set_len(1 << 36).unwrap();
    drop(large);
    std::fs::rename(house.file("being-written"), house.file("a.wasm")).unwrap();
    let status = house.until("reported", |status| !status["routes"][0]["error"].is_null()).await;
    let told = status["routes"][0]["error"].as_str().unwrap();
    assert!(told.contains("a.wasm") && told.contains("16777216 bytes (limits.component-bytes)"), "{told}");
    assert_eq!(get(house.edge, PAGE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn no_request_fails_while_components_are_swapped() {
    let house = Arc::new(House::plain().await);
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = {
        let (edge, done, answered) = (house.edge, done.clone(), answered.clone());
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(get(edge, PAGE).await.status, StatusCode::OK);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    // two versions in turn: both are in the cache after the first two swaps
    for turn in 0..20 {
        let before = digest(&house.status().await);
        house.put("a.wasm", handler_with(if turn % 2 == 0 { "even" } else { "odd" }));
        house.until("swapped", |status| digest(status) != before).await;
    }
    done.store(true, Ordering::Relaxed);
    client.await.unwrap();
    assert!(answered.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_changed_manifest_adds_and_removes_routes() {
    let house = House::with("", &route("a", "/", "")).await;
    house.put("atelier.toml", manifest("", &[route("a", "/", ""), route("b", "/b", "")].concat()));
    house.until("added", |status| status["routes"][1]["name"] == "b").await;
    assert_eq!(get(house.edge, &format!("/b{PAGE}")).await.status, StatusCode::OK);
    house.put("atelier.toml", manifest("", &route("b", "/b", "")));
    house.until("removed", |status| status["routes"][0]["name"] == "b").await;
    assert_eq!(get(house.edge, PAGE).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_invalid_manifest_changes_nothing_but_the_status() {
    let house = House::plain().await;
    house.put("atelier.toml", manifest("", &route("a", "/", "colour = \"green\"")));
    let status = house.until("reported", |status| !status["reload"]["manifest_error"].is_null()).await;
    assert!(
        status["reload"]["manifest_error"].as_str().unwrap().contains("colour: unknown key"),
        "{status:#}"
    );
    assert_eq!(get(house.edge, PAGE).await.status, StatusCode::OK);
    house.put("atelier.toml", manifest("", &route("a", "/", "")));
    house.until("repaired", |status| status["reload"]["manifest_error"].is_null()).await;
}

#[tokio::test]
async fn what_needs_a_restart_is_said_and_not_done() {
    let house = House::plain().await;
    house.put("atelier.toml", manifest("max-connections = 7", &route("a", "/", "")));
    let status = house.until("said", |status| status["reload"]["restart_needed"][0] == "[server]").await;
    assert_eq!(status["reload"]["restart_needed"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_route_that_never_loaded_answers_503_while_the_others_serve() {
    let folder = folder();
    std::fs::write(folder.path().join("broken.wasm"), "not wasm").unwrap();
    let broken = route("broken", "/broken", "").replace("a.wasm", "broken.wasm");
    let house = House::open(folder, &manifest("", &[route("a", "/", ""), broken].concat())).await;
    let answer = get(house.edge, "/broken").await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not_deployed"));
    assert_eq!(get(house.edge, PAGE).await.status, StatusCode::OK);
    assert_eq!(get(house.admin, "/ready").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_route_whose_every_model_is_missing_names_the_command_that_brings_one() {
    let model = "[[model]]\nid = \"big\"\nsource = \"hub:owner/tiny\"\n";
    let lacking = route("b", "/b", "").replace("\"fake\"", "\"big\"");
    let partly = route("c", "/c", "").replace("\"fake\"", "\"fake\", \"big\"");
    let manifest = manifest("", &[model, &lacking, &partly].concat());
    let missing = vec![(ModelId::new("big"), "run `atelier models pull big`".to_owned())];
    let house = House::lacking(folder(), &manifest, missing).await;
    let answer = get(house.edge, &format!("/b{PAGE}")).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not_deployed"));
    assert!(answer.text().contains("atelier models pull big"), "{answer:?}");
    assert_eq!(get(house.edge, &format!("/c{PAGE}")).await.status, StatusCode::OK);
    let request = Request::post("/c/v1/images/generations").header("host", "test");
    let request = request.header("content-type", "application/json");
    let asked = r#"{ "prompt": "a boat", "model": "big" }"#;
    let answer = send(house.edge, request.body(asked.into()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text().contains("atelier models pull big"), "{answer:?}");
    let models = house.status().await["models"].clone();
    assert_eq!((&models[1]["id"], &models[1]["state"]), (&"big".into(), &"missing".into()));
}
