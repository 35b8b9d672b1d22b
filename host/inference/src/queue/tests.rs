//! The queue's promises as properties, over random walks that are the same on every machine. Nothing was measured in
//! these tests unless they say so, so an entry's work is its cost in nanoseconds.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use super::line::AGEING;
use super::order::MAX_DEBTS;
use super::{Charge, Course, Full, Place, Queue, Share};
use crate::measured::{Measured, Outlook};
use crate::model::Kind;
use crate::{Priority, TenantId};

const WINDOW: usize = 4;
const MODELS: usize = 3;
const PRIORITIES: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];

/// xorshift64.
struct Walk(u64);

impl Walk {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn place(&mut self, tenants: u64, max_work: u64) -> Place {
        Place {
            tenant: tenant(self.below(tenants)),
            priority: PRIORITIES[self.below(3) as usize],
            model: self.below(MODELS as u64) as usize,
            work: 1 + self.below(max_work),
        }
    }
}

fn tenant(number: u64) -> TenantId {
    TenantId::new(&format!("tenant-{number}")).unwrap()
}

fn place(tenant: &TenantId, priority: Priority, model: usize, work: u64) -> Place {
    Place { tenant: tenant.clone(), priority, model, work }
}

fn plain(tenant: &TenantId) -> Place {
    place(tenant, Priority::Normal, 0, 10)
}

fn cold() -> Outlook {
    Outlook::new(&Measured::new([Kind::Image; MODELS]), [false; MODELS])
}

fn with_loaded(model: usize) -> Outlook {
    let mut outlook = cold();
    outlook.assume_loaded(model);
    outlook
}

/// Room for everybody, so that a bound never gets in the way of what a test is about.
fn roomy<T>(weights: &[u32], window: usize) -> Queue<T> {
    let share = |(number, weight): (usize, &u32)| {
        let share = Share { weight: NonZeroU32::new(*weight).unwrap(), max_waiting: Some(usize::MAX) };
        (tenant(number as u64), share)
    };
    let mut queue = Queue::new(usize::MAX, window);
    queue.set_shares(weights.iter().enumerate().map(share).collect());
    queue
}

/// Serves the next entry at exactly its estimate.
fn serve<T>(queue: &mut Queue<T>, outlook: &Outlook, work: impl Fn(&T) -> u64) -> Option<T> {
    let (entry, charge) = queue.pop(outlook)?;
    queue.settle(charge, work(&entry));
    Some(entry)
}

#[test]
fn one_tenant_with_one_priority_is_served_in_the_order_of_arrival_under_any_mix_of_calls() {
    for seed in 1..=200 {
        let (mut walk, mut list, own) = (Walk(seed), Vec::new(), TenantId::default());
        let depth = (seed % 7) as usize;
        let mut queue = Queue::new(depth, WINDOW);
        for entry in 0..300 {
            match walk.below(8) {
                0..=3 if list.len() < depth => {
                    assert_eq!(queue.push(&plain(&own), entry), Ok(()));
                    list.push(entry);
                }
                0..=3 => assert_eq!(queue.push(&plain(&own), entry), Err(Full::Queue)),
                4..=6 => {
                    let expected = (!list.is_empty()).then(|| list.remove(0));
                    assert_eq!(serve(&mut queue, &cold(), |_| 10), expected);
                }
                _ => {
                    let (divisor, rest) = (2 + walk.below(3), walk.below(2));
                    let gone = |n: &u64| n % divisor == rest;
                    assert_eq!(queue.take_if(gone), list.extract_if(.., |n| gone(n)).collect::<Vec<_>>());
                }
            }
            let forecast: Vec<u64> = queue.forecast(&cold()).into_iter().map(|(entry, _)| *entry).collect();
            assert_eq!(forecast, list, "seed {seed}");
            assert_eq!((queue.len(), queue.waiting(&own)), (list.len(), list.len()));
            assert_eq!(queue.peek(&cold()), list.first());
        }
    }
}

/// Work done over share is the same for all who always wait, within one turn of each of two tenants. A turn is the
/// largest cost, estimated or real, over the share.
#[test]
fn work_is_in_proportion_to_shares_within_one_turn_of_each() {
    const MAX_WORK: u64 = 1_000;
    for seed in 1..=40 {
        let mut walk = Walk(seed);
        let weights: Vec<u32> = (0..4).map(|_| 1 + walk.below(20) as u32).collect();
        let mut queue = roomy(&weights, WINDOW);
        let mut done = vec![0.0_f64; weights.len()];
        let add = |queue: &mut Queue<Place>, walk: &mut Walk, number: u64| {
            let place = Place { tenant: tenant(number), ..walk.place(1, MAX_WORK) };
            queue.push(&place, place.clone()).unwrap();
        };
        (0..4).for_each(|number| (0..3).for_each(|_| add(&mut queue, &mut walk, number)));
        for _ in 0..1_500 {
            let outlook = with_loaded(walk.below(MODELS as u64) as usize);
            let (entry, charge) = queue.pop(&outlook).unwrap();
            // anything from nothing to twice the estimate
            let real = 1 + walk.below(2 * entry.work);
            queue.settle(charge, real);
            let number = (0..4).find(|number| tenant(*number) == entry.tenant).unwrap();
            done[number as usize] += real as f64 / f64::from(weights[number as usize]);
            add(&mut queue, &mut walk, number);
            for (a, b) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
                let turn = |tenant: usize| 2.0 * MAX_WORK as f64 / f64::from(weights[tenant]);
                let apart = (done[a] - done[b]).abs();
                assert!(apart <= turn(a) + turn(b) + 0.01, "seed {seed}: {a} and {b} are {apart} apart");
            }
        }
    }
}

/// The same where several run side by side: each is charged what was thought until its end, so that as many turns of each may
/// lie between two tenants.
#[test]
fn work_side_by_side_is_in_proportion_to_shares_within_so_many_turns_of_each() {
    const MAX_WORK: u64 = 1_000;
    const AT_A_TIME: usize = 4;
    for seed in 1..=40 {
        let mut walk = Walk(seed);
        let weights: Vec<u32> = (0..4).map(|_| 1 + walk.below(20) as u32).collect();
        let (mut queue, mut running) = (roomy(&weights, WINDOW), Vec::<((u64, Place), Charge)>::new());
        let mut done = vec![0.0_f64; weights.len()];
        let add = |queue: &mut Queue<(u64, Place)>, walk: &mut Walk, number: u64| {
            let place = Place { tenant: tenant(number), ..walk.place(1, MAX_WORK) };
            queue.push(&place, (number, place.clone())).unwrap();
        };
        (0..4).for_each(|number| (0..6).for_each(|_| add(&mut queue, &mut walk, number)));
        for _ in 0..1_500 {
            let outlook = with_loaded(walk.below(MODELS as u64) as usize);
            running.push(queue.pop(&outlook).unwrap());
            if running.len() < AT_A_TIME {
                continue;
            }
            let ((number, place), charge) = running.remove(walk.below(AT_A_TIME as u64) as usize);
            let real = 1 + walk.below(2 * place.work);
            queue.settle(charge, real);
            done[number as usize] += real as f64 / f64::from(weights[number as usize]);
            add(&mut queue, &mut walk, number);
            for (a, b) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
                let turn = |tenant: usize| 2.0 * MAX_WORK as f64 / f64::from(weights[tenant]);
                let (apart, most) = ((done[a] - done[b]).abs(), AT_A_TIME as f64 * (turn(a) + turn(b)));
                assert!(apart <= most + 0.01, "seed {seed}: {a} and {b} are {apart} apart");
            }
        }
    }
}

#[test]
fn conversations_are_foretold_to_start_beside_each_other_and_pictures_after_all_that_run() {
    let (own, mut queue) = (TenantId::default(), Queue::new(9, 0));
    for (name, model, work) in [("beside", 0, 30), ("third", 0, 30), ("picture", 1, 5), ("last", 0, 7)] {
        queue.push(&place(&own, Priority::Normal, model, work), name).unwrap();
    }
    let mut course = Course::new(2);
    course.run(Some(0), 10);
    let outlook = Outlook::new(&Measured::new([Kind::Language, Kind::Image]), [true; 2]).with(course);
    // the first two share the worker for 20; then the third takes the place of the one that ran
    let expected = [("beside", 0), ("third", 20), ("picture", 70), ("last", 75)];
    let forecast: Vec<(&str, u64)> =
        queue.forecast(&outlook).into_iter().map(|(name, start)| (*name, start)).collect();
    assert_eq!(forecast, expected);
    assert_eq!(queue.peek(&outlook), Some(&"beside"));
}

#[test]
fn nobody_starves_whatever_others_send() {
    const TENANTS: u64 = 4;
    for seed in 1..=40 {
        let (mut walk, mut served) = (Walk(seed), 0);
        let mut queue = roomy(&[1; TENANTS as usize], WINDOW);
        for step in 0..2_000 {
            // more comes than goes for most of the time, then the rest is served
            for _ in 0..if step < 600 { walk.below(3) } else { 0 } {
                let place = Place { work: 10, ..walk.place(TENANTS, 1) };
                let own = queue.waiting(&place.tenant) as u64;
                let turns = own + u64::from(AGEING) + 2 * WINDOW as u64 + 2;
                queue.push(&place, (place.tenant.clone(), served + turns * 2 * TENANTS)).unwrap();
            }
            let outlook = with_loaded(walk.below(MODELS as u64) as usize);
            let Some((tenant, latest)) = serve(&mut queue, &outlook, |_| 10) else { continue };
            served += 1;
            assert!(served <= latest, "seed {seed}: an entry of {tenant} came as number {served}");
        }
        assert_eq!(queue.len(), 0);
    }
}

#[test]
fn priority_overtakes_an_older_entry_of_the_tenant_a_bounded_number_of_times() {
    for seed in 1..=40 {
        let (mut walk, mut overtaken) = (Walk(seed), BTreeMap::<u64, (Priority, u32)>::new());
        let (own, mut queue) = (TenantId::default(), Queue::new(usize::MAX, 0));
        let mut most = 0;
        for entry in 0..400 {
            // the urgent ones are the most
            let priority = PRIORITIES[[0, 1, 1, 2, 2, 2, 2, 2][walk.below(8) as usize]];
            queue.push(&place(&own, priority, 0, 10), entry).unwrap();
            overtaken.insert(entry, (priority, 0));
            if walk.below(5) == 0 {
                continue;
            }
            let served = serve(&mut queue, &cold(), |_| 10).unwrap();
            let (urgency, _) = overtaken.remove(&served).unwrap();
            for (_, (priority, count)) in overtaken.range_mut(..served) {
                assert!(*priority < urgency, "seed {seed}: an equal or more urgent entry was passed");
                *count += 1;
                most = most.max(*count);
            }
        }
        assert_eq!(most, AGEING, "seed {seed}");
    }
}

#[test]
fn the_more_urgent_of_a_tenants_entries_goes_first_and_no_other_tenant_cares() {
    let (a, b) = (tenant(0), tenant(1));
    let mut queue = roomy(&[1, 1], 0);
    for (tenant, priority) in [
        (&a, Priority::Low),
        (&b, Priority::Low),
        (&a, Priority::Normal),
        (&b, Priority::High),
        (&a, Priority::High),
    ] {
        let place = place(tenant, priority, 0, 10);
        queue.push(&place, place.clone()).unwrap();
    }
    let mut next =
        || serve(&mut queue, &cold(), |place| place.work).map(|place| (place.tenant, place.priority));
    let order: Vec<_> = std::iter::from_fn(&mut next).collect();
    let expected = [
        (&a, Priority::High),
        (&b, Priority::High),
        (&a, Priority::Normal),
        (&b, Priority::Low),
        (&a, Priority::Low),
    ];
    assert_eq!(order, expected.map(|(tenant, priority)| (tenant.clone(), priority)));
}

/// Whom the entry that was taken has passed: whoever was due before its tenant's turn, and those of its own tenant and
/// priority that were due before it.
fn passed(fair: &[(u64, Place)], taken: u64) -> Vec<u64> {
    let (_, place) = fair.iter().find(|(number, _)| *number == taken).unwrap();
    let turn = fair.iter().position(|(_, other)| other.tenant == place.tenant).unwrap();
    let own = fair.iter().skip(turn).take_while(|(number, _)| *number != taken);
    let own = own.filter(|(_, other)| other.tenant == place.tenant && other.priority == place.priority);
    fair[..turn].iter().chain(own).map(|(number, _)| *number).collect()
}

/// The order in which entries would be served if models did not matter.
fn fair_order(queue: &Queue<(u64, Place)>) -> Vec<(u64, Place)> {
    let entries =
        queue.entries.iter().map(|(number, (tenant, entry))| (*number, (tenant.clone(), entry.clone())));
    let mut order = queue.order.clone();
    order.window = 0;
    let copy = Queue { order, entries: entries.collect(), ..Queue::new(0, 0) };
    copy.forecast(&cold()).into_iter().map(|(entry, _)| entry.clone()).collect()
}

#[test]
fn a_loaded_model_lets_an_entry_be_passed_as_often_as_the_window_says_and_no_more() {
    for window in [0, 1, WINDOW] {
        let mut most = 0;
        for seed in 1..=10 {
            let (mut walk, mut counts) = (Walk(seed), BTreeMap::<u64, usize>::new());
            let mut queue = roomy(&[1, 3, 2], window);
            for entry in 0..300 {
                let place = walk.place(3, 50);
                queue.push(&place, (entry, place.clone())).unwrap();
                if walk.below(4) == 0 {
                    continue;
                }
                let outlook = with_loaded(walk.below(MODELS as u64) as usize);
                let fair = fair_order(&queue);
                let ((taken, place), charge) = queue.pop(&outlook).unwrap();
                queue.settle(charge, place.work);
                let passed = passed(&fair, taken);
                assert!(passed.is_empty() || outlook.is_loaded(place.model), "passed without a reason");
                for number in passed {
                    let count = counts.entry(number).or_default();
                    *count += 1;
                    most = most.max(*count);
                }
            }
        }
        assert_eq!(most, window);
    }
}

#[test]
fn the_window_groups_jobs_of_a_loaded_model_within_a_tenant_and_across_tenants() {
    let (a, b) = (tenant(0), tenant(1));
    let mut queue = roomy(&[1, 1], WINDOW);
    for (name, tenant, model) in [("a0", &a, 0), ("a1", &a, 1), ("a2", &a, 0), ("b1", &b, 1)] {
        queue.push(&place(tenant, Priority::Normal, model, 10), name).unwrap();
    }
    let order: Vec<&str> = queue.forecast(&with_loaded(1)).into_iter().map(|(name, _)| *name).collect();
    assert_eq!(order, ["b1", "a1", "a0", "a2"], "model 1 is loaded, so its jobs go first");
}

#[test]
fn the_window_never_lets_a_tenant_run_ahead_by_more_than_a_turn() {
    let (a, b) = (tenant(0), tenant(1));
    let mut queue = roomy(&[1, 1], 100);
    (0..20).for_each(|_| queue.push(&place(&a, Priority::Normal, 0, 10), "a").unwrap());
    (0..20).for_each(|_| queue.push(&place(&b, Priority::Normal, 1, 10), "b").unwrap());
    let outlook = with_loaded(1);
    let order: String = std::iter::from_fn(|| serve(&mut queue, &outlook, |_| 10)).take(8).collect();
    let ahead = order.chars().scan(0_i32, |ahead, next| {
        *ahead += if next == 'b' { 1 } else { -1 };
        Some(*ahead)
    });
    assert!(ahead.max().unwrap() <= 2, "{order}");
}

#[test]
fn a_newcomer_is_served_next_and_idling_earns_no_more_than_that() {
    let (busy, quiet) = (tenant(0), tenant(1));
    let mut queue = roomy(&[1, 1], 0);
    (0..150).for_each(|_| queue.push(&plain(&busy), "busy").unwrap());
    (0..100).for_each(|_| assert_eq!(serve(&mut queue, &cold(), |_| 10), Some("busy")));
    let (running, charge) = queue.pop(&cold()).unwrap();
    assert_eq!(running, "busy");
    (0..10).for_each(|_| queue.push(&plain(&quiet), "quiet").unwrap());
    queue.settle(charge, 10);
    let order: Vec<_> = std::iter::from_fn(|| serve(&mut queue, &cold(), |_| 10)).take(7).collect();
    assert_eq!(order, ["quiet", "busy", "quiet", "busy", "quiet", "busy", "quiet"]);
}

#[test]
fn a_tenant_pays_what_its_job_did_cost_and_not_what_was_thought() {
    let (a, b) = (tenant(0), tenant(1));
    let mut queue = roomy(&[1, 1], 0);
    for tenant in [&a, &b] {
        (0..20).for_each(|_| queue.push(&plain(tenant), tenant.clone()).unwrap());
    }
    let (first, charge) = queue.pop(&cold()).unwrap();
    assert_eq!(first, a);
    queue.settle(charge, 100);
    let turns = std::iter::from_fn(|| serve(&mut queue, &cold(), |_| 10)).take_while(|tenant| *tenant == b);
    assert_eq!(turns.count(), 10, "one job of 100 is worth ten of 10");
}

#[test]
fn shares_can_change_while_entries_wait() {
    let (a, b) = (tenant(0), tenant(1));
    let mut queue = roomy(&[1, 1], 0);
    for tenant in [&a, &b] {
        (0..100).for_each(|_| queue.push(&plain(tenant), tenant.clone()).unwrap());
    }
    let of_b = |queue: &mut Queue<TenantId>| {
        std::iter::from_fn(|| serve(queue, &cold(), |_| 10)).take(40).filter(|tenant| *tenant == b).count()
    };
    assert_eq!(of_b(&mut queue), 20);
    queue.set_shares([(b.clone(), Share::of(NonZeroU32::new(3).unwrap()))].into());
    assert_eq!(of_b(&mut queue), 30);
    queue.set_shares(BTreeMap::new());
    assert_eq!(of_b(&mut queue), 20);
}

#[test]
fn a_tenant_fills_its_own_part_of_the_queue_and_the_others_still_enter() {
    let (a, b, c) = (tenant(0), tenant(1), tenant(2));
    let mut queue = Queue::new(7, 0);
    let bounded = Share { max_waiting: Some(2), ..Share::default() };
    queue.set_shares([(b.clone(), bounded)].into());
    (0..3).for_each(|_| assert_eq!(queue.push(&plain(&a), ()), Ok(())));
    assert_eq!(queue.push(&plain(&a), ()), Err(Full::Half(3)));
    (0..2).for_each(|_| assert_eq!(queue.push(&plain(&b), ()), Ok(())));
    assert_eq!(queue.push(&plain(&b), ()), Err(Full::Tenant(2)));
    (0..2).for_each(|_| assert_eq!(queue.push(&plain(&c), ()), Ok(())));
    assert_eq!(queue.push(&plain(&c), ()), Err(Full::Queue));
    serve(&mut queue, &cold(), |()| 10).unwrap();
    assert_eq!(queue.push(&plain(&a), ()), Ok(()), "the place that a left");
}

#[test]
fn half_a_queue_of_one_is_one_and_the_only_tenant_may_fill_the_whole() {
    let mut queue = Queue::new(1, 0);
    assert_eq!(queue.push(&plain(&tenant(0)), ()), Ok(()));
    let (own, mut queue) = (TenantId::default(), Queue::new(4, 0));
    (0..4).for_each(|_| assert_eq!(queue.push(&plain(&own), ()), Ok(())));
    assert_eq!(queue.push(&plain(&own), ()), Err(Full::Queue));
    let mut queue = Queue::new(4, 0);
    queue.set_shares([(tenant(0), Share::default())].into());
    (0..2).for_each(|_| assert_eq!(queue.push(&plain(&own), ()), Ok(())));
    assert_eq!(queue.push(&plain(&own), ()), Err(Full::Half(2)), "others are expected now");
    assert_eq!(Queue::new(0, 0).push(&plain(&own), ()), Err(Full::Queue));
}

#[test]
fn cancelling_keeps_the_order_of_everybody_else_of_the_tenant() {
    for seed in 1..=100 {
        let (mut walk, mut queue) = (Walk(seed), roomy(&[1, 2, 5], WINDOW));
        for number in 0..60 {
            let place = Place { priority: Priority::Normal, model: 0, ..walk.place(3, 50) };
            queue.push(&place, (number, place.tenant.clone())).unwrap();
            if walk.below(4) == 0 {
                serve(&mut queue, &cold(), |_| 25).unwrap();
            }
        }
        let of = |queue: &Queue<(u64, TenantId)>, tenant: &TenantId| -> Vec<u64> {
            let forecast = queue.forecast(&cold()).into_iter();
            forecast.filter(|(entry, _)| entry.1 == *tenant).map(|(entry, _)| entry.0).collect()
        };
        let tenants = [0, 1, 2].map(tenant);
        let before = tenants.clone().map(|tenant| of(&queue, &tenant));
        let gone: BTreeSet<u64> = (0..60).filter(|_| walk.below(3) == 0).collect();
        let taken = queue.take_if(|(number, _)| gone.contains(number));
        assert!(taken.iter().all(|(number, _)| gone.contains(number)));
        for (mut left, tenant) in before.into_iter().zip(&tenants) {
            left.retain(|number| !gone.contains(number));
            assert_eq!(of(&queue, tenant), left, "seed {seed}");
        }
    }
}

#[test]
fn the_forecast_is_the_order_in_which_entries_are_served() {
    for seed in 1..=100 {
        let (mut walk, mut queue) = (Walk(seed), roomy(&[1, 4, 2], WINDOW));
        let (mut measured, second) =
            (Measured::new([Kind::Image; MODELS]), std::time::Duration::from_secs(1));
        (0..MODELS).for_each(|model| measured.learn(model, 1_000 * (1 + model as u64), second, second));
        let mut outlook = Outlook::new(&measured, [false; MODELS]);
        outlook.assume_loaded(walk.below(MODELS as u64) as usize);
        for number in 0..80 {
            let place = walk.place(3, 1_000);
            queue.push(&place, (number, place.clone())).unwrap();
            if walk.below(4) == 0 {
                let ((_, place), charge) = queue.pop(&outlook).unwrap();
                queue.settle(charge, 1 + walk.below(place.work));
            }
        }
        let forecast: Vec<(u64, u64)> =
            queue.forecast(&outlook).into_iter().map(|((number, _), start)| (*number, start)).collect();
        let (mut order, mut start) = (Vec::new(), 0);
        while let Some(((number, place), charge)) = queue.pop(&outlook) {
            order.push((number, start));
            let cost = outlook.cost(place.model, place.work);
            queue.settle(charge, cost);
            outlook.assume_loaded(place.model);
            start += cost;
        }
        assert_eq!(forecast, order, "seed {seed}");
    }
}

#[test]
fn tenants_that_left_are_forgotten_once_they_owe_nothing_or_are_too_many() {
    let mut queue = roomy(&[1], 0);
    let debtor = tenant(0);
    (0..2).for_each(|_| queue.push(&plain(&debtor), plain(&debtor)).unwrap());
    let (_, charge) = queue.pop(&cold()).unwrap();
    queue.settle(charge, u64::MAX);
    for number in 1..=2 * MAX_DEBTS as u64 {
        queue.push(&plain(&tenant(number)), plain(&tenant(number))).unwrap();
        assert_eq!(serve(&mut queue, &cold(), |_| 10).unwrap().tenant, tenant(number));
    }
    assert!(queue.order.lines.len() <= MAX_DEBTS + 1, "{} lines", queue.order.lines.len());
    for number in 1..=2 * MAX_DEBTS as u64 {
        queue.push(&plain(&tenant(number)), plain(&tenant(number))).unwrap();
    }
    queue.take_if(|place| place.tenant != debtor);
    assert!(queue.order.lines.len() <= MAX_DEBTS + 1, "{} lines", queue.order.lines.len());
    serve(&mut queue, &cold(), |_| 10).unwrap();
    assert_eq!(queue.order.lines.len(), 0, "nobody waits or runs");
}
