//! What a plugin may do: reply, fail in every way, trap, spin, say too much or nothing, and print its key.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atelier_inference::chat::{Finish, Usage};
use atelier_inference::{ChatRequest, Error, ModelId, TenantId};
use atelier_runtime::{
    Deployment, Exceeded, Grants, LoadProblem, ProviderLimits, ProviderSpec, Quota, RouteSpec, Tenant, Work,
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use super::{KEY, ask, ended, fail, model, provider, reply, request, runtime};
use crate::kit::{self, Logs, guest, studio, until, within};

fn scripted() -> ProviderSpec {
    provider(guest("provider"), "http://127.0.0.1:9/v1")
}

/// Its model `far` falls back to this one.
fn falling_back(to: &str) -> ProviderSpec {
    ProviderSpec { models: vec![model("far", Some(to)), model("other", None)], ..scripted() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_of_a_provider_replies_like_any_other() {
    let runtime = runtime(vec![scripted()]).await;
    let (reply, outcome) = reply(&runtime, ChatRequest { seed: Some(7), ..request("hello") }).await;
    assert_eq!((reply.text.as_str(), reply.finish, reply.seed), ("gpt says hello", Finish::End, 7));
    assert_eq!(reply.usage, Usage { prompt_tokens: 3, cached_tokens: 1, reply_tokens: 2 });
    assert_eq!((outcome.model.as_str(), outcome.notes.len()), ("far", 0));
    let (_, guessed) = super::reply(&runtime, request("uncounted")).await;
    assert_eq!(guessed.notes.len(), 3, "its own, the tokens, the seed: {:?}", guessed.notes);
    let unknown = runtime.chat(request("hello"), &ModelId::new("echo")).err().unwrap();
    assert!(matches!(unknown, Error::UnknownModel { .. }), "{unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_wrongly_is_refused_by_name_before_anybody_is_called() {
    let runtime = runtime(vec![scripted()]).await;
    let field = |request: ChatRequest| match runtime.chat(request, &ModelId::new("far")).err() {
        Some(Error::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(ChatRequest { temperature: Some(3.0), ..request("hello") }), "temperature");
    assert_eq!(field(ChatRequest { max_tokens: Some(4_097), ..request("hello") }), "max-tokens");
    assert_eq!(field(ChatRequest { turns: Vec::new(), ..request("hello") }), "turns");
    assert_eq!(runtime.providers()[0].attempts, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_plugin_reports_is_a_typed_error_without_its_key() {
    let runtime = runtime(vec![scripted()]).await;
    let unavailable = |error: &Error| matches!(error, Error::Unavailable { .. });
    for asked in ["fail", "busy", "locked", "trap", "silent", "nothing", "break"] {
        let error = fail(&runtime, asked).await;
        assert!(unavailable(&error), "{asked}: {error:?}");
        assert!(error.to_string().contains("model `far` of provider `cloud`"), "{error}");
    }
    assert!(matches!(fail(&runtime, "late").await, Error::TimedOut(_)));
    assert!(matches!(fail(&runtime, "odd").await, Error::Failed(_)));
    assert!(matches!(fail(&runtime, "rude").await, Error::Invalid { field: "turns", .. }));
    assert!(matches!(fail(&runtime, "field").await, Error::Invalid { field: "turns", .. }));
    let (told, outcome) = ask(&runtime, request("on")).await;
    assert!(told == "a" && outcome.is_ok(), "nothing counts after an end: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_prints_goes_to_the_log_without_its_key() {
    let logs = Logs::of("provider cloud");
    let runtime = runtime(vec![scripted()]).await;
    reply(&runtime, request("hello")).await;
    until(|| !logs.lines().is_empty()).await;
    let lines = logs.lines().join("\n");
    assert!(lines.contains("my key is [key]") && !lines.contains(KEY), "{lines}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_spins_hangs_or_never_ends_is_stopped() {
    let limits = ProviderLimits { timeout: Duration::from_millis(1_500), ..scripted().limits };
    let runtime = runtime(vec![ProviderSpec { limits, ..scripted() }]).await;
    for asked in ["spin", "hang"] {
        let error = fail(&runtime, asked).await;
        assert!(matches!(error, Error::TimedOut(_)), "{asked}: {error:?}");
    }
    let (told, outcome) = ask(&runtime, request("endless")).await;
    assert!(outcome.is_err() && told.len() <= 4 << 20, "{} bytes, {outcome:?}", told.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_provider_fails_another_model_replies_and_says_so() {
    let own = runtime(vec![falling_back("echo")]).await;
    let (said, outcome) = reply(&own, request("fail")).await;
    assert_eq!((said.text.as_str(), outcome.model.as_str()), ("you said: fail", "echo"));
    assert!(outcome.notes[0].contains("`echo` replied instead"), "{:?}", outcome.notes);
    assert!(!outcome.notes.concat().contains(KEY));
    assert_eq!(own.providers()[0].fallbacks, 1);
    // a wrong request is wrong for every model, and text that was told cannot be taken back
    assert!(matches!(fail(&own, "rude").await, Error::Invalid { .. }));
    assert!(matches!(fail(&own, "break").await, Error::Unavailable { .. }));
    let chain = runtime(vec![falling_back("other")]).await;
    assert!(matches!(fail(&chain, "trap").await, Error::Unavailable { .. }), "the other one traps as well");
    assert_eq!(ended(&chain, "plugin"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_recover_is_asked_again_and_then_left_alone() {
    let limits = ProviderLimits { retries: 2, circuit_failures: 4, ..ProviderLimits::default() };
    let runtime = runtime(vec![ProviderSpec { limits, ..scripted() }]).await;
    fail(&runtime, "fail").await;
    assert_eq!((ended(&runtime, "unavailable"), runtime.providers()[0].retries), (3, 2));
    let error = fail(&runtime, "fail").await;
    assert!(error.to_string().contains("left alone"), "{error}");
    assert_eq!(ended(&runtime, "unavailable"), 4);
    assert!(matches!(fail(&runtime, "hello").await, Error::Unavailable { retry_after: Some(_), .. }));
    assert!(runtime.provided_models()[0].left_alone);
    assert_eq!(ended(&runtime, "answered"), 0, "nobody asks while it is left alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_calls_run_and_wait_and_no_more() {
    let limits = ProviderLimits { calls: 1, waiting: 1, ..scripted().limits };
    let runtime = runtime(vec![ProviderSpec { limits, ..scripted() }]).await;
    let far = ModelId::new("far");
    let first = runtime.chat(request("hang"), &far).unwrap();
    until(|| runtime.providers()[0].running == 1).await;
    let second = runtime.chat(request("hello"), &far).unwrap();
    until(|| runtime.providers()[0].waiting == 1).await;
    let third = within(runtime.chat(request("hello"), &far).unwrap().finish()).await.unwrap_err();
    assert!(
        matches!(&third, Error::Overloaded { reason, .. } if reason.contains("provider.waiting")),
        "{third}"
    );
    drop(first);
    assert!(within(second.finish()).await.is_ok(), "a call that nobody wants any more makes room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_is_none_or_wants_more_is_not_loaded() {
    for (name, wanted) in [("styler", "provider of models"), ("studio", "is not for providers")] {
        let scheduler = kit::scheduler(Duration::ZERO);
        let runtime = kit::runtime_with(atelier_runtime::RuntimeConfig::default(), scheduler);
        let error = runtime.provide(vec![provider(guest(name), "http://127.0.0.1:9")]).await.unwrap_err();
        assert!(error.to_string().contains(wanted), "{name}: {error}");
        assert!(error.problems.iter().any(|problem| matches!(problem, LoadProblem::WrongWorld { .. })));
        assert!(runtime.provided_models().is_empty());
    }
}

/// What a tenant is charged with and what it gets back.
#[derive(Default)]
struct Ledger(Mutex<u64>);

impl Quota for Ledger {
    fn charge(&self, work: Work) -> Result<(), Exceeded> {
        *self.0.lock().unwrap() += work.tokens;
        Ok(())
    }

    fn refund(&self, work: Work) {
        *self.0.lock().unwrap() -= work.tokens;
    }
}

fn tenant(id: &str) -> (Arc<Tenant>, Arc<Ledger>) {
    let ledger = Arc::<Ledger>::default();
    let id = TenantId::new(id).unwrap();
    (Arc::new(Tenant { id, quota: ledger.clone(), ..Tenant::default() }), ledger)
}

async fn ask_for(route: &Arc<Deployment>, tenant: &Arc<Tenant>, path: &str, text: &str) -> String {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes()));
    let request = Request::post(format!("http://test.invalid{path}")).body(body).unwrap();
    let answer = within(route.handle_for(tenant, request)).await.unwrap();
    String::from_utf8(within(answer.into_body().collect()).await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn route(models: &[&str]) -> Arc<Deployment> {
    let runtime = runtime(vec![falling_back("echo")]).await;
    let models = models.iter().map(|id| ModelId::new(*id)).collect();
    let studio = studio();
    let spec = RouteSpec { grants: Grants { models, ..studio.grants }, ..studio };
    runtime.deploy(spec).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_meet_such_models_among_their_own_and_only_where_they_are_granted() {
    let route = route(&["echo", "far"]).await;
    assert_eq!(
        kit::ask(&route, "/language-models", "").await.unwrap(),
        "echo fake 4096 false, far cloud 4096 true"
    );
    let answer = kit::ask(&route, "/chat", "far seed=7\nu hello").await.unwrap();
    assert!(answer.starts_with("gpt says hello|Finish::End|3 1 2|7|far|"), "{answer}");
    assert_eq!(
        kit::ask(&route, "/said", "far\nu hello").await.unwrap(),
        "queued started said|gpt says hello|true"
    );
    let instead = kit::ask(&route, "/chat", "far seed=7\nu fail").await.unwrap();
    assert!(instead.starts_with("you said: fail|Finish::End|1 0 3|7|echo|"), "{instead}");
    let refused = kit::ask(&route, "/chat", "other\nu hello").await.unwrap();
    assert!(refused.contains("AccessDenied") && refused.contains("grants.models"), "{refused}");
    let wrong = kit::ask(&route, "/generate", "far").await.unwrap();
    assert!(wrong.contains("`far` makes replies, not pictures"), "{wrong}");
    assert_eq!(kit::ask(&route, "/config", "api-key").await.unwrap(), "Ok(None)");
    let left = kit::ask(&route, "/leave-chat", "far\nu hang").await.unwrap();
    assert_eq!(left, "Some(Error::Cancelled)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_pay_for_what_was_read_and_written_each_for_its_own() {
    let route = route(&["echo", "far", "other"]).await;
    let ((studio, own), (guest, others)) = (tenant("studio"), tenant("guest"));
    let used = |ledger: &Arc<Ledger>| *ledger.0.lock().unwrap();
    ask_for(&route, &studio, "/chat", "far\nu hello").await;
    assert_eq!((used(&own), used(&others)), (5, 0));
    let failed = ask_for(&route, &guest, "/chat", "other\nu fail").await;
    assert!(failed.contains("Unavailable"), "{failed}");
    assert_eq!(used(&others), 0, "nothing came of it");
    ask_for(&route, &guest, "/chat", "other\nu break").await;
    assert!(used(&others) > 0, "something was written");
    assert_eq!(used(&own), 5);
}
