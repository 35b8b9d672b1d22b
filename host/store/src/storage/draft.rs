//! An object that is being written. It becomes one in a single step, or leaves nothing. Until then it takes room of its own,
//! beside the object whose place it may take.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use redb::{ReadableTable, WriteTransaction};

use super::blobs::{Container, Place, ensure, release, unlink};
use super::charge::{Change, charge, used};
use super::copies::Registry;
use super::index::{FILES, OBJECTS};
use super::{Owner, Shared, checked};
use crate::Error;

/// An object in the making; dropping it forgets it.
pub struct Draft {
    shared: Arc<Shared>,
    owner: Owner,
    number: u64,
    file: Arc<File>,
    bytes: u64,
    /// What the owner kept when this was begun: whoever has no room left is told so early.
    used: u64,
    is_kept: bool,
}

impl Draft {
    pub(super) async fn begin(shared: Arc<Shared>, owner: Owner) -> Result<Self, Error> {
        let (id, files) = (owner.id.clone(), shared.files.clone());
        let prepare = move |index: &redb::ReadTransaction| Ok((used(index, &id)?, files.draft()?));
        let remote = shared.remote(&owner).await?;
        let (used, (number, file)) = shared.index.read(prepare).await?;
        let used = used.saturating_add(remote);
        Ok(Self { shared, owner, number, file: Arc::new(file), bytes: 0, used, is_kept: false })
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes more. After an error the draft is of no use.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let written = self.append(bytes).await;
        if written.is_err() {
            self.shared.blobs.ended("write", &written);
        }
        written
    }

    async fn append(&mut self, bytes: Bytes) -> Result<(), Error> {
        let (more, limit) = (bytes.len() as u64, self.shared.config.object_bytes);
        if self.bytes.saturating_add(more) > limit {
            return Err(Error::TooLarge { what: "an object", limit, key: "store.object-bytes" });
        }
        self.shared.drafted.take(&self.owner, self.used, more)?;
        self.bytes += more;
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || (&*file).write_all(&bytes)).await;
        let written = written.map_err(|_| Error::Closed)?;
        written.map_err(|source| Error::Io { action: "write", path: "an object".into(), source })
    }

    /// Makes it an object, in place of the one of that name. It is on the disk when this returns.
    pub async fn finish(mut self, container: &Container, name: String) -> Result<(), Error> {
        let counts = container.shared.clone();
        let kept = self.keep(container, name).await;
        counts.blobs.ended("write", &kept);
        if kept.is_ok() {
            counts.blobs.written(self.bytes);
        }
        kept
    }

    async fn keep(&mut self, container: &Container, name: String) -> Result<(), Error> {
        checked("object's name", &name)?;
        let (files, number, file) = (self.shared.files.clone(), self.number, self.file.clone());
        let remote = self.shared.remote(&self.owner).await?;
        let filed = tokio::task::spawn_blocking(move || files.keep(number, &file)).await;
        filed.map_err(|_| Error::Closed)??;
        self.is_kept = true;
        let entry = Entry {
            place: container.place.clone(),
            name,
            number,
            bytes: self.bytes,
            beside: remote + self.shared.drafted.of(&self.owner).saturating_sub(self.bytes),
            copies: self.shared.copies.clone(),
        };
        let listed = self.shared.index.write(move |index| entry.list(index)).await;
        self.shared.copies.wake();
        let unused = match &listed {
            Ok(replaced) => *replaced,
            // what the disk says of itself may be wrong: the file stays until the next start knows
            Err(error) if error.is_operators() => None,
            Err(_) => Some(number),
        };
        unlink(&self.shared, unused.into_iter().collect()).await;
        listed.map(drop)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.shared.drafted.give_back(&self.owner, self.bytes);
        if !self.is_kept {
            // what stays is removed when the folder is opened next
            let _ = self.shared.files.remove_draft(self.number);
        }
    }
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// What becomes known of a new object.
struct Entry {
    place: Arc<Place>,
    name: String,
    number: u64,
    bytes: u64,
    /// Of the owner's other drafts, and of values that are not in the index.
    beside: u64,
    copies: Arc<Registry>,
}

impl Entry {
    /// The file that is nobody's any more, if there is one.
    fn list(self, index: &WriteTransaction) -> Result<Option<u64>, Error> {
        let Self { place, name, number, bytes, beside, copies } = self;
        ensure(index, &place)?;
        let mut objects = index.open_table(OBJECTS).map_err(Error::index("write"))?;
        let old = objects.get(place.object(&name)).map_err(Error::index("read"))?.map(|old| old.value());
        let cost = |bytes: u64| name.len() as u64 + bytes;
        let change = Change { more: cost(bytes), less: old.map_or(0, |(_, bytes, _)| cost(bytes)) };
        charge(index, &place.owner, change, beside)?;
        objects.insert(place.object(&name), (number, bytes, now())).map_err(Error::index("write"))?;
        let mut files = index.open_table(FILES).map_err(Error::index("write"))?;
        files.insert(number, 1).map_err(Error::index("write"))?;
        copies.changed(index, &place.owner.id, &place.name, &name)?;
        match old {
            Some((old, ..)) => release(&mut files, old),
            None => Ok(None),
        }
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
