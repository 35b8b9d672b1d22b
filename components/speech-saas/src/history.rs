//! The pictures that are kept: what is known of them in one value, changed by compare and swap so that requests beside each other
//! lose nothing, and their files in a container. A file is served only under a name that is in the history, whatever a path says.

use atelier_kit::http::{Request, Response};
use atelier_kit::{Host, Storage, docs};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::IMAGES;
use crate::failure::Failure;
use crate::rate::BUCKET;
use crate::settings::Settings;

/// The container of the files.
pub(crate) const CONTAINER: &str = "speech-saas-images";

const HISTORY: &str = "history";
const NUMBER: &str = "number";

/// Characters of a prompt that are kept, the mark of a shortened one included: the history of the most pictures fits one value of
/// the host's storage.
const KEPT_PROMPT: usize = 300;

/// Entries of a page of the list when the client does not say, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 500;

/// What is known of a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) filename: String,
    /// What was drawn; the history keeps the beginning of a long one.
    pub(crate) prompt: String,
    /// The service's name of the model, or its id.
    pub(crate) model: String,
    pub(crate) seed: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bytes: u64,
    /// Seconds since 1970.
    pub(crate) created_at: u64,
}

impl Entry {
    /// As clients see it below a path.
    pub(crate) fn shown(&self, base: &str) -> Value {
        let mut value = json!(self);
        value["url"] = format!("{base}{IMAGES}/{}", self.filename).into();
        value
    }
}

/// A name that no other picture has.
pub(crate) async fn new_name(host: &(impl Host + Storage)) -> Result<String, Failure> {
    let number = host.add(BUCKET, NUMBER, 1).await?;
    Ok(format!("{}-{number:06}.png", host.unix_seconds()))
}

/// Keeps a picture, and takes away those that are too old or too many. The file is written first: a name in the history always
/// has one.
pub(crate) async fn keep(
    host: &(impl Host + Storage),
    entry: &Entry,
    png: &[u8],
    settings: &Settings,
) -> Result<(), Failure> {
    let kept = Entry { prompt: beginning(&entry.prompt), ..entry.clone() };
    host.write(CONTAINER, &entry.filename, png).await?;
    let oldest = entry.created_at.saturating_sub(settings.retention_seconds);
    let gone = change(host, |entries| {
        entries.push(kept.clone());
        let mut gone = older_than(entries, oldest);
        let excess = entries.len().saturating_sub(settings.max_images);
        gone.extend(entries.drain(..excess));
        gone
    })
    .await;
    match gone {
        Ok(gone) => remove_files(host, &gone).await,
        Err(failure) => {
            // nobody would find it again
            host.remove(CONTAINER, &entry.filename).await?;
            Err(failure)
        }
    }
}

/// A prompt as it is kept: a long one ends with a mark that it goes on.
fn beginning(prompt: &str) -> String {
    match prompt.char_indices().nth(KEPT_PROMPT) {
        Some(_) => prompt.chars().take(KEPT_PROMPT - 1).chain(['…']).collect(),
        None => prompt.to_owned(),
    }
}

/// Takes pictures away that were made before a moment, and gives what is gone.
pub(crate) async fn take_away(host: &(impl Host + Storage), before: u64) -> Result<Vec<Entry>, Failure> {
    let gone = change(host, |entries| older_than(entries, before)).await?;
    remove_files(host, &gone).await?;
    Ok(gone)
}

/// Every picture that is kept, the oldest first.
pub(crate) async fn all(host: &impl Storage) -> Result<Vec<Entry>, Failure> {
    read(host.get(BUCKET, HISTORY).await?.as_deref())
}

/// Answers `GET /images`, the newest first.
pub(crate) async fn list(host: &(impl Host + Storage), request: &Request) -> Result<Response, Failure> {
    let (limit, offset) = page(request.query.as_deref().unwrap_or_default())?;
    let entries = all(host).await?;
    let base = docs::base(request);
    let shown: Vec<_> =
        entries.iter().rev().skip(offset).take(limit).map(|entry| entry.shown(base)).collect();
    let answer = json!({"images": shown, "total": entries.len(), "limit": limit, "offset": offset});
    Ok(Response::json(200, &answer).with("cache-control", "no-store"))
}

/// Answers `GET /images/<name>`.
pub(crate) async fn file(host: &impl Storage, name: &str) -> Result<Response, Failure> {
    let none = || Failure::not_found(&format!("{IMAGES}/{name}"));
    let is_known = all(host).await?.iter().any(|entry| entry.filename == name);
    let bytes = if is_known { host.read(CONTAINER, name).await? } else { None };
    let response = Response::new(200, "image/png", bytes.ok_or_else(none)?);
    // a name never stands for another picture
    Ok(response.with("cache-control", "private, max-age=3600, immutable"))
}

/// `limit` and `offset` of a query.
fn page(query: &str) -> Result<(usize, usize), Failure> {
    let (mut limit, mut offset) = (PAGE, 0);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let number = value.parse::<usize>().ok();
        match (name, number) {
            ("limit", Some(number)) if (1..=MAX_PAGE).contains(&number) => limit = number,
            ("offset", Some(number)) => offset = number,
            ("limit" | "offset", _) => {
                return Err(Failure::invalid(format!(
                    "`{name}` is no such number; give `limit` from 1 to {MAX_PAGE} and `offset` from 0"
                )));
            }
            (other, _) => {
                let shown: String = other.chars().take(40).collect();
                let text = format!("`{shown}` is not a parameter; the parameters are limit, offset");
                return Err(Failure::invalid(text));
            }
        }
    }
    Ok((limit, offset))
}

/// Changes the history; `change` may be asked several times.
async fn change<T>(host: &impl Storage, mut change: impl FnMut(&mut Vec<Entry>) -> T) -> Result<T, Failure> {
    host.update(BUCKET, HISTORY, |value| {
        let mut entries = read(value)?;
        let made = change(&mut entries);
        let value = serde_json::to_vec(&entries).map_err(|_| broken())?;
        Ok((value, made))
    })
    .await
}

fn older_than(entries: &mut Vec<Entry>, moment: u64) -> Vec<Entry> {
    entries.extract_if(.., |entry| entry.created_at < moment).collect()
}

async fn remove_files(host: &impl Storage, gone: &[Entry]) -> Result<(), Failure> {
    for entry in gone {
        host.remove(CONTAINER, &entry.filename).await?;
    }
    Ok(())
}

fn read(value: Option<&[u8]>) -> Result<Vec<Entry>, Failure> {
    value.map_or_else(|| Ok(Vec::new()), |value| serde_json::from_slice(value).map_err(|_| broken()))
}

fn broken() -> Failure {
    Failure::backend("the history of pictures cannot be read")
}
