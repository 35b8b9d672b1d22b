//! Objects that are not here and are read in their copy (`read`): another host wrote them there, or this one before its disk was new.
//! What is here is what counts, so the server is asked only for names that are not, and not for those whose removal waits to be
//! copied. Nothing that is read is kept: another host may replace it, and would not tell this one.
//!
//! A server that does not answer is an error of its own ([`Error::Away`]): nobody learns from it that an object is not there. While
//! one that gave no answer is left alone, that error comes at once.

use http::StatusCode;
use redb::ReadTransaction;

use super::behind;
use super::download::{Download, Part};
use super::s3::Fault;
use super::upload::Uploads;
use crate::Error;
use crate::storage::{ObjectInfo, Shared};

/// Owner, container, object.
type Name<'a> = (&'a str, &'a str, &'a str);

impl Uploads {
    /// What is known there of an object that is not here; `None` where it is not there either.
    pub(in crate::storage) async fn info(
        &self,
        shared: &Shared,
        name: Name<'_>,
    ) -> Result<Option<ObjectInfo>, Error> {
        if self.is_removed(shared, name).await? {
            return Ok(None);
        }
        self.asked(self.s3.head(&self.key(name))).await
    }

    /// Bytes `start` to `end` of an object that is not here, and how many that are; `None` where it is not there either.
    pub(in crate::storage) async fn read(
        &self,
        shared: &Shared,
        name: Name<'_>,
        (start, end): (u64, u64),
    ) -> Result<Option<(u64, Download)>, Error> {
        if self.is_removed(shared, name).await? {
            return Ok(None);
        }
        let part = self.asked(self.s3.get(&self.key(name), start, end)).await?;
        let limit = shared.config.object_bytes;
        match part {
            Part::Absent => Ok(None),
            Part::Bytes { whole, .. } if whole > limit => {
                Err(Error::TooLarge { what: "an object", limit, key: "store.object-bytes" })
            }
            Part::Bytes { length, body, .. } => {
                Ok(Some((length, Download::new(body, length, self.service.clone()))))
            }
            Part::Beyond => match self.info(shared, name).await? {
                None => Ok(None),
                // as of an object that is here
                Some(ObjectInfo { size: 0, .. }) if start == 0 => {
                    Ok(Some((0, Download::none(self.service.clone()))))
                }
                Some(ObjectInfo { size, .. }) => Err(Error::Range { start, end, size }),
            },
        }
    }

    /// Removes an object there that is not here. That it is not there either is no error.
    pub(in crate::storage) async fn remove(&self, shared: &Shared, name: Name<'_>) -> Result<(), Error> {
        if self.is_removed(shared, name).await? {
            return Ok(());
        }
        self.asked(self.s3.delete(&self.key(name))).await
    }

    /// Whether the removal of an object that is not here waits to be copied.
    async fn is_removed(&self, shared: &Shared, (owner, container, name): Name<'_>) -> Result<bool, Error> {
        let (id, name) = (self.id().to_owned(), [owner, container, name].map(str::to_owned));
        let look = move |index: &ReadTransaction| {
            let [owner, container, name] = &name;
            Ok(behind::noted(index, &id, (owner, container, name))?.is_some())
        };
        shared.index.read(look).await
    }

    async fn asked<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Error> {
        if let Some(reason) = self.service.silence() {
            return Err(self.service.away(reason));
        }
        match work.await {
            Ok(found) => {
                // that it may be read does not mend what it refuses to be written
                if !self.service.refuses() {
                    self.service.answered();
                }
                Ok(found)
            }
            Err(Fault { reason, status }) => {
                // a key that may write and not read is no fault where writing works
                if status != Some(StatusCode::FORBIDDEN) || !self.service.is_writing() {
                    self.service.failed(reason.clone());
                }
                Err(self.service.away(reason))
            }
        }
    }
}
