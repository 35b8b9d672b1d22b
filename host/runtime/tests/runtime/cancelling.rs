//! What is not wanted any more stops at once, with everything it began.

use std::time::Duration;

use atelier_inference::Scheduler;
use atelier_runtime::Runtime;
use http_body_util::BodyExt;

use crate::kit::{self, ask, deploy, send, studio, until, within};

/// An engine whose steps are long enough to be interrupted.
fn slow() -> (Runtime, Scheduler) {
    let scheduler = kit::scheduler(Duration::from_millis(20));
    (kit::runtime_with(Default::default(), scheduler.clone()), scheduler)
}

/// The job was cancelled, and no step is done after it.
async fn assert_stopped(scheduler: &Scheduler) {
    until(|| scheduler.status().counters.cancelled == 1).await;
    let steps = scheduler.status().counters.steps;
    assert!(steps < 150, "{steps}");
    assert!(!scheduler.status().running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_request_cancels_its_job() {
    let (runtime, scheduler) = slow();
    let route = runtime.deploy(studio()).await.unwrap();
    let request = tokio::spawn({
        let route = route.clone();
        async move { ask(&route, "/generate", "fake cat 150").await }
    });
    until(|| scheduler.status().counters.steps > 0).await;
    request.abort();
    assert_stopped(&scheduler).await;
    until(|| route.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_job_handle_cancels_the_job() {
    let (runtime, scheduler) = slow();
    let route = runtime.deploy(studio()).await.unwrap();
    let id = ask(&route, "/leave", "fake cat 150").await.unwrap();
    assert_eq!(id.len(), 32);
    assert_stopped(&scheduler).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_response_stops_a_guest_that_sleeps_or_spins() {
    let route = deploy(studio()).await;
    for then in ["/sleep", "/spin"] {
        let mut body = send(&route, "/stream", then).await.unwrap().into_body();
        within(body.frame()).await.unwrap().unwrap();
        assert_eq!(route.in_flight(), 1);
        drop(body);
        until(|| route.in_flight() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_may_finish_its_work_after_a_response_that_was_read_to_its_end() {
    let route = deploy(studio()).await;
    for _ in 0..10 {
        assert_eq!(ask(&route, "/hello", "").await.unwrap(), "hello");
    }
    until(|| route.in_flight() == 0).await;
}
