//! The families of what components keep: operations, errors and bytes, of buckets and of containers.

use atelier_store::{Counts, Storage};

use super::page::{Kind, Page};

pub(super) fn write(page: &mut Page, storage: Option<&Storage>) {
    let counts = storage.map(|storage| [("values", storage.values()), ("objects", storage.blobs())]);
    let counts = counts.as_ref().map_or(&[][..], |counts| &counts[..]);
    let help =
        "operations of components on values in buckets and objects in containers, failed ones included";
    kinds(page, ("atelier_storage_operations_total", help, "operation"), counts, Counts::operations);
    let help = "those operations that failed, by why";
    kinds(page, ("atelier_storage_errors_total", help, "kind"), counts, Counts::errors);
    let help = "bytes of values and objects that were kept, and that were asked for";
    let mut family = page.family("atelier_storage_bytes_total", Kind::Counter, help);
    for (of, counts) in counts {
        family.sample(&[("of", of), ("direction", "written")], counts.written_bytes());
        family.sample(&[("of", of), ("direction", "read")], counts.read_bytes());
    }
}

type Named = (&'static str, &'static str, &'static str);

fn kinds(
    page: &mut Page,
    (name, help, label): Named,
    counts: &[(&str, &Counts)],
    of: fn(&Counts) -> Vec<(&'static str, u64)>,
) {
    let mut family = page.family(name, Kind::Counter, help);
    for (what, counts) in counts {
        for (kind, count) in of(counts) {
            family.sample(&[("of", what), (label, kind)], count);
        }
    }
}
