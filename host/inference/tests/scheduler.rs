//! The scheduler's promises, against an engine that does one step per permit of the test.

mod scripted;

use std::time::Duration;

use atelier_inference::{Error, Event, ImageRequest, QueueConfig, Scheduler, Ticket};
use scripted::{Remote, drain, job};

fn start(remote: &Remote, depth: usize) -> Scheduler {
    Scheduler::start(remote.engine(), QueueConfig { depth, ..QueueConfig::default() }).unwrap()
}

/// A scheduler whose worker is inside the first step of a job named `running`.
fn busy(remote: &Remote, depth: usize, steps: u32) -> (Scheduler, Ticket) {
    let scheduler = start(remote, depth);
    let running = scheduler.submit(job("running", steps)).unwrap();
    remote.wait_until_stuck();
    (scheduler, running)
}

/// The newest position that waits for the reader.
async fn position(ticket: &mut Ticket) -> (u32, Option<Duration>) {
    match ticket.events.next().await {
        Some(Event::Queued { position, eta }) => (position, eta),
        other => panic!("expected a position, got {other:?}"),
    }
}

#[tokio::test]
async fn a_job_runs_all_its_steps_and_its_pictures_carry_their_seeds() {
    let remote = Remote::default();
    remote.allow_all();
    let scheduler = start(&remote, 1);
    let request =
        ImageRequest { prompt: "three".into(), count: Some(3), seed: Some(7), ..ImageRequest::default() };
    let ticket = scheduler
        .submit(atelier_inference::Job::new(scripted::order(request, &scripted::model()).unwrap()))
        .unwrap();
    let outcome = ticket.finish().await.unwrap();
    let seeds: Vec<u64> =
        outcome.pictures().iter().map(|picture| picture.parameters.as_ref().unwrap().seed).collect();
    assert_eq!(seeds, [7, 8, 9]);
    assert_eq!(outcome.notes, ["scripted"]);
    assert_eq!(remote.steps(), 4);
    assert_eq!(scheduler.status().counters.steps, 4);
    assert_eq!(scheduler.status().counters.completed, 1);
}

#[tokio::test]
async fn a_models_jobs_steps_and_times_are_counted() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote, 2, 3);
    let waiting = scheduler.submit(job("waiting", 2)).unwrap();
    remote.allow_all();
    running.finish().await.unwrap();
    waiting.finish().await.unwrap();
    let models = scheduler.model_metrics();
    let of = |id: &str| models.iter().find(|(name, _)| **name == *id).unwrap().1.clone();
    let (model, idle) = (of("scripted"), of("other"));
    assert_eq!((model.completed.get(), model.failed.get(), model.cancelled.get()), (2, 0, 0));
    assert_eq!((model.queue_wait.count(), model.step.count(), model.job.count()), (2, 5, 2));
    assert!(model.job.sum() >= model.step.sum(), "a job is all its steps and more");
    assert_eq!((idle.queue_wait.count(), idle.job.count()), (0, 0));
}

#[tokio::test]
async fn a_full_queue_refuses_with_its_key_and_a_time_to_come_back() {
    let remote = Remote::default();
    let (scheduler, _running) = busy(&remote, 2, 1);
    let _waiting = [scheduler.submit(job("a", 1)).unwrap(), scheduler.submit(job("b", 1)).unwrap()];
    let Err(Error::Overloaded { reason, retry_after }) = scheduler.submit(job("c", 1)) else {
        panic!("the third waiting job was taken");
    };
    assert_eq!(reason, "2 jobs wait already (engine.queue-depth)");
    assert!(retry_after >= Duration::from_secs(1));
    let status = scheduler.status();
    assert_eq!((status.waiting, status.running, status.depth, status.counters.refused), (2, true, 2, 1));
    remote.allow_all();
}

#[tokio::test]
async fn a_queue_of_depth_zero_takes_nothing() {
    let scheduler = start(&Remote::default(), 0);
    assert!(matches!(scheduler.submit(job("a", 1)), Err(Error::Overloaded { .. })));
}

#[tokio::test]
async fn a_place_freed_by_a_dropped_ticket_can_be_taken_at_once() {
    let remote = Remote::default();
    let (scheduler, _running) = busy(&remote, 1, 1);
    drop(scheduler.submit(job("gone", 1)).unwrap());
    let taken = scheduler.submit(job("taken", 1)).unwrap();
    remote.allow_all();
    taken.finish().await.unwrap();
    assert_eq!(remote.begun(), ["running", "taken"]);
}

#[tokio::test]
async fn waiting_jobs_learn_their_position_whenever_it_changes() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote, 8, 1);
    let mut first = scheduler.submit(job("first", 1)).unwrap();
    let mut second = scheduler.submit(job("second", 1)).unwrap();
    let mut third = scheduler.submit(job("third", 1)).unwrap();
    assert_eq!(position(&mut first).await, (1, None), "nothing was measured yet");
    assert_eq!(position(&mut second).await.0, 2);
    assert_eq!(position(&mut third).await.0, 3);
    drop(first);
    assert_eq!(position(&mut second).await.0, 1, "one job ahead has gone");
    assert_eq!(position(&mut third).await.0, 2);
    remote.allow(2);
    running.finish().await.unwrap();
    remote.wait_until_stuck();
    assert!(matches!(second.events.next().await, Some(Event::Started)));
    let (place, eta) = position(&mut third).await;
    assert_eq!(place, 1, "second runs");
    assert!(eta.is_some(), "one job was measured");
    remote.allow_all();
}

#[tokio::test]
async fn jobs_run_in_the_order_they_came() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote, 16, 1);
    let names: Vec<String> = (0..16).map(|n| format!("job {n}")).collect();
    let tickets: Vec<Ticket> = names.iter().map(|name| scheduler.submit(job(name, 2)).unwrap()).collect();
    remote.allow_all();
    running.finish().await.unwrap();
    for ticket in tickets {
        ticket.finish().await.unwrap();
    }
    assert_eq!(remote.begun()[1..], names);
}

#[tokio::test]
async fn a_ticket_dropped_before_the_start_is_skipped() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote, 8, 1);
    let dropped = scheduler.submit(job("dropped", 5)).unwrap();
    let kept = scheduler.submit(job("kept", 1)).unwrap();
    drop(dropped);
    remote.allow_all();
    running.finish().await.unwrap();
    kept.finish().await.unwrap();
    assert_eq!(remote.begun(), ["running", "kept"]);
    let counters = scheduler.status().counters;
    assert_eq!((counters.completed, counters.cancelled, counters.failed), (2, 1, 0));
}

#[tokio::test]
async fn a_ticket_dropped_while_running_stops_before_the_next_step() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote, 8, 50);
    let next = scheduler.submit(job("next", 1)).unwrap();
    remote.allow(3);
    remote.wait_until_stuck();
    assert_eq!(remote.steps(), 3);
    drop(running);
    // the step that is under way ends; no other begins
    remote.allow(1);
    remote.wait_until_stuck();
    assert_eq!((remote.steps(), remote.begun()), (4, vec!["running".to_owned(), "next".to_owned()]));
    remote.allow_all();
    next.finish().await.unwrap();
    assert_eq!(scheduler.status().counters.cancelled, 1);
}

#[tokio::test]
async fn a_cancelled_job_answers_cancelled_whether_it_waits_or_runs() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote, 8, 50);
    let waiting = scheduler.submit(job("waiting", 1)).unwrap();
    waiting.guard.cancel();
    assert_eq!(waiting.outcome.await.unwrap().unwrap_err(), Error::Cancelled);
    assert!(matches!(drain(waiting.events).await[..], [Event::Queued { position: 1, .. }]));
    running.guard.cancel();
    running.guard.cancel();
    remote.allow(1);
    assert_eq!(running.outcome.await.unwrap().unwrap_err(), Error::Cancelled);
    assert_eq!(scheduler.status().counters.cancelled, 2);
}

#[tokio::test]
async fn cancelling_after_the_end_changes_nothing() {
    let remote = Remote::default();
    remote.allow_all();
    let scheduler = start(&remote, 1);
    let mut ticket = scheduler.submit(job("done", 1)).unwrap();
    (&mut ticket.outcome).await.unwrap().unwrap();
    drop(ticket);
    let counters = scheduler.status().counters;
    assert_eq!((counters.completed, counters.cancelled), (1, 0));
}

#[tokio::test]
async fn an_error_of_the_engine_ends_one_job_and_not_the_worker() {
    let remote = Remote::default();
    remote.allow_all();
    let scheduler = start(&remote, 2);
    let failed = scheduler.submit(job("fail in a step", 1)).unwrap().finish().await.unwrap_err();
    assert_eq!(failed, Error::Failed("as the test wished".into()));
    scheduler.submit(job("next", 1)).unwrap().finish().await.unwrap();
    let counters = scheduler.status().counters;
    assert_eq!((counters.completed, counters.failed), (1, 1));
}

/// After a panic: the running job, the waiting ones and every later one learn that nothing will run any more.
async fn everyone_learns_of(prompt: &str, remote: Remote, scheduler: Scheduler, holder: Ticket) {
    let panicking = scheduler.submit(job(prompt, 3)).unwrap();
    let waiting = [scheduler.submit(job("a", 1)).unwrap(), scheduler.submit(job("b", 1)).unwrap()];
    remote.allow_all();
    holder.finish().await.unwrap();
    assert_eq!(panicking.finish().await.unwrap_err(), Error::WorkerGone);
    for ticket in waiting {
        let Ticket { events, outcome, guard: _guard, .. } = ticket;
        assert!(outcome.await.is_err(), "a closed channel means WorkerGone");
        assert!(matches!(drain(events).await[..], [Event::Queued { .. }]));
    }
    assert!(matches!(scheduler.submit(job("later", 1)), Err(Error::WorkerGone)));
    assert!(!scheduler.status().alive);
    assert!(!scheduler.status().running);
}

#[tokio::test]
async fn a_panic_in_a_step_reaches_every_caller() {
    let remote = Remote::default();
    let (scheduler, holder) = busy(&remote, 8, 1);
    everyone_learns_of("panic in a step", remote, scheduler, holder).await;
}

#[tokio::test]
async fn a_panic_at_the_beginning_of_a_run_reaches_every_caller() {
    let remote = Remote::default();
    let (scheduler, holder) = busy(&remote, 8, 1);
    everyone_learns_of("panic at the beginning", remote, scheduler, holder).await;
}

#[tokio::test]
async fn a_slow_reader_loses_detail_but_never_the_last_step() {
    let remote = Remote::default();
    remote.allow_all();
    let scheduler = start(&remote, 1);
    let request = ImageRequest {
        prompt: "slow".into(),
        steps: Some(150),
        count: Some(8),
        preview_every: Some(1),
        ..ImageRequest::default()
    };
    let ticket = scheduler
        .submit(atelier_inference::Job::new(scripted::order(request, &scripted::model()).unwrap()))
        .unwrap();
    let Ticket { events, outcome, guard: _guard, .. } = ticket;
    // nothing is read before the end
    outcome.await.unwrap().unwrap();
    let events = drain(events).await;
    assert!(events.len() <= 64, "{} events were kept", events.len());
    assert!(matches!(events[0], Event::Queued { .. }) && matches!(events[1], Event::Started));
    let steps: Vec<u32> = events
        .iter()
        .filter_map(|event| if let Event::Step { step, .. } = event { Some(*step) } else { None })
        .collect();
    assert_eq!(steps.last(), Some(&150));
    assert!(steps.is_sorted(), "{steps:?}");
    assert!(
        matches!(events.last(), Some(Event::Preview(preview)) if preview.step == 150 && preview.index == 7)
    );
}

#[tokio::test]
async fn a_reader_that_keeps_up_sees_everything_in_order() {
    let remote = Remote::default();
    let (_scheduler, running) = busy(&remote, 1, 3);
    let Ticket { mut events, outcome, guard: _guard, .. } = running;
    assert!(matches!(events.next().await, Some(Event::Queued { position: 0, eta: None })));
    assert!(matches!(events.next().await, Some(Event::Started)));
    for expected in 1..=3 {
        remote.allow(1);
        let Some(Event::Step { step, total: 3, .. }) = events.next().await else {
            panic!("a step is missing")
        };
        assert_eq!(step, expected);
    }
    remote.allow(1);
    assert!(events.next().await.is_none());
    outcome.await.unwrap().unwrap();
}

#[tokio::test]
async fn jobs_taken_before_the_last_handle_went_are_still_done() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote, 8, 1);
    let waiting = scheduler.submit(job("waiting", 1)).unwrap();
    drop(scheduler);
    remote.allow_all();
    running.finish().await.unwrap();
    waiting.finish().await.unwrap();
}

#[tokio::test]
async fn what_is_loaded_is_told_once_a_run_began() {
    let remote = Remote::default();
    let scheduler = start(&remote, 1);
    let id = scripted::model().card.id;
    assert!(!scheduler.is_loaded(&id));
    remote.allow_all();
    scheduler.submit(job("load", 1)).unwrap().finish().await.unwrap();
    assert!(scheduler.is_loaded(&id));
    let unknown = scheduler.catalog().get(&atelier_inference::ModelId::new("unknown")).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no model `unknown`; known: scripted, other, third");
}
