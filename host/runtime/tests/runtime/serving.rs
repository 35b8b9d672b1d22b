//! Requests that are answered.

use std::sync::Arc;

use atelier_runtime::{HttpVersion, RuntimeConfig};
use http_body_util::BodyExt;

use crate::kit::{self, ask, deploy, guest, send, spec, studio, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_handler_of_wasi_http_0_2_answers() {
    let route = deploy(spec(guest("plain2"))).await;
    assert_eq!(route.http(), HttpVersion::P2);
    assert_eq!(ask(&route, "/", "").await.unwrap(), "hello from 0.2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_handler_of_wasi_http_0_3_answers() {
    let route = deploy(spec(guest("plain3"))).await;
    assert_eq!(route.http(), HttpVersion::P3);
    assert_eq!(ask(&route, "/", "").await.unwrap(), "hello from 0.3");
    kit::until(|| route.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_host_is_served_all_the_same() {
    let route = deploy(spec(guest("plain2"))).await;
    let request = http::Request::get("/").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let response = within(route.handle(request)).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello from 0.2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_stream_both_ways() {
    let route = deploy(studio()).await;
    assert_eq!(ask(&route, "/length", &"x".repeat(300_000)).await.unwrap(), "300000");
    assert_eq!(ask(&route, "/long", "3000000").await.unwrap().len(), 3_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_chunk_arrives_while_the_guest_is_still_at_work() {
    let route = deploy(studio()).await;
    let mut body = send(&route, "/stream", "/sleep").await.unwrap().into_body();
    let frame = within(body.frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "first");
    assert_eq!(route.in_flight(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_sees_no_files_no_environment_and_no_arguments() {
    let route = deploy(studio()).await;
    assert_eq!(ask(&route, "/world", "").await.unwrap(), "files 0, variables 0, arguments 0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_finds_anything_that_another_left() {
    let route = deploy(studio()).await;
    for _ in 0..5 {
        assert_eq!(ask(&route, "/count", "").await.unwrap(), "1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_reads_its_routes_configuration_and_no_other() {
    let mut with_key = studio();
    with_key.config = vec![("colour".into(), "blue".into())];
    let (with_key, without) = (deploy(with_key).await, deploy(studio()).await);
    assert_eq!(ask(&with_key, "/config", "colour").await.unwrap(), r#"Ok(Some("blue"))"#);
    assert_eq!(ask(&without, "/config", "colour").await.unwrap(), "Ok(None)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_limit_are_refused_with_a_time_to_come_back() {
    let config =
        RuntimeConfig { max_instances: 1, admission_wait: std::time::Duration::ZERO, ..Default::default() };
    let runtime = kit::runtime_with(config, kit::scheduler(std::time::Duration::ZERO));
    let route = runtime.deploy(studio()).await.unwrap();
    let held = send(&route, "/stream", "/sleep").await.unwrap();
    let refused = kit::fail(&route, "/hello", "").await;
    assert_eq!(refused.code(), "saturated");
    assert!(refused.public().contains("server.max-instances"), "{}", refused.public());
    drop(held);
    kit::until(|| route.in_flight() == 0).await;
    assert_eq!(ask(&route, "/hello", "").await.unwrap(), "hello");
    assert_eq!(runtime.metrics().saturated, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_keeps_the_deployment_that_it_began_with() {
    let runtime = kit::runtime();
    let old = runtime.deploy(studio()).await.unwrap();
    let mut body = send(&old, "/stream", "/nap").await.unwrap().into_body();
    within(body.frame()).await;
    let new = runtime.deploy(studio()).await.unwrap();
    assert!(new.generation() > old.generation());
    assert_eq!(new.code_digest(), old.code_digest());
    drop(old);
    assert_eq!(ask(&new, "/hello", "").await.unwrap(), "hello");
    assert_eq!(within(body.collect()).await.unwrap().to_bytes(), "last");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_at_once_each_get_their_own_answer() {
    let route = deploy(studio()).await;
    let requests = (0..64).map(|n: usize| {
        let route: Arc<_> = route.clone();
        tokio::spawn(async move { (n, ask(&route, "/length", &"x".repeat(n)).await.unwrap()) })
    });
    for request in requests.collect::<Vec<_>>() {
        let (n, answer) = within(request).await.unwrap();
        assert_eq!(answer, n.to_string());
    }
}
