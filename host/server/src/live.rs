//! What is being served: a table of routes, their deployments and the tenants behind one pointer. A request takes the table once and
//! keeps what it took; a reload makes a new table and swaps the pointer. Tables and slots are never edited.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use atelier_runtime::Deployment;

use crate::config::{Route, Tenant};
use crate::metrics::{Counts, RouteTally};
use crate::router::Router;
use crate::tenants::Directory;

/// The pointer.
pub(crate) struct Live {
    table: ArcSwap<Table>,
    /// Across tables.
    pub(crate) counts: Arc<Counts>,
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
    /// What answers; nothing when the route never loaded.
    pub(crate) deployment: Option<Deployed>,
    /// Why the newest attempt to load the route failed, if it did.
    pub(crate) problem: Option<DeployError>,
    /// Counts across deployments.
    pub(crate) tally: Arc<RouteTally>,
}

/// A deployment and when it was made.
#[derive(Clone)]
pub(crate) struct Deployed {
    pub(crate) deployment: Arc<Deployment>,
    pub(crate) since: SystemTime,
}

/// Why a route did not load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct DeployError {
    /// For operators.
    pub(crate) text: String,
    /// Whether clients may read it as well.
    pub(crate) is_public: bool,
}

impl Live {
    /// Serves nothing yet.
    pub(crate) fn new(counts: Arc<Counts>) -> Self {
        let nobody = Arc::new(Directory::new(&[], &[], None, &counts.tenants));
        Self { table: ArcSwap::from_pointee(Table::new(Vec::new(), nobody)), counts }
    }

    /// The table now.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Requests that begin from now on see these slots.
    pub(crate) fn swap(&self, slots: Vec<Arc<Slot>>) {
        let tenants = self.table().tenants.clone();
        self.table.store(Arc::new(Table::new(slots, tenants)));
    }

    /// Requests that begin from now on meet these tenants, on the routes that stand.
    pub(crate) fn swap_tenants(&self, tenants: &[Tenant], routes: &[Route]) {
        let table = self.table();
        let directory = Directory::new(tenants, routes, Some(&table.tenants), &self.counts.tenants);
        self.table.store(Arc::new(Table::new(table.slots.clone(), Arc::new(directory))));
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

    /// Whether every route that could load answers, and there is one at least, if there are routes at all.
    pub(crate) fn is_ready(&self) -> bool {
        self.slots.is_empty() || self.slots.iter().any(|slot| slot.deployment.is_some())
    }
}
