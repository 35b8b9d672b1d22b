//! Files that are kept for a while: pictures to change, previews and results of tasks. Nobody is told when a task is forgotten, so
//! each file's end is written down beside the others', and what is over goes when the next file comes.

use std::collections::BTreeMap;

use atelier_kit::{Host, Storage};

use crate::failure::Failure;
use crate::settings::{BUCKET, CONTAINER};

/// Where the ends are, in seconds since 1970, by name.
const ENDS: &str = "backend/files";
/// The most files at a time: what is known of them fits one value of the host's.
const MAX_FILES: usize = 4_000;

type Ends = BTreeMap<String, u64>;

/// Writes a file, which is kept for so long.
pub(super) async fn put(
    host: &(impl Host + Storage),
    name: &str,
    bytes: &[u8],
    seconds: u64,
) -> Result<(), Failure> {
    let now = host.unix_seconds();
    // the end comes first: a file without one would stay for ever
    let over = change(host, |ends| {
        let over: Vec<_> = ends.extract_if(.., |_, end| *end <= now).map(|(name, _)| name).collect();
        if ends.len() >= MAX_FILES && !ends.contains_key(name) {
            let text = format!("{MAX_FILES} files of tasks are kept already; come back later");
            return Err(Failure::new(429, "busy", text).until(60_000));
        }
        ends.insert(name.to_owned(), now + seconds);
        Ok(over)
    })
    .await?;
    for name in over.iter().filter(|over| *over != name) {
        host.remove(CONTAINER, &path(name)).await?;
    }
    Ok(host.write(CONTAINER, &path(name), bytes).await?)
}

/// A file, while it is kept.
pub(super) async fn get(host: &impl Storage, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    Ok(host.read(CONTAINER, &path(name)).await?)
}

/// Removes a file before its end; there may be none.
pub(super) async fn remove(host: &impl Storage, name: &str) -> Result<(), Failure> {
    host.remove(CONTAINER, &path(name)).await?;
    change(host, |ends| Ok(ends.remove(name))).await.map(|_| ())
}

async fn change<T>(
    host: &impl Storage,
    mut change: impl FnMut(&mut Ends) -> Result<T, Failure>,
) -> Result<T, Failure> {
    host.update(BUCKET, ENDS, |present| {
        // what cannot be read is begun anew: it says when files go, and nothing else
        let mut ends: Ends = present.and_then(|value| serde_json::from_slice(value).ok()).unwrap_or_default();
        let made = change(&mut ends)?;
        let value =
            serde_json::to_vec(&ends).map_err(|_| Failure::backend("the files' ends cannot be kept"))?;
        Ok((value, made))
    })
    .await
}

fn path(name: &str) -> String {
    format!("backend/{name}")
}
