//! `reuse` of a route, with the limits that belong to it.

use atelier_runtime::Reuse;

use super::Limits;
use super::raw::Table;

/// Whether the route's instances are used again.
pub(super) fn reuse(route: &Table<'_>) -> Reuse {
    let Some(found) = route.text("reuse") else { return Reuse::None };
    match found.value.as_str() {
        "none" => return Reuse::None,
        "serial" => return Reuse::Serial,
        "concurrent" => (),
        other => route.problem(&found.at, format!("wants one of none, serial, concurrent, not `{other}`")),
    }
    // whatever else was meant, its bounds are no problem of their own
    Reuse::Concurrent
}

/// Limits that bound nothing, since no instance is used again, are no limits.
pub(super) fn check_limits(table: &Table<'_>, reuse: Reuse, limits: &Limits) {
    let bounds = [limits.reuse_requests, limits.reuse_age_ms, limits.reuse_idle_ms];
    if reuse == Reuse::None && bounds.iter().any(Option::is_some) {
        let text = "`reuse-requests`, `reuse-age-ms` and `reuse-idle-ms` bound nothing without `reuse = \"serial\"` or \
                    \"concurrent\" of the route";
        table.problem(table.at(), text);
    }
    if reuse != Reuse::Concurrent && limits.reuse_at_a_time.is_some() {
        let text = "`reuse-at-a-time` bounds nothing without `reuse = \"concurrent\"` of the route";
        table.problem(table.at(), text);
    }
}
