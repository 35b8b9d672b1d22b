//! How often a client may do something within a window of time, counted in the host's storage, since an instance of a component
//! remembers nothing. Counts lie in a bounded number of values of bounded size, which windows that are over leave empty: however
//! many clients come, what is kept does not grow.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::storage::StorageError;
use crate::{Host, Storage};

/// Counts lie in so many values, so that clients seldom wait for each other.
const SLOTS: u64 = 64;

/// The most clients of a slot in one window. More are strangers in a flood, who are refused.
const MAX_CLIENTS: usize = 512;

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// The bucket that holds the counts.
    pub bucket: &'static str,
    /// What the keys of its values begin with.
    pub name: &'static str,
    /// How long counts last, in seconds.
    pub window_seconds: u64,
}

/// The counts of a slot in the window that they are of; of an older one nothing is remembered.
#[derive(Default, Serialize, Deserialize)]
struct Counts {
    window: u64,
    of: BTreeMap<String, u32>,
}

/// Why nothing was counted.
enum Uncounted {
    Full,
    Broken(StorageError),
}

impl From<StorageError> for Uncounted {
    fn from(error: StorageError) -> Self {
        Self::Broken(error)
    }
}

impl Tally {
    /// Counts one of a client unless it has `most` already; the seconds until it may come again, where it has. Looking and counting
    /// are one step, so that clients beside each other do not get more; what is refused writes nothing.
    pub async fn count(
        &self,
        host: &(impl Host + Storage),
        client: &str,
        most: u32,
    ) -> Result<Option<u64>, StorageError> {
        let now = host.unix_seconds();
        let change = |value: Option<&[u8]>| Ok((self.counted(value, client, now, most)?, ()));
        match host.update(self.bucket, &self.slot(client), change).await {
            Ok(()) => Ok(None),
            Err(Uncounted::Full) => Ok(Some(self.window_seconds - now % self.window_seconds)),
            Err(Uncounted::Broken(error)) => Err(error),
        }
    }

    /// Takes one back that was not meant to count.
    pub async fn take_back(&self, host: &(impl Host + Storage), client: &str) -> Result<(), StorageError> {
        let now = host.unix_seconds();
        host.update(self.bucket, &self.slot(client), |value| {
            let mut counts = self.known(value, now);
            if let Some(count) = counts.of.get_mut(client) {
                *count = count.saturating_sub(1);
            }
            Ok((written(&counts)?, ()))
        })
        .await
    }

    /// The slot's value with one more of a client.
    fn counted(&self, value: Option<&[u8]>, client: &str, now: u64, most: u32) -> Result<Vec<u8>, Uncounted> {
        let mut counts = self.known(value, now);
        let present = counts.of.get(client).copied();
        if present.unwrap_or(0) >= most || (present.is_none() && counts.of.len() >= MAX_CLIENTS) {
            return Err(Uncounted::Full);
        }
        *counts.of.entry(client.to_owned()).or_default() += 1;
        Ok(written(&counts)?)
    }

    /// The counts of the present window. What cannot be read is begun anew: a count is no treasure.
    fn known(&self, value: Option<&[u8]>, now: u64) -> Counts {
        let window = now / self.window_seconds;
        let known: Option<Counts> = value.and_then(|value| serde_json::from_slice(value).ok());
        known.filter(|counts| counts.window == window).unwrap_or(Counts { window, ..Counts::default() })
    }

    fn slot(&self, client: &str) -> String {
        let mut hasher = DefaultHasher::new();
        client.hash(&mut hasher);
        format!("{}/{}", self.name, hasher.finish() % SLOTS)
    }
}

fn written(counts: &Counts) -> Result<Vec<u8>, StorageError> {
    serde_json::to_vec(counts).map_err(|_| StorageError::Failed("counts cannot be written".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: Tally = Tally { bucket: "b", name: "rate", window_seconds: 60 };

    #[test]
    fn a_window_forgets_the_one_before_and_a_slot_is_bounded() {
        let mut value = None;
        let mut count = |client: &str, now, most| {
            let next = MINUTES.counted(value.as_deref(), client, now, most).ok();
            value = next.clone().or(value.take());
            next.is_some()
        };
        assert_eq!(
            [count("a", 0, 2), count("a", 59, 2), count("a", 59, 2), count("b", 59, 2), count("a", 60, 2)],
            [true, true, false, true, true]
        );
        for number in 1..MAX_CLIENTS {
            assert!(count(&number.to_string(), 61, 2));
        }
        assert_eq!(
            [count("one more", 61, 2), count("a", 61, 2), count("one more", 120, 2)],
            [false, true, true]
        );
    }
}
