//! Buckets of keys: what callers see, with bounds and counts. The values are in the index (`embedded.rs`), or in Redis where an
//! operator says so (`redis.rs`).

mod embedded;
mod redis;

use std::sync::Arc;

use super::{MAX_PAGE, Owner, Shared, checked};
use crate::Error;

pub(super) use redis::Redis;

/// A key with its value, if the key is there.
type Found = Option<(String, Vec<u8>)>;

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
    ) -> Result<Vec<Found>, Error> {
        let found = match (all_checked(&keys), &self.shared.redis) {
            (Err(error), _) => Err(error),
            (Ok(()), None) => embedded::get_many(&self.shared, self.place.clone(), keys, limit).await,
            (Ok(()), Some(redis)) => redis.get_many(&self.place, keys, limit).await,
        };
        if let Ok(found) = &found {
            self.shared.values.read(found.iter().flatten().map(|(_, value)| value.len() as u64).sum());
        }
        self.ended(operation, found)
    }

    /// Whether a key is there.
    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        let found = match (checked("key", key), &self.shared.redis) {
            (Err(error), _) => Err(error),
            (Ok(()), None) => embedded::exists(&self.shared, self.place.clone(), key.to_owned()).await,
            (Ok(()), Some(redis)) => redis.exists(&self.place, key).await,
        };
        self.ended("exists", found)
    }

    /// A page of keys: those after `after`, or the first.
    pub async fn keys(&self, after: Option<String>) -> Result<Keys, Error> {
        let page = match &self.shared.redis {
            None => embedded::keys(&self.shared, self.place.clone(), after).await,
            Some(redis) => redis.keys(&self.place, after).await,
        };
        self.ended("list_keys", page)
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
            Ok(()) => self.put(pairs).await,
            Err(error) => Err(error),
        };
        if written.is_ok() {
            self.shared.values.written(bytes);
        }
        self.ended(operation, written)
    }

    async fn put(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        // of a key that is there twice, the later one stays
        let pairs = pairs.into_iter().collect();
        match &self.shared.redis {
            None => embedded::set_many(&self.shared, self.place.clone(), pairs).await,
            Some(redis) => redis.set_many(&self.place, pairs, self.elsewhere().await?).await,
        }
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
        let erased = match (within_batch(keys.len()), &self.shared.redis) {
            (Err(error), _) => Err(error),
            (Ok(()), None) => embedded::delete_many(&self.shared, self.place.clone(), keys).await,
            (Ok(()), Some(redis)) => redis.delete_many(&self.place, &keys).await,
        };
        self.ended(operation, erased)
    }

    /// Adds `delta` to the whole number that a key holds as decimal digits, 0 when it is not there; the sum.
    pub async fn increment(&self, key: String, delta: i64) -> Result<i64, Error> {
        let sum = match checked("key", &key) {
            Ok(()) => self.add(key, delta).await,
            Err(error) => Err(error),
        };
        if let Ok(sum) = &sum {
            self.shared.values.written(sum.to_string().len() as u64);
        }
        self.ended("increment", sum)
    }

    async fn add(&self, key: String, delta: i64) -> Result<i64, Error> {
        match &self.shared.redis {
            None => embedded::increment(&self.shared, self.place.clone(), key, delta).await,
            Some(redis) => redis.increment(&self.place, &key, delta, self.elsewhere().await?).await,
        }
    }

    /// Sets a key if it has the `expected` value still, or says which it has instead.
    pub async fn swap(
        &self,
        key: String,
        expected: Version,
        value: Vec<u8>,
    ) -> Result<Result<(), Version>, Error> {
        let (bytes, pair) = (value.len() as u64, (key, value));
        let swapped = match self.check_pairs(std::slice::from_ref(&pair)) {
            Ok(()) => self.replace(pair, expected).await,
            Err(error) => Err(error),
        };
        if let Ok(Ok(())) = swapped {
            self.shared.values.written(bytes);
        }
        self.ended("swap", swapped)
    }

    async fn replace(
        &self,
        pair: (String, Vec<u8>),
        expected: Version,
    ) -> Result<Result<(), Version>, Error> {
        match &self.shared.redis {
            None => embedded::swap(&self.shared, self.place.clone(), pair, expected).await,
            Some(redis) => redis.swap(&self.place, &pair, expected, self.elsewhere().await?).await,
        }
    }

    /// What the owner keeps and writes in objects.
    async fn elsewhere(&self) -> Result<u64, Error> {
        let (id, drafted) = (self.place.owner.id.clone(), self.shared.drafted.of(&self.place.owner));
        let used = self.shared.index.read(move |index| super::charge::used(index, &id)).await?;
        Ok(used.saturating_add(drafted))
    }

    fn ended<R>(&self, operation: &'static str, result: Result<R, Error>) -> Result<R, Error> {
        self.shared.values.ended(operation, &result);
        result
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("name", &self.place.name).finish_non_exhaustive()
    }
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
