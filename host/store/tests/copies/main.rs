//! Copies on real servers, a Redis and one that speaks S3 and checks signatures, which these tests start, stop, hang and lose:
//! what is kept here is kept whatever becomes of them, their state is told, and copies are made once they are back.

mod jobs;
mod objects;
mod reading;
mod servers;
mod stream;

use std::time::{Duration, Instant};

use atelier_store::{CopyConfig, Error, Owner, ServiceState, ServiceStatus, Storage, StorageConfig};

/// A safety net, not a measurement: longer than the longest pause between two tries.
const PATIENCE: Duration = Duration::from_secs(150);

fn open(dir: &std::path::Path, copies: Vec<CopyConfig>) -> Storage {
    let end = Instant::now() + PATIENCE;
    loop {
        match Storage::open(dir, StorageConfig { copies: copies.clone(), ..StorageConfig::default() }) {
            // what the one before was doing on other threads takes a moment to end
            Err(Error::InUse { .. }) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            opened => return opened.unwrap(),
        }
    }
}

fn owner(id: &str) -> Owner {
    Owner::new(id, None)
}

/// How a server fares, as far as is known: nobody is asked.
async fn known(storage: &Storage, id: &str) -> ServiceStatus {
    let all = storage.copies().known().await;
    all.into_iter().find(|status| status.id == id).unwrap()
}

/// Waits until something is so.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_degraded(storage: &Storage, id: &str) -> ServiceStatus {
    until("degraded", async || {
        Some(known(storage, id).await).filter(|status| status.state == ServiceState::Degraded)
    })
    .await
}

/// Waits until everything was copied.
async fn until_copied(storage: &Storage, id: &str) {
    until("all copied", async || {
        let status = known(storage, id).await;
        (status.state == ServiceState::Connected && status.waiting == 0).then_some(())
    })
    .await;
}
