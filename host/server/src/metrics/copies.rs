//! The families of copies for other programs: how their servers fare, what was copied, what waits.

use atelier_store::{ServiceState, ServiceStatus, Storage};

use super::page::{Kind, Page};

pub(super) fn write(page: &mut Page, storage: Option<&Storage>) {
    let copies = storage.map(|storage| storage.copies().known_lately()).unwrap_or_default();
    let help = "whether the server that a copy goes to answered last; absent before it was asked";
    let mut family = page.family("atelier_copy_server_up", Kind::Gauge, help);
    for copy in copies.iter().filter(|copy| copy.state != ServiceState::Unknown) {
        let is_up = u64::from(copy.state == ServiceState::Connected);
        family.sample(&[("copy", &copy.id), ("kind", copy.kind)], is_up);
    }
    let mut each = |name, kind, help, of: fn(&ServiceStatus) -> u64| {
        let mut family = page.family(name, kind, help);
        copies.iter().for_each(|copy| family.sample(&[("copy", &copy.id), ("kind", copy.kind)], of(copy)));
    };
    let help = "jobs and objects that wait to be copied (objects: as of the last five seconds)";
    each("atelier_copies_waiting", Kind::Gauge, help, |copy| copy.waiting);
    let help = "jobs and objects that were copied, each as often as it changed";
    each("atelier_copies_total", Kind::Counter, help, |copy| copy.copied);
    let help = "tries to copy, or to ask a server how it fares, that failed";
    each("atelier_copy_failures_total", Kind::Counter, help, |copy| copy.failed);
}
