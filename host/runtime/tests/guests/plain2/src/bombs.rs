//! Calls that carry far too much from the guest to the host, one import each.

use wasip2::cli::{stderr, stdout};
use wasip2::http::types::{Fields, OutgoingRequest, OutgoingResponse, Scheme};
use wasip2::random::random;

/// The longest list that a length of 31 bits can name; it reaches far beyond the guest's memory.
fn endless() -> &'static [u8] {
    // SAFETY: nothing here reads it; the host is to refuse it
    unsafe { std::slice::from_raw_parts(std::ptr::dangling(), 0x7fff_ffff) }
}

fn endless_text() -> &'static str {
    // SAFETY: as above
    unsafe { std::str::from_utf8_unchecked(endless()) }
}

/// Carries the bomb across the import that is named. Whoever comes back was not stopped.
pub fn drop_on(import: &str) -> &'static str {
    // a list that is really there, of 33 MiB
    let real = || vec![b'x'; 33 << 20];
    let request = || OutgoingRequest::new(Fields::new());
    match import {
        "field-name" => drop(Fields::new().append(endless_text(), b"")),
        "field-value" => drop(Fields::new().append("x", endless())),
        "real-field-value" => drop(Fields::new().append("x", &real())),
        "path" => drop(request().set_path_with_query(Some(endless_text()))),
        "authority" => drop(request().set_authority(Some(endless_text()))),
        "scheme" => drop(request().set_scheme(Some(&Scheme::Other(String::from_utf8(real()).unwrap())))),
        "stdout" => drop(stdout::get_stdout().write(endless())),
        "real-stderr" => drop(stderr::get_stderr().write(&real())),
        "body" => {
            drop(OutgoingResponse::new(Fields::new()).body().unwrap().write().unwrap().write(endless()))
        }
        "random" => drop(random::get_random_bytes(u64::MAX)),
        _ => return "no such bomb",
    }
    "survived"
}
