//! Pictures of a provider: what a plugin may send, what is held against it, and what handlers and tenants see of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atelier_inference::{Error, Event, ImageRequest, ModelId, Outcome, Pixels, Size, Source, TenantId};
use atelier_runtime::{
    Deployment, Exceeded, Grants, LoadProblem, ProviderLimits, ProviderSpec, Quota, RouteSpec, Runtime,
    Tenant, Work,
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use super::{FILE, ended, flat, listener, model, painter, provider, runtime};
use crate::kit::{self, guest, studio, until, within};

const SQUARE: Size = Size { width: 16, height: 16 };
const WIDE: Size = Size { width: 24, height: 16 };

/// A plugin whose pictures are one of 16x16.
fn scripted() -> ProviderSpec {
    let file: String = FILE.iter().map(|byte| format!("{byte:02x}")).collect();
    let config = vec![("picture".into(), file)];
    let models = vec![painter("far", None)];
    ProviderSpec { config, models, ..provider(guest("provider"), "http://127.0.0.1:9/v1") }
}

fn falling_back(to: &str) -> ProviderSpec {
    ProviderSpec { models: vec![painter("far", Some(to)), painter("other", None)], ..scripted() }
}

fn request(prompt: &str) -> ImageRequest {
    ImageRequest { prompt: prompt.into(), ..ImageRequest::default() }
}

/// How many previews came, and the end.
async fn ask(runtime: &Runtime, request: ImageRequest) -> (usize, Result<Outcome, Error>) {
    let mut ticket = match runtime.draw(request, &ModelId::new("far")) {
        Ok(ticket) => ticket,
        Err(error) => return (0, Err(error)),
    };
    let mut previews = 0;
    while let Some(event) = within(ticket.events.next()).await {
        previews += usize::from(matches!(event, Event::Preview(_)));
    }
    (previews, within(ticket.finish()).await)
}

async fn draw(runtime: &Runtime, request: ImageRequest) -> Outcome {
    ask(runtime, request).await.1.unwrap_or_else(|error| panic!("{error}"))
}

async fn fail(runtime: &Runtime, prompt: &str) -> Error {
    ask(runtime, request(prompt)).await.1.expect_err("there should be no picture")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_of_a_provider_draws_and_nothing_is_decided_that_was_not_asked() {
    let runtime = runtime(vec![scripted()]).await;
    let outcome = draw(&runtime, request("boat")).await;
    let picture = &outcome.pictures()[0];
    assert_eq!((outcome.model.as_str(), picture.pixels.size()), ("far", SQUARE));
    assert!(picture.parameters.is_none(), "nobody here knows what made it");
    assert_eq!(outcome.notes[0], "gpt boat 16x16 1 None None text false");
    assert!(outcome.notes[1].contains("seed is the server's own"), "{:?}", outcome.notes);
    let asked = ImageRequest { seed: Some(7), steps: Some(4), count: Some(2), ..request("boat") };
    let outcome = draw(&runtime, asked).await;
    assert_eq!((outcome.pictures().len(), outcome.notes.len()), (2, 1));
    assert_eq!(outcome.notes[0], "gpt boat 16x16 2 Some(4) Some(7) text false");
    assert_eq!(runtime.providers()[0].pictures, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_that_comes_along_is_sent_as_a_file_and_its_mask_as_another() {
    let runtime = runtime(vec![scripted()]).await;
    let edit = |pixels| Some(Source::Edit { pixels, guidance: None });
    let outcome = draw(&runtime, ImageRequest { source: edit(flat(24, 16)), ..request("night") }).await;
    assert!(outcome.notes[0].contains("24x16 1 None None edit png None"), "{:?}", outcome.notes);
    let hole = Pixels::new(16, 16, [[9, 9, 9, 0], [9, 9, 9, 255]].concat().repeat(128)).unwrap();
    let source = Some(Source::Inpaint { pixels: hole, mask: None, strength: Some(0.5) });
    let outcome = draw(&runtime, ImageRequest { source, ..request("boat") }).await;
    assert!(outcome.notes[0].contains("inpaint png png true Some(0.5)"), "{:?}", outcome.notes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_wrongly_is_refused_by_name_before_anybody_is_called() {
    let runtime = runtime(vec![scripted()]).await;
    let field = |request: ImageRequest| match runtime.draw(request, &ModelId::new("far")).err() {
        Some(Error::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let size = Some(Size { width: 16, height: 24 });
    assert_eq!(field(ImageRequest { size, ..request("boat") }), "size");
    assert_eq!(field(ImageRequest { count: Some(9), ..request("boat") }), "count");
    assert_eq!(field(ImageRequest { schedule: Some("ddim".into()), ..request("boat") }), "schedule");
    let source = Some(Source::Start { pixels: flat(16, 16), strength: None });
    assert_eq!(field(ImageRequest { source, ..request("boat") }), "source");
    let chat = runtime.chat(super::request("hello"), &ModelId::new("far")).err();
    assert!(chat.unwrap().to_string().contains("makes pictures, not replies"));
    assert_eq!(runtime.providers()[0].attempts, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_plugin_sends_is_pictures_or_a_typed_error() {
    let runtime = runtime(vec![scripted()]).await;
    for (prompt, part) in [
        ("fail", "no"),
        ("trap", "its plugin stopped"),
        ("none", "it sent 0 pictures and not 1"),
        ("many", "it sent 2 pictures and not 1"),
        ("half", "broke off"),
        ("junk", "is no picture here"),
        ("break", "broke"),
        ("endless", "has more than"),
    ] {
        let error = fail(&runtime, prompt).await;
        let is_typed = matches!(&error, Error::Unavailable { reason, .. } if reason.contains(part));
        assert!(
            is_typed && error.to_string().contains("model `far` of provider `cloud`"),
            "{prompt}: {error:?}"
        );
    }
    assert!(matches!(fail(&runtime, "rude").await, Error::Invalid { field: "prompt", .. }));
    assert!(matches!(fail(&runtime, "field").await, Error::Invalid { field: "size", .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_of_another_size_stays_as_it_came_and_is_said_to_be() {
    let runtime = runtime(vec![scripted()]).await;
    let outcome = draw(&runtime, ImageRequest { size: Some(WIDE), ..request("boat") }).await;
    assert_eq!(outcome.pictures()[0].pixels.size(), SQUARE);
    assert!(outcome.notes[1].contains("made it 16x16, not 24x16"), "{:?}", outcome.notes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_pictures_are_told_where_they_can_be_read() {
    let runtime = runtime(vec![scripted()]).await;
    let (previews, outcome) =
        ask(&runtime, ImageRequest { preview_every: Some(1), ..request("preview") }).await;
    assert!(outcome.unwrap().notes[0].ends_with("text true"));
    // the newest is told; how many a reader meets is a matter of time
    assert!(previews <= 1, "junk is no preview: {previews}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_hangs_is_stopped_and_whoever_goes_frees_its_place() {
    let limits = ProviderLimits { timeout: Duration::from_millis(1_500), ..scripted().limits };
    let runtime = runtime(vec![ProviderSpec { limits, ..scripted() }]).await;
    let ticket = runtime.draw(request("hang"), &ModelId::new("far")).unwrap();
    until(|| runtime.providers()[0].running == 1).await;
    drop(ticket);
    until(|| runtime.providers()[0].running == 0).await;
    let error = fail(&runtime, "hang").await;
    assert!(matches!(error, Error::TimedOut(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_provider_fails_another_model_draws_and_says_so() {
    let own = runtime(vec![falling_back("fake")]).await;
    let outcome = draw(&own, request("fail")).await;
    assert_eq!(outcome.model.as_str(), "fake");
    assert!(outcome.notes[0].contains("`fake` drew instead"), "{:?}", outcome.notes);
    assert!(matches!(fail(&own, "rude").await, Error::Invalid { .. }), "wrong for every model");
    let chain = runtime(vec![falling_back("other")]).await;
    assert!(matches!(fail(&chain, "trap").await, Error::Unavailable { .. }), "the other one traps as well");
    assert_eq!(ended(&chain, "plugin"), 2);
    // a reply is no picture: that is no fault of the request
    let wrong = runtime(vec![falling_back("echo")]).await;
    let error = fail(&wrong, "fail").await;
    let is_told = matches!(&error, Error::Unavailable { reason, .. } if reason.contains("`echo` cannot"));
    assert!(is_told, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_without_what_a_model_makes_is_not_loaded() {
    let plugin = super::shipped("provider-ollama");
    for (spec, wanted) in
        [(painter("far", None), "provider-images"), (listener("far", None), "provider-speech")]
    {
        let runtime =
            kit::runtime_with(atelier_runtime::RuntimeConfig::default(), kit::scheduler(Duration::ZERO));
        let spec = ProviderSpec {
            models: vec![model("near", None), spec],
            ..provider(plugin.clone(), "http://127.0.0.1:9")
        };
        let error = runtime.provide(vec![spec]).await.unwrap_err();
        assert!(error.to_string().contains(wanted) && error.to_string().contains("`far`"), "{error}");
        assert!(matches!(error.problems[..], [LoadProblem::WrongWorld { .. }]), "{error}");
    }
}

/// What a tenant is charged with and what it gets back: pictures, and work of this machine.
#[derive(Default)]
struct Ledger(Mutex<(u64, u64)>);

impl Quota for Ledger {
    fn charge(&self, work: Work) -> Result<(), Exceeded> {
        let mut used = self.0.lock().unwrap();
        *used = (used.0 + work.images, used.1 + work.pixel_steps);
        Ok(())
    }

    fn refund(&self, work: Work) {
        let mut used = self.0.lock().unwrap();
        *used = (used.0 - work.images, used.1 - work.pixel_steps);
    }
}

async fn route(spec: ProviderSpec, models: &[&str]) -> Arc<Deployment> {
    let runtime = runtime(vec![spec]).await;
    let models = models.iter().map(|id| ModelId::new(*id)).collect();
    let studio = studio();
    let spec = RouteSpec { grants: Grants { models, ..studio.grants }, ..studio };
    runtime.deploy(spec).await.unwrap()
}

async fn ask_for(route: &Arc<Deployment>, tenant: &Arc<Tenant>, text: &str) -> String {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes()));
    let request = Request::post("http://test.invalid/generate").body(body).unwrap();
    let answer = within(route.handle_for(tenant, request)).await.unwrap();
    String::from_utf8(within(answer.into_body().collect()).await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_meet_such_models_among_their_own_and_tenants_pay_for_pictures() {
    let route = route(falling_back("fake"), &["fake", "far", "other"]).await;
    let listed = kit::ask(&route, "/models", "").await.unwrap();
    assert_eq!(listed, "fake false ,far true ,other true ");
    let told = kit::ask(&route, "/events", "far boat 2").await.unwrap();
    assert!(told.starts_with("queued 0, started; ") && told.contains("outcome true"), "{told}");
    let ledger = Arc::<Ledger>::default();
    let id = TenantId::new("studio").unwrap();
    let tenant = Arc::new(Tenant { id, quota: ledger.clone(), ..Tenant::default() });
    let answer = ask_for(&route, &tenant, "far boat 2").await;
    assert!(answer.starts_with("16x16 seed 7 gpt boat 16x16 1 Some(2) Some(7) text true"), "{answer}");
    assert_eq!(*ledger.0.lock().unwrap(), (1, 0), "nothing was denoised here");
    let failed = ask_for(&route, &tenant, "other fail 2").await;
    assert!(failed.contains("Unavailable"), "{failed}");
    assert_eq!(*ledger.0.lock().unwrap(), (1, 0), "nothing came of it");
    let instead = ask_for(&route, &tenant, "far fail 2").await;
    assert!(instead.contains("`fake` drew instead") && instead.contains("\"model\":\"fake\""), "{instead}");
    assert_eq!(*ledger.0.lock().unwrap(), (2, 64 * 64 * 2), "this machine worked");
    let refused = ask_for(&route, &tenant, "other rude 2").await;
    assert!(refused.contains("InvalidRequest") && refused.contains("prompt"), "{refused}");
    assert_eq!(*ledger.0.lock().unwrap(), (2, 64 * 64 * 2));
}
