//! Buckets of keys, in the index itself. A key is set, counted up or swapped in one transaction; several keys of a batch are
//! in one as well, so that they are all there or none.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{ReadableTable, WriteTransaction};

use super::charge::{Change, charge};
use super::index::VALUES;
use super::{MAX_PAGE, Owner, Shared, checked};
use crate::Error;

/// A bucket of one owner.
#[derive(Clone)]
pub struct Bucket {
    shared: Arc<Shared>,
    place: Arc<Place>,
}

struct Place {
    owner: Owner,
    name: Arc<str>,
}

/// A page of a bucket's keys, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// At most [`MAX_PAGE`].
    pub keys: Vec<String>,
    /// After which key the next page begins; none when this was the last.
    pub next: Option<String>,
}

/// Which value a key had: what [`Bucket::swap`] wants it to have still. Holds a digest, however large the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(Option<blake3::Hash>);

impl Version {
    /// Of a value; of a key that is not there when `None`.
    pub fn of(value: Option<&[u8]>) -> Self {
        Self(value.map(blake3::hash))
    }
}

impl Place {
    fn key<'a>(&'a self, key: &'a str) -> (&'a str, &'a str, &'a str) {
        (&self.owner.id, &self.name, key)
    }
}

impl Bucket {
    pub(super) fn new(shared: Arc<Shared>, owner: Owner, name: Arc<str>) -> Self {
        Self { shared, place: Arc::new(Place { owner, name }) }
    }

    /// The value of a key; `None` when it is not there.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut found = self.many("get", vec![key.to_owned()], u64::MAX).await?;
        Ok(found.pop().flatten().map(|(_, value)| value))
    }

    /// The keys that are there of these, each with its value, in the order in which they were asked for; `None` in place of the
    /// others. All values together have at most `limit` bytes.
    pub async fn get_many(
        &self,
        keys: Vec<String>,
        limit: u64,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, Error> {
        self.many("get_many", keys, limit).await
    }

    async fn many(
        &self,
        operation: &'static str,
        keys: Vec<String>,
        limit: u64,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, Error> {
        let found = match all_checked(&keys) {
            Ok(()) => self.look_up(keys, limit).await,
            Err(error) => Err(error),
        };
        self.shared.values.ended(operation, &found);
        if let Ok(found) = &found {
            self.shared.values.read(found.iter().flatten().map(|(_, value)| value.len() as u64).sum());
        }
        found
    }

    async fn look_up(&self, keys: Vec<String>, limit: u64) -> Result<Vec<Option<(String, Vec<u8>)>>, Error> {
        let place = self.place.clone();
        let look = move |index: &redb::ReadTransaction| {
            let table = index.open_table(VALUES).map_err(Error::index("read"))?;
            let (mut found, mut sum) = (Vec::with_capacity(keys.len()), 0_u64);
            for key in keys {
                let value = table.get(place.key(&key)).map_err(Error::index("read"))?;
                let value = value.map(|value| value.value().to_vec());
                sum = sum.saturating_add(value.as_ref().map_or(0, |value| value.len() as u64));
                if sum > limit {
                    return Err(Error::TooMany(format!("these values have more than {limit} bytes")));
                }
                found.push(value.map(|value| (key, value)));
            }
            Ok(found)
        };
        self.shared.index.read(look).await
    }

    /// Whether a key is there.
    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        let (place, name) = (self.place.clone(), key.to_owned());
        let look = move |index: &redb::ReadTransaction| {
            let table = index.open_table(VALUES).map_err(Error::index("read"))?;
            Ok(table.get(place.key(&name)).map_err(Error::index("read"))?.is_some())
        };
        let found = match checked("key", key) {
            Ok(()) => self.shared.index.read(look).await,
            Err(error) => Err(error),
        };
        self.shared.values.ended("exists", &found);
        found
    }

    /// A page of keys: those after `after`, or the first.
    pub async fn keys(&self, after: Option<String>) -> Result<Keys, Error> {
        let place = self.place.clone();
        let look = move |index: &redb::ReadTransaction| {
            let table = index.open_table(VALUES).map_err(Error::index("read"))?;
            let after = after.as_deref().unwrap_or_default();
            let mut keys = Vec::new();
            for entry in table.range(place.key(after)..).map_err(Error::index("read"))? {
                let (at, _) = entry.map_err(Error::index("read"))?;
                let (owner, bucket, key) = at.value();
                if (owner, bucket) != (&*place.owner.id, &*place.name) {
                    return Ok(Keys { keys, next: None });
                }
                if keys.len() == MAX_PAGE {
                    return Ok(Keys { next: keys.last().cloned(), keys });
                }
                // no key is empty, so that the first page leaves none out
                if key != after {
                    keys.push(key.to_owned());
                }
            }
            Ok(Keys { keys, next: None })
        };
        let page = self.shared.index.read(look).await;
        self.shared.values.ended("list_keys", &page);
        page
    }

    /// Sets a key, whether it is there or not.
    pub async fn set(&self, key: String, value: Vec<u8>) -> Result<(), Error> {
        self.write("set", vec![(key, value)]).await
    }

    /// Sets all of these keys, or none. Of a key that is named twice, the last value counts.
    pub async fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        self.write("set_many", pairs).await
    }

    async fn write(&self, operation: &'static str, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        let bytes = pairs.iter().map(|(_, value)| value.len() as u64).sum();
        let written = match self.check_pairs(&pairs) {
            Ok(()) => {
                let (place, shared) = (self.place.clone(), self.shared.clone());
                let put = move |index: &WriteTransaction| {
                    let pairs: BTreeMap<String, Vec<u8>> = pairs.into_iter().collect();
                    put(index, &place, &pairs, shared.drafted.of(&place.owner))
                };
                self.shared.index.write(put).await
            }
            Err(error) => Err(error),
        };
        self.shared.values.ended(operation, &written);
        if written.is_ok() {
            self.shared.values.written(bytes);
        }
        written
    }

    fn check_pairs(&self, pairs: &[(String, Vec<u8>)]) -> Result<(), Error> {
        within_batch(pairs.len())?;
        let limit = self.shared.config.value_bytes;
        for (key, value) in pairs {
            checked("key", key)?;
            if value.len() as u64 > limit {
                return Err(Error::TooLarge { what: "a value", limit, key: "store.value-bytes" });
            }
        }
        Ok(())
    }

    /// Deletes a key; that it is not there is no error.
    pub async fn delete(&self, key: String) -> Result<(), Error> {
        self.erase("delete", vec![key]).await
    }

    /// Deletes all of these keys that are there.
    pub async fn delete_many(&self, keys: Vec<String>) -> Result<(), Error> {
        self.erase("delete_many", keys).await
    }

    async fn erase(&self, operation: &'static str, keys: Vec<String>) -> Result<(), Error> {
        let (place, batch) = (self.place.clone(), within_batch(keys.len()));
        let erase = move |index: &WriteTransaction| {
            let mut table = index.open_table(VALUES).map_err(Error::index("write"))?;
            let mut change = Change::default();
            for key in &keys {
                let old = table.remove(place.key(key)).map_err(Error::index("write"))?;
                change.less += old.map_or(0, |old| (key.len() + old.value().len()) as u64);
            }
            charge(index, &place.owner, change, 0)
        };
        let erased = match batch {
            Ok(()) => self.shared.index.write(erase).await,
            Err(error) => Err(error),
        };
        self.shared.values.ended(operation, &erased);
        erased
    }

    /// Adds `delta` to the whole number that a key holds as decimal digits, 0 when it is not there; the sum.
    pub async fn increment(&self, key: String, delta: i64) -> Result<i64, Error> {
        let (place, shared) = (self.place.clone(), self.shared.clone());
        let name = key.clone();
        let add = move |index: &WriteTransaction| {
            let old = current(index, &place, &name)?;
            let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i64>().ok();
            let before = old.as_deref().map_or(Some(0), number);
            let sum = before.and_then(|before| before.checked_add(delta));
            let sum = sum.ok_or_else(|| Error::NoNumber(name.clone()))?;
            let pair = [(name, sum.to_string().into_bytes())].into();
            put(index, &place, &pair, shared.drafted.of(&place.owner))?;
            Ok(sum)
        };
        let sum = match checked("key", &key) {
            Ok(()) => self.shared.index.write(add).await,
            Err(error) => Err(error),
        };
        self.shared.values.ended("increment", &sum);
        if let Ok(sum) = &sum {
            self.shared.values.written(sum.to_string().len() as u64);
        }
        sum
    }

    /// Sets a key if it has the `expected` value still, or says which it has instead.
    pub async fn swap(
        &self,
        key: String,
        expected: Version,
        value: Vec<u8>,
    ) -> Result<Result<(), Version>, Error> {
        let (place, shared, bytes) = (self.place.clone(), self.shared.clone(), value.len() as u64);
        let pair = [(key, value)];
        let swapped = match self.check_pairs(&pair) {
            Ok(()) => {
                let swap = move |index: &WriteTransaction| {
                    let [(key, value)] = pair;
                    let found = Version::of(current(index, &place, &key)?.as_deref());
                    if found != expected {
                        return Ok(Err(found));
                    }
                    put(index, &place, &[(key, value)].into(), shared.drafted.of(&place.owner)).map(Ok)
                };
                self.shared.index.write(swap).await
            }
            Err(error) => Err(error),
        };
        self.shared.values.ended("swap", &swapped);
        if let Ok(Ok(())) = swapped {
            self.shared.values.written(bytes);
        }
        swapped
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("name", &self.place.name).finish_non_exhaustive()
    }
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

fn within_batch(count: usize) -> Result<(), Error> {
    if count <= MAX_PAGE {
        return Ok(());
    }
    Err(Error::TooMany(format!("{count} keys are more than the {MAX_PAGE} of a batch")))
}

fn all_checked(keys: &[String]) -> Result<(), Error> {
    within_batch(keys.len())?;
    keys.iter().try_for_each(|key| checked("key", key))
}
