//! Hostile guests: each meets its limit, gets its own failure, and harms nobody else. (`bounds.rs` looks at the edges of
//! what can be counted exactly.)

use std::sync::Arc;
use std::time::{Duration, Instant};

use atelier_runtime::{Deployment, Failure, Limits, RouteSpec};
use http_body_util::BodyExt;

use crate::kit::{Logs, ask, deploy, fail, guest, send, spec, studio, until, within};

/// Short limits, so that tests are quick.
fn short() -> Limits {
    Limits { cpu: Duration::from_millis(100), wall: Duration::from_millis(400), ..Limits::default() }
}

fn limited(spec: RouteSpec, limits: Limits) -> RouteSpec {
    RouteSpec { limits, ..spec }
}

/// Both generations of `wasi:http` with short limits.
async fn both() -> [Arc<Deployment>; 2] {
    [deploy(limited(spec(guest("plain2")), short())).await, deploy(limited(studio(), short())).await]
}

fn assert_says(failure: &Failure, code: &str, key: &str) {
    assert_eq!(failure.code(), code, "{}", failure.internal());
    assert!(failure.public().contains(key), "{}", failure.public());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_spins_is_stopped_at_its_cpu_time_while_another_route_answers() {
    for route in both().await {
        let other = deploy(spec(guest("plain3"))).await;
        let spinning = tokio::spawn({
            let route = route.clone();
            async move { fail(&route, "/spin", "").await }
        });
        for _ in 0..20 {
            assert_eq!(ask(&other, "/", "").await.unwrap(), "hello from 0.3");
        }
        let failure = within(spinning).await.unwrap();
        // a busy machine may let the wall clock come first
        assert!(matches!(failure.code(), "cpu_limit" | "wall_limit"), "{}", failure.internal());
        until(|| route.in_flight() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cpu_limit_names_itself() {
    let limits = Limits { wall: Duration::from_secs(60), ..short() };
    let route = deploy(limited(studio(), limits)).await;
    assert_says(&fail(&route, "/spin", "").await, "cpu_limit", "100 ms (limits.cpu-ms of route `/test`)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_sleeps_for_ever_is_stopped_at_the_wall_clock() {
    for route in both().await {
        let began = Instant::now();
        assert_says(
            &fail(&route, "/sleep", "").await,
            "wall_limit",
            "400 ms (limits.wall-ms of route `/test`)",
        );
        assert!(began.elapsed() >= Duration::from_millis(400));
        until(|| route.in_flight() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_allocates_for_ever_meets_its_memory_limit() {
    let limits = Limits { memory_bytes: 16 << 20, cpu: Duration::from_secs(20), ..Limits::default() };
    for guest in [spec(guest("plain2")), studio()] {
        let route = deploy(limited(guest, limits.clone())).await;
        assert_says(&fail(&route, "/grow", "").await, "memory_limit", "limits.memory-bytes of route `/test`");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_whose_first_memory_is_over_the_limit_does_not_start() {
    let route = deploy(limited(studio(), Limits { memory_bytes: 64 << 10, ..Limits::default() })).await;
    assert_says(&fail(&route, "/hello", "").await, "memory_limit", "limits.memory-bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_fails_one_request_and_tells_the_client_nothing_of_the_guest() {
    for route in both().await {
        let failure = fail(&route, "/trap", "").await;
        assert_says(&failure, "guest_trap", "the handler of route `/test` stopped with an error");
        assert!(failure.internal().contains("unreachable"), "{}", failure.internal());
        assert!(ask(&route, "/hello", "").await.unwrap().starts_with("hello"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_gives_no_response_is_told_from_one_that_traps() {
    let [p2, p3] = both().await;
    assert_eq!(fail(&p2, "/silent", "").await.code(), "no_response");
    let failure = fail(&p3, "/error", "").await;
    assert_eq!(failure.code(), "no_response");
    assert!(!failure.public().contains("on purpose"));
    assert!(failure.internal().contains("on purpose"), "{}", failure.internal());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_logs_is_cut_at_its_limit_and_made_harmless_while_the_guest_lives() {
    let logs = Logs::of("/flood");
    let limits = Limits { cpu: Duration::from_secs(20), ..Limits::default() };
    let route = deploy(RouteSpec { route: "/flood".into(), limits, ..studio() }).await;
    assert_eq!(ask(&route, "/logs", "").await.unwrap(), "survived");
    let lines = logs.lines();
    assert_eq!(lines.iter().filter(|line| line.contains("truncated (limits.log-bytes)")).count(), 1);
    assert_eq!(lines[0], "\\u{1b}[31m line 0");
    // what was printed, without the line ends and with each escape spelled out in five more bytes
    let bytes: usize = lines.iter().map(|line| line.len()).sum();
    assert!(bytes > 32 << 10 && bytes < 128 << 10, "{bytes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_and_bytes_of_one_call_are_limited() {
    let limits = Limits { hostcall_bytes: 1 << 20, handles: 100, ..Limits::default() };
    let route = deploy(limited(studio(), limits)).await;
    assert_says(
        &fail(&route, "/handles", "").await,
        "resource_limit",
        "100 resource handles (limits.handles",
    );
    let carried = fail(&route, "/carry", "").await;
    assert_says(
        &carried,
        "resource_limit",
        "1048576 bytes in one call (limits.hostcall-bytes of route `/test`)",
    );
    assert_eq!(ask(&route, "/hello", "").await.unwrap(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_of_one_call_are_limited() {
    let route = deploy(limited(studio(), Limits { random_bytes: 1_000, ..Limits::default() })).await;
    assert_eq!(ask(&route, "/random", "1000").await.unwrap(), "1000");
    // 0.3 may answer with fewer bytes than were asked for; never with more than the limit
    match ask(&route, "/random", "1001").await {
        Ok(length) => assert!(length.parse::<usize>().unwrap() <= 1_000, "{length}"),
        Err(failure) => assert_eq!(failure.code(), "guest_trap"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_body_that_says_it_is_too_long_is_refused_before_the_guest_starts() {
    let route = deploy(limited(studio(), Limits { request_body_bytes: 10, ..Limits::default() })).await;
    assert_eq!(ask(&route, "/length", "0123456789").await.unwrap(), "10");
    let failure = fail(&route, "/length", "0123456789a").await;
    assert_says(
        &failure,
        "request_body_limit",
        "longer than 10 bytes (limits.request-body-bytes of route `/test`)",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_body_that_turns_out_too_long_breaks_off_for_the_guest() {
    let route = deploy(limited(studio(), Limits { request_body_bytes: 10, ..Limits::default() })).await;
    let chunks = (0..4).map(|_| Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::from("chunk"))));
    let body = http_body_util::StreamBody::new(futures::stream::iter(chunks));
    let request = http::Request::post("http://test.invalid/length").body(body).unwrap();
    let response = within(route.handle(request)).await.unwrap();
    assert_eq!(within(response.into_body().collect()).await.unwrap().to_bytes(), "broken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_body_breaks_off_just_past_its_limit() {
    let route = deploy(limited(studio(), Limits { response_body_bytes: 100_000, ..Limits::default() })).await;
    assert_eq!(ask(&route, "/long", "100000").await.unwrap().len(), 100_000);
    assert_says(&fail(&route, "/long", "100001").await, "response_body_limit", "limits.response-body-bytes");
    until(|| route.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_stopped_in_the_middle_of_its_response_breaks_the_body_off() {
    let [p2, p3] = both().await;
    for (then, codes) in
        [("/trap", &["guest_trap"][..]), ("/spin", &["cpu_limit", "wall_limit"]), ("/sleep", &["wall_limit"])]
    {
        let mut body = send(&p3, "/stream", then).await.unwrap().into_body();
        assert_eq!(within(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "first");
        let failure = within(body.frame()).await.unwrap().unwrap_err();
        assert!(codes.contains(&failure.code()), "{then}: {}", failure.internal());
        assert!(within(body.frame()).await.is_none());
    }
    let half = send(&p2, "/half", "").await.unwrap().into_body().collect();
    assert_eq!(within(half).await.unwrap_err().code(), "guest_trap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_counted_by_kind() {
    let runtime = crate::kit::runtime_with(Default::default(), crate::kit::scheduler(Duration::ZERO));
    let route = runtime.deploy(limited(studio(), short())).await.unwrap();
    fail(&route, "/trap", "").await;
    fail(&route, "/sleep", "").await;
    ask(&route, "/hello", "").await.unwrap();
    let metrics = runtime.metrics();
    assert_eq!((metrics.requests, metrics.traps, metrics.wall_limits), (3, 1, 1));
}
