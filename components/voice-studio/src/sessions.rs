//! Sessions of accounts: each login begins one, whose random name is in the browser's cookie beside the owner's and in a list under
//! the owner, so that a cookie that somebody kept opens nothing after its session has ended.

use atelier_kit::Storage;

use crate::failure::Failure;
use crate::settings::BUCKET;
use crate::visitor::random_id;

/// The most sessions of an account at a time; the oldest ends when another begins.
const MAX_SESSIONS: usize = 20;

/// Begins a session of an account's owner; its name.
pub(crate) async fn begin(host: &impl Storage, owner: &str) -> Result<String, Failure> {
    let session = random_id()?;
    change(host, owner, |sessions| {
        let over = (sessions.len() + 1).saturating_sub(MAX_SESSIONS);
        sessions.drain(..over);
        sessions.push(session.clone());
    })
    .await?;
    Ok(session)
}

/// Whether a session of this owner has begun and not ended.
pub(crate) async fn is_open(host: &impl Storage, owner: &str, session: &str) -> Result<bool, Failure> {
    let sessions = read(host.get(BUCKET, &key(owner)).await?.as_deref());
    Ok(sessions.iter().any(|known| known == session))
}

/// Ends a session.
pub(crate) async fn end(host: &impl Storage, owner: &str, session: &str) -> Result<(), Failure> {
    change(host, owner, |sessions| sessions.retain(|known| known != session)).await
}

async fn change(
    host: &impl Storage,
    owner: &str,
    mut change: impl FnMut(&mut Vec<String>),
) -> Result<(), Failure> {
    host.update(BUCKET, &key(owner), |present| {
        let mut sessions = read(present);
        change(&mut sessions);
        let value = serde_json::to_vec(&sessions);
        Ok((value.map_err(|_| Failure::backend("the account's sessions cannot be kept"))?, ()))
    })
    .await
}

/// A list that cannot be read holds no session: everybody logs in again.
fn read(value: Option<&[u8]>) -> Vec<String> {
    value.and_then(|value| serde_json::from_slice(value).ok()).unwrap_or_default()
}

fn key(owner: &str) -> String {
    format!("sessions/{owner}")
}
