//! `wasi:blobstore`: one file per interface of the package, and the stream that writes an object (`pen.rs`). Errors of this
//! package are texts; a trap is left for guests that drop things in another order than the interface says.

mod container;
mod pen;
mod service;
mod types;

use atelier_store::{Container as Kept, Error as StoreError};
use wasmtime::Result;
use wasmtime::component::Resource;

use super::storage::told;
use crate::sandbox::Sandbox;

#[expect(unreachable_pub, reason = "the generated bindings re-export them")]
pub use container::Names;
#[expect(unreachable_pub, reason = "the generated bindings re-export them")]
pub use types::{IncomingValue, OutgoingValue};

/// What is behind a guest's handle of a container.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Container(Kept);

impl Sandbox {
    /// A container of the tenant, there or not, when the route grants it.
    fn granted_container(&self, name: String) -> std::result::Result<Kept, String> {
        let granted = &self.route.grants.containers;
        let place = self.place("container", "grants.containers", granted, &name);
        let (storage, owner) = place.map_err(|refused| refused.into_text())?;
        Ok(storage.container(owner, name))
    }

    /// Does something with a container that the guest has a handle of.
    async fn with_container<R, W: Future<Output = std::result::Result<R, StoreError>>>(
        &mut self,
        name: &'static str,
        container: &Resource<Container>,
        work: impl FnOnce(Kept) -> W,
    ) -> Result<std::result::Result<R, String>> {
        let Container(kept) = self.table.get(container)?.clone();
        Ok(self.stored(name, work(kept)).await)
    }

    /// Waits for the storage; what fails is a text for the guest.
    async fn stored<R>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = std::result::Result<R, StoreError>>,
    ) -> std::result::Result<R, String> {
        self.wait_for(name, work).await.map_err(|error| told(self.meter(), &error))
    }
}
