//! The door in front of the instances: so many requests at a time, a short wait for the next ones, and a refusal by name
//! for the rest, before anything is allocated for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Failure;

/// When a refused client should come back.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Lets at most a fixed number in.
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    limit: u32,
    patience: Duration,
}

impl Admission {
    pub(crate) fn new(limit: u32, patience: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(limit as usize)), limit, patience }
    }

    /// A place for as long as the permit lives.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            return Ok(permit);
        }
        match tokio::time::timeout(self.patience, self.places.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Failure::Saturated { limit: self.limit, retry_after: RETRY_AFTER }),
        }
    }
}
