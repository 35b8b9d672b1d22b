//! How often a client may ask for what costs something: so many requests a minute.
//!
//! Clients are told apart by the address that the host names (`grants.client-address`); without that grant all are one.

use atelier_kit::http::Request;
use atelier_kit::tally::Tally;
use atelier_kit::{Host, Storage};

use crate::failure::Failure;

/// The bucket of everything that this service counts and lists.
pub(crate) const BUCKET: &str = "speech-saas";

/// Requests of a minute.
const RATE: Tally = Tally { bucket: BUCKET, name: "rate", window_seconds: 60 };

/// Counts a request of a client, or refuses it.
pub(crate) async fn admit(host: &(impl Host + Storage), request: &Request, most: u32) -> Result<(), Failure> {
    let client = request.headers.get("x-forwarded-for").unwrap_or("everybody");
    let Some(left) = RATE.count(host, client, most).await? else { return Ok(()) };
    let text =
        format!("more than {most} requests a minute (`config.RATE_LIMIT_PER_MINUTE`); come back in {left} s");
    Err(Failure::too_many(text, left * 1_000))
}
