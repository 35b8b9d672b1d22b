//! Instances that answer several requests: who finds what was left, who never does, and that limits hold for each request
//! and for what the instance holds.

use std::sync::Arc;
use std::time::Duration;

use atelier_inference::TenantId;
use atelier_runtime::{Deployment, Limits, Reuse, RouteSpec, Runtime, Tenant};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use crate::kit::{self, Logs, ask, deploy, fail, guest, send, spec, studio, until, within};

fn serial(spec: RouteSpec) -> RouteSpec {
    RouteSpec { reuse: Reuse::Serial, ..spec }
}

/// Instances live as long as the test, however slow the machine.
fn endless(limits: Limits) -> Limits {
    let long = Duration::from_secs(600);
    Limits { reuse_age: long, reuse_idle: long, ..limits }
}

/// A route whose instances live as long as the test, however slow the machine.
async fn lasting(spec: RouteSpec) -> Arc<Deployment> {
    deploy(serial(RouteSpec { limits: endless(spec.limits), ..spec })).await
}

/// One request after the other: the next one begins when the instance of this one waits or is gone.
async fn next(route: &Arc<Deployment>, path: &str) -> String {
    let answer = ask(route, path, "").await.unwrap();
    until(|| route.in_flight() == 0).await;
    answer
}

/// What the next request finds: 1 in a fresh instance.
async fn count(route: &Arc<Deployment>) -> u32 {
    next(route, "/count").await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_leaves_is_found_by_the_next_request_where_the_route_says_so() {
    let runtime: Runtime = kit::runtime_with(Default::default(), kit::scheduler(Duration::ZERO));
    for guest in [spec(guest("plain2")), studio()] {
        let before = runtime.metrics().reused;
        let limits = endless(Limits::default());
        let route = runtime.deploy(serial(RouteSpec { limits, ..guest.clone() })).await.unwrap();
        for seen in 1..=5 {
            assert_eq!(count(&route).await, seen);
        }
        assert_eq!(runtime.metrics().reused, before + 4);
        let without = runtime.deploy(guest).await.unwrap();
        for _ in 0..5 {
            assert_eq!(count(&without).await, 1);
        }
        assert_eq!(runtime.metrics().reused, before + 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tenant_finds_what_another_left() {
    let route = lasting(spec(guest("plain2"))).await;
    let [a, b] = ["a", "b"].map(|id| {
        let id = TenantId::new(id).unwrap();
        Arc::new(Tenant { id, ..Tenant::default() })
    });
    for seen in 1..=3 {
        for tenant in [&a, &b] {
            let request = Request::get("http://test.invalid/count").body(Full::<Bytes>::default()).unwrap();
            let answer = within(route.handle_for(tenant, request)).await.unwrap();
            let text = within(answer.into_body().collect()).await.unwrap().to_bytes();
            assert_eq!(text, seen.to_string(), "{tenant:?}");
            until(|| route.in_flight() == 0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_deployment_finds_what_another_left() {
    let [first, second] = [lasting(spec(guest("plain2"))).await, lasting(spec(guest("plain2"))).await];
    assert_eq!((count(&first).await, count(&first).await), (1, 2));
    assert_eq!(count(&second).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_the_same_time_are_never_in_one_instance() {
    let route = lasting(studio()).await;
    assert_eq!(count(&route).await, 1);
    let held = send(&route, "/stream", "/nap").await.unwrap();
    assert_eq!(ask(&route, "/count", "").await.unwrap(), "1");
    within(held.into_body().collect()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_failed_in_any_way_is_not_used_again() {
    let limits =
        Limits { cpu: Duration::from_millis(100), wall: Duration::from_secs(1), ..Limits::default() };
    let p2 = lasting(RouteSpec { limits: limits.clone(), ..spec(guest("plain2")) }).await;
    let p3 = lasting(RouteSpec { limits, ..studio() }).await;
    for (route, paths) in
        [(&p2, &["/trap", "/spin", "/silent", "/half"][..]), (&p3, &["/trap", "/sleep", "/error"])]
    {
        for path in paths {
            while count(route).await < 2 {}
            fail(route, path, "").await;
            until(|| route.in_flight() == 0).await;
            assert_eq!(count(route).await, 1, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_client_left_is_not_used_again() {
    let route = lasting(studio()).await;
    assert_eq!((count(&route).await, count(&route).await), (1, 2));
    let mut body = send(&route, "/stream", "/sleep").await.unwrap().into_body();
    within(body.frame()).await.unwrap().unwrap();
    drop(body);
    until(|| route.in_flight() == 0).await;
    assert_eq!(count(&route).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_keeps_a_job_or_a_requests_body_is_not_used_again() {
    for (spec, path) in [(studio(), "/keep-job"), (spec(guest("plain2")), "/keep-body")] {
        let route = lasting(spec).await;
        assert_eq!((count(&route).await, count(&route).await), (1, 2));
        assert_eq!(next(&route, path).await, "kept");
        assert_eq!(count(&route).await, 1, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cpu_time_is_counted_for_each_request_by_itself() {
    let limits = Limits { cpu: Duration::from_millis(100), ..Limits::default() };
    let route = lasting(RouteSpec { limits, ..spec(guest("plain2")) }).await;
    // far more than 100 ms in all, and at most 60 ms each
    for seen in 1..=10 {
        assert_eq!(next(&route, "/burn").await, seen.to_string(), "all of them in one instance");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_counted_for_as_long_as_the_instance_holds_it() {
    let limits = Limits { memory_bytes: 25 << 20, cpu: Duration::from_secs(20), ..Limits::default() };
    let route = lasting(RouteSpec { limits, ..spec(guest("plain2")) }).await;
    assert_eq!((next(&route, "/hold").await, next(&route, "/hold").await), ("1".into(), "2".into()));
    let failure = fail(&route, "/hold", "").await;
    assert_eq!(failure.code(), "memory_limit", "{}", failure.internal());
    until(|| route.in_flight() == 0).await;
    assert_eq!(next(&route, "/hold").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_stay_counted_for_as_long_as_the_instance_holds_them() {
    let limits = Limits { picture_bytes: 3 << 20, ..Limits::default() };
    let route = lasting(RouteSpec { limits, ..studio() }).await;
    for _ in 0..3 {
        assert_eq!(next(&route, "/keep-picture").await, "kept");
    }
    let told = next(&route, "/keep-picture").await;
    assert!(told.contains("limits.picture-bytes"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_may_print_as_much_as_its_limit_and_ends_its_last_line() {
    let logs = Logs::of("/says");
    let limits = Limits { log_bytes: 100, ..Limits::default() };
    let route = lasting(RouteSpec { route: "/says".into(), limits, ..spec(guest("plain2")) }).await;
    for seen in 1..=3 {
        assert_eq!(next(&route, "/say").await, seen.to_string());
    }
    let said = "said ".repeat(12);
    assert_eq!(logs.lines(), [&said, "half a line"].repeat(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_answers_so_many_requests() {
    let limits = endless(Limits { reuse_requests: 3, ..Limits::default() });
    let route = deploy(serial(RouteSpec { limits, ..spec(guest("plain2")) })).await;
    for seen in [1, 2, 3, 1, 2, 3, 1] {
        assert_eq!(count(&route).await, seen);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_lives_so_long_and_waits_so_long() {
    let short = Duration::from_millis(200);
    let default = endless(Limits::default());
    for limits in [Limits { reuse_age: short, ..default.clone() }, Limits { reuse_idle: short, ..default }] {
        let route = deploy(serial(RouteSpec { limits, ..spec(guest("plain2")) })).await;
        assert_eq!(count(&route).await, 1);
        tokio::time::sleep(short + Duration::from_millis(50)).await;
        assert_eq!(count(&route).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_wait_give_their_memory_back_when_their_time_is_over() {
    let runtime: Runtime = kit::runtime_with(Default::default(), kit::scheduler(Duration::ZERO));
    let waiting = || runtime.doors().iter().find(|door| door.name == "idle_instances").unwrap().held;
    let limits = Limits { reuse_idle: Duration::from_millis(200), ..Limits::default() };
    let route = runtime.deploy(serial(RouteSpec { limits, ..spec(guest("plain2")) })).await.unwrap();
    assert_eq!(count(&route).await, 1);
    until(|| waiting() == 0).await;
    let endless = RouteSpec { limits: endless(Limits::default()), ..spec(guest("plain2")) };
    let route = runtime.deploy(serial(endless)).await.unwrap();
    assert_eq!((count(&route).await, waiting()), (1, 1));
    drop(route);
    until(|| waiting() == 0).await;
}
