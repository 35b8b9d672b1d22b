//! What the host does by itself for what components keep, each in a task of its own: jobs are worked off (`jobs.rs`), who wants to
//! know of them is told (`webhooks/`), and copies are made for other programs (`copies.rs`). No request waits for any of it.

use std::sync::Arc;
use std::time::Duration;

use atelier_runtime::Runtime;
use tokio::task::{JoinError, JoinHandle};

use crate::copies::Copier;
use crate::http::Stop;
use crate::jobs::Foreman;
use crate::live::Live;
use crate::webhooks::Courier;

/// The tasks.
pub(crate) struct Background {
    jobs: JoinHandle<()>,
    webhooks: JoinHandle<()>,
    copies: JoinHandle<()>,
}

impl Background {
    /// Begins all of it; running jobs have `drain` to end once the host closes.
    pub(crate) fn begin(live: &Arc<Live>, runtime: &Runtime, drain: Duration, stop: &Stop) -> Self {
        let foreman = Foreman { live: live.clone(), runtime: runtime.clone(), drain };
        let courier = Courier { live: live.clone(), runtime: runtime.clone() };
        let copier = Copier { live: live.clone(), runtime: runtime.clone() };
        Self {
            jobs: tokio::spawn(foreman.run(stop.clone())),
            webhooks: tokio::spawn(courier.run(stop.clone())),
            copies: tokio::spawn(copier.run()),
        }
    }

    /// Waits until jobs have ended or were given back. What is to be told and copied is found again by the next process.
    pub(crate) async fn end(self) {
        joined(self.jobs.await);
        joined(self.webhooks.await);
        self.copies.abort();
    }
}

/// Says so when a task panicked.
pub(crate) fn joined(result: Result<(), JoinError>) {
    if let Err(error) = result {
        tracing::error!("a task of the host ended by itself: {error}");
    }
}
