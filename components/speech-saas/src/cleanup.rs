//! `POST /cleanup`: takes pictures away that are older than the retention, or than the request says. Only for who has the key of
//! the route's configuration; without one, for nobody.

use atelier_kit::fields::{Field, Number, Reader, Table};
use atelier_kit::http::{Request, Response};
use atelier_kit::{Host, Storage};
use serde_json::json;

use crate::failure::Failure;
use crate::history;
use crate::settings::Settings;

/// The header that carries the key. `authorization` carries it as well, where the host does not want that for keys of its own.
pub(crate) const HEADER: &str = "x-cleanup-key";

static MAX_AGE_HOURS: Field<Number> = Field::optional(
    "max_age_hours",
    Number { min: 0.0, max: 87_600.0, above_min: false },
    "Pictures that are older go, with 0 all of them; `IMAGE_RETENTION_HOURS` when left out.",
);

/// The fields of the body, which may be left out.
pub(crate) const CLEANING: Table = &[&MAX_AGE_HOURS];

/// Answers with what is gone.
pub(crate) async fn answer(
    host: &(impl Host + Storage),
    request: &Request,
    settings: &Settings,
) -> Result<Response, Failure> {
    allow(request, settings)?;
    let body = if request.body.is_empty() { b"{}" } else { request.body.as_slice() };
    let mut reader = Reader::new(body, CLEANING).map_err(Failure::invalid)?;
    let hours = reader.option(&MAX_AGE_HOURS);
    let hours = reader.finish(hours).map_err(Failure::invalid)?;
    let seconds = hours.map_or(settings.retention_seconds, |hours| (hours * 3_600.0) as u64);
    // a picture of this very second is older than 0 hours
    let before = host.unix_seconds().saturating_sub(seconds) + u64::from(seconds == 0);
    let gone = history::take_away(host, before).await?;
    let freed: u64 = gone.iter().map(|entry| entry.bytes).sum();
    let left = history::all(host).await?.len();
    let answer = json!({"success": true, "removed": gone.len(), "freed_bytes": freed, "remaining": left});
    Ok(Response::json(200, &answer))
}

fn allow(request: &Request, settings: &Settings) -> Result<(), Failure> {
    let Some(key) = &settings.cleanup_key else {
        let text = "cleaning up is not open here: the operator sets `config.CLEANUP_KEY`";
        return Err(Failure::new(403, text));
    };
    let bearer = request.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
    match request.headers.get(HEADER).or(bearer) {
        Some(given) if is_same(given.as_bytes(), key.as_bytes()) => Ok(()),
        Some(_) => Err(Failure::new(403, format!("the key in `{HEADER}` is another"))),
        None => Err(Failure::new(401, format!("send the operator's key in `{HEADER}`"))),
    }
}

/// Compares in a time that depends on the lengths alone.
fn is_same(given: &[u8], key: &[u8]) -> bool {
    let differences = given.iter().zip(key).fold(0, |found, (one, other)| found | (one ^ other));
    given.len() == key.len() && differences == 0
}
