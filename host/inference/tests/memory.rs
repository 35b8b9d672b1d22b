//! Models under a byte budget, against an engine that loads and runs what a test says. A model of it takes 1,000,000
//! bytes and a job of `pixels` a byte for each.

mod scripted;

use std::time::{Duration, Instant};

use atelier_inference::{
    Error, ImageModel, ImageRequest, Job, Keep, MemoryConfig, MemoryStatus, ModelId, ModelState, QueueConfig,
    Scheduler, SchedulerConfig, Size, StartError, Ticket,
};
use scripted::{MODEL_BYTES, Remote, model, order, other_model, third_model};

/// Generous: reached only when something is stuck.
const DEADLINE: Duration = Duration::from_secs(60);
/// What a job of `own size` takes: 64 by 32 pixels.
const RUN_BYTES: u64 = 64 * 32;

fn id(model: &str) -> ModelId {
    ModelId::new(model)
}

fn try_start(
    remote: &Remote,
    bytes: u64,
    keep: impl IntoIterator<Item = (&'static str, Keep)>,
) -> Result<Scheduler, StartError> {
    let models = keep.into_iter().map(|(model, keep)| (id(model), keep)).collect();
    let memory = MemoryConfig { bytes: Some(bytes), models };
    Scheduler::start(remote.engine(), SchedulerConfig { queue: QueueConfig::default(), memory })
}

/// Room for so many models and one job of their own size.
fn room_for(models: u64) -> u64 {
    models * MODEL_BYTES + RUN_BYTES
}

fn start(remote: &Remote, bytes: u64) -> Scheduler {
    remote.allow_all();
    try_start(remote, bytes, []).unwrap()
}

fn job(model: &ImageModel, prompt: &str) -> Job {
    Job::new(
        order(ImageRequest { prompt: prompt.into(), steps: Some(1), ..ImageRequest::default() }, model)
            .unwrap(),
    )
}

async fn run(scheduler: &Scheduler, model: &ImageModel) -> Result<(), Error> {
    scheduler.submit(job(model, "a cat"))?.finish().await.map(drop)
}

fn loaded(scheduler: &Scheduler) -> Vec<String> {
    let models = scheduler.models().into_iter().filter(|model| model.state == ModelState::Loaded);
    models.map(|model| model.id.to_string()).collect()
}

/// Returns once just these models are loaded.
async fn until_loaded(scheduler: &Scheduler, expected: &[&str]) {
    let end = Instant::now() + DEADLINE;
    while loaded(scheduler) != expected {
        assert!(Instant::now() < end, "{:?} are loaded, and not {expected:?}", loaded(scheduler));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A scheduler whose worker is inside the first step of a job.
fn busy(remote: &Remote, bytes: u64) -> (Scheduler, Ticket) {
    let scheduler = try_start(remote, bytes, []).unwrap();
    let running = scheduler.submit(job(&model(), "running")).unwrap();
    remote.wait_until_stuck();
    (scheduler, running)
}

#[tokio::test]
async fn the_model_that_was_unused_for_longest_gives_way_and_no_other() {
    let remote = Remote::default();
    let scheduler = start(&remote, room_for(2));
    for model in [model(), other_model(), model(), third_model(), model()] {
        run(&scheduler, &model).await.unwrap();
    }
    assert_eq!(remote.moves(), ["load scripted", "load other", "unload other", "load third"]);
    assert_eq!(loaded(&scheduler), ["scripted", "third"]);
}

#[tokio::test]
async fn one_byte_less_than_two_models_and_a_run_need_and_one_has_to_go() {
    for (bytes, expected) in [(room_for(2), 2), (room_for(2) - 1, 1)] {
        let remote = Remote::default();
        let scheduler = start(&remote, bytes);
        run(&scheduler, &model()).await.unwrap();
        run(&scheduler, &other_model()).await.unwrap();
        assert_eq!(loaded(&scheduler).len(), expected, "with {bytes} bytes");
    }
}

#[tokio::test]
async fn a_run_holds_its_memory_until_its_end_however_it_ends() {
    for prompt in ["a cat", "fail in a step", "run out of memory"] {
        let remote = Remote::default();
        let scheduler = try_start(&remote, room_for(1), []).unwrap();
        let ticket = scheduler.submit(job(&model(), prompt)).unwrap();
        remote.wait_until_stuck();
        let held = MemoryStatus { budget: room_for(1), models: MODEL_BYTES, runs: RUN_BYTES };
        assert_eq!((scheduler.memory(), scheduler.memory().free()), (held, 0));
        remote.allow_all();
        assert_eq!(ticket.finish().await.is_ok(), prompt == "a cat");
        assert_eq!(scheduler.memory(), MemoryStatus { runs: 0, ..held });
    }
}

#[tokio::test]
async fn a_cancelled_run_gives_its_memory_back() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote, room_for(1));
    running.guard.cancel();
    remote.allow_all();
    assert_eq!(running.outcome.await.unwrap().unwrap_err(), Error::Cancelled);
    assert_eq!(scheduler.memory().runs, 0);
}

#[tokio::test]
async fn a_job_one_byte_too_large_is_refused_before_it_waits_with_bytes_budget_and_key() {
    let remote = Remote::default();
    let size = Some(Size { width: 64, height: 64 });
    let request = || ImageRequest { prompt: "large".into(), size, count: Some(2), ..ImageRequest::default() };
    let large = || Job::new(order(request(), &model()).unwrap());
    let needed = MODEL_BYTES + 2 * 64 * 64;
    let scheduler = start(&remote, needed - 1);
    let refused = scheduler.submit(large()).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "no memory for 2 pictures of 64x64 with model `scripted` (1000000 bytes for the model, 8192 for the run): \
         1008192 bytes are needed, and engine.memory-bytes is 1008191; ask for smaller or fewer pictures"
    );
    assert_eq!((scheduler.status().counters.submitted, remote.moves().len()), (0, 0), "nothing was begun");
    run(&scheduler, &model()).await.unwrap();
    let scheduler = start(&Remote::default(), needed);
    scheduler.submit(large()).unwrap().finish().await.unwrap();
}

#[test]
fn a_model_that_can_never_make_its_own_picture_is_refused_at_the_start_by_name() {
    let refused = try_start(&Remote::default(), room_for(1) - 1, []).err().unwrap().to_string();
    assert_eq!(
        refused,
        "no memory for model `scripted` (1000000 bytes for the model, 2048 for the run): 1002048 bytes are needed, and \
         engine.memory-bytes is 1002047; raise it, pin fewer models, or remove this one from the manifest"
    );
    let pinned = Keep { pinned: true, ..Keep::default() };
    let refused = try_start(&Remote::default(), room_for(2) - 1, [("other", pinned)]).err().unwrap();
    assert!(refused.to_string().contains("1000000 for pinned models"), "{refused}");
    try_start(&Remote::default(), room_for(2), [("other", pinned)]).unwrap();
}

#[test]
fn models_that_do_not_fit_together_are_not_preloaded_in_vain() {
    let preload = Keep { preload: true, ..Keep::default() };
    let both = [("scripted", preload), ("other", preload)];
    let refused = try_start(&Remote::default(), room_for(2) - 1, both).err().unwrap().to_string();
    let expected = "no memory for loading `scripted`, `other` at the start: 2002048 bytes are needed";
    assert!(refused.starts_with(expected), "{refused}");
}

#[tokio::test]
async fn a_pinned_model_stays_and_the_others_give_way() {
    let remote = Remote::default();
    remote.allow_all();
    let pinned = Keep { pinned: true, ..Keep::default() };
    let scheduler = try_start(&remote, room_for(2), [("scripted", pinned)]).unwrap();
    for model in [model(), other_model(), third_model(), other_model()] {
        run(&scheduler, &model).await.unwrap();
    }
    assert_eq!(loaded(&scheduler), ["scripted", "other"]);
    let refused = scheduler.unload(&id("scripted")).await.unwrap_err();
    assert_eq!(refused, Error::invalid("model", "`scripted` is pinned; unpin it first"));
    scheduler.unpin(&id("scripted")).unwrap();
    scheduler.unload(&id("scripted")).await.unwrap();
    assert_eq!(loaded(&scheduler), ["other"]);
}

#[tokio::test]
async fn a_pin_that_would_lock_another_model_out_is_refused() {
    let scheduler = start(&Remote::default(), room_for(2));
    scheduler.pin(&id("scripted")).unwrap();
    scheduler.pin(&id("scripted")).unwrap();
    let refused = scheduler.pin(&id("other")).unwrap_err();
    assert!(matches!(refused, Error::TooLarge { needed, .. } if needed == room_for(3)), "{refused}");
    let pinned: Vec<bool> = scheduler.models().iter().map(|model| model.pinned).collect();
    assert_eq!(pinned, [true, false, false]);
}

#[tokio::test]
async fn what_is_preloaded_is_there_before_the_first_job() {
    let remote = Remote::default();
    let preload = Keep { preload: true, ..Keep::default() };
    let scheduler = try_start(&remote, room_for(2), [("other", preload), ("lacking", preload)]).unwrap();
    let first = scheduler.submit(job(&model(), "first")).unwrap();
    remote.wait_until_stuck();
    assert_eq!(
        (remote.moves(), scheduler.preloading()),
        (vec!["load other".into(), "load scripted".into()], 0)
    );
    remote.allow_all();
    first.finish().await.unwrap();
}

#[tokio::test]
async fn a_preload_that_fails_is_told_and_holds_nothing_up() {
    let remote = Remote::default();
    remote.allow_all();
    remote.fail_to_load(Some("other"));
    let preload = Keep { preload: true, ..Keep::default() };
    let scheduler = try_start(&remote, room_for(2), [("other", preload)]).unwrap();
    run(&scheduler, &model()).await.unwrap();
    assert_eq!(scheduler.preloading(), 0);
    let problem = scheduler.models().remove(1).problem.unwrap();
    assert_eq!(problem, "memory ran out: no room for `other`");
    assert_eq!(scheduler.memory().models, MODEL_BYTES);
    remote.fail_to_load(None);
    scheduler.load(&id("other")).await.unwrap();
    assert_eq!(scheduler.models().remove(1).problem, None);
}

#[tokio::test]
async fn an_unload_waits_for_the_job_that_runs_and_comes_before_the_next() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote, room_for(1));
    let next = scheduler.submit(job(&model(), "next")).unwrap();
    let handle = scheduler.clone();
    let unload = tokio::spawn(async move { handle.unload(&id("scripted")).await });
    // it has to be in line before the job ends; the verb itself tells nobody that it waits
    while scheduler.pending_commands() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(remote.moves(), ["load scripted"], "its job still runs");
    remote.allow_all();
    running.finish().await.unwrap();
    unload.await.unwrap().unwrap();
    next.finish().await.unwrap();
    assert_eq!(remote.moves(), ["load scripted", "unload scripted", "load scripted"]);
}

#[tokio::test]
async fn loading_and_unloading_twice_does_nothing_and_unknown_models_are_named() {
    let remote = Remote::default();
    let scheduler = start(&remote, room_for(1));
    for _ in 0..2 {
        scheduler.load(&id("other")).await.unwrap();
    }
    for _ in 0..2 {
        scheduler.unload(&id("other")).await.unwrap();
    }
    assert_eq!(remote.moves(), ["load other", "unload other"]);
    assert_eq!(scheduler.memory().models, 0);
    let seen = scheduler.models().into_iter().map(|model| (model.state, model.idle_s.is_some()));
    let expected = [false, true, false].map(|was_used| (ModelState::Unloaded, was_used));
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    for refused in [scheduler.load(&id("x")).await, scheduler.unload(&id("x")).await, scheduler.pin(&id("x"))]
    {
        assert!(matches!(refused, Err(Error::UnknownModel { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn more_loads_and_unloads_than_may_wait_are_refused() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote, room_for(1));
    let mut waiting = Vec::new();
    for expected in 1..=64 {
        let handle = scheduler.clone();
        waiting.push(tokio::spawn(async move { handle.load(&id("other")).await }));
        while scheduler.pending_commands() < expected {
            tokio::task::yield_now().await;
        }
    }
    let refused = scheduler.unload(&id("other")).await.unwrap_err();
    assert!(matches!(refused, Error::Overloaded { .. }), "{refused}");
    remote.allow_all();
    running.finish().await.unwrap();
    for load in waiting {
        load.await.unwrap().unwrap();
    }
    assert_eq!(remote.moves(), ["load scripted", "unload scripted", "load other"]);
}

#[tokio::test]
async fn a_model_that_is_idle_for_long_enough_is_unloaded_and_a_pinned_one_is_not() {
    let remote = Remote::default();
    remote.allow_all();
    let idle = Keep { idle_unload: Some(Duration::from_millis(20)), ..Keep::default() };
    let scheduler = try_start(&remote, room_for(2), [("scripted", idle), ("other", idle)]).unwrap();
    scheduler.pin(&id("other")).unwrap();
    run(&scheduler, &other_model()).await.unwrap();
    run(&scheduler, &model()).await.unwrap();
    until_loaded(&scheduler, &["other"]).await;
    scheduler.unpin(&id("other")).unwrap();
    until_loaded(&scheduler, &[]).await;
}

#[tokio::test]
async fn after_memory_ran_out_in_a_run_idle_models_are_gone_and_the_next_small_job_succeeds() {
    let remote = Remote::default();
    let scheduler = start(&remote, room_for(3));
    scheduler.pin(&id("third")).unwrap();
    for model in [third_model(), other_model()] {
        run(&scheduler, &model).await.unwrap();
    }
    let failed = scheduler.submit(job(&model(), "run out of memory")).unwrap().finish().await.unwrap_err();
    assert_eq!(failed, Error::OutOfMemory("as the test wished".into()));
    assert_eq!(loaded(&scheduler), ["scripted", "third"], "its own model and the pinned one are left");
    assert_eq!(scheduler.memory().runs, 0);
    run(&scheduler, &model()).await.unwrap();
    let counters = scheduler.status().counters;
    assert_eq!((counters.completed, counters.failed), (3, 1));
}

#[tokio::test]
async fn after_memory_ran_out_while_loading_the_next_job_succeeds() {
    let remote = Remote::default();
    let scheduler = start(&remote, room_for(3));
    run(&scheduler, &third_model()).await.unwrap();
    remote.fail_to_load(Some("other"));
    let failed = run(&scheduler, &other_model()).await.unwrap_err();
    assert_eq!(failed, Error::OutOfMemory("no room for `other`".into()));
    assert_eq!((loaded(&scheduler), scheduler.memory().models), (vec![], 0));
    run(&scheduler, &model()).await.unwrap();
    remote.fail_to_load(None);
    run(&scheduler, &other_model()).await.unwrap();
}

#[tokio::test]
async fn whoever_waits_for_a_load_learns_that_the_worker_has_gone() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote, room_for(1));
    let panicking = scheduler.submit(job(&model(), "panic in a step")).unwrap();
    remote.allow_all();
    running.finish().await.unwrap();
    assert_eq!(panicking.finish().await.unwrap_err(), Error::WorkerGone);
    assert_eq!(scheduler.load(&id("other")).await.unwrap_err(), Error::WorkerGone);
}
