//! Looks after those who are connected: when routes, tenants or keys change, who may not be there any more is ended, and everybody is
//! when the host stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::client::Client;
use super::desk::Desk;
use crate::http::Stop;
use crate::live::Table;

/// Between two looks whether anything changed: who has no key any more hears and says nothing after a moment.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Looks until the host closes.
pub(crate) async fn keep(desk: Arc<Desk>, mut stop: Stop) {
    let mut closing = std::pin::pin!(stop.closing());
    let mut seen = desk.live.table();
    loop {
        tokio::select! {
            biased;
            () = &mut closing => break,
            () = sleep(LOOK_AGAIN) => {}
        }
        let table = desk.live.table();
        if !Arc::ptr_eq(&seen, &table) {
            desk.clients.keep_only(|client| may_stay(&table, client));
            seen = table;
        }
    }
    desk.clients.close_all();
}

/// Whether a client could come in as it once did. A route that an operator drained keeps its clients.
fn may_stay(table: &Table, client: &Client) -> bool {
    let origin = &client.origin;
    let Some(slot) = table.slot(&origin.realm.route) else { return false };
    let is_served = slot.route.channels.as_ref().is_some_and(|channels| channels.serves(origin.kind));
    is_served && table.tenants.still_admits(&slot.route, &origin.realm.tenant, origin.key)
}
