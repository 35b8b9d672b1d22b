//! `wasi:keyvalue/atomics`: counting up, and setting a key only if nobody else did. A handle remembers which value the guest
//! saw by its digest, so that handles of large values take no room.

use atelier_store::{Bucket as Kept, Version};
use wasmtime::Result;
use wasmtime::component::Resource;

use super::Bucket;
use crate::bindings::keyvalue::atomics::{CasError, Host, HostCas};
use crate::bindings::keyvalue::store::Error;
use crate::capabilities::storage::told;
use crate::sandbox::Sandbox;

/// What is behind a guest's handle of a swap.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Swap {
    bucket: Kept,
    key: String,
    seen: Version,
}

impl Host for Sandbox {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: i64,
    ) -> Result<std::result::Result<i64, Error>> {
        let add = |bucket: Kept| async move { bucket.increment(key, delta).await };
        self.with_bucket("keyvalue.increment", &bucket, add).await
    }

    async fn swap(
        &mut self,
        cas: Resource<Swap>,
        value: Vec<u8>,
    ) -> Result<std::result::Result<(), CasError>> {
        let Swap { bucket, key, seen } = self.table.delete(cas)?;
        let swapped = self.wait_for("keyvalue.swap", bucket.swap(key.clone(), seen, value)).await;
        Ok(match swapped {
            Ok(Ok(())) => Ok(()),
            Ok(Err(seen)) => Err(CasError::CasFailed(self.table.push(Swap { bucket, key, seen })?)),
            Err(error) => Err(CasError::StoreError(Error::Other(told(self.meter(), &error)))),
        })
    }
}

impl HostCas for Sandbox {
    async fn new(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<std::result::Result<Resource<Swap>, Error>> {
        let look = |bucket: Kept| async move {
            let seen = Version::of(bucket.get(&key).await?.as_deref());
            Ok(Swap { bucket, key, seen })
        };
        Ok(match self.with_bucket("keyvalue.get", &bucket, look).await? {
            Ok(swap) => Ok(self.table.push(swap)?),
            Err(error) => Err(error),
        })
    }

    /// The value now; it is the one that the swap wants to find from then on.
    async fn current(&mut self, cas: Resource<Swap>) -> Result<std::result::Result<Option<Vec<u8>>, Error>> {
        let Swap { bucket, key, .. } = self.table.get(&cas)?;
        let (bucket, key) = (bucket.clone(), key.clone());
        match self.wait_for("keyvalue.get", bucket.get(&key)).await {
            Ok(value) => {
                self.table.get_mut(&cas)?.seen = Version::of(value.as_deref());
                Ok(Ok(value))
            }
            Err(error) => Ok(Err(Error::Other(told(self.meter(), &error)))),
        }
    }

    fn drop(&mut self, cas: Resource<Swap>) -> Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}
