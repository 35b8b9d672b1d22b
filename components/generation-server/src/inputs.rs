//! The pictures that i2i tasks start from, from the request to the job's end: objects of a container, since they are larger than a
//! job's payload may be. What is there is written down in one value, changed by compare and swap, with the job that it is for; so that
//! one whose job ended without a word (called off, never begun) is found and taken away when the next one comes.

use std::hash::{DefaultHasher, Hash, Hasher};

use atelier_kit::jobs::JobsError;
use atelier_kit::storage::StorageError;
use atelier_kit::{Host, Jobs, Storage};
use serde::{Deserialize, Serialize};

/// The container of the pictures.
pub(crate) const CONTAINER: &str = "inputs";
/// The bucket of what is known of them.
pub(crate) const BUCKET: &str = "generation-server";

const INDEX: &str = "inputs";
const NUMBER: &str = "input-number";

/// The most pictures that wait for their jobs: what is known of so many fits one value of the host's storage.
const MOST: usize = 4_000;

/// How many entries are looked at when a picture comes: more than come, so that the list does not grow.
const LOOKED_AT: usize = 8;

/// Seconds after which a picture that never got its job is nobody's.
const ORPHANED: u64 = 3_600;

/// A picture that is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    /// The job that it is for, once that is kept.
    id: Option<String>,
    /// Seconds since 1970.
    at: u64,
}

/// A picture that was kept.
pub(crate) struct Kept {
    pub(crate) name: String,
    /// Whether it was not there before, as that of the same request.
    is_new: bool,
}

/// Keeps a picture. Under the same key the same picture has the same name: the job that it is for should be the same too.
pub(crate) async fn keep(
    host: &(impl Host + Storage + Jobs),
    key: Option<&str>,
    picture: &[u8],
) -> Result<Kept, StorageError> {
    sweep(host).await?;
    let name = match key {
        Some(key) => format!("{:016x}{:016x}", hash(key.as_bytes()), hash(picture)),
        None => host.add(BUCKET, NUMBER, 1).await?.to_string(),
    };
    let entry = Entry { name: name.clone(), id: None, at: host.unix_seconds() };
    let is_new = change(host, |entries| {
        if entries.iter().any(|known| known.name == entry.name) {
            return Ok(false);
        }
        if entries.len() == MOST {
            return Err(StorageError::Full(format!(
                "{MOST} images wait for their tasks; send this one later"
            )));
        }
        entries.push(entry.clone());
        Ok(true)
    })
    .await?;
    let kept = Kept { name, is_new };
    match host.write(CONTAINER, &kept.name, picture).await {
        Ok(()) => Ok(kept),
        Err(error) => {
            give_up(host, &kept).await;
            Err(error)
        }
    }
}

/// Takes a picture away whose job was not kept, unless it is another's as well.
pub(crate) async fn give_up(host: &impl Storage, kept: &Kept) {
    if kept.is_new {
        release(host, Some(&kept.name)).await;
    }
}

/// Writes down for which job a picture is.
pub(crate) async fn belongs(host: &impl Storage, name: &str, id: &str) -> Result<(), StorageError> {
    change(host, |entries| {
        // a job that was quick has released it already
        if let Some(entry) = entries.iter_mut().find(|entry| entry.name == name) {
            entry.id = Some(id.to_owned());
        }
        Ok(())
    })
    .await
}

/// Takes a picture away that nobody needs any more. What cannot be removed now is found by the next sweep.
pub(crate) async fn release(host: &impl Storage, name: Option<&str>) {
    if let Some(name) = name {
        let _ = take_away(host, &[name.to_owned()]).await;
    }
}

/// The same for the picture of a job, if it has one.
pub(crate) async fn release_of(host: &impl Storage, id: &str) {
    let entries = entries(host).await.unwrap_or_default();
    let found = entries.iter().find(|entry| entry.id.as_deref() == Some(id));
    release(host, found.map(|entry| entry.name.as_str())).await;
}

/// Takes the oldest pictures away whose jobs are over, or that never got one.
async fn sweep(host: &(impl Host + Storage + Jobs)) -> Result<(), StorageError> {
    let mut gone = Vec::new();
    for entry in entries(host).await?.into_iter().take(LOOKED_AT) {
        let is_over = match &entry.id {
            None => entry.at.saturating_add(ORPHANED) < host.unix_seconds(),
            Some(id) => match host.status(id).await {
                Ok(standing) => standing.state.is_end(),
                Err(error) => error == JobsError::NotFound,
            },
        };
        if is_over {
            gone.push(entry.name);
        }
    }
    if gone.is_empty() { Ok(()) } else { take_away(host, &gone).await }
}

/// The objects first: a name that is written down may have none, but none is there that is not written down.
async fn take_away(host: &impl Storage, names: &[String]) -> Result<(), StorageError> {
    for name in names {
        host.remove(CONTAINER, name).await?;
    }
    change(host, |entries| {
        entries.retain(|entry| !names.contains(&entry.name));
        Ok(())
    })
    .await
}

async fn entries(host: &impl Storage) -> Result<Vec<Entry>, StorageError> {
    read(host.get(BUCKET, INDEX).await?.as_deref())
}

/// Changes what is known; `change` may be asked several times.
async fn change<T>(
    host: &impl Storage,
    mut change: impl FnMut(&mut Vec<Entry>) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    host.update(BUCKET, INDEX, |value| {
        let mut entries = read(value)?;
        let made = change(&mut entries)?;
        Ok((serde_json::to_vec(&entries).map_err(|_| broken())?, made))
    })
    .await
}

fn read(value: Option<&[u8]>) -> Result<Vec<Entry>, StorageError> {
    value.map_or_else(|| Ok(Vec::new()), |value| serde_json::from_slice(value).map_err(|_| broken()))
}

fn broken() -> StorageError {
    StorageError::Failed("the list of images that wait cannot be read".into())
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
