//! `wasi:keyvalue/batch`: several keys at once. The interface promises less than what happens: a batch is written whole or not
//! at all.

use atelier_store::Bucket as Kept;
use wasmtime::Result;
use wasmtime::component::Resource;

use super::Bucket;
use crate::bindings::keyvalue::batch::Host;
use crate::bindings::keyvalue::store::Error;
use crate::sandbox::Sandbox;

/// A value with its key, where there is one.
type Found = Option<(String, Vec<u8>)>;

impl Host for Sandbox {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<std::result::Result<Vec<Found>, Error>> {
        // as much as the guest could hand over at once
        let limit = self.route.limits.hostcall_bytes as u64;
        let get = |bucket: Kept| async move { bucket.get_many(keys, limit).await };
        self.with_bucket("keyvalue.get", &bucket, get).await
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        key_values: Vec<(String, Vec<u8>)>,
    ) -> Result<std::result::Result<(), Error>> {
        let set = |bucket: Kept| async move { bucket.set_many(key_values).await };
        self.with_bucket("keyvalue.set", &bucket, set).await
    }

    async fn delete_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<std::result::Result<(), Error>> {
        let delete = |bucket: Kept| async move { bucket.delete_many(keys).await };
        self.with_bucket("keyvalue.delete", &bucket, delete).await
    }
}
