//! Values in the index itself. A key is set, counted up or swapped in one transaction; several keys of a batch are in one as
//! well, so that they are all there or none.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::{Found, Keys, Place, Version};
use crate::Error;
use crate::storage::charge::{Change, charge};
use crate::storage::index::VALUES;
use crate::storage::{MAX_PAGE, Shared};

pub(super) async fn get_many(
    shared: &Shared,
    place: Arc<Place>,
    keys: Vec<String>,
    limit: u64,
) -> Result<Vec<Found>, Error> {
    let look = move |index: &ReadTransaction| {
        let table = index.open_table(VALUES).map_err(Error::index("read"))?;
        let (mut found, mut sum) = (Vec::with_capacity(keys.len()), 0_u64);
        for key in keys {
            let value = table.get(place.key(&key)).map_err(Error::index("read"))?;
            let value = value.map(|value| value.value().to_vec());
            sum = sum.saturating_add(value.as_ref().map_or(0, |value| value.len() as u64));
            if sum > limit {
                return Err(Error::values_over(limit));
            }
            found.push(value.map(|value| (key, value)));
        }
        Ok(found)
    };
    shared.index.read(look).await
}

pub(super) async fn exists(shared: &Shared, place: Arc<Place>, key: String) -> Result<bool, Error> {
    let look = move |index: &ReadTransaction| {
        let table = index.open_table(VALUES).map_err(Error::index("read"))?;
        Ok(table.get(place.key(&key)).map_err(Error::index("read"))?.is_some())
    };
    shared.index.read(look).await
}

pub(super) async fn keys(shared: &Shared, place: Arc<Place>, after: Option<String>) -> Result<Keys, Error> {
    let look = move |index: &ReadTransaction| {
        let table = index.open_table(VALUES).map_err(Error::index("read"))?;
        let after = after.as_deref().unwrap_or_default();
        let mut keys = Vec::new();
        for entry in table.range(place.key(after)..).map_err(Error::index("read"))? {
            let (at, _) = entry.map_err(Error::index("read"))?;
            let (owner, bucket, key) = at.value();
            if (owner, bucket) != (&*place.owner.id, &*place.name) {
                return Ok(Keys { keys, next: None });
            }
            // no key is empty, so that the first page leaves none out
            if key == after {
                continue;
            }
            if keys.len() == MAX_PAGE {
                return Ok(Keys { next: keys.last().cloned(), keys });
            }
            keys.push(key.to_owned());
        }
        Ok(Keys { keys, next: None })
    };
    shared.index.read(look).await
}

pub(super) async fn set_many(
    shared: &Arc<Shared>,
    place: Arc<Place>,
    pairs: BTreeMap<String, Vec<u8>>,
) -> Result<(), Error> {
    let counted = shared.clone();
    let set = move |index: &WriteTransaction| put(index, &place, &pairs, counted.drafted.of(&place.owner));
    shared.index.write(set).await
}

pub(super) async fn delete_many(shared: &Shared, place: Arc<Place>, keys: Vec<String>) -> Result<(), Error> {
    let erase = move |index: &WriteTransaction| {
        let mut table = index.open_table(VALUES).map_err(Error::index("write"))?;
        let mut change = Change::default();
        for key in &keys {
            let old = table.remove(place.key(key)).map_err(Error::index("write"))?;
            change.less += old.map_or(0, |old| (key.len() + old.value().len()) as u64);
        }
        charge(index, &place.owner, change, 0)
    };
    shared.index.write(erase).await
}

pub(super) async fn increment(
    shared: &Arc<Shared>,
    place: Arc<Place>,
    key: String,
    delta: i64,
) -> Result<i64, Error> {
    let counted = shared.clone();
    let add = move |index: &WriteTransaction| {
        let old = current(index, &place, &key)?;
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i64>().ok();
        let before = old.as_deref().map_or(Some(0), number);
        let sum = before.and_then(|before| before.checked_add(delta));
        let sum = sum.ok_or_else(|| Error::NoNumber(key.clone()))?;
        let pair = [(key, sum.to_string().into_bytes())].into();
        put(index, &place, &pair, counted.drafted.of(&place.owner))?;
        Ok(sum)
    };
    shared.index.write(add).await
}

pub(super) async fn swap(
    shared: &Arc<Shared>,
    place: Arc<Place>,
    (key, value): (String, Vec<u8>),
    expected: Version,
) -> Result<Result<(), Version>, Error> {
    let counted = shared.clone();
    let swap = move |index: &WriteTransaction| {
        let found = Version::of(current(index, &place, &key)?.as_deref());
        if found != expected {
            return Ok(Err(found));
        }
        put(index, &place, &[(key, value)].into(), counted.drafted.of(&place.owner)).map(Ok)
    };
    shared.index.write(swap).await
}

fn current(index: &WriteTransaction, place: &Place, key: &str) -> Result<Option<Vec<u8>>, Error> {
    let table = index.open_table(VALUES).map_err(Error::index("read"))?;
    let value = table.get(place.key(key)).map_err(Error::index("read"))?;
    Ok(value.map(|value| value.value().to_vec()))
}

/// Sets all pairs; nothing is changed before it is known that there is room.
fn put(
    index: &WriteTransaction,
    place: &Place,
    pairs: &BTreeMap<String, Vec<u8>>,
    drafted: u64,
) -> Result<(), Error> {
    let mut table = index.open_table(VALUES).map_err(Error::index("write"))?;
    let mut change = Change::default();
    for (key, value) in pairs {
        let old = table.get(place.key(key)).map_err(Error::index("read"))?;
        change.less += old.map_or(0, |old| (key.len() + old.value().len()) as u64);
        change.more += (key.len() + value.len()) as u64;
    }
    charge(index, &place.owner, change, drafted)?;
    for (key, value) in pairs {
        table.insert(place.key(key), value.as_slice()).map_err(Error::index("write"))?;
    }
    Ok(())
}
