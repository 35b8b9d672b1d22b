//! Tenants' quotas where jobs are made, and the operators' key. Who gets in is tested against the real binary.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Answer, DEADLINE, get, send};
use crate::house::{House, PAGE, folder, manifest, operators_key, route};

fn tenant(more: &str) -> String {
    format!("[[tenant]]\nid = \"a\"\n{more}\n")
}

/// One open route that belongs to the tenant `a`.
async fn house(server: &str, quotas: &str) -> House {
    let quotas = tenant(&format!("quotas = {{ {quotas} }}"));
    let routes = route("r", "/", "tenant = \"a\"\naccess = \"open\"");
    House::open(folder(), &manifest(server, &[quotas, routes].concat())).await
}

fn generation(body: &Value) -> Request<Full<Bytes>> {
    let request =
        Request::post("/v1/images/generations").header("host", "test").header("accept", "application/json");
    request.header("content-type", "application/json").body(body.to_string().into()).unwrap()
}

async fn usage(house: &House) -> Value {
    get(house.admin, "/tenants").await.json()["tenants"][0]["usage"].clone()
}

fn assert_over(answer: &Answer, key: &str) {
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}");
    assert!(answer.text().contains(&format!("tenant.quotas.{key}")), "{answer:?}");
    assert_eq!(answer.headers["x-should-retry"], "true");
    let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn pictures_of_a_day_are_counted_where_jobs_are_made() {
    let house = house("", "images-per-day = 2").await;
    let two = json!({ "prompt": "a boat", "model": "fake", "n": 2 });
    let one = json!({ "prompt": "a boat", "model": "fake" });
    assert_over(
        &send(house.edge, generation(&json!({ "prompt": "a", "model": "fake", "n": 3 }))).await,
        "images-per-day",
    );
    let answer = send(house.edge, generation(&one)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_over(&send(house.edge, generation(&two)).await, "images-per-day");
    assert_eq!(send(house.edge, generation(&one)).await.status, StatusCode::OK);
    assert_over(&send(house.edge, generation(&one)).await, "images-per-day");
    let usage = usage(&house).await;
    assert_eq!((&usage["images_today"], &usage["refused"]), (&2.into(), &3.into()));
    // what needs no job goes on
    assert_eq!(get(house.edge, PAGE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn pixel_steps_of_a_day_are_counted_where_jobs_are_made() {
    // 256 x 256 pixels in the fake model's own 4 steps
    let house = house("", "pixel-steps-per-day = 262144").await;
    let small = json!({ "prompt": "a boat", "model": "fake", "size": "256x256" });
    let large = json!({ "prompt": "a boat", "model": "fake", "size": "256x256", "steps": 5 });
    assert_over(&send(house.edge, generation(&large)).await, "pixel-steps-per-day");
    assert_eq!(send(house.edge, generation(&small)).await.status, StatusCode::OK);
    assert_over(&send(house.edge, generation(&small)).await, "pixel-steps-per-day");
    assert_eq!(usage(&house).await["pixel_steps_today"], 262_144);
}

#[tokio::test]
async fn a_request_counts_as_running_until_its_answer_has_been_sent() {
    let house = house("", "concurrent-requests = 1").await;
    let mut running = TcpStream::connect(house.edge).await.unwrap();
    let body = r#"{"prompt": "a slow boat", "model": "fake", "steps": 100}"#;
    let head = "POST /v1/images/generations HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    running.write_all(request.as_bytes()).await.unwrap();
    house.until("running", |status| status["queue"]["running"] == true).await;
    let answer = get(house.edge, PAGE).await;
    assert_over(&answer, "concurrent-requests");
    assert_eq!(answer.code(), "quota");
    // a client that goes away gives its place back
    drop(running);
    house.until("cancelled", |status| status["queue"]["counters"]["cancelled"] == 1).await;
    let over = async { while usage(&house).await["in_flight"] != 0 {} };
    timeout(DEADLINE, over).await.expect("the place is never given back");
    assert_eq!(get(house.edge, PAGE).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_changed_quota_holds_after_a_reload_and_the_usage_stays() {
    let house = house("", "images-per-day = 1").await;
    let one = json!({ "prompt": "a boat", "model": "fake" });
    assert_eq!(send(house.edge, generation(&one)).await.status, StatusCode::OK);
    assert_over(&send(house.edge, generation(&one)).await, "images-per-day");
    let routes = route("r", "/", "tenant = \"a\"\naccess = \"open\"");
    let quotas = tenant("quotas = { images-per-day = 2 }");
    house.put("atelier.toml", manifest("", &[quotas, routes].concat()));
    house.until("reloaded", |status| status["reload"]["reloads"] == 1).await;
    assert_eq!(send(house.edge, generation(&one)).await.status, StatusCode::OK);
    assert_over(&send(house.edge, generation(&one)).await, "images-per-day");
}

#[tokio::test]
async fn tenants_and_their_counters_are_shown_to_operators() {
    let house = house("", "images-per-day = 5").await;
    get(house.edge, PAGE).await;
    let page = get(house.admin, "/tenants").await.json();
    let shown = &page["tenants"][0];
    assert_eq!(
        (&shown["id"], &shown["share"], &shown["priority"]),
        (&"a".into(), &1.into(), &"normal".into())
    );
    assert_eq!(shown["quotas"], json!({ "images-per-day": 5 }));
    assert_eq!(shown["usage"]["requests"], 1);
    let metrics = get(house.admin, "/metrics").await;
    let line = "atelier_tenant_over_quota_total{tenant=\"a\"} 0";
    assert!(metrics.text().lines().any(|given| given == line), "{}", metrics.text());
    assert_eq!(house.status().await["routes"][0]["tenant"], "a");
}

#[tokio::test]
async fn the_admin_address_wants_its_key_for_all_but_the_probes() {
    let (key, line) = operators_key();
    let house = House::with(&line, &route("r", "/", "")).await;
    for path in ["/health", "/ready", "/version"] {
        assert_eq!(get(house.admin, path).await.status, StatusCode::OK, "{path}");
    }
    for path in ["/status", "/metrics", "/tenants", "/nothing"] {
        let refused = get(house.admin, path).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::UNAUTHORIZED, "unauthorized"));
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
        let other = house.ask_as(&key.replace("atl_admin", "atl_admim"), Method::GET, path).await;
        assert_eq!(other.status, StatusCode::UNAUTHORIZED);
    }
    for path in ["/status", "/metrics", "/tenants"] {
        assert_eq!(house.ask_as(&key, Method::GET, path).await.status, StatusCode::OK, "{path}");
    }
}
