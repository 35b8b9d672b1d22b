//! Conversations side by side: who joins whom and when nobody does, in which order they read and write, what each is charged,
//! and that one's end is no other's. The engine does one step per permit of the test, however many take part in it.

mod scripted;

use std::time::{Duration, Instant};

use atelier_inference::{
    Error, Event, Job, MemoryConfig, ModelId, Outcome, Priority, Product, QueueConfig, Scheduler,
    SchedulerConfig, TenantId, Ticket,
};
use scripted::talk::{self, TOKEN_BYTES, chat, chat_with};
use scripted::{MODEL_BYTES, Remote, drain, job};

fn start(remote: &Remote, queue: QueueConfig) -> Scheduler {
    Scheduler::start(talk::engine(remote), queue).unwrap()
}

/// A scheduler whose worker is inside the first step of conversation `a`, which writes so many tokens.
fn busy(remote: &Remote, queue: QueueConfig, writes: u32) -> (Scheduler, Ticket) {
    let scheduler = start(remote, queue);
    let first = scheduler.submit(chat("a", 0, writes)).unwrap();
    remote.wait_until_stuck();
    (scheduler, first)
}

fn so_many(conversations: usize) -> QueueConfig {
    QueueConfig { conversations, ..QueueConfig::default() }
}

fn of(tenant: &str, job: Job) -> Job {
    job.for_tenant(TenantId::new(tenant).unwrap(), Priority::Normal)
}

fn submit(scheduler: &Scheduler, jobs: impl IntoIterator<Item = Job>) -> Vec<Ticket> {
    jobs.into_iter().map(|job| scheduler.submit(job).unwrap()).collect()
}

async fn finish(tickets: impl IntoIterator<Item = Ticket>) {
    for ticket in tickets {
        ticket.finish().await.unwrap();
    }
}

fn text(outcome: &Outcome) -> &str {
    let Product::Reply(reply) = &outcome.product else { panic!("no reply") };
    &reply.text
}

#[tokio::test]
async fn conversations_that_wait_join_the_one_that_runs_and_each_is_told_its_own_text() {
    let remote = Remote::default();
    let (scheduler, first) = busy(&remote, so_many(4), 4);
    let others = submit(&scheduler, [chat("b", 0, 2), chat("c", 0, 2)]);
    remote.allow_all();
    for (ticket, expected) in [first].into_iter().chain(others).zip(["a1 a2 a3 a4 ", "b1 b2 ", "c1 c2 "]) {
        let Ticket { events, outcome, guard: _guard, .. } = ticket;
        assert_eq!(text(&outcome.await.unwrap().unwrap()), expected);
        let told = drain(events).await.into_iter().filter_map(|event| match event {
            Event::Said { text } => Some(text),
            _ => None,
        });
        assert_eq!(told.collect::<String>(), expected);
    }
    assert_eq!(remote.said(), ["a", "a+b", "a+b+c", "a+b+c", "a+c"]);
    assert_eq!(remote.moves(), ["load talks"]);
}

#[tokio::test]
async fn a_prompt_is_read_between_the_tokens_of_the_others_and_readers_take_turns() {
    let remote = Remote::default();
    let (scheduler, first) = busy(&remote, so_many(4), 7);
    let others = submit(&scheduler, [chat("b", 3, 20), chat("c", 3, 20)]);
    remote.allow_all();
    finish([first].into_iter().chain(others)).await;
    let said = remote.said();
    let expected =
        ["a", "b reads", "a", "b reads", "a", "c reads", "a", "b reads", "a+b", "c reads", "a+b", "c reads"];
    assert_eq!(said[..expected.len()], expected);
    // whose order changes with every turn
    let mut together: Vec<&str> = said[expected.len()].split('+').collect();
    together.sort_unstable();
    assert_eq!(together, ["a", "b", "c"]);
}

#[tokio::test]
async fn conversations_that_an_engine_does_not_join_take_turns_step_by_step() {
    let remote = Remote::default();
    let scheduler = start(&remote, so_many(2));
    let first = scheduler.submit(chat("alone", 0, 3)).unwrap();
    remote.wait_until_stuck();
    let second = scheduler.submit(chat("alone too", 0, 2)).unwrap();
    remote.allow_all();
    finish([first, second]).await;
    let turns = ["alone", "alone", "alone too", "alone", "alone too", "alone", "alone too"];
    assert_eq!(remote.said(), turns);
}

#[tokio::test]
async fn no_more_conversations_run_side_by_side_than_are_allowed() {
    for (conversations, expected) in [
        (2, &["a", "a+b", "a+b", "a+c", "c"][..]),
        (1, &["a", "a", "a", "a", "b", "b", "c", "c"]),
        (0, &["a", "a", "a", "a", "b", "b", "c", "c"]),
    ] {
        let remote = Remote::default();
        let (scheduler, first) = busy(&remote, so_many(conversations), 3);
        let others = submit(&scheduler, [chat("b", 0, 1), chat("c", 0, 1)]);
        remote.allow_all();
        finish([first].into_iter().chain(others)).await;
        assert_eq!(remote.said(), expected, "{conversations}");
    }
}

#[tokio::test]
async fn another_models_conversation_waits_and_joins_nobody() {
    let remote = Remote::default();
    let (scheduler, first) = busy(&remote, so_many(4), 2);
    let other = scheduler.submit(chat_with("mutters", "other", 0, 1)).unwrap();
    remote.allow_all();
    finish([first, other]).await;
    assert_eq!(remote.said(), ["a", "a", "a", "other", "other"]);
    assert_eq!(remote.moves(), ["load talks", "unload talks", "load mutters"], "there is room for one");
}

#[tokio::test]
async fn nobody_joins_once_it_is_a_pictures_turn() {
    let remote = Remote::default();
    let (scheduler, first) = busy(&remote, QueueConfig { reorder_window: 0, ..so_many(4) }, 3);
    let picture = scheduler.submit(job("picture", 1)).unwrap();
    let late = submit(&scheduler, (0..3).map(|number| chat(&format!("late {number}"), 0, 1)));
    remote.allow_all();
    finish([first, picture].into_iter().chain(late)).await;
    assert_eq!(remote.begun(), ["a", "picture", "late 0", "late 1", "late 2"]);
}

#[tokio::test]
async fn an_endless_stream_of_conversations_passes_a_picture_as_often_as_the_window_says() {
    let remote = Remote::default();
    let (scheduler, first) = busy(&remote, so_many(4), 3);
    let picture = scheduler.submit(job("picture", 1)).unwrap();
    let mut stream = vec![first];
    // more come than are answered
    for number in 0..20 {
        stream.push(scheduler.submit(chat(&format!("next {number}"), 0, 3)).unwrap());
        remote.allow(2);
        remote.wait_until_stuck();
    }
    let passed = remote.begun().iter().position(|name| name == "picture");
    assert_eq!(passed, Some(1 + QueueConfig::default().reorder_window), "{:?}", remote.begun());
    remote.allow_all();
    finish(stream.into_iter().chain([picture])).await;
}

#[tokio::test]
async fn one_tenants_flood_does_not_keep_anothers_conversation_from_joining() {
    let remote = Remote::default();
    let scheduler = start(&remote, so_many(2));
    let first = scheduler.submit(of("x", chat("a", 0, 5))).unwrap();
    remote.wait_until_stuck();
    let flood = submit(&scheduler, (0..10).map(|number| of("x", chat(&format!("flood {number}"), 0, 5))));
    let single = scheduler.submit(of("y", chat("single", 0, 5))).unwrap();
    remote.allow_all();
    finish([first, single].into_iter().chain(flood)).await;
    assert_eq!(remote.begun()[..2], ["a", "single"]);
}

#[tokio::test]
async fn a_conversation_that_is_cancelled_leaves_the_others() {
    let remote = Remote::default();
    let (scheduler, first) = busy(&remote, so_many(4), 5);
    let second = scheduler.submit(chat("b", 0, 5)).unwrap();
    let third = scheduler.submit(chat("c", 9, 5)).unwrap();
    remote.allow(3);
    remote.wait_until_stuck();
    drop(second);
    assert!(scheduler.cancel(third.id.as_str(), None), "one that reads");
    assert_eq!(scheduler.status().running_jobs, 3);
    // the step that is under way ends
    remote.allow(2);
    remote.wait_until_stuck();
    assert_eq!(third.finish().await.unwrap_err(), Error::Cancelled);
    assert_eq!((scheduler.status().running_jobs, scheduler.status().counters.cancelled), (1, 2));
    assert_eq!(scheduler.memory().runs, 5 * TOKEN_BYTES, "their memory is free again");
    remote.allow_all();
    assert_eq!(text(&first.finish().await.unwrap()), "a1 a2 a3 a4 a5 ");
    assert_eq!(remote.said()[..3], ["a", "a+b", "c reads"]);
}

#[tokio::test]
async fn an_error_of_one_conversation_leaves_the_others() {
    let remote = Remote::default();
    let (scheduler, first) = busy(&remote, so_many(4), 9);
    let failing = ["fail", "run out", "fail at the beginning"];
    let failing = submit(&scheduler, failing.map(|name| chat(name, 0, 9)));
    let last = scheduler.submit(chat("d", 0, 9)).unwrap();
    remote.allow_all();
    let mut errors = Vec::new();
    for ticket in failing {
        errors.push(ticket.finish().await.unwrap_err());
    }
    let why = || "as the test wished".to_owned();
    let expected = [Error::Failed(why()), Error::OutOfMemory(why()), Error::invalid("turns", why())];
    assert_eq!(errors, expected);
    finish([first, last]).await;
    let counters = scheduler.status().counters;
    assert_eq!((counters.completed, counters.failed, counters.cancelled), (2, 3, 0));
    assert_eq!((scheduler.status().running_jobs, scheduler.memory().runs), (0, 0));
}

#[tokio::test]
async fn a_conversation_waits_until_its_memory_is_free_beside_the_others() {
    let remote = Remote::default();
    let memory = MemoryConfig { bytes: Some(MODEL_BYTES + 250 * TOKEN_BYTES), ..MemoryConfig::default() };
    let config = SchedulerConfig { queue: so_many(4), memory };
    let scheduler = Scheduler::start(talk::engine(&remote), config).unwrap();
    let jobs = [("a", 100), ("b", 110), ("c", 120)].map(|(name, writes)| chat(name, 0, writes));
    let mut tickets = submit(&scheduler, jobs);
    remote.allow(3);
    remote.wait_until_stuck();
    assert_eq!(scheduler.memory().runs, 210 * TOKEN_BYTES, "both that run have theirs");
    assert_eq!((scheduler.status().running_jobs, scheduler.status().waiting), (2, 1));
    let late = scheduler.submit(chat("small", 0, 1)).unwrap();
    remote.allow_all();
    finish(tickets.drain(..).chain([late])).await;
    assert_eq!(remote.begun(), ["a", "b", "c", "small"], "nobody passes the one that waits");
    assert!(remote.said().iter().all(|step| step.split('+').count() < 4 && step != "a+b+c"));
    assert_eq!(scheduler.memory().runs, 0);
}

#[tokio::test]
async fn a_step_is_charged_in_parts_to_those_who_took_part_in_it() {
    let (remote, began) = (Remote::default(), Instant::now());
    let scheduler = start(&remote, so_many(2));
    let first = scheduler.submit(of("x", chat("a", 0, 2))).unwrap();
    remote.wait_until_stuck();
    let second = scheduler.submit(of("y", chat("b", 0, 2))).unwrap();
    remote.allow(1);
    remote.wait_until_stuck();
    // a step of both that takes long
    std::thread::sleep(Duration::from_millis(60));
    remote.allow_all();
    finish([first, second]).await;
    let tenants = scheduler.tenants().tenants;
    let work = |id: &str| tenants[&TenantId::new(id).unwrap()].counters.work;
    let half = Duration::from_millis(30);
    assert!(work("x") >= half && work("y") >= half, "{:?} and {:?}", work("x"), work("y"));
    assert!(work("x") + work("y") <= began.elapsed(), "there is one worker");
    assert_eq!(work("x") + work("y"), scheduler.status().counters.work);
}

#[tokio::test]
async fn those_that_run_are_listed_and_counted_and_the_others_are_told_how_many_are_ahead() {
    let remote = Remote::default();
    let (scheduler, first) = busy(&remote, so_many(2), 50);
    let others = submit(&scheduler, ["b", "c", "d"].map(|name| chat(name, 0, 50)));
    remote.allow(1);
    remote.wait_until_stuck();
    let listed = scheduler.jobs(None);
    let expected = [(true, 0), (true, 0), (false, 2), (false, 3)];
    assert_eq!(listed.iter().map(|job| (job.running, job.position)).collect::<Vec<_>>(), expected);
    let ids: Vec<&str> = [&first].into_iter().chain(&others).map(|ticket| ticket.id.as_str()).collect();
    assert_eq!(listed.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ids);
    let status = scheduler.status();
    assert_eq!((status.running, status.running_jobs, status.waiting), (true, 2, 2));
    // one place is free for c as soon as a is gone
    drop(first);
    remote.allow(1);
    remote.wait_until_stuck();
    let positions: Vec<u32> = scheduler.jobs(None).iter().map(|job| job.position).collect();
    assert_eq!(positions, [0, 0, 2]);
    drop(others);
    remote.allow_all();
}

#[tokio::test]
async fn nobody_joins_while_an_operator_waits() {
    let remote = Remote::default();
    let (scheduler, first) = busy(&remote, so_many(4), 2);
    let unloading = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.unload(&ModelId::new("talks")).await }
    });
    while scheduler.pending_commands() == 0 {
        tokio::task::yield_now().await;
    }
    let second = scheduler.submit(chat("b", 0, 1)).unwrap();
    remote.allow_all();
    unloading.await.unwrap().unwrap();
    finish([first, second]).await;
    assert_eq!(remote.said(), ["a", "a", "a", "b", "b"]);
    assert_eq!(remote.moves(), ["load talks", "unload talks", "load talks"]);
}

#[tokio::test]
async fn a_panic_in_a_step_of_several_reaches_all_of_them() {
    let remote = Remote::default();
    let (scheduler, first) = busy(&remote, so_many(4), 9);
    let second = scheduler.submit(chat("panic", 0, 9)).unwrap();
    remote.allow_all();
    for ticket in [first, second] {
        assert_eq!(ticket.finish().await.unwrap_err(), Error::WorkerGone);
    }
    // the thread is on its way out: its callers learn it first
    while scheduler.status().alive {
        tokio::task::yield_now().await;
    }
    assert_eq!(scheduler.status().running_jobs, 0);
}
