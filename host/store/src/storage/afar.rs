//! Objects of a container that are not here and are read in a copy of them (`store.copy.read`): asked for only where the index knows
//! none of that name, so that nothing is slower for what is here. Lists, and clearing a container, know what is here alone.

use redb::ReadTransaction;
use tokio::io::AsyncReadExt;

use super::blobs::{Blob, Container, ObjectInfo};
use super::draft::Draft;
use super::index::OBJECTS;
use crate::Error;

/// Of an object that is fetched, at a time.
const PIECE: usize = 64 * 1_024;

impl Container {
    /// What is known elsewhere of an object that is not here.
    pub(super) async fn info_afar(&self, name: &str) -> Result<Option<ObjectInfo>, Error> {
        let name = self.place.object(name);
        let Some(copy) = self.shared.copies.reader(name.0, name.1, name.2) else { return Ok(None) };
        let info = copy.info(&self.shared, name).await;
        self.shared.blobs.ended("info_afar", &info);
        info
    }

    /// Bytes `start` to `end` of an object that is not here.
    pub(super) async fn read_afar(&self, name: &str, start: u64, end: u64) -> Result<Blob, Error> {
        let place = self.place.object(name);
        let found = match self.shared.copies.reader(place.0, place.1, place.2) {
            Some(copy) => copy.read(&self.shared, place, (start, end)).await?,
            None => None,
        };
        let (size, bytes) = found.ok_or_else(|| self.place.no_object(name))?;
        Ok(Blob::new(size, Box::new(bytes)))
    }

    /// Makes an object that is not here one of `target`; with `moves`, elsewhere it is no more.
    pub(super) async fn copy_afar(
        &self,
        name: &str,
        target: &Container,
        new_name: String,
        moves: bool,
    ) -> Result<(), Error> {
        let mut bytes = self.read_afar(name, 0, u64::MAX).await?.into_reader();
        let mut draft = Draft::begin(self.shared.clone(), target.place.owner.clone()).await?;
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = (&mut bytes).take(PIECE as u64).read_to_end(&mut piece).await;
            match read.map_err(broke)? {
                0 => break,
                _ => draft.write(piece.into()).await?,
            }
        }
        let is_other = self.place.object(name) != target.place.object(&new_name);
        draft.finish(target, new_name).await?;
        if moves && is_other { self.delete_afar(&[name.to_owned()]).await } else { Ok(()) }
    }

    /// Those of these names that are read elsewhere if they are anywhere.
    pub(super) async fn names_afar(&self, names: &[String]) -> Result<Vec<String>, Error> {
        let reads = |name: &&String| {
            self.shared.copies.reader(&self.place.owner.id, &self.place.name, name).is_some()
        };
        let names: Vec<String> = names.iter().filter(reads).cloned().collect();
        if names.is_empty() {
            return Ok(names);
        }
        let place = self.place.clone();
        let look = move |index: &ReadTransaction| {
            let objects = index.open_table(OBJECTS).map_err(Error::index("read"))?;
            let mut absent = Vec::new();
            for name in names {
                if objects.get(place.object(&name)).map_err(Error::index("read"))?.is_none() {
                    absent.push(name);
                }
            }
            Ok(absent)
        };
        self.shared.index.read(look).await
    }

    /// Deletes objects that are not here where they are read.
    pub(super) async fn delete_afar(&self, names: &[String]) -> Result<(), Error> {
        for name in names {
            let name = self.place.object(name);
            if let Some(copy) = self.shared.copies.reader(name.0, name.1, name.2) {
                let removed = copy.remove(&self.shared, name).await;
                self.shared.blobs.ended("delete_afar", &removed);
                removed?;
            }
        }
        Ok(())
    }
}

/// Why an object stopped coming.
fn broke(error: std::io::Error) -> Error {
    let action = "read";
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(source) => Error::Io { action, path: "an object".into(), source },
    }
}
