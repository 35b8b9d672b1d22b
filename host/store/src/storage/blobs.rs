//! Containers of objects. The index knows which file an object is; a copy is the same file once more, and the file goes with
//! the last object that it is. Whoever reads one reads it to its end, whatever becomes of its name meanwhile.

use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable, Table, WriteTransaction};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::charge::{Change, charge};
use super::copies::Registry;
use super::draft::now;
use super::index::{CONTAINERS, FILES, OBJECTS};
use super::{MAX_PAGE, Owner, Shared, checked};
use crate::Error;

/// How often a file that went away while its object was looked up is looked up again: each time somebody replaced it.
const LOOK_AGAIN: usize = 8;

/// A container of one owner, which is there or not.
#[derive(Clone)]
pub struct Container {
    pub(super) shared: Arc<Shared>,
    pub(super) place: Arc<Place>,
}

pub(super) struct Place {
    pub(super) owner: Owner,
    pub(super) name: Arc<str>,
}

impl Place {
    pub(super) fn object<'a>(&'a self, name: &'a str) -> (&'a str, &'a str, &'a str) {
        (&self.owner.id, &self.name, name)
    }

    fn key(&self) -> (&str, &str) {
        (&self.owner.id, &self.name)
    }

    pub(super) fn no_object(&self, name: &str) -> Error {
        Error::NoObject { container: self.name.to_string(), object: name.to_owned() }
    }
}

/// What is known of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its bytes.
    pub size: u64,
    /// Seconds since 1970 when it was written.
    pub created: u64,
}

/// A part of an object that is being read.
pub struct Blob {
    size: u64,
    bytes: Box<dyn AsyncRead + Send + Unpin>,
}

impl Blob {
    pub(super) fn new(size: u64, bytes: Box<dyn AsyncRead + Send + Unpin>) -> Self {
        Self { size, bytes }
    }

    /// Bytes of the part.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The part, from its beginning to its end.
    pub fn into_reader(self) -> Box<dyn AsyncRead + Send + Unpin> {
        self.bytes
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Container {
    pub(super) fn new(shared: Arc<Shared>, owner: Owner, name: Arc<str>) -> Self {
        Self { shared, place: Arc::new(Place { owner, name }) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// Makes it, empty.
    pub async fn create(&self) -> Result<(), Error> {
        let create = |index: &WriteTransaction, place: &Place| {
            let mut table = index.open_table(CONTAINERS).map_err(Error::index("write"))?;
            if table.get(place.key()).map_err(Error::index("read"))?.is_some() {
                return Err(Error::ContainerExists(place.name.to_string()));
            }
            table.insert(place.key(), now()).map_err(Error::index("write"))?;
            Ok(())
        };
        self.write("create_container", create).await
    }

    /// Seconds since 1970 when it was made; `None` when it is not there.
    pub async fn created(&self) -> Result<Option<u64>, Error> {
        let look = |index: &ReadTransaction, place: &Place| {
            let table = index.open_table(CONTAINERS).map_err(Error::index("read"))?;
            let created = table.get(place.key()).map_err(Error::index("read"))?;
            Ok(created.map(|created| created.value()))
        };
        self.read_index("container_info", look).await
    }

    /// Deletes it with all of its objects; that it is not there is no error.
    pub async fn delete(&self) -> Result<(), Error> {
        let copies = &self.shared.copies;
        let delete = |copies: Arc<Registry>| {
            move |index: &WriteTransaction, place: &Place| {
                let unused = take_page(index, &copies, place)?;
                let mut table = index.open_table(CONTAINERS).map_err(Error::index("write"))?;
                if unused.is_last {
                    table.remove(place.key()).map_err(Error::index("write"))?;
                }
                Ok(unused)
            }
        };
        while !self.removed("delete_container", delete(copies.clone())).await? {}
        Ok(())
    }

    /// Deletes all of its objects. A large container goes in pieces, between which others have their turn.
    pub async fn clear(&self) -> Result<(), Error> {
        let clear = |copies: Arc<Registry>| {
            move |index: &WriteTransaction, place: &Place| take_page(index, &copies, place)
        };
        while !self.removed("clear", clear(self.shared.copies.clone())).await? {}
        Ok(())
    }

    /// A page of names in the order of their bytes: those after `after`, or the first; at most `count` and [`MAX_PAGE`].
    /// Whether it is the last.
    pub async fn list(&self, after: Option<String>, count: usize) -> Result<(Vec<String>, bool), Error> {
        let look = move |index: &ReadTransaction, place: &Place| {
            let table = index.open_table(OBJECTS).map_err(Error::index("read"))?;
            let (after, count) = (after.as_deref().unwrap_or_default(), count.min(MAX_PAGE));
            let mut names = Vec::new();
            for entry in table.range(place.object(after)..).map_err(Error::index("read"))? {
                let (at, _) = entry.map_err(Error::index("read"))?;
                let (owner, container, name) = at.value();
                if (owner, container) != place.key() {
                    return Ok((names, true));
                }
                if name != after {
                    if names.len() == count {
                        return Ok((names, false));
                    }
                    names.push(name.to_owned());
                }
            }
            Ok((names, true))
        };
        self.read_index("list", look).await
    }

    /// What is known of an object; `None` when it is not there.
    ///
    /// # Errors
    /// [`Error::Away`] where a copy that would have it cannot be asked, and those of the index.
    pub async fn info(&self, name: &str) -> Result<Option<ObjectInfo>, Error> {
        let owned = name.to_owned();
        let look = move |index: &ReadTransaction, place: &Place| {
            let found = find(index, place, &owned)?;
            Ok(found.map(|(_, size, created)| ObjectInfo { size, created }))
        };
        match self.read_index("info", look).await? {
            None => self.info_afar(name).await,
            found => Ok(found),
        }
    }

    /// Deletes those of these objects that are there.
    pub async fn delete_objects(&self, names: Vec<String>) -> Result<(), Error> {
        let copies = self.shared.copies.clone();
        if names.len() > MAX_PAGE {
            let count = names.len();
            return Err(Error::TooMany(format!("{count} objects are more than {MAX_PAGE}")));
        }
        let afar = self.names_afar(&names).await?;
        let delete = move |index: &WriteTransaction, place: &Place| {
            Ok(Unused { numbers: take(index, &copies, place, &names)?, is_last: true })
        };
        self.removed("delete", delete).await?;
        self.delete_afar(&afar).await
    }

    /// Bytes `start` to `end` of an object, both included; what lies beyond its end is left out.
    pub async fn read(&self, name: &str, start: u64, end: u64) -> Result<Blob, Error> {
        let blob = match self.open(name, start, end).await {
            Err(Error::NoObject { .. }) => self.read_afar(name, start, end).await,
            blob => blob,
        };
        self.shared.blobs.ended("read", &blob);
        if let Ok(blob) = &blob {
            self.shared.blobs.read(blob.size);
        }
        blob
    }

    async fn open(&self, name: &str, start: u64, end: u64) -> Result<Blob, Error> {
        let (place, files, name) = (self.place.clone(), self.shared.files.clone(), name.to_owned());
        let look = move |index: &ReadTransaction| {
            let (number, size, _) = find(index, &place, &name)?.ok_or_else(|| place.no_object(&name))?;
            let last = end.min(size.saturating_sub(1));
            if start > last || start > end {
                return Err(Error::Range { start, end, size });
            }
            let length = if size == 0 { 0 } else { last - start + 1 };
            let Some(mut file) = files.read(number)? else { return Ok(None) };
            let sought = file.seek(SeekFrom::Start(start));
            sought.map_err(|source| Error::Io { action: "read", path: "an object".into(), source })?;
            Ok(Some((file, length)))
        };
        for _ in 0..LOOK_AGAIN {
            if let Some((file, size)) = self.shared.index.read(look.clone()).await? {
                let bytes = Box::new(tokio::fs::File::from_std(file).take(size));
                return Ok(Blob { size, bytes });
            }
        }
        Err(Error::Index { action: "follow", why: "an object's file is not there".into() })
    }

    /// Makes an object of this container one of `target` as well, in place of the one of that name; with `moves`, here it is
    /// no more.
    pub async fn copy(
        &self,
        name: String,
        target: &Container,
        new_name: String,
        moves: bool,
    ) -> Result<(), Error> {
        let operation = if moves { "move" } else { "copy" };
        let copied = match checked("object's name", &new_name) {
            Ok(()) => self.transfer(name.clone(), target, new_name.clone(), moves).await,
            Err(error) => Err(error),
        };
        let copied = match copied {
            Err(Error::NoObject { .. }) => {
                self.copy_afar(&name, target, new_name, moves).await.map(|()| Vec::new())
            }
            copied => copied,
        };
        self.shared.blobs.ended(operation, &copied);
        unlink(&self.shared, copied?).await;
        Ok(())
    }

    async fn transfer(
        &self,
        name: String,
        target: &Container,
        new_name: String,
        moves: bool,
    ) -> Result<Vec<u64>, Error> {
        let remote = self.shared.remote(&target.place.owner).await?;
        let (from, to, shared) = (self.place.clone(), target.place.clone(), self.shared.clone());
        let copy = move |index: &WriteTransaction| {
            let beside = remote + shared.drafted.of(&to.owner);
            let unused = copy(index, (&from, &name), (&to, &new_name), moves, beside)?;
            shared.copies.changed(index, &to.owner.id, &to.name, &new_name)?;
            if moves {
                shared.copies.changed(index, &from.owner.id, &from.name, &name)?;
            }
            Ok(unused)
        };
        let copied = self.shared.index.write(copy).await;
        self.shared.copies.wake();
        copied
    }

    async fn read_index<R: Send + 'static>(
        &self,
        operation: &'static str,
        look: impl FnOnce(&ReadTransaction, &Place) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let place = self.place.clone();
        let found = self.shared.index.read(move |index| look(index, &place)).await;
        self.shared.blobs.ended(operation, &found);
        found
    }

    async fn write<R: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&WriteTransaction, &Place) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let place = self.place.clone();
        let done = self.shared.index.write(move |index| work(index, &place)).await;
        self.shared.blobs.ended(operation, &done);
        done
    }

    /// Does what leaves files unused, and removes these. Whether nothing is left to do.
    async fn removed(
        &self,
        operation: &'static str,
        work: impl FnOnce(&WriteTransaction, &Place) -> Result<Unused, Error> + Send + 'static,
    ) -> Result<bool, Error> {
        let Unused { numbers, is_last } = self.write(operation, work).await?;
        self.shared.copies.wake();
        unlink(&self.shared, numbers).await;
        Ok(is_last)
    }
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container").field("name", &self.place.name).finish_non_exhaustive()
    }
}

/// Files that are no object any more.
struct Unused {
    numbers: Vec<u64>,
    /// Whether no object is left.
    is_last: bool,
}

/// An object's file, size and time.
type Found = (u64, u64, u64);

fn find(index: &ReadTransaction, place: &Place, name: &str) -> Result<Option<Found>, Error> {
    let table = index.open_table(OBJECTS).map_err(Error::index("read"))?;
    Ok(table.get(place.object(name)).map_err(Error::index("read"))?.map(|found| found.value()))
}

/// Says so when the container is not there.
pub(super) fn ensure(index: &WriteTransaction, place: &Place) -> Result<(), Error> {
    let table = index.open_table(CONTAINERS).map_err(Error::index("read"))?;
    match table.get(place.key()).map_err(Error::index("read"))? {
        Some(_) => Ok(()),
        None => Err(Error::NoContainer(place.name.to_string())),
    }
}

/// One object less is this file: its number, when it was the last.
pub(super) fn release(files: &mut Table<'_, u64, u64>, number: u64) -> Result<Option<u64>, Error> {
    let count = files.get(number).map_err(Error::index("read"))?.map_or(0, |count| count.value());
    if count > 1 {
        files.insert(number, count - 1).map_err(Error::index("write"))?;
        return Ok(None);
    }
    files.remove(number).map_err(Error::index("write"))?;
    Ok(Some(number))
}

/// Takes the first objects out of a container.
fn take_page(index: &WriteTransaction, copies: &Registry, place: &Place) -> Result<Unused, Error> {
    let mut names = Vec::new();
    let table = index.open_table(OBJECTS).map_err(Error::index("read"))?;
    for entry in table.range(place.object("")..).map_err(Error::index("read"))?.take(MAX_PAGE) {
        let (at, _) = entry.map_err(Error::index("read"))?;
        let (owner, container, name) = at.value();
        if (owner, container) != place.key() {
            break;
        }
        names.push(name.to_owned());
    }
    drop(table);
    Ok(Unused { is_last: names.len() < MAX_PAGE, numbers: take(index, copies, place, &names)? })
}

/// Takes objects out of a container; the files that none is any more.
fn take(
    index: &WriteTransaction,
    copies: &Registry,
    place: &Place,
    names: &[String],
) -> Result<Vec<u64>, Error> {
    let mut objects = index.open_table(OBJECTS).map_err(Error::index("write"))?;
    let mut files = index.open_table(FILES).map_err(Error::index("write"))?;
    let (mut unused, mut change) = (Vec::new(), Change::default());
    for name in names {
        let taken = objects.remove(place.object(name)).map_err(Error::index("write"))?;
        let Some((number, size, _)) = taken.map(|taken| taken.value()) else { continue };
        change.less += name.len() as u64 + size;
        unused.extend(release(&mut files, number)?);
        copies.changed(index, &place.owner.id, &place.name, name)?;
    }
    charge(index, &place.owner, change, 0)?;
    Ok(unused)
}

/// Makes one object another as well; the files that are none any more.
fn copy(
    index: &WriteTransaction,
    (from, name): (&Place, &str),
    (to, new_name): (&Place, &str),
    moves: bool,
    beside: u64,
) -> Result<Vec<u64>, Error> {
    ensure(index, from)?;
    ensure(index, to)?;
    let mut objects = index.open_table(OBJECTS).map_err(Error::index("write"))?;
    let get = |objects: &Table<'_, _, _>, key| -> Result<Option<Found>, Error> {
        Ok(objects
            .get(key)
            .map_err(Error::index("read"))?
            .map(|found: redb::AccessGuard<'_, Found>| found.value()))
    };
    let (number, size, created) = get(&objects, from.object(name))?.ok_or_else(|| from.no_object(name))?;
    if from.object(name) == to.object(new_name) {
        return Ok(Vec::new());
    }
    let old = get(&objects, to.object(new_name))?;
    let gone = old.map_or(0, |(_, size, _)| new_name.len() as u64 + size);
    let left = if moves { name.len() as u64 + size } else { 0 };
    let change = Change { more: new_name.len() as u64 + size, less: gone + left };
    charge(index, &to.owner, change, beside)?;
    let mut files = index.open_table(FILES).map_err(Error::index("write"))?;
    if moves {
        objects.remove(from.object(name)).map_err(Error::index("write"))?;
    } else {
        let count = files.get(number).map_err(Error::index("read"))?.map_or(0, |count| count.value());
        files.insert(number, count + 1).map_err(Error::index("write"))?;
    }
    let created = if moves { created } else { now() };
    objects.insert(to.object(new_name), (number, size, created)).map_err(Error::index("write"))?;
    let unused = old.map(|(old, ..)| release(&mut files, old)).transpose()?;
    Ok(unused.flatten().into_iter().collect())
}

/// Removes files that are no object any more. One that stays takes room until the next start.
pub(super) async fn unlink(shared: &Arc<Shared>, numbers: Vec<u64>) {
    if numbers.is_empty() {
        return;
    }
    let files = shared.files.clone();
    let remove = move || numbers.into_iter().for_each(|number| drop(files.remove(number)));
    // whether it ended or not, nobody waits for more
    let _ = tokio::task::spawn_blocking(remove).await;
}
