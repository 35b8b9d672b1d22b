//! `wasi:blobstore/types`: values on their way in and out. A value that is written goes into a file as its bytes come, and
//! becomes an object when it is finished; one that is read is a file from which the guest takes what it asks for.

use std::pin::Pin;
use std::task::{Context, Poll};

use atelier_store::{Blob, Container as Kept};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::pipe::AsyncReadStream;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use super::pen::Pen;
use crate::bindings::blobstore::types::{Host, HostIncomingValue, HostOutgoingValue};
use crate::sandbox::{Held, Sandbox};

/// What the interface's functions return.
type Told<R> = std::result::Result<R, String>;

/// What is behind a guest's handle of a value that it writes.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OutgoingValue {
    pen: Pen,
    is_taken: bool,
    target: Option<(Kept, String)>,
}

impl OutgoingValue {
    /// Says where the value goes, once.
    pub(super) fn address(&mut self, container: Kept, name: String) -> Told<()> {
        if self.target.is_some() {
            return Err("this value is for another object already; make a value of its own for each".into());
        }
        self.target = Some((container, name));
        Ok(())
    }
}

/// What is behind a guest's handle of a value that it reads.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct IncomingValue {
    blob: Blob,
    held: Held,
}

impl IncomingValue {
    pub(super) fn new(blob: Blob, held: Held) -> Self {
        Self { blob, held }
    }
}

/// An object's bytes, counted among those that the guest reads for as long as there are more of them.
struct Counted {
    bytes: Box<dyn AsyncRead + Send + Unpin>,
    _held: Held,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.bytes).poll_read(context, buffer)
    }
}

impl Host for Sandbox {}

impl Sandbox {
    /// Reserves an object that is read or written; the text names the limit.
    pub(super) fn hold_object(&self) -> Told<Held> {
        self.meter().hold_object().map_err(|limit| {
            format!("this guest reads and writes {limit} objects already; no more at a time")
        })
    }

    async fn begin(&mut self) -> Told<Pen> {
        let held = self.hold_object()?;
        let storage = self.host.storage.get().filter(|_| !self.route.grants.containers.is_empty());
        let storage = storage.ok_or("this route grants no container (grants.containers)")?.clone();
        let owner = self.owner();
        let draft = self.stored("blobstore.begin", storage.draft(owner)).await?;
        Ok(Pen::new(draft, self.meter().clone(), held))
    }
}

impl HostOutgoingValue for Sandbox {
    async fn new_outgoing_value(&mut self) -> Result<Resource<OutgoingValue>> {
        // the interface has no error here; who writes or finishes such a value is told
        let pen = self.begin().await.unwrap_or_else(Pen::broken);
        Ok(self.table.push(OutgoingValue { pen, is_taken: false, target: None })?)
    }

    fn outgoing_value_write_body(
        &mut self,
        value: Resource<OutgoingValue>,
    ) -> Result<std::result::Result<Resource<DynOutputStream>, ()>> {
        let outgoing = self.table.get_mut(&value)?;
        if std::mem::replace(&mut outgoing.is_taken, true) {
            return Ok(Err(()));
        }
        let stream: DynOutputStream = Box::new(outgoing.pen.stream());
        Ok(Ok(self.table.push_child(stream, &value)?))
    }

    /// Traps while the guest has the value's stream, as the interface says.
    async fn finish(&mut self, value: Resource<OutgoingValue>) -> Result<Told<()>> {
        let OutgoingValue { pen, target, .. } = self.table.delete(value)?;
        let draft = match self.wait_for("blobstore.write", pen.finish()).await {
            Ok(draft) => draft,
            Err(told) => return Ok(Err(told)),
        };
        let Some((container, name)) = target else {
            return Ok(Err("this value is for no object; call write-data before finish".into()));
        };
        Ok(self.stored("blobstore.write", draft.finish(&container, name)).await)
    }

    fn drop(&mut self, value: Resource<OutgoingValue>) -> Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}

impl HostIncomingValue for Sandbox {
    async fn incoming_value_consume_sync(&mut self, value: Resource<IncomingValue>) -> Result<Told<Vec<u8>>> {
        let IncomingValue { blob, held: _held } = self.table.delete(value)?;
        let limit = self.route.limits.hostcall_bytes as u64;
        if blob.size() > limit {
            let size = blob.size();
            return Ok(Err(format!(
                "{size} bytes are more than the {limit} of one call (limits.hostcall-bytes); read them as a stream"
            )));
        }
        let mut bytes = Vec::with_capacity(blob.size() as usize);
        let mut reader = blob.into_reader();
        let read = self.wait_for("blobstore.read", reader.read_to_end(&mut bytes)).await;
        Ok(read.map(|_| bytes).map_err(|error| super::pen::failed(self.meter(), &error)))
    }

    fn incoming_value_consume_async(
        &mut self,
        value: Resource<IncomingValue>,
    ) -> Result<Told<Resource<DynInputStream>>> {
        let IncomingValue { blob, held } = self.table.delete(value)?;
        let counted = Counted { bytes: blob.into_reader(), _held: held };
        let stream: DynInputStream = Box::new(AsyncReadStream::new(counted));
        Ok(Ok(self.table.push(stream)?))
    }

    fn size(&mut self, value: Resource<IncomingValue>) -> Result<u64> {
        Ok(self.table.get(&value)?.blob.size())
    }

    fn drop(&mut self, value: Resource<IncomingValue>) -> Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}
