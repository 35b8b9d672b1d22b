//! What operators say of the service, in the route's `config` or in environment variables that the route passes on. What its README has
//! of Redis and S3 is the host's: `[[store.copy]]` of the manifest.

use atelier_kit::fastapi::Failure;
use atelier_kit::settings::given;
use atelier_kit::{Host, Request, docs};

/// Seconds for which an ended task is known.
const TASK_TTL: &str = "TASK_TTL";
/// What stands before the service's paths in addresses that clients are given.
const PUBLIC_URL: &str = "public-url";

/// The longest that the host knows a job after its end: a week.
const MOST_SECONDS: u32 = 604_800;

/// How long a task is known after its end; an hour, as the host has it, when nothing is said.
pub(crate) fn task_ttl(host: &impl Host) -> Result<Option<u32>, Failure> {
    let Some(text) = given(host, TASK_TTL) else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds| (1..=MOST_SECONDS).contains(seconds));
    let unusable = || {
        let text = format!("a whole number of seconds from 1 to {MOST_SECONDS}");
        Failure::backend(format!("the route's `config.{TASK_TTL}` cannot be used; it must be {text}"))
    };
    seconds.map(Some).ok_or_else(unusable)
}

/// What stands before the service's paths: the address that the operator gives it, or the route's prefix alone.
pub(crate) fn base(host: &impl Host, request: &Request) -> String {
    let configured = given(host, PUBLIC_URL).map(|url| url.trim_end_matches('/').to_owned());
    configured.unwrap_or_else(|| docs::base(request).to_owned())
}
