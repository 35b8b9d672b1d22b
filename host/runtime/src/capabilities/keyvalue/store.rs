//! `wasi:keyvalue/store`: one key at a time.

use wasmtime::Result;
use wasmtime::component::Resource;

use super::Bucket;
use crate::bindings::keyvalue::store::{Error, Host, HostBucket, KeyResponse};
use crate::capabilities::storage::Refused;
use crate::sandbox::Sandbox;

impl Host for Sandbox {
    async fn open(&mut self, identifier: String) -> Result<std::result::Result<Resource<Bucket>, Error>> {
        let granted = &self.route.grants.buckets;
        match self.place("bucket", "grants.buckets", granted, &identifier) {
            Ok((storage, owner)) => {
                let bucket = Bucket(storage.bucket(owner, identifier));
                Ok(Ok(self.table.push(bucket)?))
            }
            // the interface has a case without a text for it; the guest's own log has the text
            Err(Refused::NotGranted(text)) => {
                self.say(tracing::Level::WARN, "warn", "wasi:keyvalue", &text);
                Ok(Err(Error::AccessDenied))
            }
            Err(refused) => Ok(Err(Error::Other(refused.into_text()))),
        }
    }
}

impl HostBucket for Sandbox {
    async fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<std::result::Result<Option<Vec<u8>>, Error>> {
        self.with_bucket("keyvalue.get", &bucket, |bucket| async move { bucket.get(&key).await }).await
    }

    async fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> Result<std::result::Result<(), Error>> {
        self.with_bucket("keyvalue.set", &bucket, |bucket| async move { bucket.set(key, value).await }).await
    }

    async fn delete(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<std::result::Result<(), Error>> {
        self.with_bucket("keyvalue.delete", &bucket, |bucket| async move { bucket.delete(key).await }).await
    }

    async fn exists(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<std::result::Result<bool, Error>> {
        self.with_bucket("keyvalue.exists", &bucket, |bucket| async move { bucket.exists(&key).await }).await
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<String>,
    ) -> Result<std::result::Result<KeyResponse, Error>> {
        let listed = self.with_bucket("keyvalue.list", &bucket, |bucket| async move {
            let page = bucket.keys(cursor).await?;
            Ok(KeyResponse { keys: page.keys, cursor: page.next })
        });
        listed.await
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}
