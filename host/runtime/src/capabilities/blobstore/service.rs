//! `wasi:blobstore/blobstore`: containers by name, and objects from one to another. A container that the route grants is there
//! when the guest has created it.

use atelier_store::Container as Kept;
use wasmtime::Result;
use wasmtime::component::Resource;

use super::Container;
use crate::bindings::blobstore::blobstore::Host;
use crate::bindings::blobstore::types::ObjectId;
use crate::sandbox::Sandbox;

/// What the interface's functions return.
type Told<R> = std::result::Result<R, String>;

impl Host for Sandbox {
    async fn create_container(&mut self, name: String) -> Result<Told<Resource<Container>>> {
        let created = match self.granted_container(name) {
            Ok(kept) => self.stored("blobstore.create", kept.create()).await.map(|()| kept),
            Err(refused) => Err(refused),
        };
        self.handed_out(created)
    }

    async fn get_container(&mut self, name: String) -> Result<Told<Resource<Container>>> {
        let found = match self.granted_container(name) {
            Ok(kept) => self
                .stored("blobstore.info", kept.created())
                .await
                .and_then(|created| created.map(|_| kept.clone()).ok_or_else(|| no_container(kept.name()))),
            Err(refused) => Err(refused),
        };
        self.handed_out(found)
    }

    async fn delete_container(&mut self, name: String) -> Result<Told<()>> {
        Ok(match self.granted_container(name) {
            Ok(kept) => self.stored("blobstore.delete", kept.delete()).await,
            Err(refused) => Err(refused),
        })
    }

    async fn container_exists(&mut self, name: String) -> Result<Told<bool>> {
        Ok(match self.granted_container(name) {
            Ok(kept) => self.stored("blobstore.info", kept.created()).await.map(|created| created.is_some()),
            Err(refused) => Err(refused),
        })
    }

    async fn copy_object(&mut self, src: ObjectId, dest: ObjectId) -> Result<Told<()>> {
        Ok(self.transfer(src, dest, false).await)
    }

    async fn move_object(&mut self, src: ObjectId, dest: ObjectId) -> Result<Told<()>> {
        Ok(self.transfer(src, dest, true).await)
    }
}

impl Sandbox {
    fn handed_out(&mut self, kept: Told<Kept>) -> Result<Told<Resource<Container>>> {
        Ok(match kept {
            Ok(kept) => Ok(self.table.push(Container(kept))?),
            Err(told) => Err(told),
        })
    }

    async fn transfer(&mut self, src: ObjectId, dest: ObjectId, moves: bool) -> Told<()> {
        let (from, to) = (self.granted_container(src.container)?, self.granted_container(dest.container)?);
        self.stored("blobstore.copy", from.copy(src.object, &to, dest.object, moves)).await
    }
}

pub(super) fn no_container(name: &str) -> String {
    atelier_store::Error::NoContainer(name.to_owned()).to_string()
}
