//! What is being served: a table of routes, their deployments and the tenants behind one pointer. A request takes the table once and
//! keeps what it took; a change makes a new table and swaps the pointer. Tables and slots are never edited. Whoever wants
//! to replace a slot names the one that it was made from, so that of two changes at a time none is lost unseen.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use atelier_runtime::Deployment;

use crate::config::{Route, Tenant};
use crate::metrics::{Counts, RouteTally};
use crate::router::Router;
use crate::tenants::Directory;
use crate::versions::{Base, Place, Trial};

/// The pointer.
pub(crate) struct Live {
    table: ArcSwap<Table>,
    /// Across tables.
    pub(crate) counts: Arc<Counts>,
    /// Held while a table is made of the one that stands. Readers never take it.
    edits: Mutex<()>,
}

/// All routes at one moment.
pub(crate) struct Table {
    pub(crate) router: Router,
    pub(crate) slots: Vec<Arc<Slot>>,
    pub(crate) tenants: Arc<Directory>,
}

/// A route and what answers for it.
pub(crate) struct Slot {
    /// The route, as the manifest had it when `deployment` was made.
    pub(crate) route: Route,
    /// The route as the manifest wants it. Another one than `route` when that did not work.
    pub(crate) wanted: Route,
    /// What answers; nothing when the route never loaded.
    pub(crate) deployment: Option<Deployed>,
    /// Why the newest attempt to load the route failed, if it did.
    pub(crate) problem: Option<DeployError>,
    /// Counts across deployments.
    pub(crate) tally: Arc<RouteTally>,
    /// Across deployments as well.
    pub(crate) gate: Arc<Gate>,
}

/// Whether a route takes requests.
#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicBool);

/// A deployment, when it was made, and of which version.
#[derive(Clone)]
pub(crate) struct Deployed {
    pub(crate) deployment: Arc<Deployment>,
    pub(crate) since: SystemTime,
    /// Its number in the route's history.
    pub(crate) version: u64,
    /// What its uploads stand instead of.
    pub(crate) bases: BTreeMap<Place, Base>,
    /// While the version has not proven itself.
    pub(crate) trial: Option<Arc<Trial>>,
}

/// Why a route did not load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct DeployError {
    /// For operators.
    pub(crate) text: String,
    /// Whether clients may read it as well.
    pub(crate) is_public: bool,
    /// Whether any other change is a reason to try again.
    pub(crate) retry: bool,
}

impl Live {
    /// Serves nothing yet.
    pub(crate) fn new(counts: Arc<Counts>) -> Self {
        let nobody = Arc::new(Directory::new(&[], &[], None, &counts.tenants));
        let table = ArcSwap::from_pointee(Table::new(Vec::new(), nobody));
        Self { table, counts, edits: Mutex::default() }
    }

    /// The table now.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Requests that begin from now on see these slots, and of the others those that are named: all in the order of the
    /// names. Nothing happens, and the answer is false, when one of them was made from another slot than the one that
    /// stands.
    pub(crate) fn settle(&self, made: Vec<(Option<Arc<Slot>>, Arc<Slot>)>, names: &[String]) -> bool {
        let _turn = self.turn();
        let table = self.table();
        let is_current = |(before, after): &(Option<Arc<Slot>>, Arc<Slot>)| match (
            before,
            table.slot(&after.route.name),
        ) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        let current = made.iter().all(is_current);
        if current {
            let made = made.into_iter().map(|(_, after)| after);
            let slots: BTreeMap<String, Arc<Slot>> =
                table.slots.iter().cloned().chain(made).map(|slot| (slot.route.name.clone(), slot)).collect();
            let slots = names.iter().filter_map(|name| slots.get(name).cloned()).collect();
            self.table.store(Arc::new(Table::new(slots, table.tenants.clone())));
        }
        current
    }

    /// Requests that begin from now on see `after` instead of `before`. Nothing happens, and the answer is false, when
    /// `before` does not stand any more.
    pub(crate) fn replace(&self, before: &Arc<Slot>, after: Slot) -> bool {
        let _turn = self.turn();
        let table = self.table();
        let mut slots = table.slots.clone();
        let Some(slot) = slots.iter_mut().find(|slot| Arc::ptr_eq(slot, before)) else { return false };
        *slot = Arc::new(after);
        self.table.store(Arc::new(Table::new(slots, table.tenants.clone())));
        true
    }

    /// Requests that begin from now on meet these tenants, on the routes that stand.
    pub(crate) fn swap_tenants(&self, tenants: &[Tenant], routes: &[Route]) {
        let _turn = self.turn();
        let table = self.table();
        let directory = Directory::new(tenants, routes, Some(&table.tenants), &self.counts.tenants);
        self.table.store(Arc::new(Table::new(table.slots.clone(), Arc::new(directory))));
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.edits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    pub(crate) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set_closed(&self, closed: bool) {
        self.0.store(closed, Ordering::Relaxed);
    }
}

impl Table {
    fn new(slots: Vec<Arc<Slot>>, tenants: Arc<Directory>) -> Self {
        Self { router: Router::new(slots.iter().map(|slot| &slot.route)), slots, tenants }
    }

    /// The slot of a route.
    pub(crate) fn slot(&self, name: &str) -> Option<&Arc<Slot>> {
        self.slots.iter().find(|slot| slot.route.name == name)
    }

    /// The names of all routes.
    pub(crate) fn names(&self) -> Vec<String> {
        self.slots.iter().map(|slot| slot.route.name.clone()).collect()
    }

    /// Whether every route that could load answers, and there is one at least, if there are routes at all.
    pub(crate) fn is_ready(&self) -> bool {
        self.slots.is_empty() || self.slots.iter().any(|slot| slot.deployment.is_some())
    }
}

#[cfg(test)]
impl Slot {
    /// A slot that nothing answers for.
    pub(crate) fn empty_for_tests() -> Self {
        let route = Route::for_tests("a", "/");
        Self {
            wanted: route.clone(),
            route,
            deployment: None,
            problem: None,
            tally: Counts::new(1).unrouted.clone(),
            gate: Arc::default(),
        }
    }
}
