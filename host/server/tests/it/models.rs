//! Models as operators see them on a running host, and what they may do with them.

use std::time::Duration;

use atelier_inference::ModelId;
use atelier_inference::fake::FakeEngine;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::{Answer, DEADLINE, send};
use crate::house::{House, folder, manifest, operators_key, route};

/// What a model of the fake engine takes.
const MODEL: u64 = 1 << 20;
/// What a job of its own size takes.
const RUN: u64 = 64 * 64 * 4;

struct Operator {
    house: House,
    key: String,
}

impl Operator {
    /// A host with the models `fake` and `twin`, room for so many bytes, and `big`, whose files are not here.
    async fn with(bytes: u64) -> Operator {
        let (key, line) = operators_key();
        let more = format!(
            "[engine]\nmemory-bytes = {bytes}\n[[model]]\nid = \"twin\"\nsource = \"model\"\n[[model]]\nid = \"big\"\nsource \
             = \"hub:owner/big\"\n{}",
            route("a", "/", "")
        );
        let engine =
            FakeEngine { step: Duration::from_millis(50), others: &["twin"], ..FakeEngine::default() };
        let missing = vec![(ModelId::new("big"), "run `atelier models pull big`".to_owned())];
        let house = House::serving(folder(), &manifest(&line, &more), engine, missing).await;
        Operator { house, key }
    }

    async fn get(&self, path: &str) -> Answer {
        self.house.ask_as(&self.key, Method::GET, path).await
    }

    async fn change(&self, model: &str, change: &str) -> Answer {
        self.house.ask_as(&self.key, Method::POST, &format!("/v1/models/{model}/{change}")).await
    }

    /// Each model's id and state.
    async fn states(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let page = self.get("/v1/models").await.json();
        let models = page["models"].as_array().unwrap().iter();
        models.map(|model| (text(&model["id"]), text(&model["state"]))).collect()
    }

    fn generation(&self, steps: u32) -> impl Future<Output = Answer> + use<> {
        let body = json!({ "prompt": "a boat", "model": "fake", "steps": steps }).to_string();
        let request = Request::post("/v1/images/generations").header("host", "test");
        let request = request.header("accept", "image/png").header("content-type", "application/json");
        send(self.house.edge, request.body(body.into()).unwrap())
    }
}

fn models(states: &[(&str, &str)]) -> Vec<(String, String)> {
    states.iter().map(|(id, state)| ((*id).to_owned(), (*state).to_owned())).collect()
}

#[tokio::test]
async fn models_are_loaded_and_unloaded_and_what_they_take_is_shown() {
    let operator = Operator::with(MODEL + RUN).await;
    let page = operator.get("/v1/models").await.json();
    assert_eq!(page["memory"], json!({ "budget": MODEL + RUN, "models": 0, "runs": 0 }));
    assert_eq!(page["models"][0]["idle_s"], Value::Null, "nobody has used it");
    let loaded = operator.change("fake", "load").await;
    assert_eq!(loaded.status, StatusCode::OK, "{}", loaded.text());
    let model = loaded.json();
    assert_eq!(
        (&model["state"], &model["memory_bytes"], &model["pinned"]),
        (&json!("loaded"), &json!(MODEL), &json!(false))
    );
    assert!(model["idle_s"].is_u64(), "{model:#}");
    // the one that was unused for longest gives way
    assert_eq!(operator.change("twin", "load").await.status, StatusCode::OK);
    assert_eq!(
        operator.states().await,
        models(&[("fake", "unloaded"), ("twin", "loaded"), ("big", "missing")])
    );
    assert_eq!(operator.change("twin", "unload").await.json()["state"], "unloaded");
    assert_eq!(operator.change("twin", "unload").await.status, StatusCode::OK, "twice is no error");
    assert_eq!(operator.get("/v1/models").await.json()["memory"]["models"], 0);
}

#[tokio::test]
async fn a_pinned_model_is_not_unloaded_and_a_pin_that_leaves_no_room_is_refused() {
    let operator = Operator::with(MODEL + RUN).await;
    let refused = operator.change("twin", "pin").await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "memory_limit"));
    assert!(refused.text().contains("for pinned models"), "{}", refused.text());
    assert!(refused.text().contains("engine.memory-bytes is 1064960"), "{}", refused.text());
    let operator = Operator::with(2 * MODEL + RUN).await;
    assert_eq!(operator.change("twin", "pin").await.json()["pinned"], true);
    assert_eq!(operator.change("twin", "load").await.json()["state"], "loaded");
    let refused = operator.change("twin", "unload").await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "model_pinned"));
    assert!(refused.text().contains("`twin` is pinned; unpin it first"), "{}", refused.text());
    assert_eq!(operator.change("twin", "unpin").await.json()["pinned"], false);
    assert_eq!(operator.change("twin", "unload").await.json()["state"], "unloaded");
}

#[tokio::test]
async fn an_unload_waits_for_the_job_that_runs_which_loses_nothing() {
    let operator = Operator::with(2 * MODEL + RUN).await;
    let running = tokio::spawn(operator.generation(10));
    let is_running = async { while operator.get("/v1/queue").await.json()["running"] != true {} };
    timeout(DEADLINE, is_running).await.expect("the job never runs");
    assert_eq!(operator.change("fake", "unload").await.json()["state"], "unloaded");
    // half a second of steps is over by now: the unload was answered after the job
    assert_eq!(operator.get("/v1/queue").await.json()["running"], false);
    assert_eq!(running.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_name_and_every_change_is_noted() {
    let operator = Operator::with(2 * MODEL + RUN).await;
    for change in ["load", "unload", "pin", "unpin"] {
        let unknown = operator.change("nobody", change).await;
        assert_eq!((unknown.status, unknown.code().as_str()), (StatusCode::NOT_FOUND, "no_model"));
        assert!(unknown.text().contains("known: fake, twin"), "{}", unknown.text());
        let missing = operator.change("big", change).await;
        assert_eq!((missing.status, missing.code().as_str()), (StatusCode::CONFLICT, "model_missing"));
        assert!(missing.text().contains("run `atelier models pull big`"), "{}", missing.text());
    }
    assert_eq!(operator.get("/v1/models/nobody").await.code(), "no_model");
    assert_eq!(operator.get("/v1/models/big").await.json()["state"], "missing");
    assert_eq!(operator.change("fake", "forget").await.code(), "no_operation");
    operator.change("fake", "pin").await;
    let entries = operator.get("/v1/audit").await.json()["entries"].clone();
    assert_eq!(entries.as_array().unwrap().len(), 9, "{entries:#}");
    assert_eq!(
        (&entries[0]["operation"], &entries[0]["target"], &entries[0]["status"]),
        (&json!("pinModel"), &json!("/v1/models/fake/pin"), &json!(200))
    );
    let stranger = operator.house.ask_as("atl_admin_x", Method::POST, "/v1/models/fake/unpin").await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    assert_eq!(operator.get("/v1/models/fake").await.json()["pinned"], true);
}
