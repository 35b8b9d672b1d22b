//! Jobs of two models: which are taken, and how the worker goes from one model to the other.

mod scripted;

use std::sync::Arc;

use atelier_inference::{
    CacheKind, DefaultRefiner, Error, Event, ImageModel, ImageRequest, Job, MemoryConfig, ModelId, Outcome,
    QueueConfig, Refine, Scheduler, SchedulerConfig, Source, StepCache,
};
use scripted::{MODEL_BYTES, Remote, drain, model, order, other_model, pixels, third_model};

/// What a job of `own size` takes: 64 by 32 pixels.
const RUN_BYTES: u64 = 64 * 32;

/// A model that `other` and `third` can refine, and `other` does unless a request says otherwise.
fn base() -> ImageModel {
    let refiner = Some(DefaultRefiner { model: ModelId::new("other"), share: 0.5 });
    let refiners = vec![Arc::new(other_model()), Arc::new(third_model())];
    ImageModel { refiners, refiner, ..model() }
}

fn by(model: &str, share: Option<f64>) -> Refine {
    Refine::By { model: ModelId::new(model), share }
}

fn request(refine: Refine) -> ImageRequest {
    ImageRequest { prompt: "a cat".into(), refine, ..ImageRequest::default() }
}

fn refined(request: ImageRequest, model: &ImageModel) -> Option<(String, f64)> {
    let job = order(request, model).unwrap();
    job.refiner.map(|refiner| (refiner.model.card.id.to_string(), refiner.share))
}

fn refused(request: ImageRequest, model: &ImageModel) -> String {
    match order(request, model) {
        Err(Error::Invalid { field: "refiner", reason }) => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_request_names_the_refiner_or_takes_the_models_own_or_none() {
    let named = |id: &str, share| Some((id.to_owned(), share));
    for (refine, expected) in [
        (Refine::Default, named("other", 0.5)),
        (Refine::Never, None),
        (by("third", None), named("third", 0.8)),
        (by("third", Some(0.3)), named("third", 0.3)),
        (by("other", None), named("other", 0.5)),
    ] {
        assert_eq!(refined(request(refine), &base()), expected);
    }
    assert_eq!(refined(request(Refine::Default), &model()), None);
}

#[test]
fn a_refiner_that_cannot_be_is_refused_by_name() {
    let mut small = third_model();
    (small.max_side, small.schedules) = (32, vec!["euler".into()]);
    let mut narrow = base();
    narrow.refiners[1] = Arc::new(small);
    let schedule = Some("ddim".into());
    let tall = Some(atelier_inference::Size { width: 32, height: 32 });
    for (request, model, named) in [
        (
            request(by("fourth", None)),
            base(),
            "`fourth` cannot refine what model `scripted` begins; other, third can",
        ),
        (request(by("other", None)), model(), "nothing can"),
        (request(by("other", Some(0.0))), base(), "between 0 and 1, not 0"),
        (request(by("other", Some(1.0))), base(), "between 0 and 1, not 1"),
        (request(by("other", Some(f64::NAN))), base(), "NaN"),
        (request(by("third", None)), narrow.clone(), "sides of 8 to 32, not 64x32"),
        (
            ImageRequest { size: tall, schedule, ..request(by("third", None)) },
            narrow,
            "`third` has no schedule `ddim`",
        ),
    ] {
        let reason = refused(request, &model);
        assert!(reason.contains(named), "{reason}");
    }
}

#[test]
fn a_step_cache_has_to_fit_both_models() {
    let mut base = base();
    let few = ImageModel { step_cache: CacheKind::Deep { branches: 4 }, ..third_model() };
    base.refiners[1] = Arc::new(few);
    let deep = |refine, branch| ImageRequest {
        step_cache: Some(StepCache::Deep { interval: 2, branch }),
        ..request(refine)
    };
    order(deep(by("third", None), 3), &base).unwrap();
    order(deep(Refine::Never, 4), &base).unwrap();
    match order(deep(by("third", None), 4), &base) {
        Err(Error::Invalid { field: "step-cache", reason }) => {
            assert_eq!(reason, "branch 4 is not below 4, the skips of model `third`");
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn edits_and_parts_are_refined_by_nobody() {
    let picture = || pixels(16, 16, 1);
    let edit = || Some(Source::Edit { pixels: picture(), guidance: None });
    let start = || Some(Source::Start { pixels: picture(), strength: None });
    assert!(refined(ImageRequest { source: start(), ..request(Refine::Default) }, &base()).is_some());
    assert_eq!(refined(ImageRequest { source: edit(), ..request(Refine::Default) }, &base()), None);
    let reason = refused(ImageRequest { source: edit(), ..request(by("other", None)) }, &base());
    assert!(reason.contains("edits and parts"), "{reason}");
}

fn start(remote: &Remote, bytes: u64) -> Scheduler {
    let memory = MemoryConfig { bytes: Some(bytes), ..MemoryConfig::default() };
    Scheduler::start(remote.engine(), SchedulerConfig { queue: QueueConfig::default(), memory }).unwrap()
}

async fn paint(scheduler: &Scheduler) -> Result<Outcome, Error> {
    scheduler.submit(Job::new(order(request(Refine::Default), &base()).unwrap()))?.finish().await
}

#[tokio::test]
async fn where_both_models_fit_both_stay_and_else_the_first_gives_way() {
    for (bytes, moves) in [
        (2 * MODEL_BYTES + RUN_BYTES, vec!["load scripted", "load other"]),
        (
            MODEL_BYTES + RUN_BYTES,
            vec![
                "load scripted",
                "unload scripted",
                "load other",
                "unload other",
                "load scripted",
                "unload scripted",
                "load other",
            ],
        ),
    ] {
        let remote = Remote::default();
        remote.allow_all();
        let scheduler = start(&remote, bytes);
        for _ in 0..2 {
            paint(&scheduler).await.unwrap();
        }
        assert_eq!(remote.moves(), moves);
        assert_eq!(remote.begun(), ["a cat", "a cat after 2 steps"].repeat(2));
        assert_eq!(scheduler.memory().runs, 0);
    }
}

#[tokio::test]
async fn steps_count_through_both_models_and_each_keeps_its_own() {
    let remote = Remote::default();
    remote.allow_all();
    let scheduler = start(&remote, MODEL_BYTES + RUN_BYTES);
    let ticket = scheduler.submit(Job::new(order(request(Refine::Default), &base()).unwrap())).unwrap();
    let steps = drain(ticket.events).await.into_iter().filter_map(|event| match event {
        Event::Step { step, total, .. } => Some((step, total)),
        _ => None,
    });
    assert_eq!(steps.collect::<Vec<_>>(), [(1, 4), (2, 4), (3, 4), (4, 4)]);
    let metrics = scheduler.model_metrics();
    let steps = |model: &str| {
        let found = metrics.iter().find(|(id, _)| &**id == model).unwrap();
        found.1.step.cumulative().last().map_or(0, |(_, count)| count)
    };
    assert_eq!((steps("scripted"), steps("other"), steps("third")), (2, 2, 0));
}

#[tokio::test]
async fn a_job_that_is_cancelled_at_any_step_of_either_model_gives_everything_back() {
    // two steps, the hand-over, two steps, and the pictures
    for calls in 0..6 {
        let remote = Remote::default();
        let scheduler = start(&remote, MODEL_BYTES + RUN_BYTES);
        remote.allow(calls);
        let ticket = scheduler.submit(Job::new(order(request(Refine::Default), &base()).unwrap())).unwrap();
        remote.wait_until_stuck();
        ticket.guard.cancel();
        remote.allow_all();
        let ended = ticket.outcome.await.unwrap();
        // the call under way is not interrupted, and the last one gives the pictures
        assert_eq!(ended.is_ok(), calls == 5, "after {calls} calls");
        assert_eq!(scheduler.memory().runs, 0, "after {calls} calls");
    }
}

#[tokio::test]
async fn a_refiner_that_can_never_fit_is_refused_before_the_job_waits() {
    let remote = Remote::default();
    remote.allow_all();
    let scheduler = start(&remote, 2 * MODEL_BYTES + RUN_BYTES);
    scheduler.pin(&ModelId::new("scripted")).unwrap();
    // beside the model that stays, the refiner has room for one picture
    let two = |refine| order(ImageRequest { count: Some(2), ..request(refine) }, &base()).unwrap();
    scheduler.submit(Job::new(two(Refine::Never))).unwrap().finish().await.unwrap();
    let refused = scheduler.submit(Job::new(two(Refine::Default))).err().unwrap().to_string();
    assert!(refused.contains("with model `other`") && refused.contains("for pinned models"), "{refused}");
    assert_eq!(remote.begun().len(), 1);
}

#[tokio::test]
async fn a_refiner_that_does_not_load_ends_the_job_and_no_other() {
    let remote = Remote::default();
    remote.allow_all();
    let scheduler = start(&remote, 2 * MODEL_BYTES + RUN_BYTES);
    remote.fail_to_load(Some("other"));
    assert!(matches!(paint(&scheduler).await, Err(Error::OutOfMemory(_))));
    remote.fail_to_load(None);
    paint(&scheduler).await.unwrap();
}
