//! The scheduler between tenants, and what operators see of it and do to it, against an engine that does one step per
//! permit of the test. The queue's own promises are tested in `src/queue/tests.rs`.

mod scripted;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use atelier_inference::{
    Error, Event, ImageRequest, Job, JobStatus, Priority, QueueConfig, Scheduler, Share, TenantId, Ticket,
};
use scripted::{Remote, drain, job, order};

fn tenant(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

fn job_of(id: &str, prompt: &str) -> Job {
    job(prompt, 1).for_tenant(tenant(id), Priority::Normal)
}

/// A scheduler whose worker is inside the first step of tenant `a`'s job named `running`, with room for 99 of each.
fn busy(remote: &Remote) -> (Scheduler, Ticket) {
    let config = QueueConfig { depth: 200, ..QueueConfig::default() };
    let scheduler = Scheduler::start(remote.engine(), config).unwrap();
    let running = scheduler.submit(job_of("a", "running")).unwrap();
    remote.wait_until_stuck();
    (scheduler, running)
}

fn submit(scheduler: &Scheduler, jobs: impl IntoIterator<Item = Job>) -> Vec<Ticket> {
    jobs.into_iter().map(|job| scheduler.submit(job).unwrap()).collect()
}

async fn finish(tickets: impl IntoIterator<Item = Ticket>) {
    for ticket in tickets {
        ticket.finish().await.unwrap();
    }
}

fn prompts_in_order(scheduler: &Scheduler, jobs: &BTreeMap<String, String>) -> Vec<String> {
    scheduler.jobs(None).iter().map(|job| jobs[job.id.as_str()].clone()).collect()
}

#[tokio::test]
async fn one_tenants_flood_of_50_jobs_delays_anothers_single_job_by_what_runs_already() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote);
    let flood = submit(&scheduler, (0..50).map(|number| job_of("a", &format!("flood {number}"))));
    let mut single = scheduler.submit(job_of("b", "single")).unwrap();
    assert!(matches!(single.events.next().await, Some(Event::Queued { position: 1, .. })));
    remote.allow_all();
    finish([running, single]).await;
    finish(flood).await;
    let place = remote.begun().iter().position(|prompt| prompt == "single");
    assert_eq!(place, Some(1), "{:?}", remote.begun());
}

#[tokio::test]
async fn waiting_jobs_are_told_the_order_in_which_they_will_run() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote);
    let jobs = [("a", "a1"), ("a", "a2"), ("b", "b1"), ("c", "c1"), ("b", "b2")];
    let urgent = job("a urgent", 1).for_tenant(tenant("a"), Priority::High);
    let tickets =
        submit(&scheduler, jobs.map(|(tenant, prompt)| job_of(tenant, prompt)).into_iter().chain([urgent]));
    let listed = scheduler.jobs(None);
    let positions: Vec<u32> = listed.iter().map(|job| job.position).collect();
    assert_eq!(positions, [0, 1, 2, 3, 4, 5, 6]);
    let mut told = Vec::new();
    for mut ticket in tickets {
        let Some(Event::Queued { position, .. }) = ticket.events.next().await else { panic!("no position") };
        assert_eq!(listed[position as usize].id, ticket.id, "the list and the event agree");
        told.push((position, ticket));
    }
    told.sort_by_key(|(position, _)| *position);
    let ids: Vec<_> = told.iter().map(|(_, ticket)| ticket.id.clone()).collect();
    assert_eq!(listed[1..].iter().map(|job| job.id.clone()).collect::<Vec<_>>(), ids);
    remote.allow_all();
    finish([running]).await;
    finish(told.into_iter().map(|(_, ticket)| ticket)).await;
    let begun = remote.begun();
    assert_eq!(begun[1..3], ["b1", "c1"], "newcomers go before the tenant that had the worker");
    let of_a: Vec<_> = begun.iter().filter(|prompt| prompt.starts_with('a')).collect();
    assert_eq!(of_a, ["a urgent", "a1", "a2"]);
}

#[tokio::test]
async fn a_full_tenant_is_refused_with_its_own_reason_while_another_still_enters() {
    let remote = Remote::default();
    let config = QueueConfig { depth: 4, ..QueueConfig::default() };
    let scheduler = Scheduler::start(remote.engine(), config).unwrap();
    let bounded = Share { max_waiting: Some(1), ..Share::default() };
    scheduler.set_shares([(tenant("b"), bounded)].into());
    let running = scheduler.submit(job_of("a", "running")).unwrap();
    remote.wait_until_stuck();
    let _waiting = submit(&scheduler, [job_of("a", "a1"), job_of("a", "a2"), job_of("b", "b1")]);
    for (id, expected) in [
        ("a", "no more than 2 of tenant `a`'s jobs may wait: half of engine.queue-depth"),
        ("b", "no more than 1 of tenant `b`'s jobs may wait (tenant.max-waiting)"),
    ] {
        let Err(Error::Overloaded { reason, retry_after }) = scheduler.submit(job_of(id, "more")) else {
            panic!("tenant {id} was given more than it may have");
        };
        assert_eq!(reason, expected);
        assert!(retry_after >= Duration::from_secs(1));
    }
    let _c = scheduler.submit(job_of("c", "c1")).unwrap();
    let Err(Error::Overloaded { reason, .. }) = scheduler.submit(job_of("d", "d1")) else { panic!("taken") };
    assert_eq!(reason, "4 jobs wait already (engine.queue-depth)");
    let refused = |id: &str| scheduler.tenants().tenants[&tenant(id)].counters.refused;
    assert_eq!((refused("a"), refused("b"), refused("d"), scheduler.status().counters.refused), (1, 1, 1, 3));
    remote.allow_all();
    finish([running]).await;
}

#[tokio::test]
async fn a_refused_tenant_is_told_to_come_back_when_one_of_its_own_jobs_starts() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote);
    scheduler.set_shares([(tenant("a"), Share { max_waiting: Some(1), ..Share::default() })].into());
    // one job is measured; it takes as long as the test lets it
    std::thread::sleep(Duration::from_millis(60));
    remote.allow(2);
    finish([running]).await;
    let long = scheduler.submit(job("long", 100).for_tenant(tenant("b"), Priority::Normal)).unwrap();
    remote.wait_until_stuck();
    let waiting = scheduler.submit(job_of("a", "waits for the long one")).unwrap();
    let Err(Error::Overloaded { retry_after, .. }) = scheduler.submit(job_of("a", "more")) else {
        panic!("taken")
    };
    assert!(
        retry_after >= Duration::from_secs(3),
        "100 steps at 60 ms or more take longer than {retry_after:?}"
    );
    remote.allow_all();
    finish([long, waiting]).await;
}

#[tokio::test]
async fn a_share_of_three_gets_three_turns_for_one() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote);
    let three = Share::of(NonZeroU32::new(3).unwrap());
    scheduler.set_shares([(tenant("b"), Share { max_waiting: Some(40), ..three })].into());
    let mut prompts = BTreeMap::new();
    let mut tickets = Vec::new();
    for id in ["c", "b"] {
        for _ in 0..40 {
            let ticket = scheduler.submit(job_of(id, id)).unwrap();
            prompts.insert(ticket.id.to_string(), id.to_owned());
            tickets.push(ticket);
        }
    }
    prompts.insert(running.id.to_string(), "a".into());
    let order = prompts_in_order(&scheduler, &prompts);
    let of_b = order[1..41].iter().filter(|prompt| *prompt == "b").count();
    assert_eq!(of_b, 30, "{order:?}");
    drop(tickets);
    remote.allow_all();
    finish([running]).await;
}

#[tokio::test]
async fn jobs_of_the_loaded_model_go_together() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote);
    let with = |prompt: &str, model| {
        let request = ImageRequest { prompt: prompt.into(), steps: Some(1), ..ImageRequest::default() };
        Job::new(order(request, &model).unwrap()).for_tenant(tenant("a"), Priority::Normal)
    };
    let jobs = [
        with("other 1", scripted::other_model()),
        with("same 1", scripted::model()),
        with("other 2", scripted::other_model()),
        with("same 2", scripted::model()),
    ];
    let tickets = submit(&scheduler, jobs);
    remote.allow_all();
    finish([running]).await;
    finish(tickets).await;
    assert_eq!(remote.begun(), ["running", "same 1", "same 2", "other 1", "other 2"]);
}

fn ids(jobs: &[JobStatus]) -> Vec<&str> {
    jobs.iter().map(|job| job.id.as_str()).collect()
}

#[tokio::test]
async fn a_tenant_sees_its_own_jobs_only_and_an_operator_sees_all() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote);
    let tickets = submit(&scheduler, [job_of("b", "b1"), job_of("a", "a1")]);
    let all = scheduler.jobs(None);
    assert_eq!(ids(&all), [running.id.as_str(), tickets[0].id.as_str(), tickets[1].id.as_str()]);
    assert!(all[0].running && !all[1].running && all[0].since <= all[1].since);
    assert_eq!((all[0].eta, all[1].eta), (None, None), "nothing was measured yet");
    let of_b = scheduler.jobs(Some(&tenant("b")));
    assert_eq!(ids(&of_b), [tickets[0].id.as_str()]);
    assert_eq!((of_b[0].position, of_b[0].model.as_str()), (1, "scripted"));
    assert!(scheduler.jobs(Some(&tenant("c"))).is_empty());
    let shown = serde_json::to_value(&of_b[0]).unwrap();
    assert_eq!((&shown["tenant"], &shown["priority"]), (&"b".into(), &"normal".into()));
    assert!(shown["since_ms"].as_u64().unwrap() > 1_600_000_000_000 && shown["eta_ms"].is_null());
    remote.allow_all();
    finish([running]).await;
    finish(tickets).await;
    assert!(scheduler.jobs(None).is_empty());
}

#[tokio::test]
async fn a_job_is_cancelled_by_its_id_and_for_another_tenant_it_does_not_exist() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote);
    let mut tickets = submit(&scheduler, [job_of("b", "b1"), job_of("b", "b2"), job_of("a", "a1")]);
    let (waiting, other) = (tickets.remove(0), tenant("a"));
    assert!(!scheduler.cancel(waiting.id.as_str(), Some(&other)));
    assert!(!scheduler.cancel("0123", None));
    assert_eq!(scheduler.status().waiting, 3);
    assert!(scheduler.cancel(waiting.id.as_str(), Some(&tenant("b"))));
    assert!(!scheduler.cancel(waiting.id.as_str(), None), "it is gone");
    assert_eq!(waiting.finish().await.unwrap_err(), Error::Cancelled);
    assert!(!scheduler.cancel(running.id.as_str(), Some(&tenant("b"))));
    assert!(scheduler.cancel(running.id.as_str(), None), "an operator may cancel what runs");
    remote.allow_all();
    assert_eq!(running.finish().await.unwrap_err(), Error::Cancelled);
    finish(tickets).await;
    let cancelled = |id: &str| scheduler.tenants().tenants[&tenant(id)].counters.cancelled;
    assert_eq!((cancelled("a"), cancelled("b")), (1, 1));
}

#[tokio::test]
async fn every_tenants_jobs_and_measured_work_are_counted() {
    let remote = Remote::default();
    let (scheduler, running) = busy(&remote);
    let mut waiting = scheduler.submit(job_of("b", "b1")).unwrap();
    let tenants = scheduler.tenants().tenants;
    assert_eq!((tenants[&tenant("a")].running, tenants[&tenant("b")].waiting), (true, 1));
    assert_eq!(tenants[&tenant("b")].counters.submitted, 1);
    remote.allow(2);
    finish([running]).await;
    remote.wait_until_stuck();
    let failing = scheduler.submit(job_of("b", "fail in a step")).unwrap();
    let first = scheduler.tenants().tenants[&tenant("a")].clone();
    assert_eq!(
        (first.counters.completed, first.counters.steps, first.running, first.waiting),
        (1, 1, false, 0)
    );
    assert!(first.counters.work > Duration::ZERO);
    remote.allow_all();
    assert!((&mut waiting.outcome).await.unwrap().is_ok());
    failing.finish().await.unwrap_err();
    let second = scheduler.tenants().tenants[&tenant("b")].clone();
    assert_eq!((second.counters.completed, second.counters.failed), (1, 1));
    let total = scheduler.status().counters;
    assert_eq!((total.completed, total.failed), (2, 1));
    assert_eq!(total.work, first.counters.work + second.counters.work);
    assert!(drain(waiting.events).await.iter().any(|event| matches!(event, Event::Started)));
}
