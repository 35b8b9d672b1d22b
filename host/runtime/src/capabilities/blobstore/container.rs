//! `wasi:blobstore/container`: the objects of one container.

use atelier_store::{Container as Kept, Error as StoreError, MAX_PAGE};
use wasmtime::Result;
use wasmtime::component::Resource;

use super::service::no_container;
use super::{Container, IncomingValue, OutgoingValue};
use crate::bindings::blobstore::container::{Host, HostContainer, HostStreamObjectNames};
use crate::bindings::blobstore::types::{ContainerMetadata, ObjectMetadata};
use crate::sandbox::Sandbox;

/// What the interface's functions return.
type Told<R> = std::result::Result<R, String>;

/// What is behind a guest's handle of a list of names: how far it has got.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Names {
    container: Kept,
    after: Option<String>,
    is_over: bool,
}

impl Host for Sandbox {}

impl HostContainer for Sandbox {
    fn name(&mut self, container: Resource<Container>) -> Result<Told<String>> {
        Ok(Ok(self.table.get(&container)?.0.name().to_owned()))
    }

    async fn info(&mut self, container: Resource<Container>) -> Result<Told<ContainerMetadata>> {
        let look = |kept: Kept| async move { Ok((kept.created().await?, kept.name().to_owned())) };
        Ok(self.with_container("blobstore.info", &container, look).await?.and_then(|(created, name)| {
            let created_at = created.ok_or_else(|| no_container(&name))?;
            Ok(ContainerMetadata { name, created_at })
        }))
    }

    async fn get_data(
        &mut self,
        container: Resource<Container>,
        name: String,
        start: u64,
        end: u64,
    ) -> Result<Told<Resource<IncomingValue>>> {
        let held = match self.hold_object() {
            Ok(held) => held,
            Err(told) => return Ok(Err(told)),
        };
        let read = |kept: Kept| async move { kept.read(&name, start, end).await };
        Ok(match self.with_container("blobstore.read", &container, read).await? {
            Ok(blob) => Ok(self.table.push(IncomingValue::new(blob, held))?),
            Err(told) => Err(told),
        })
    }

    /// Says where the value goes when it is finished.
    fn write_data(
        &mut self,
        container: Resource<Container>,
        name: String,
        data: Resource<OutgoingValue>,
    ) -> Result<Told<()>> {
        let Container(kept) = self.table.get(&container)?.clone();
        Ok(self.table.get_mut(&data)?.address(kept, name))
    }

    async fn list_objects(&mut self, container: Resource<Container>) -> Result<Told<Resource<Names>>> {
        let Container(kept) = self.table.get(&container)?.clone();
        Ok(Ok(self.table.push(Names { container: kept, after: None, is_over: false })?))
    }

    async fn delete_object(&mut self, container: Resource<Container>, name: String) -> Result<Told<()>> {
        self.delete_objects(container, vec![name]).await
    }

    async fn delete_objects(
        &mut self,
        container: Resource<Container>,
        names: Vec<String>,
    ) -> Result<Told<()>> {
        let delete = |kept: Kept| async move { kept.delete_objects(names).await };
        self.with_container("blobstore.delete", &container, delete).await
    }

    async fn has_object(&mut self, container: Resource<Container>, name: String) -> Result<Told<bool>> {
        let look = |kept: Kept| async move { Ok(kept.info(&name).await?.is_some()) };
        self.with_container("blobstore.info", &container, look).await
    }

    async fn object_info(
        &mut self,
        container: Resource<Container>,
        name: String,
    ) -> Result<Told<ObjectMetadata>> {
        let look = |kept: Kept| async move {
            let container = kept.name().to_owned();
            match kept.info(&name).await? {
                Some(info) => {
                    Ok(ObjectMetadata { name, container, created_at: info.created, size: info.size })
                }
                None => Err(StoreError::NoObject { container, object: name }),
            }
        };
        self.with_container("blobstore.info", &container, look).await
    }

    async fn clear(&mut self, container: Resource<Container>) -> Result<Told<()>> {
        let clear = |kept: Kept| async move { kept.clear().await };
        self.with_container("blobstore.delete", &container, clear).await
    }

    fn drop(&mut self, container: Resource<Container>) -> Result<()> {
        self.table.delete(container)?;
        Ok(())
    }
}

impl HostStreamObjectNames for Sandbox {
    async fn read_stream_object_names(
        &mut self,
        names: Resource<Names>,
        len: u64,
    ) -> Result<Told<(Vec<String>, bool)>> {
        self.next_names(&names, len).await
    }

    async fn skip_stream_object_names(
        &mut self,
        names: Resource<Names>,
        num: u64,
    ) -> Result<Told<(u64, bool)>> {
        let skipped = self.next_names(&names, num).await?;
        Ok(skipped.map(|(names, is_over)| (names.len() as u64, is_over)))
    }

    fn drop(&mut self, names: Resource<Names>) -> Result<()> {
        self.table.delete(names)?;
        Ok(())
    }
}

impl Sandbox {
    /// At most so many names more, and whether they were the last. However many are asked for, a page is what there is.
    async fn next_names(&mut self, names: &Resource<Names>, count: u64) -> Result<Told<(Vec<String>, bool)>> {
        let Names { container, after, is_over } = self.table.get(names)?;
        if *is_over || count == 0 {
            return Ok(Ok((Vec::new(), *is_over)));
        }
        let count = usize::try_from(count).unwrap_or(MAX_PAGE);
        let (container, after) = (container.clone(), after.clone());
        let list = async move { container.list(after, count).await };
        let listed = self.stored("blobstore.list", list).await;
        if let Ok((page, is_over)) = &listed {
            let names = self.table.get_mut(names)?;
            names.is_over = *is_over;
            names.after = page.last().cloned().or_else(|| names.after.take());
        }
        Ok(listed)
    }
}
