//! The metrics page: what it counts, in a form that Prometheus takes, and how many series there can be.

use http::{Method, Request, StatusCode};
use serde_json::json;

use crate::client::{get, send, with_method};
use crate::exposition::Exposition;
use crate::house::{House, PAGE, folder, manifest, route};

/// Series that one name of a kind may have, as the README says.
const SERIES_PER_NAME: usize = 100;

async fn page(house: &House) -> Exposition {
    let answer = get(house.admin, "/metrics").await;
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    Exposition::read(answer.text())
}

fn generation() -> Request<http_body_util::Full<bytes::Bytes>> {
    let body = json!({ "prompt": "a red boat", "model": "fake", "steps": 3 }).to_string();
    let request =
        Request::post("/v1/images/generations").header("host", "test").header("accept", "image/png");
    request.header("content-type", "application/json").body(body.into()).unwrap()
}

#[tokio::test]
async fn an_answer_is_counted_with_its_time_for_its_route_its_component_and_its_tenant() {
    let house = House::plain().await;
    assert_eq!(get(house.edge, PAGE).await.status, StatusCode::OK);
    house.until("counted", |status| status["routes"][0]["answers"] == 1).await;
    let page = page(&house).await;
    let status = house.status().await;
    let digest = &status["routes"][0]["deployment"]["component"];
    let component = digest.as_str().unwrap();
    for (name, labels) in [
        ("atelier_http_responses_total", [("route", "a"), ("status", "2xx")].as_slice()),
        ("atelier_http_request_duration_seconds_count", &[("route", "a")]),
        ("atelier_tenant_responses_total", &[("tenant", "default"), ("status", "2xx")]),
        ("atelier_tenant_request_duration_seconds_count", &[("tenant", "default")]),
        ("atelier_route_admission_wait_seconds_count", &[("route", "a")]),
        ("atelier_component_info", &[("component", component), ("name", &a_wasm(&house))]),
        ("atelier_component_instantiation_seconds_count", &[("component", component)]),
        ("atelier_worker_alive", &[]),
        ("atelier_http_connections_total", &[]),
    ] {
        assert_eq!(page.value(name, labels), Some(1.0), "{name} {labels:?}");
    }
    for name in ["atelier_route_peak_memory_bytes", "atelier_tenant_peak_memory_bytes"] {
        let label = if name.contains("route") { ("route", "a") } else { ("tenant", "default") };
        assert!(page.value(name, &[label]) >= Some(65_536.0), "{name}");
    }
    assert_eq!(page.value("atelier_jobs_total", &[("end", "completed")]), Some(0.0));
    assert!(page.value("process_resident_memory_bytes", &[]) > Some(1e6));
}

fn a_wasm(house: &House) -> String {
    house.file("a.wasm").display().to_string()
}

#[tokio::test]
async fn a_picture_is_counted_for_its_model_and_its_tenant() {
    let house = House::plain().await;
    assert_eq!(send(house.edge, generation()).await.status, StatusCode::OK);
    let page = page(&house).await;
    let model = ("model", "fake");
    for (name, labels, value) in [
        ("atelier_model_jobs_total", [model, ("end", "completed")].as_slice(), 1.0),
        ("atelier_model_step_seconds_count", &[model], 3.0),
        ("atelier_model_queue_wait_seconds_count", &[model], 1.0),
        ("atelier_model_job_seconds_count", &[model], 1.0),
        ("atelier_model_loaded", &[model], 1.0),
        ("atelier_tenant_jobs_total", &[("tenant", "default"), ("end", "completed")], 1.0),
        ("atelier_tenant_denoising_steps_total", &[("tenant", "default")], 3.0),
    ] {
        assert_eq!(page.value(name, labels), Some(value), "{name}");
    }
    let seconds = page.value("atelier_tenant_inference_seconds_total", &[("tenant", "default")]).unwrap();
    assert!(seconds >= 0.15, "three steps of 50 ms took {seconds} s");
}

#[tokio::test]
async fn what_the_host_refuses_is_counted_by_its_code() {
    let routes = route("a", "/only", "methods = [\"GET\"]");
    let house = House::with("", &routes).await;
    get(house.edge, "/elsewhere").await;
    with_method(house.edge, Method::DELETE, "/only").await;
    let page = page(&house).await;
    assert_eq!(page.value("atelier_http_refusals_total", &[("code", "no_route")]), Some(1.0));
    assert_eq!(page.value("atelier_http_refusals_total", &[("code", "method_not_allowed")]), Some(1.0));
    assert_eq!(page.value("atelier_http_responses_total", &[("route", "-"), ("status", "4xx")]), Some(2.0));
}

#[tokio::test]
async fn strangers_add_no_series_and_names_beyond_the_bound_count_as_others() {
    let names: Vec<String> = (0..12).map(|number| format!("r{number}")).collect();
    let routes: String = names.iter().map(|name| route(name, &format!("/{name}"), "")).collect();
    let tenants: String = (0..12).map(|number| format!("[[tenant]]\nid = \"t{number}\"\n")).collect();
    let text = manifest("", &(tenants + &routes + "[telemetry]\nmetric-labels = 4\n"));
    let house = House::open(folder(), &text).await;
    for name in &names {
        assert_eq!(get(house.edge, &format!("/{name}{PAGE}")).await.status, StatusCode::OK);
    }
    house
        .until("counted", |status| {
            status["routes"].as_array().unwrap().iter().all(|route| route["answers"] == 1)
        })
        .await;
    let before = page(&house).await;
    strangers(&house).await;
    let after = page(&house).await;
    assert_eq!(after.values_of("route"), ["-", "other", "r0", "r1", "r2"].into());
    assert!(after.values_of("tenant").len() <= 5 && after.values_of("tenant").contains("other"));
    let others = [("route", "other"), ("status", "2xx")];
    assert_eq!(after.value("atelier_http_responses_total", &others), Some(9.0));
    // the codes of what was refused are new; nothing that a client chose is
    assert!(after.len() <= before.len() + 4, "{} series became {}", before.len(), after.len());
    let names = after.families().count() + 4 * 5 * SERIES_PER_NAME;
    assert!(after.len() <= names, "{} series", after.len());
}

/// A thousand hosts, paths and methods that nobody has heard of.
async fn strangers(house: &House) {
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..10 {
        let edge = house.edge;
        clients.spawn(async move {
            for number in 0..100 {
                let method = Method::from_bytes(format!("METHOD{client}X{number}").as_bytes()).unwrap();
                let request = Request::builder().method(method).uri(format!("/nowhere-{client}/{number}"));
                let request = request.header("host", format!("host-{client}-{number}.test"));
                let request = request.header("x-request-id", format!("id-{client}-{number}"));
                assert_eq!(send(edge, request.body("".into()).unwrap()).await.status, StatusCode::NOT_FOUND);
            }
        });
    }
    clients.join_all().await;
}
