//! What a handler keeps from one request to the next, as plain types behind one trait: values under keys in buckets
//! (`wasi:keyvalue`), and objects of any size in containers (`wasi:blobstore`). Which of them a route has is its manifest's to
//! say (`grants.buckets`, `grants.containers`); whose they are, the host knows.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// How often a change is tried again because another request came between. Each loses only to one that succeeded.
const TRIES: usize = 64;

/// Why something was not kept or found. The text is safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageError {
    /// The manifest does not grant it; the text names the key to add.
    Denied(String),
    /// A quota or a limit; the text names it.
    Full(String),
    /// Anything else.
    Failed(String),
}

/// Everything that a handler that keeps something asks of its host.
#[expect(async_fn_in_trait, reason = "guests run on one thread")]
pub trait Storage {
    /// A value, if there is one.
    async fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, StorageError>;
    /// Sets a value if the present one is `expected`; says whether it was.
    async fn replace(
        &self,
        bucket: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
    ) -> Result<bool, StorageError>;
    /// Adds to a number, which is 0 where there is none, and gives the sum.
    async fn add(&self, bucket: &str, key: &str, delta: i64) -> Result<i64, StorageError>;
    /// An object's bytes, if there is one.
    async fn read(&self, container: &str, name: &str) -> Result<Option<Vec<u8>>, StorageError>;
    /// Writes an object, whole or not at all.
    async fn write(&self, container: &str, name: &str, bytes: &[u8]) -> Result<(), StorageError>;
    /// Removes an object; there may be none.
    async fn remove(&self, container: &str, name: &str) -> Result<(), StorageError>;

    /// Changes a value: `change` makes the new one of the present one, and is asked again where another request came between.
    async fn update<T, E: From<StorageError>>(
        &self,
        bucket: &str,
        key: &str,
        mut change: impl FnMut(Option<&[u8]>) -> Result<(Vec<u8>, T), E>,
    ) -> Result<T, E> {
        for _ in 0..TRIES {
            let present = self.get(bucket, key).await?;
            let (value, made) = change(present.as_deref())?;
            if self.replace(bucket, key, present.as_deref(), &value).await? {
                return Ok(made);
            }
        }
        Err(StorageError::Failed(format!("`{key}` changes all the time; try again")).into())
    }
}

/// The same in this process's memory, for native tests of handlers.
#[derive(Debug, Default)]
pub struct Memory {
    /// Values, by bucket and key.
    pub values: RefCell<BTreeMap<(String, String), Vec<u8>>>,
    /// Objects, by container and name.
    pub objects: RefCell<BTreeMap<(String, String), Vec<u8>>>,
}

fn place(folder: &str, name: &str) -> (String, String) {
    (folder.to_owned(), name.to_owned())
}

impl Storage for Memory {
    async fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.values.borrow().get(&place(bucket, key)).cloned())
    }

    async fn replace(
        &self,
        bucket: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
    ) -> Result<bool, StorageError> {
        let mut values = self.values.borrow_mut();
        let is_expected = values.get(&place(bucket, key)).map(Vec::as_slice) == expected;
        if is_expected {
            values.insert(place(bucket, key), value.to_vec());
        }
        Ok(is_expected)
    }

    async fn add(&self, bucket: &str, key: &str, delta: i64) -> Result<i64, StorageError> {
        let mut values = self.values.borrow_mut();
        let value = values.entry(place(bucket, key)).or_insert_with(|| b"0".to_vec());
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
        let sum = number
            .and_then(|number| number.checked_add(delta))
            .ok_or_else(|| StorageError::Failed(format!("`{key}` is no number")))?;
        *value = sum.to_string().into_bytes();
        Ok(sum)
    }

    async fn read(&self, container: &str, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.objects.borrow().get(&place(container, name)).cloned())
    }

    async fn write(&self, container: &str, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.objects.borrow_mut().insert(place(container, name), bytes.to_vec());
        Ok(())
    }

    async fn remove(&self, container: &str, name: &str) -> Result<(), StorageError> {
        self.objects.borrow_mut().remove(&place(container, name));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_change_is_made_again_where_another_came_between() {
        let memory = Memory::default();
        let mut tries = 0;
        let append = |present: Option<&[u8]>| -> Result<_, StorageError> {
            tries += 1;
            if tries == 1 {
                // another request, between the look and the change
                memory.values.borrow_mut().insert(place("b", "k"), b"x".to_vec());
            }
            Ok(([present.unwrap_or_default(), b"y"].concat(), tries))
        };
        assert_eq!(block_on(memory.update("b", "k", append)), Ok(2));
        assert_eq!(block_on(memory.get("b", "k")), Ok(Some(b"xy".to_vec())));
    }

    #[test]
    fn a_number_begins_at_0() {
        let memory = Memory::default();
        assert_eq!(block_on(memory.add("b", "n", 2)), Ok(2));
        assert_eq!(block_on(memory.add("b", "n", -3)), Ok(-1));
    }
}
