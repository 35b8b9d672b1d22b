//! `wasi:keyvalue`: one file per interface of the package. A bucket is its tenant's: the guest names it, the host knows whose.

mod atomics;
mod batch;
mod store;

use atelier_store::{Bucket as Kept, Error as StoreError};
use wasmtime::Result;
use wasmtime::component::Resource;

use super::storage::told;
use crate::bindings::keyvalue::store::Error;
use crate::sandbox::Sandbox;

#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use atomics::Swap;

/// What is behind a guest's handle of a bucket.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Bucket(Kept);

impl Sandbox {
    /// Does something with a bucket; what fails is a value for the guest.
    async fn with_bucket<R, W: Future<Output = std::result::Result<R, StoreError>>>(
        &mut self,
        name: &'static str,
        bucket: &Resource<Bucket>,
        work: impl FnOnce(Kept) -> W,
    ) -> Result<std::result::Result<R, Error>> {
        let Bucket(kept) = self.table.get(bucket)?.clone();
        let done = self.wait_for(name, work(kept)).await;
        Ok(done.map_err(|error| Error::Other(told(self.meter(), &error))))
    }
}
