//! Plugins that ask language models: on whose account, within which limits, and what is refused when they load.

use std::sync::Arc;
use std::time::Duration;

use atelier_inference::fake::FakeEngine;
use atelier_inference::{ModelId, QueueConfig, Scheduler};
use atelier_runtime::{Deployment, Grants, Limits, RouteSpec, RuntimeConfig};

use crate::kit::{ask, guest, runtime_with, spec, studio, text, until};
use crate::language::{ask_for, tenant};
use crate::loading::{assert_has, problems};

fn scheduler(step: Duration) -> Scheduler {
    let engine = FakeEngine { step, talkers: &["echo"], ..FakeEngine::default() };
    Scheduler::start(Box::new(engine), QueueConfig::default()).unwrap()
}

async fn deploy(scheduler: &Scheduler, models: &[&str], limits: Limits) -> Arc<Deployment> {
    let (models, studio) = (models.iter().map(|id| ModelId::new(*id)).collect(), studio());
    let grants = Grants { models, ..studio.grants };
    let spec = RouteSpec { intent: Some(guest("interpreter")), grants, limits, ..studio };
    runtime_with(RuntimeConfig::default(), scheduler.clone()).deploy(spec).await.unwrap()
}

async fn route(models: &[&str], limits: Limits) -> Arc<Deployment> {
    deploy(&scheduler(Duration::ZERO), models, limits).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_asks_the_language_models_of_its_route_and_no_others() {
    let granted = route(&["fake", "echo"], Limits::default()).await;
    assert_eq!(
        ask(&granted, "/intent", "ask hello").await.unwrap(),
        "Action::Create [] [you said: hello|0 3]"
    );
    let others = route(&["fake"], Limits::default()).await;
    let none = ask(&others, "/intent", "ask hello").await.unwrap();
    assert!(none.contains("Failed") && none.contains("there is no language model"), "{none}");
    let failed = ask(&granted, "/intent", "ask please fail").await.unwrap();
    assert!(failed.contains("asked to fail"), "{failed}");
    assert_eq!(granted.plugin_failures(), 0, "the model's failures are not the plugin's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_plugins_have_written_counts_for_the_request() {
    let route = route(&["echo"], Limits { tokens: 30, ..Limits::default() }).await;
    let three = ask(&route, "/intent-again", "3 ask hello").await.unwrap();
    assert_eq!(three.matches("you said: hello").count(), 3, "{three}");
    let four = ask(&route, "/intent-again", "4 ask hello").await.unwrap();
    let last = four.lines().last().unwrap();
    assert!(last.contains("30 in all (limits.tokens)"), "{four}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_plugins_ask_is_charged_to_the_tenant_of_the_request() {
    let route = route(&["echo"], Limits::default()).await;
    let (studio, ledger) = tenant("studio", 100);
    let answer = ask_for(&route, &studio, "/intent", "ask hello").await;
    assert!(answer.contains("|0 3]"), "{answer}");
    assert_eq!(ledger.used(), 6, "three words read and three written");
    let (poor, ledger) = tenant("poor", 9);
    let over = ask_for(&route, &poor, "/intent", "ask hello").await;
    assert!(over.contains("Failed") && over.contains("some.key"), "{over}");
    assert_eq!(ledger.used(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_for_a_plugin_is_used_again_for_the_same_tenant_alone() {
    let route = route(&["echo"], Limits::default()).await;
    let ((studio, _), (gallery, _)) = (tenant("studio", u64::MAX), tenant("gallery", u64::MAX));
    for (tenant, cached) in [(&studio, 0), (&studio, 3), (&gallery, 0)] {
        let answer = ask_for(&route, tenant, "/intent", "ask hello").await;
        assert!(answer.ends_with(&format!("|{cached} 3]")), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_dropped_ends_what_its_plugin_asked() {
    let scheduler = scheduler(Duration::from_millis(50));
    let route = deploy(&scheduler, &["echo"], Limits::default()).await;
    let request = tokio::spawn({
        let route = route.clone();
        async move { ask(&route, "/intent", "ask a b c d e f g h i j k l m n").await }
    });
    until(|| scheduler.status().running).await;
    request.abort();
    until(|| scheduler.status().counters.cancelled == 1).await;
    until(|| route.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_waits_for_a_model_no_longer_than_its_handler_may() {
    let scheduler = scheduler(Duration::from_millis(100));
    let limits = Limits { capability_wait: Duration::from_millis(250), ..Limits::default() };
    let route = deploy(&scheduler, &["echo"], limits).await;
    // both end at about the same time, and whichever is first ends the other
    let told = match ask(&route, "/intent", "ask a b c d e f g h i j k l m n").await {
        Ok(told) => told,
        Err(failure) => failure.public().to_string(),
    };
    assert!(told.contains("limits.capability-wait-ms"), "{told}");
    until(|| scheduler.status().counters.cancelled == 1).await;
}

#[tokio::test]
async fn a_plugin_that_asks_models_where_none_is_granted_names_the_import_and_the_key() {
    let told = problems(RouteSpec { intent: Some(guest("interpreter")), ..spec(guest("plain2")) }).await;
    assert_has(
        &told,
        &["`interpreter.wasm` imports `atelier:host/language@0.1.0`", "grants no model", "`grants.models`"],
    );
    assert!(!told.contains("generation"), "its types are no capability: {told}");
}

#[tokio::test]
async fn a_plugin_that_asks_language_models_gets_types_of_generation_and_no_pictures() {
    let wat = r#"(component
        (import "atelier:host/language@0.1.0" (instance))
        (import "atelier:host/generation@0.1.0" (instance (export "generate" (func))))
        (instance $style)
        (export "atelier:host/style@0.1.0" (instance $style)))"#;
    let spec = RouteSpec { style: vec![text("s.wasm", wat)], ..studio() };
    assert_has(&problems(spec).await, &["`s.wasm` does not load", "atelier:host/generation@0.1.0"]);
}
