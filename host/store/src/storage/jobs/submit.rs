//! New jobs, all of them or none: what keys say, what was done before, what fits, and only then the first change.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{ReadableTable, WriteTransaction};

use super::record::{self, CacheRecord, KEYS, PAYLOADS, RESULTS, Record};
use super::{JobOrder, JobState, Place, Submitted, cached, list, outbox};
use crate::Error;
use crate::storage::charge::{Change, charge};

/// Orders jobs that are submitted in the same millisecond.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

/// A job that is new.
struct Fresh {
    id: String,
    record: Record,
    payload: Vec<u8>,
    /// What it is completed with at once.
    result: Option<Vec<u8>>,
}

/// How much of everything an owner may have.
pub(super) struct Room {
    /// Jobs that wait.
    pub(super) waiting: u64,
    /// Messages to webhooks; those of the jobs that wait come on top.
    pub(super) untold: u64,
    /// Bytes that are being written elsewhere, of those that it may keep.
    pub(super) drafted: u64,
}

/// Writes a batch.
pub(super) fn all(
    index: &WriteTransaction,
    place: &Place,
    orders: Vec<JobOrder>,
    room: &Room,
) -> Result<Vec<Submitted>, Error> {
    let (submitted, fresh) = sort(index, place, orders)?;
    let bytes = fresh.iter().map(|fresh| fresh.record.charged()).sum();
    let more = fresh.iter().filter(|fresh| fresh.result.is_none()).count() as u64;
    if more > 0 && record::waiting_of(index, &place.owner.id)?.saturating_add(more) > room.waiting {
        return Err(Error::Waiting { limit: room.waiting });
    }
    let tells = fresh.iter().any(|fresh| fresh.record.webhook.is_some());
    if tells && outbox::count_of(index, &place.owner.id)? >= room.untold {
        return Err(Error::Untold { limit: room.untold });
    }
    charge(index, &place.owner, Change { more: bytes, less: 0 }, room.drafted)?;
    fresh.into_iter().try_for_each(|fresh| insert(index, place, fresh))?;
    Ok(submitted)
}

/// Tells new jobs from those that are there under their keys already. Changes nothing.
fn sort(
    index: &WriteTransaction,
    place: &Place,
    orders: Vec<JobOrder>,
) -> Result<(Vec<Submitted>, Vec<Fresh>), Error> {
    let (mut submitted, mut fresh) = (Vec::with_capacity(orders.len()), Vec::new());
    // keys of this batch: a key that comes twice means one job here as well
    let mut keys: HashMap<String, (String, String)> = HashMap::new();
    for order in orders {
        let digest = digest(&order);
        let known = match &order.key {
            Some(key) => match keys.get(key) {
                Some(known) => Some(known.clone()),
                None => there(index, place, key)?,
            },
            None => None,
        };
        if let Some((id, known)) = known {
            if known != digest {
                return Err(Error::KeyUsed(order.key.unwrap_or_default()));
            }
            submitted.push(Submitted { id, is_new: false });
            continue;
        }
        let id = uuid::Uuid::new_v4().to_string();
        if let Some(key) = &order.key {
            keys.insert(key.clone(), (id.clone(), digest.clone()));
        }
        submitted.push(Submitted { id: id.clone(), is_new: true });
        fresh.push(new(index, place, id, order, digest)?);
    }
    Ok((submitted, fresh))
}

/// The job under a key, and the digest of what it was.
fn there(index: &WriteTransaction, place: &Place, key: &str) -> Result<Option<(String, String)>, Error> {
    let keys = index.open_table(KEYS).map_err(Error::index("read"))?;
    let at = (&*place.owner.id, &*place.route, key);
    let Some(id) = keys.get(at).map_err(Error::index("read"))?.map(|id| id.value().to_owned()) else {
        return Ok(None);
    };
    Ok(record::load(index, &id)?.map(|record| (id, record.digest)))
}

/// Of what a job is, without how it is treated: the same work under the same key is the same job.
fn digest(order: &JobOrder) -> String {
    let mut digest = blake3::Hasher::new();
    digest.update(order.kind.as_bytes()).update(&[0]).update(&order.payload);
    digest.finalize().to_hex().to_string()
}

fn new(
    index: &WriteTransaction,
    place: &Place,
    id: String,
    order: JobOrder,
    digest: String,
) -> Result<Fresh, Error> {
    let now = record::now_ms();
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    let record = Record {
        owner: place.owner.id.to_string(),
        route: place.route.to_string(),
        kind: order.kind,
        priority: order.priority,
        state: JobState::Pending,
        rank: order.priority.rank(now, sequence),
        attempts: 0,
        most_attempts: order.attempts,
        submitted_ms: now,
        start_by_ms: now.saturating_add(order.start_within.as_millis() as u64),
        begun: false,
        started_ms: None,
        ended_ms: None,
        keep_ms: order.keep.as_millis() as u64,
        key: order.key,
        digest,
        payload_bytes: order.payload.len() as u64,
        result_bytes: 0,
        error: None,
        webhook: order.webhook,
        cache: order
            .cache
            .as_ref()
            .map(|cache| CacheRecord { within_ms: cached::millis(cache.within), tools: cache.tools.clone() }),
        cached: false,
    };
    let result = match order.cache {
        Some(caching) => {
            let cached = index.open_table(cached::CACHED).map_err(Error::index("read"))?;
            cached::find(&cached, &record, &caching.made_by)?
        }
        None => None,
    };
    let mut fresh = Fresh { id, record, payload: order.payload, result };
    if let Some(result) = &fresh.result {
        // there is nothing to be worked on
        fresh.payload.clear();
        (fresh.record.payload_bytes, fresh.record.result_bytes) = (0, result.len() as u64);
        fresh.record.cached = true;
    }
    Ok(fresh)
}

fn insert(index: &WriteTransaction, place: &Place, fresh: Fresh) -> Result<(), Error> {
    let Fresh { id, mut record, payload, result } = fresh;
    if let Some(key) = &record.key {
        let mut keys = index.open_table(KEYS).map_err(Error::index("write"))?;
        let at = (&*place.owner.id, &*place.route, key.as_str());
        keys.insert(at, id.as_str()).map_err(Error::index("write"))?;
    }
    list::add(index, &id, &record)?;
    if let Some(result) = result {
        let mut results = index.open_table(RESULTS).map_err(Error::index("write"))?;
        results.insert(id.as_str(), result.as_slice()).map_err(Error::index("write"))?;
        return record::end(index, &id, &mut record, JobState::Completed, None);
    }
    let mut payloads = index.open_table(PAYLOADS).map_err(Error::index("write"))?;
    payloads.insert(id.as_str(), payload.as_slice()).map_err(Error::index("write"))?;
    drop(payloads);
    record::remind(index, record.start_by_ms, &id)?;
    record::enqueue(index, &id, &mut record, 0)
}
