//! [`Storage`] on the bindings.

use super::Granted;
use crate::bindings::wasi::blobstore::blobstore;
use crate::bindings::wasi::blobstore::container::Container;
use crate::bindings::wasi::blobstore::types::{IncomingValue, OutgoingValue};
use crate::bindings::wasi::keyvalue::atomics::{self, Cas, CasError};
use crate::bindings::wasi::keyvalue::store::{self, Bucket, Error};
use crate::storage::{Storage, StorageError};

/// The most bytes that one write of `wasi:io` takes.
const WRITE_BYTES: usize = 4096;

impl Storage for Granted {
    async fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        open(bucket)?.get(key).map_err(store_error)
    }

    async fn replace(
        &self,
        bucket: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
    ) -> Result<bool, StorageError> {
        let bucket = open(bucket)?;
        let cas = Cas::new(&bucket, key).map_err(store_error)?;
        if cas.current().map_err(store_error)?.as_deref() != expected {
            return Ok(false);
        }
        match atomics::swap(cas, value) {
            Ok(()) => Ok(true),
            Err(CasError::CasFailed(_)) => Ok(false),
            Err(CasError::StoreError(error)) => Err(store_error(error)),
        }
    }

    async fn add(&self, bucket: &str, key: &str, delta: i64) -> Result<i64, StorageError> {
        atomics::increment(&open(bucket)?, key, delta).map_err(store_error)
    }

    async fn read(&self, name_of_container: &str, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let container = container(name_of_container)?;
        let name = name.to_owned();
        if !container.has_object(&name).map_err(StorageError::Failed)? {
            return Ok(None);
        }
        // both ends count, and what lies behind the object's is not there
        let value = container.get_data(&name, 0, u64::MAX).map_err(StorageError::Failed)?;
        IncomingValue::incoming_value_consume_sync(value).map(Some).map_err(StorageError::Failed)
    }

    async fn write(&self, name_of_container: &str, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let container = container(name_of_container)?;
        let value = OutgoingValue::new_outgoing_value();
        let broken = || StorageError::Failed("the object's body cannot be written".into());
        {
            let body = value.outgoing_value_write_body().map_err(|()| broken())?;
            container.write_data(&name.to_owned(), &value).map_err(StorageError::Full)?;
            for piece in bytes.chunks(WRITE_BYTES) {
                body.blocking_write_and_flush(piece).map_err(|_| broken())?;
            }
        }
        OutgoingValue::finish(value).map_err(StorageError::Full)
    }

    async fn remove(&self, name_of_container: &str, name: &str) -> Result<(), StorageError> {
        container(name_of_container)?.delete_object(&name.to_owned()).map_err(StorageError::Failed)
    }
}

fn open(bucket: &str) -> Result<Bucket, StorageError> {
    store::open(bucket).map_err(|error| match error {
        Error::NoSuchStore | Error::AccessDenied => denied("buckets", bucket),
        Error::Other(text) => StorageError::Failed(text),
    })
}

/// A granted container, which is made when it is wanted first.
fn container(name: &str) -> Result<Container, StorageError> {
    let name = name.to_owned();
    // the interface has texts for errors and no cases; these are of a grant that lacks, or of the disk
    if blobstore::container_exists(&name).map_err(StorageError::Denied)? {
        return blobstore::get_container(&name).map_err(StorageError::Failed);
    }
    // another request may have made it meanwhile
    let made = blobstore::create_container(&name);
    made.or_else(|_| blobstore::get_container(&name)).map_err(StorageError::Failed)
}

fn denied(kind: &str, name: &str) -> StorageError {
    StorageError::Denied(format!("`{name}` is not granted to this route; add it to `grants.{kind}`"))
}

fn store_error(error: Error) -> StorageError {
    match error {
        Error::NoSuchStore => StorageError::Failed("the bucket is gone".into()),
        Error::AccessDenied => StorageError::Denied("the bucket is not granted to this route".into()),
        // quotas and limits come as texts: the interface has no case for them
        Error::Other(text) => StorageError::Full(text),
    }
}
