//! The operators' address.

use std::time::Duration;

use atelier_inference::fake::FakeEngine;
use http::{Method, Request, StatusCode};
use serde_json::json;

use crate::client::{get, send, try_send, with_method};
use crate::house::{House, PAGE, folder, manifest, route};

#[tokio::test]
async fn health_readiness_and_version_answer() {
    let house = House::plain().await;
    assert_eq!(get(house.admin, "/health").await.json()["status"], "alive");
    let ready = get(house.admin, "/ready").await;
    assert_eq!((ready.status, ready.json()["ready"].clone()), (StatusCode::OK, true.into()));
    assert_eq!(get(house.admin, "/version").await.json()["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn only_questions_are_answered_and_only_on_their_own_address() {
    let house = House::plain().await;
    assert_eq!(
        with_method(house.admin, Method::POST, "/status").await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(get(house.admin, "/config").await.status, StatusCode::NOT_FOUND);
    assert!(!get(house.edge, "/status").await.text().contains("\"runtime\""));
}

#[tokio::test]
async fn the_status_tells_of_routes_models_and_the_queue_but_not_of_configuration() {
    let routes = route("a", "/", "config = { note = \"between us\" }");
    let house = House::open(folder(), &manifest("", &routes)).await;
    let text = get(house.admin, "/status").await.text().to_owned();
    let status = house.status().await;
    let deployment = &status["routes"][0]["deployment"];
    assert!(deployment["generation"].is_u64() && deployment["digest"].is_string(), "{status:#}");
    assert_eq!(deployment["in_flight"], 0);
    assert_eq!(
        (&status["models"][0]["id"], &status["models"][0]["available"]),
        (&"fake".into(), &true.into())
    );
    assert_eq!((&status["queue"]["alive"], &status["phase"]), (&true.into(), &"running".into()));
    assert_eq!((&status["queue"]["jobs"], &status["queue"]["tenants"]), (&json!([]), &json!({})));
    assert!(!text.contains("between us"));
}

#[tokio::test]
async fn the_status_tells_what_is_in_memory_and_what_of_the_budget_is_taken() {
    let routes = format!("[engine]\nmemory-bytes = \"3 MiB\"\n{}", route("a", "/", ""));
    let house = House::open(folder(), &manifest("", &routes)).await;
    let status = house.status().await;
    let model = &status["models"][0];
    assert_eq!(
        (&model["loaded"], &model["pinned"], &model["problem"]),
        (&json!(false), &json!(false), &json!(null))
    );
    assert_eq!(status["memory"], json!({ "budget": 3 << 20, "models": 0, "runs": 0 }));
    let ask = |size: &str| {
        let body = format!(r#"{{"prompt": "a red boat", "model": "fake", "steps": 1, "size": "{size}"}}"#);
        let request =
            Request::post("/v1/images/generations").header("host", "test").header("accept", "image/png");
        send(house.edge, request.header("content-type", "application/json").body(body.into()).unwrap())
    };
    let refused = ask("1024x1024").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.text().contains("engine.memory-bytes is 3145728; ask for smaller"), "{}", refused.text());
    assert_eq!(ask("256x256").await.status, StatusCode::OK);
    let status = house.status().await;
    assert_eq!(
        (&status["models"][0]["loaded"], &status["memory"]["models"]),
        (&json!(true), &json!(1 << 20))
    );
    let page = get(house.admin, "/metrics").await;
    for line in ["atelier_memory_budget_bytes 3145728", "atelier_model_loaded{model=\"fake\"} 1"] {
        assert!(page.text().lines().any(|given| given == line), "no {line} in\n{}", page.text());
    }
}

#[tokio::test]
async fn a_host_is_not_ready_before_its_models_are_preloaded() {
    let routes = route("a", "/", "");
    let text = manifest("", &routes).replace("source = \"model\"", "source = \"model\"\npreload = true");
    // longer than any test waits
    let engine = FakeEngine { load: Duration::from_secs(3_600), ..FakeEngine::default() };
    let house = House::serving(folder(), &text, engine, Vec::new()).await;
    let ready = get(house.admin, "/ready").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.json()["reasons"], json!(["models are being loaded"]));
    assert_eq!(get(house.edge, PAGE).await.status, StatusCode::OK, "what needs no model is served meanwhile");
    let house = House::open(folder(), &text).await;
    house.until("loaded", |status| status["models"][0]["loaded"] == true).await;
    assert_eq!(get(house.admin, "/ready").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_status_lists_the_queues_jobs_and_what_each_tenant_had() {
    let house = House::plain().await;
    let body = r#"{"prompt": "a red boat", "model": "fake", "steps": 100}"#;
    let request =
        Request::post("/v1/images/generations").header("host", "test").header("accept", "image/png");
    let request = request.header("content-type", "application/json").body(body.into()).unwrap();
    let client = tokio::spawn(try_send(house.edge, request));
    let status = house.until("running", |status| status["queue"]["jobs"][0]["running"] == true).await;
    let job = &status["queue"]["jobs"][0];
    assert_eq!((&job["tenant"], &job["model"]), (&json!("default"), &json!("fake")));
    assert_eq!((&job["position"], &job["priority"]), (&json!(0), &json!("normal")));
    assert_eq!(status["queue"]["tenants"]["default"]["submitted"], 1);
    client.abort();
    house.until("counted", |status| status["queue"]["tenants"]["default"]["cancelled"] == 1).await;
}
