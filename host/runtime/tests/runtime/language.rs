//! `language`: jobs that reply to conversations, what they may write, and what they are charged with.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atelier_inference::fake::FakeEngine;
use atelier_inference::{ModelId, QueueConfig, Scheduler, TenantId};
use atelier_runtime::{Deployment, Exceeded, Grants, Limits, Quota, RouteSpec, RuntimeConfig, Tenant, Work};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use crate::kit::{ask, runtime_with, studio, until, within};

async fn route(models: &[&str], limits: Limits) -> Arc<Deployment> {
    let engine =
        FakeEngine { step: Duration::from_millis(1), talkers: &["echo", "other"], ..FakeEngine::default() };
    let scheduler = Scheduler::start(Box::new(engine), QueueConfig::default()).unwrap();
    let models = models.iter().map(|id| ModelId::new(*id)).collect();
    let studio = studio();
    let spec = RouteSpec { grants: Grants { models, ..studio.grants }, limits, ..studio };
    runtime_with(RuntimeConfig::default(), scheduler).deploy(spec).await.unwrap()
}

async fn both() -> Arc<Deployment> {
    route(&["fake", "echo"], Limits::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn language_models_are_listed_by_themselves_and_only_where_they_are_granted() {
    let route = both().await;
    assert_eq!(ask(&route, "/language-models", "").await.unwrap(), "echo fake 4096 false");
    let painters = ask(&route, "/models", "").await.unwrap();
    assert!(painters.contains("fake") && !painters.contains("echo"), "{painters}");
    assert_eq!(ask(&route, "/speech-models", "").await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_is_replied_to_and_what_it_took_is_told() {
    let route = both().await;
    let answer = ask(&route, "/chat", "echo seed=7\ns be brief\nu hello\na hi\nu once more").await.unwrap();
    let (reply, twice) = answer.rsplit_once('|').unwrap();
    assert_eq!(reply, "you said: once more|Finish::End|6 0 4|7|echo");
    assert!(twice.contains("asked for already"), "{twice}");
    let short = ask(&route, "/chat", "echo seed=7 max-tokens=2\nu hello").await.unwrap();
    assert!(short.starts_with("you said: |Finish::Length|1 0 2|"), "{short}");
    let stopped = ask(&route, "/chat", "echo stop=lo\nu hello").await.unwrap();
    assert!(stopped.starts_with("you said: hel|Finish::StopString|"), "{stopped}");
    let fitting = ask(&route, "/chat", "echo schema={\"enum\":[\"create\"]}\nu hello").await.unwrap();
    assert!(fitting.starts_with("\"create\"|Finish::End|"), "{fitting}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_comes_as_events_and_none_is_lost_to_a_slow_reader() {
    let words: Vec<String> = (1..=200).map(|word| format!("w{word}")).collect();
    let answer = ask(&both().await, "/said", &format!("echo\nu {}", words.join(" "))).await.unwrap();
    let mut parts = answer.split('|');
    assert_eq!(parts.next(), Some("queued started said"));
    assert_eq!(parts.next(), Some(format!("you said: {}", words.join(" ")).as_str()));
    assert_eq!(parts.next(), Some("true"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_that_cannot_be_replied_to_names_its_field() {
    let route = both().await;
    for (asked, named) in [
        ("echo", "turns"),
        ("echo\nu hello\na hi", "the last turn is to be the user's"),
        ("echo\nu hello\ns be brief\nu hello", "turn 2 is the system's"),
        ("echo temperature=3\nu hello", "temperature"),
        ("echo max-tokens=4097\nu hello", "max-tokens"),
        ("echo stop=\nu hello", "stop"),
        ("echo schema={\"pattern\":\"a\"}\nu hello", "schema"),
        ("fake\nu hello", "`fake` makes pictures, not replies"),
        ("other\nu hello", "grants.models"),
        ("echo\nu please fail", "asked to fail"),
    ] {
        let answer = ask(&route, "/chat", asked).await.unwrap();
        assert!(answer.contains(named), "{asked}: {answer}");
    }
    let wrong = ask(&route, "/generate", "echo").await.unwrap();
    assert!(wrong.contains("`echo` makes replies, not pictures"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_cancelled_says_so() {
    let words = "word ".repeat(500);
    let answer = ask(&both().await, "/leave-chat", &format!("echo\nu {words}")).await.unwrap();
    assert_eq!(answer, "Some(Error::Cancelled)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_conversation_does_not_wait_for_the_end_of_a_long_one() {
    let engine = FakeEngine { step: Duration::from_millis(5), talkers: &["echo"], ..FakeEngine::default() };
    let scheduler = Scheduler::start(Box::new(engine), QueueConfig::default()).unwrap();
    let studio = studio();
    let spec = RouteSpec { grants: Grants { models: vec![ModelId::new("echo")], ..studio.grants }, ..studio };
    let route = runtime_with(RuntimeConfig::default(), scheduler.clone()).deploy(spec).await.unwrap();
    let words = "word ".repeat(4_000);
    let long = tokio::spawn({
        let (route, asked) = (route.clone(), format!("echo max-tokens=4000\nu {words}"));
        async move { ask(&route, "/chat", &asked).await }
    });
    until(|| scheduler.status().running_jobs == 1).await;
    let short = ask(&route, "/chat", "echo seed=7\nu hello").await.unwrap();
    assert!(short.starts_with("you said: hello|Finish::End|1 0 3|7|echo"), "{short}");
    let status = scheduler.status();
    assert_eq!((status.counters.completed, status.running_jobs), (1, 1), "the long one still runs");
    long.abort();
    until(|| scheduler.status().counters.cancelled == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_may_have_so_many_tokens_written_and_no_more() {
    let route = route(&["echo"], Limits { tokens: 30, ..Limits::default() }).await;
    let three = ask(&route, "/chat-again", "3 echo max-tokens=10\nu hello").await.unwrap();
    assert_eq!(three.matches("you said: hello").count(), 3, "{three}");
    let four = ask(&route, "/chat-again", "4 echo max-tokens=10\nu hello").await.unwrap();
    let last = four.lines().last().unwrap();
    assert!(last.contains("max-tokens") && last.contains("30 in all (limits.tokens)"), "{four}");
    let one = ask(&route, "/chat", "echo max-tokens=31\nu hello").await.unwrap();
    assert!(one.contains("limits.tokens"), "{one}");
}

/// What a tenant is charged with and what it gets back.
pub(crate) struct Ledger {
    limit: u64,
    used: Mutex<u64>,
}

impl Ledger {
    pub(crate) fn used(&self) -> u64 {
        *self.used.lock().unwrap()
    }
}

impl Quota for Ledger {
    fn charge(&self, work: Work) -> Result<(), Exceeded> {
        let mut used = self.used.lock().unwrap();
        if *used + work.tokens > self.limit {
            let reason = "the allowance is used up (some.key)".into();
            return Err(Exceeded { reason, retry_after: Duration::from_secs(1) });
        }
        *used += work.tokens;
        Ok(())
    }

    fn refund(&self, work: Work) {
        *self.used.lock().unwrap() -= work.tokens;
    }
}

pub(crate) fn tenant(id: &str, limit: u64) -> (Arc<Tenant>, Arc<Ledger>) {
    let ledger = Arc::new(Ledger { limit, used: Mutex::default() });
    let id = TenantId::new(id).unwrap();
    (Arc::new(Tenant { id, quota: ledger.clone(), ..Tenant::default() }), ledger)
}

pub(crate) async fn ask_for(route: &Arc<Deployment>, tenant: &Arc<Tenant>, path: &str, text: &str) -> String {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes()));
    let request = Request::post(format!("http://test.invalid{path}")).body(body).unwrap();
    let answer = within(route.handle_for(tenant, request)).await.unwrap();
    String::from_utf8(within(answer.into_body().collect()).await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_charged_with_what_was_read_and_written() {
    let (route, (studio, ledger)) = (both().await, tenant("studio", 200));
    let used = || ledger.used();
    let answer = ask_for(&route, &studio, "/chat", "echo max-tokens=100\nu hello").await;
    assert!(answer.contains("|1 0 3|"), "{answer}");
    assert_eq!(used(), 4, "what was not used comes back");
    ask_for(&route, &studio, "/said", "echo max-tokens=100\nu hello").await;
    until(|| used() == 8).await;
    let over = ask_for(&route, &studio, "/chat", "echo max-tokens=200\nu hello").await;
    assert!(over.contains("Overloaded") && over.contains("some.key"), "{over}");
    assert_eq!(used(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_for_a_tenant_is_used_again_for_that_tenant_alone() {
    let (route, (studio, _), (gallery, _)) =
        (both().await, tenant("studio", u64::MAX), tenant("gallery", u64::MAX));
    let asked = "echo\ns be very brief\nu hello";
    let first = ask_for(&route, &studio, "/chat", asked).await;
    assert!(first.contains("|4 0 3|"), "{first}");
    let again = ask_for(&route, &studio, "/chat", asked).await;
    assert!(again.contains("|4 4 3|"), "{again}");
    let other = ask_for(&route, &gallery, "/chat", asked).await;
    assert!(other.contains("|4 0 3|"), "{other}");
}
