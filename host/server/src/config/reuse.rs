//! `reuse` of a route, with the limits that belong to it.

use atelier_runtime::Reuse;

use super::Limits;
use super::raw::Table;

/// Whether the route's instances are used again.
pub(super) fn reuse(route: &Table<'_>) -> Reuse {
    let Some(found) = route.text("reuse") else { return Reuse::None };
    match found.value.as_str() {
        "none" => return Reuse::None,
        "serial" => (),
        "concurrent" => {
            let text =
                "`concurrent` is not there yet: an instance answers one request at a time; write \"serial\"";
            route.problem(&found.at, text);
        }
        other => route.problem(&found.at, format!("wants one of none, serial, not `{other}`")),
    }
    // whatever else was meant is not none, so that its bounds are no problem of their own
    Reuse::Serial
}

/// Limits that bound nothing, since no instance is used again, are no limits.
pub(super) fn check_limits(table: &Table<'_>, reuse: Reuse, limits: &Limits) {
    let bounds = [limits.reuse_requests, limits.reuse_age_ms, limits.reuse_idle_ms];
    if reuse == Reuse::None && bounds.iter().any(Option::is_some) {
        let text = "`reuse-requests`, `reuse-age-ms` and `reuse-idle-ms` bound nothing without `reuse = \"serial\"` of \
                    the route";
        table.problem(table.at(), text);
    }
}
