//! Tasks that are called off when nobody asks for them any more: a studio whose visitor has gone cannot say so. Whoever asks how
//! such a task stands renews its lease; whoever draws it looks whether it stands.

use super::keep;
use crate::api::Studio;
use crate::failure::Failure;

/// A lease that nobody ends goes after so many seconds: the longest that a task waits, with room to spare.
const KEPT_SECONDS: u64 = 2 * 3_600;

/// Gives a task a lease of so many seconds.
pub(super) async fn give(host: &impl Studio, id: &str, seconds: u64) -> Result<(), Failure> {
    write(host, id, seconds).await
}

/// Somebody asks for a task; one without a lease needs none.
pub(super) async fn renew(host: &impl Studio, id: &str) -> Result<(), Failure> {
    match read(host, id).await? {
        Some((seconds, _)) => write(host, id, seconds).await,
        None => Ok(()),
    }
}

/// Whether a task's lease is over. One that cannot be read is not: a picture too many is better than one too few.
pub(super) async fn is_over(host: &impl Studio, id: &str) -> bool {
    let lease = read(host, id).await.ok().flatten();
    lease.is_some_and(|(seconds, asked)| host.unix_seconds() > asked + seconds)
}

/// A task has ended.
pub(super) async fn end(host: &impl Studio, id: &str) {
    // what is left goes with its time
    let _ = keep::remove(host, &name(id)).await;
}

/// The lease's seconds, and when the task was asked for last.
async fn read(host: &impl Studio, id: &str) -> Result<Option<(u64, u64)>, Failure> {
    let lease = keep::get(host, &name(id)).await?;
    Ok(lease.and_then(|lease| serde_json::from_slice(&lease).ok()))
}

async fn write(host: &impl Studio, id: &str, seconds: u64) -> Result<(), Failure> {
    let lease = format!("[{seconds},{}]", host.unix_seconds());
    keep::put(host, &name(id), lease.as_bytes(), KEPT_SECONDS).await
}

fn name(id: &str) -> String {
    format!("{id}.lease")
}
