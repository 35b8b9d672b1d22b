//! The operators' address.

use std::collections::BTreeSet;
use std::time::Duration;

use atelier_inference::fake::FakeEngine;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

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
        (&status["models"][0]["id"], &status["models"][0]["state"]),
        (&"fake".into(), &"unloaded".into())
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
        (&model["state"], &model["pinned"], &model["problem"]),
        (&json!("unloaded"), &json!(false), &json!(null))
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
        (&status["models"][0]["state"], &status["memory"]["models"]),
        (&json!("loaded"), &json!(1 << 20))
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
    house.until("loading", |status| status["models"][0]["state"] == "loading").await;
    assert_eq!(get(house.edge, PAGE).await.status, StatusCode::OK, "what needs no model is served meanwhile");
    let house = House::open(folder(), &text).await;
    house.until("loaded", |status| status["models"][0]["state"] == "loaded").await;
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

/// Every `$ref` of a document, resolved in it.
fn resolves(document: &Value, part: &Value) {
    match part {
        Value::Object(entries) => {
            if let Some(Value::String(to)) = entries.get("$ref") {
                let pointer = to.strip_prefix('#').expect("a reference within the document");
                assert!(document.pointer(pointer).is_some(), "{to} leads nowhere");
            }
            entries.values().for_each(|part| resolves(document, part));
        }
        Value::Array(parts) => parts.iter().for_each(|part| resolves(document, part)),
        _ => {}
    }
}

/// Holds one operation against what OpenAPI 3.1 asks of it.
fn is_described(path: &str, operation: &Value) {
    assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{path}");
    let parameters = operation["parameters"].as_array().unwrap();
    let named = |place: &str| {
        let here = parameters.iter().filter(move |parameter| parameter["in"] == place);
        here.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let braced = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    assert_eq!(named("path"), braced.collect::<Vec<_>>(), "{path}");
    assert!(parameters.iter().all(|parameter| parameter["schema"]["type"] == "string"), "{path}");
    let responses = operation["responses"].as_object().unwrap();
    assert!(responses.keys().any(|status| status.starts_with('2')), "{path}");
    for (status, response) in responses {
        assert!(status.parse::<u16>().is_ok() && response["description"].is_string(), "{path} {status}");
        assert_eq!(response["content"].as_object().unwrap().len(), 1, "{path} {status}");
    }
}

/// Whether an answer has what its schema says is always there.
fn fits(document: &Value, schema: &Value, answer: &Value) {
    let schema = match schema["$ref"].as_str() {
        Some(to) => document.pointer(&to[1..]).unwrap(),
        None => schema,
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(answer.get(name.as_str().unwrap()).is_some(), "{name} is missing in {answer:#}");
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let Some(value) = answer.get(name) else { continue };
        match value {
            Value::Array(items) => items.iter().for_each(|item| fits(document, &schema["items"], item)),
            value => fits(document, schema, value),
        }
    }
}

#[tokio::test]
async fn the_openapi_document_is_whole_and_every_answer_is_as_it_says() {
    let house = House::plain().await;
    let document = get(house.admin, "/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    resolves(&document, &document);
    let (mut ids, mut asked) = (BTreeSet::new(), 0);
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            is_described(path, operation);
            assert!(ids.insert(operation["operationId"].to_string()), "{path}: an id stands twice");
            let path = path.replace("{route}", "a").replace("{tenant}", "default");
            let path = path.replace("{model}", "fake");
            let content = &operation["responses"]["200"]["content"]["application/json"];
            if method != "get" || content.is_null() {
                continue;
            }
            let answer = get(house.admin, &path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
            fits(&document, &content["schema"], &answer.json());
            asked += 1;
        }
    }
    assert!(asked >= 15, "{asked}");
}

#[tokio::test]
async fn what_takes_no_body_or_parameter_refuses_one() {
    let house = House::plain().await;
    assert_eq!(get(house.admin, "/v1/routes?all=true").await.code(), "bad_parameter");
    let request = Request::get("/v1/routes").header("host", "test").body("{}".into()).unwrap();
    assert_eq!(send(house.admin, request).await.code(), "no_body_wanted");
    assert_eq!(get(house.admin, "/v1/routes/nothing").await.code(), "no_route");
    assert_eq!(get(house.admin, "/v1/tenants/nobody").await.code(), "no_tenant");
    assert_eq!(with_method(house.admin, Method::HEAD, "/health").await.status, StatusCode::OK);
}
