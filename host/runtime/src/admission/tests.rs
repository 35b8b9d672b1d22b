//! The doors' rules, one by one. Each test runs on one thread, so that whoever can go on has gone on after a yield.

use std::time::Duration;

use atelier_inference::{Priority, TenantId};
use tokio::task::JoinHandle;

use super::{Door, Place, Rules};
use crate::Failure;
use crate::tenant::{Share, Tenant};

/// Reached only when something is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

fn tenant(id: &str, own: u32, total: u32) -> Tenant {
    let id = TenantId::new(id).unwrap();
    Tenant { id, share: Share { own, total }, ..Tenant::default() }
}

fn door(places: u32, kept: u32, waiting: usize) -> std::sync::Arc<Door> {
    Door::new(Rules { places, kept, waiting, patience: PATIENCE })
}

/// Comes to the door and waits, if it must.
async fn come(door: &std::sync::Arc<Door>, tenant: &Tenant) -> JoinHandle<Result<Place, Failure>> {
    let (door, tenant) = (door.clone(), tenant.clone());
    let comes = tokio::spawn(async move { door.enter(&tenant).await });
    tokio::task::yield_now().await;
    comes
}

async fn inside(door: &std::sync::Arc<Door>, tenant: &Tenant, count: usize) -> Vec<Place> {
    let mut places = Vec::new();
    for _ in 0..count {
        places.push(door.enter(tenant).await.unwrap_or_else(|failure| panic!("{failure}")));
    }
    places
}

#[tokio::test]
async fn a_lone_tenant_takes_every_place() {
    let (door, alone) = (door(4, 1, 0), Tenant::default());
    let places = inside(&door, &alone, 4).await;
    assert!(matches!(door.enter(&alone).await, Err(Failure::Saturated { limit: 4, .. })));
    drop(places);
    inside(&door, &alone, 4).await;
}

#[tokio::test]
async fn a_neighbour_that_fills_what_it_can_leaves_a_place_for_the_late() {
    let (door, a, b) = (door(8, 2, 0), tenant("a", 1, 2), tenant("b", 1, 2));
    let greedy = inside(&door, &a, 6).await;
    let refused = door.enter(&a).await;
    assert!(matches!(refused, Err(Failure::Share { running: 6, .. })), "kept places are not borrowed");
    let late = inside(&door, &b, 2).await;
    assert!(matches!(door.enter(&b).await, Err(Failure::Saturated { limit: 8, .. })));
    drop((greedy, late));
}

#[tokio::test]
async fn a_place_that_becomes_free_goes_to_the_tenant_that_holds_the_least_of_its_share() {
    let (door, a, b) = (door(4, 0, 8), tenant("a", 3, 4), tenant("b", 1, 4));
    let mut greedy = inside(&door, &a, 4).await;
    let first = come(&door, &a).await;
    let second = come(&door, &b).await;
    drop(greedy.pop());
    tokio::task::yield_now().await;
    assert!(second.is_finished() && !first.is_finished(), "b holds nothing and comes first");
    let third = come(&door, &b).await;
    drop(greedy.pop());
    tokio::task::yield_now().await;
    assert!(first.is_finished() && !third.is_finished(), "a holds 2 of its 3, b 1 of its 1");
    drop((greedy, first, second, third));
}

#[tokio::test]
async fn among_equals_the_higher_priority_goes_first() {
    let (door, a) = (door(1, 0, 8), tenant("a", 1, 3));
    let (low, high) = (tenant("low", 1, 3), tenant("high", 1, 3));
    let high = Tenant { priority: Priority::High, ..high };
    let held = inside(&door, &a, 1).await;
    let (low, high) = (come(&door, &low).await, come(&door, &high).await);
    drop(held);
    tokio::task::yield_now().await;
    assert!(high.is_finished() && !low.is_finished());
    drop(high.await.unwrap());
    assert!(low.await.unwrap().is_ok(), "then the other");
}

/// The order in which waiting tenants get the only place, each of them once as often as it waits.
async fn order(waiting: &[&Tenant]) -> Vec<String> {
    let (door, order) = (door(1, 0, 64), std::sync::Arc::new(std::sync::Mutex::new(Vec::new())));
    let held = inside(&door, &tenant("first", 1, 9), 1).await;
    let mut comers = Vec::new();
    for comer in waiting {
        let (door, comer, order) = (door.clone(), Tenant::clone(comer), order.clone());
        comers.push(tokio::spawn(async move {
            let _place = door.enter(&comer).await.map_err(|failure| failure.to_string()).unwrap();
            order.lock().unwrap().push(comer.id.to_string());
        }));
        tokio::task::yield_now().await;
    }
    drop(held);
    for comer in comers {
        comer.await.unwrap();
    }
    let order = order.lock().unwrap();
    order.clone()
}

#[tokio::test]
async fn a_priority_means_more_turns_and_never_all_of_them() {
    let (low, high) = (tenant("low", 1, 9), tenant("high", 1, 9));
    let (low, high) =
        (Tenant { priority: Priority::Low, ..low }, Tenant { priority: Priority::High, ..high });
    let order = order(&[&low, &low, &high, &high, &high, &high, &high, &high]).await;
    let place = order.iter().position(|id| id == "low").unwrap();
    assert!((3..=4).contains(&place), "four turns of high for one of low: {order:?}");
}

#[tokio::test]
async fn tenants_take_turns_however_long_one_of_their_lines_is() {
    let (flood, one) = (tenant("flood", 1, 9), tenant("one", 1, 9));
    let order = order(&[&flood, &flood, &flood, &flood, &flood, &flood, &one]).await;
    assert!(order.iter().position(|id| id == "one").unwrap() <= 1, "{order:?}");
}

#[tokio::test]
async fn a_line_is_bounded_for_each_tenant_by_itself() {
    let (door, a, b) = (door(1, 0, 2), tenant("a", 1, 2), tenant("b", 1, 2));
    let held = inside(&door, &a, 1).await;
    let waiting = [come(&door, &a).await, come(&door, &a).await];
    assert!(matches!(door.enter(&a).await, Err(Failure::Saturated { .. })), "one past the bound");
    let other = come(&door, &b).await;
    assert!(!other.is_finished(), "another tenant's line is its own");
    drop((held, waiting, other));
}

#[tokio::test]
async fn those_who_gave_up_keep_nobody_out_and_lose_no_place() {
    let (door, a) = (door(1, 0, 1), Tenant::default());
    let held = inside(&door, &a, 1).await;
    let gone = come(&door, &a).await;
    gone.abort();
    assert!(gone.await.err().unwrap().is_cancelled());
    let next = come(&door, &a).await;
    assert!(!next.is_finished(), "there is room in the line again");
    next.abort();
    assert!(next.await.err().unwrap().is_cancelled());
    drop(held);
    drop(inside(&door, &a, 1).await);
    let state = door.state();
    assert_eq!((state.free, state.lines.len()), (1, 0), "nobody is remembered");
}

#[tokio::test]
async fn patience_ends_and_the_refusal_tells_the_measured_time() {
    let rules = Rules { places: 1, kept: 0, waiting: 8, patience: Duration::ZERO };
    let (door, a) = (Door::new(rules), Tenant::default());
    door.state().mean = Duration::from_secs(7);
    let _held = inside(&door, &a, 1).await;
    match door.enter(&a).await {
        Err(Failure::Saturated { limit: 1, retry_after }) => {
            assert_eq!(retry_after, Duration::from_secs(7));
        }
        other => panic!("{:?}", other.map(drop)),
    }
}
