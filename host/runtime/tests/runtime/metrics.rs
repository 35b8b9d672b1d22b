//! What is counted of guests: per route, per component and per tenant, and what they were denied.

use std::sync::Arc;
use std::time::Duration;

use atelier_inference::ModelId;
use atelier_runtime::{AbsentModel, ComponentMetrics, Grants, Limits, RouteMetrics, RouteSpec, Tenant};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use crate::kit::{ask, deploy, fail, guest, runtime, spec, studio, until, within};

/// The counts of the component with that name.
fn component(name: &str) -> Arc<ComponentMetrics> {
    let components = runtime().components();
    let found = components.into_iter().find(|(_, metrics)| metrics.name() == Some(name));
    found.unwrap_or_else(|| panic!("no component {name}")).1
}

fn counted(spec: RouteSpec) -> (RouteSpec, Arc<RouteMetrics>) {
    let metrics = Arc::<RouteMetrics>::default();
    (RouteSpec { metrics: metrics.clone(), ..spec }, metrics)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_computes_is_counted_for_its_route_its_component_and_its_tenant() {
    let limits = Limits { cpu: Duration::from_millis(100), ..Limits::default() };
    let (spec, metrics) = counted(RouteSpec { limits, ..spec(guest("plain2")) });
    let (route, tenant) = (deploy(spec).await, Arc::new(Tenant::default()));
    let plain = component("plain2.wasm");
    let (instances, failures) = (plain.instantiation.count(), plain.failures.all().len());
    let request = || Request::get("http://test.invalid/spin").body(Full::<Bytes>::default()).unwrap();
    let code = within(route.handle_for(&tenant, request())).await.unwrap_err().code();
    until(|| tenant.consumption.cpu() >= Duration::from_millis(50)).await;
    assert!(metrics.consumption.cpu() >= Duration::from_millis(50));
    assert!(plain.consumption.cpu() >= Duration::from_millis(50));
    for consumption in [&metrics.consumption, &plain.consumption, &tenant.consumption] {
        let bytes = consumption.peak_memory_bytes();
        assert!((64 << 10..=128 << 20).contains(&bytes), "{bytes} bytes");
    }
    assert_eq!(metrics.failures.all(), [(code, 1)]);
    assert!(plain.failures.all().len() >= failures.max(1) && plain.instantiation.count() > instances);
    assert_eq!((metrics.admission.count(), metrics.in_flight()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_in_flight_until_its_guest_has_ended() {
    let (spec, metrics) = counted(studio());
    let route = deploy(spec).await;
    let request = Request::post("http://test.invalid/stream").body(Full::from("/sleep")).unwrap();
    let answer = within(route.handle(request)).await.unwrap();
    assert_eq!(metrics.in_flight(), 1);
    drop(answer);
    until(|| metrics.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_is_denied_is_counted_by_its_kind() {
    let away =
        AbsentModel { id: ModelId::new("away"), source: "hub:far/away".into(), fix: "fetch it".into() };
    let grants = Grants { absent: vec![away], ..studio().grants };
    let limits = Limits { outbound_requests: 1, ..Limits::default() };
    let (spec, metrics) = counted(RouteSpec { grants, limits, ..studio() });
    let route = deploy(spec).await;
    for prompt in ["nobody cat 1", "away cat 1"] {
        let said = ask(&route, "/generate", prompt).await.unwrap();
        assert!(said.contains("Denied") || said.contains("Unknown"), "{said}");
    }
    ask(&route, "/fetch", "elsewhere.test").await.unwrap();
    let denied = metrics.denied.all();
    for kind in ["model_absent", "model_not_granted", "outbound_not_granted"] {
        assert!(denied.contains(&(kind, 1)), "{kind} is not in {denied:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_is_a_component_of_its_own_and_counts_for_the_route() {
    let (spec, metrics) = counted(RouteSpec { style: vec![guest("styler")], ..studio() });
    let route = deploy(spec).await;
    let styler = component("styler.wasm");
    let before = styler.instantiation.count();
    ask(&route, "/style", "a boat").await.unwrap();
    // other tests call the same plugin
    assert!(styler.instantiation.count() > before);
    assert!(metrics.failures.all().is_empty());
    fail(&route, "/trap", "").await;
    assert_eq!(metrics.failures.all(), [("guest_trap", 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doors_tell_who_is_inside() {
    let route = deploy(studio()).await;
    let held = || runtime().doors().into_iter().find(|door| door.name == "instances").unwrap().held;
    let request = Request::post("http://test.invalid/stream").body(Full::from("/sleep")).unwrap();
    let answer = within(route.handle(request)).await.unwrap();
    assert!(held() >= 1);
    drop(answer.into_body());
    let answer = within(
        route.handle(Request::post("http://test.invalid/hello").body(Full::<Bytes>::default()).unwrap()),
    );
    within(answer.await.unwrap().into_body().collect()).await.unwrap();
    assert!(runtime().load_times().deploy.count() >= 1);
}
