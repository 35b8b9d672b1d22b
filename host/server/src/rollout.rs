//! From routes that are not as wanted to routes that serve. All of them are made at a time, and each is swapped in as soon
//! as it is ready: none waits for another that is slow to compile. Only what changes where requests go (a route that
//! comes, goes or moves) is swapped together, so that no path is without its route in between. Of one route only one
//! thing is made at a time, in the order of the changes.
//!
//! Knows neither files nor manifests; `reload.rs` says what is wanted.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::config::{Route, Signing};
use crate::live::{Live, Slot};
use crate::versions::{Made, Versions};

/// Brings changed routes into service.
pub(crate) struct Rollout {
    versions: Arc<Versions>,
    live: Arc<Live>,
    /// By the route's name.
    drafts: BTreeMap<String, Draft>,
    making: FuturesUnordered<BoxFuture<'static, Made>>,
}

/// A route that is being made, or that waits for others.
struct Draft {
    /// As it was wanted when its making began.
    route: Route,
    /// Whose components were believed then.
    signing: Arc<Signing>,
    /// When the change was seen.
    seen: Instant,
    /// When the next one was, if one was: then it is to be made once more.
    again: Option<Instant>,
    made: Option<Made>,
}

/// What became of one route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Whether it did not load, so that what answered before still does.
    pub(crate) failed: bool,
    /// From the change to the swap.
    pub(crate) took: Duration,
}

impl Rollout {
    pub(crate) fn new(versions: Arc<Versions>, live: Arc<Live>) -> Self {
        Self { versions, live, drafts: BTreeMap::new(), making: FuturesUnordered::new() }
    }

    /// Whether every route that was begun serves, or did not load.
    pub(crate) fn is_idle(&self) -> bool {
        self.drafts.is_empty()
    }

    /// The route as it is being made, if it is.
    pub(crate) fn in_the_making(&self, name: &str) -> Option<&Route> {
        self.drafts.get(name).map(|draft| &draft.route)
    }

    /// Begins to make a route: now, or when what is made of it now is ready.
    pub(crate) fn begin(&mut self, route: &Route, seen: Instant) {
        match self.drafts.get_mut(&route.name) {
            Some(draft) if draft.made.is_none() => draft.again = Some(seen),
            _ => self.make(route, seen),
        }
    }

    /// Waits until some route is made; for ever when none is being made.
    pub(crate) async fn ready(&mut self) {
        match self.making.next().await {
            Some(made) => self.keep(made),
            None => pending().await,
        }
        // whatever else is ready by now shares one write to the disk
        while let Some(Some(made)) = self.making.next().now_or_never() {
            self.keep(made);
        }
    }

    /// Lets requests meet what is ready, as far as it is still what `routes` want.
    pub(crate) async fn settle(&mut self, routes: &[Route]) -> Vec<Outcome> {
        let wanted = routes.iter().map(|route| (route.name.as_str(), route)).collect();
        self.forget_unwanted(&wanted);
        let table = self.live.table();
        let standing = table.slots.iter().map(|slot| (slot.route.name.as_str(), slot)).collect();
        let drafts = self.drafts.keys().filter_map(|name| wanted.get(name.as_str()).copied());
        let (moving, staying): (Vec<&Route>, _) = drafts.partition(|route| is_moving(&standing, route));
        let mut outcomes: Vec<Outcome> =
            staying.into_iter().filter_map(|route| self.settle_alone(route)).collect();
        let names: Vec<String> = routes.iter().map(|route| route.name.clone()).collect();
        let is_other = !moving.is_empty() || names != table.names();
        let together = is_other && moving.iter().all(|route| self.is_ready(route));
        if together {
            outcomes.extend(self.settle_together(&moving, &names));
        }
        if together || !outcomes.is_empty() {
            self.versions.save_served().await;
        }
        outcomes
    }

    fn make(&mut self, route: &Route, seen: Instant) {
        let signing = self.versions.signing();
        let draft = Draft { route: route.clone(), signing, seen, again: None, made: None };
        self.drafts.insert(route.name.clone(), draft);
        let (versions, route) = (self.versions.clone(), route.clone());
        let before = self.live.table().slot(&route.name).cloned();
        self.making.push(async move { versions.make(&route, before).await }.boxed());
    }

    fn keep(&mut self, made: Made) {
        if let Some(draft) = self.drafts.get_mut(&made.wanted().name) {
            draft.made = Some(made);
        }
    }

    /// Of what is ready, routes that are gone are forgotten, and those that are wanted otherwise by now, or were believed
    /// by keys that changed, are made again.
    fn forget_unwanted(&mut self, wanted: &BTreeMap<&str, &Route>) {
        let (signing, mut changed) = (self.versions.signing(), Vec::new());
        self.drafts.retain(|name, draft| match (wanted.get(name.as_str()), &draft.made) {
            (None, Some(_)) => false,
            (None, None) => {
                // should the route come back, its files may be others than those that are read now
                draft.again = Some(draft.seen);
                true
            }
            (Some(route), Some(_)) if **route != draft.route || draft.signing != signing => {
                changed.push((*route, draft.again.unwrap_or(draft.seen)));
                true
            }
            (Some(_), _) => true,
        });
        for (route, seen) in changed {
            self.make(route, seen);
        }
    }

    fn is_ready(&self, route: &Route) -> bool {
        self.drafts.get(&route.name).is_some_and(|draft| draft.made.is_some())
    }

    /// Swaps a route that stays where it is, if it is ready.
    fn settle_alone(&mut self, route: &Route) -> Option<Outcome> {
        let made = self.drafts.get_mut(&route.name)?.made.take()?;
        let names = self.live.table().names();
        let is_settled = self.versions.settle(std::slice::from_ref(&made), &names);
        self.settled(route, &made, is_settled)
    }

    /// Swaps what comes, goes and moves: from now on there are the routes of these names.
    fn settle_together(&mut self, moving: &[&Route], names: &[String]) -> Vec<Outcome> {
        let made = moving.iter().filter_map(|route| self.drafts.get_mut(&route.name)?.made.take());
        let made: Vec<Made> = made.collect();
        let is_settled = self.versions.settle(&made, names);
        let ends = moving.iter().zip(&made);
        ends.filter_map(|(route, made)| self.settled(route, made, is_settled)).collect()
    }

    /// The end of a draft; or its next beginning, when something changed meanwhile.
    fn settled(&mut self, route: &Route, made: &Made, is_settled: bool) -> Option<Outcome> {
        let draft = self.drafts.remove(&route.name)?;
        let next = if is_settled { draft.again } else { Some(draft.again.unwrap_or(draft.seen)) };
        if let Some(seen) = next {
            self.make(route, seen);
        }
        let (failed, took) = (made.problem().is_some(), draft.seen.elapsed());
        is_settled.then_some(Outcome { failed, took })
    }
}

/// Whether requests would go elsewhere with this route than they do now.
fn is_moving(standing: &BTreeMap<&str, &Arc<Slot>>, route: &Route) -> bool {
    standing.get(route.name.as_str()).is_none_or(|slot| {
        let now = &slot.route;
        (&now.host, &now.path, &now.methods) != (&route.host, &route.path, &route.methods)
    })
}
