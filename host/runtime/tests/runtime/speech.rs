//! `audio` and `speech`: recordings behind handles, and jobs that write down what is said.

use std::sync::Arc;
use std::time::Duration;

use atelier_inference::fake::FakeEngine;
use atelier_inference::{ModelId, QueueConfig, Scheduler};
use atelier_runtime::{Deployment, Grants, Limits, RouteSpec, RuntimeConfig};

use crate::kit::{ask, runtime_with, studio};

async fn route(models: &[&str], limits: Limits) -> Arc<Deployment> {
    let engine =
        FakeEngine { step: Duration::from_millis(1), listeners: &["ear", "other"], ..FakeEngine::default() };
    let scheduler = Scheduler::start(Box::new(engine), QueueConfig::default()).unwrap();
    let models = models.iter().map(|id| ModelId::new(*id)).collect();
    let studio = studio();
    let spec = RouteSpec { grants: Grants { models, ..studio.grants }, limits, ..studio };
    runtime_with(RuntimeConfig::default(), scheduler).deploy(spec).await.unwrap()
}

async fn both() -> Arc<Deployment> {
    route(&["fake", "ear"], Limits::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_of_speech_are_listed_by_themselves_and_only_where_they_are_granted() {
    let route = both().await;
    assert_eq!(ask(&route, "/speech-models", "").await.unwrap(), "ear en+fi 30 false");
    let painters = ask(&route, "/models", "").await.unwrap();
    assert!(painters.contains("fake") && !painters.contains("ear"), "{painters}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_is_written_down_with_its_times() {
    let answer = ask(&both().await, "/transcribe", "ear 2").await.unwrap();
    let (transcript, twice) = answer.rsplit_once('|').unwrap();
    assert_eq!(transcript, " second 1. second 2.|en english Some(1.0)|0-1 1-2|2|ear");
    assert!(twice.contains("asked for already"), "{twice}");
    let named = ask(&both().await, "/transcribe", "ear 1 language=Finnish").await.unwrap();
    assert!(named.contains("|fi finnish None|"), "{named}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_comes_as_events_and_none_is_lost_to_a_slow_reader() {
    let answer = ask(&both().await, "/heard", "ear 90").await.unwrap();
    let mut parts = answer.split('|');
    assert_eq!(parts.next(), Some("queued started heard"));
    let told = parts.next().unwrap();
    let all: String = (1..=90).map(|second| format!(" second {second}.")).collect();
    assert_eq!(told, all);
    assert_eq!((parts.next(), parts.next()), (Some("90"), Some("true")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_cannot_be_done_names_its_field() {
    let route = both().await;
    for (asked, named) in [
        ("ear 1 language=klingon", "no language's name or code; model `ear` knows en, fi"),
        ("ear 1 language=fr", "`fr`: model `ear` does not know it; it knows en, fi"),
        ("ear 1 beam-size=17", "beam-size"),
        ("ear 1 temperature=3", "temperatures"),
        ("fake 1", "`fake` makes pictures, not text from speech"),
        ("other 1", "grants.models"),
    ] {
        let answer = ask(&route, "/transcribe", asked).await.unwrap();
        assert!(answer.contains(named), "{asked}: {answer}");
    }
    let wrong = ask(&route, "/generate", "ear").await.unwrap();
    assert!(wrong.contains("`ear` makes text from speech, not pictures"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_cancelled_says_so() {
    assert_eq!(ask(&both().await, "/leave-speech", "ear 500").await.unwrap(), "Some(Error::Cancelled)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_holds_so_many_seconds_of_sound_and_no_more() {
    let limits = Limits { audio_seconds: 10, ..Limits::default() };
    let route = route(&["ear"], limits).await;
    assert_eq!(ask(&route, "/sounds", "6 4").await.unwrap(), "2");
    let answer = ask(&route, "/sounds", "6 5").await.unwrap();
    assert!(answer.starts_with("1 ") && answer.contains("limits.audio-seconds"), "{answer}");
    let wrong = ask(&route, "/sounds", "nan").await.unwrap();
    assert!(wrong.contains("Invalid") && wrong.contains("samples"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_decoded_in_the_sandbox_and_one_that_is_none_is_a_value() {
    let route = route(&["ear"], Limits { audio_seconds: 2, ..Limits::default() }).await;
    assert_eq!(ask(&route, "/record", "silence 1").await.unwrap(), "1 16000 wav pcm");
    let long = ask(&route, "/record", "silence 3").await.unwrap();
    assert!(long.contains("TooLarge") && long.contains("limits.audio-seconds"), "{long}");
    let other = ask(&route, "/record", "what is this").await.unwrap();
    assert!(other.contains("Unsupported"), "{other}");
}
