//! How often a client may ask for what costs something: so many requests a minute, counted in the host's storage, since an
//! instance of this component remembers nothing.
//!
//! Clients are told apart by the address that the host names (`grants.client-address`); without that grant all are one.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use atelier_kit::http::Request;
use atelier_kit::storage::StorageError;
use atelier_kit::{Host, Storage};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The bucket of everything that this service counts and lists.
pub(crate) const BUCKET: &str = "speech-saas";

/// Counts lie in so many values, so that clients seldom wait for each other.
const SLOTS: u64 = 64;

/// The most clients of a slot in one minute. More are strangers in a flood, who are refused.
const MAX_CLIENTS: usize = 512;

const WINDOW_SECONDS: u64 = 60;

/// The counts of a slot in the minute that they are of; of an older one nothing is remembered.
#[derive(Default, Serialize, Deserialize)]
struct Counts {
    minute: u64,
    of: BTreeMap<String, u32>,
}

/// Counts a request of a client, or refuses it.
pub(crate) async fn admit(host: &(impl Host + Storage), request: &Request, most: u32) -> Result<(), Failure> {
    let client = request.headers.get("x-forwarded-for").unwrap_or("everybody").to_owned();
    let now = host.unix_seconds();
    let count = host.update(BUCKET, &slot(&client), |value| counted(value, &client, now)).await?;
    if count.is_some_and(|count| count <= most) {
        return Ok(());
    }
    let left = WINDOW_SECONDS - now % WINDOW_SECONDS;
    let text =
        format!("more than {most} requests a minute (`config.RATE_LIMIT_PER_MINUTE`); come back in {left} s");
    Err(Failure::too_many(text, left * 1_000))
}

/// The slot's value with one request more, and how many that client has made; none where there is no room for it.
fn counted(value: Option<&[u8]>, client: &str, now: u64) -> Result<(Vec<u8>, Option<u32>), StorageError> {
    let minute = now / WINDOW_SECONDS;
    // what cannot be read is begun anew: a count is no treasure
    let known: Counts = value.and_then(|value| serde_json::from_slice(value).ok()).unwrap_or_default();
    let mut counts = if known.minute == minute { known } else { Counts { minute, ..Counts::default() } };
    let has_room = counts.of.len() < MAX_CLIENTS || counts.of.contains_key(client);
    let count = has_room.then(|| {
        let count = counts.of.entry(client.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count
    });
    let value = serde_json::to_vec(&counts);
    Ok((value.map_err(|_| StorageError::Failed("counts cannot be written".into()))?, count))
}

fn slot(client: &str) -> String {
    let mut hasher = DefaultHasher::new();
    client.hash(&mut hasher);
    format!("rate/{}", hasher.finish() % SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_forgets_the_one_before_and_a_slot_is_bounded() {
        let mut value = None;
        let mut count = |client: &str, now| {
            let (next, count) = counted(value.as_deref(), client, now).expect("counted");
            value = Some(next);
            count
        };
        assert_eq!(
            [count("a", 0), count("a", 59), count("b", 59), count("a", 60)],
            [Some(1), Some(2), Some(1), Some(1)]
        );
        for number in 1..MAX_CLIENTS {
            assert_eq!(count(&number.to_string(), 61), Some(1));
        }
        assert_eq!((count("one more", 61), count("a", 61), count("one more", 120)), (None, Some(2), Some(1)));
    }
}
