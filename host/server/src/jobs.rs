//! Looks for background jobs that are due and lets the deployments that stand work them off: of each route as many at a time
//! as it may (`limits.jobs-at-once`), in the order of the store, which is fair between tenants. A job goes on with the deployment
//! that it began with, whatever is swapped in meanwhile.
//!
//! When the host ends, running jobs may finish within `server.drain-ms` like requests; those that do not are given back and
//! begin anew in the next process, without having lost an attempt.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use atelier_runtime::{JOB_LEASE, Runtime};
use atelier_store::{Error as StoreError, JobEnd, JobQueue, Owner, Taken};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::http::Stop;
use crate::live::{Live, Slot, Table};

/// How often it looks for what no submission told of: pauses that end, starts and lives that are over, leases.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long the disk may take to note that jobs are given back.
const GIVING_BACK: Duration = Duration::from_secs(5);
/// A job of a tenant that is not in the manifest: it may come back with the next change of it.
const TENANT_AWAY: Duration = Duration::from_secs(60);

/// Who looks.
pub(crate) struct Foreman {
    pub(crate) live: Arc<Live>,
    pub(crate) runtime: Runtime,
    /// How long running jobs may go on when the host ends.
    pub(crate) drain: Duration,
}

/// Jobs that run, and how they are told to end.
struct Crew {
    runs: JoinSet<()>,
    give_back: watch::Sender<bool>,
}

impl Foreman {
    /// Works jobs off until the host closes, and until what runs then has ended or is given back.
    pub(crate) async fn run(self, mut stop: Stop) {
        let mut crew = Crew { runs: JoinSet::new(), give_back: watch::Sender::new(false) };
        let mut closing = std::pin::pin!(stop.closing());
        loop {
            // never broken off: a job that was taken is begun
            let queue = self.begin(&mut crew).await;
            tokio::select! {
                biased;
                () = &mut closing => break,
                () = wait(queue, &mut crew) => {}
            }
        }
        crew.end(self.drain).await;
    }

    /// Begins what is due, where there is a place for jobs.
    async fn begin(&self, crew: &mut Crew) -> Option<JobQueue> {
        let queue = self.runtime.storage()?.job_queue();
        let table = self.live.table();
        for slot in &table.slots {
            if let Err(error) = self.fill(&queue, &table, slot, crew).await {
                tracing::error!(route = slot.route.name, "no background job can be begun: {error}");
            }
        }
        Some(queue)
    }

    /// Begins jobs of a route while there are some and it may work on more.
    async fn fill(
        &self,
        queue: &JobQueue,
        table: &Arc<Table>,
        slot: &Slot,
        crew: &mut Crew,
    ) -> Result<(), StoreError> {
        let Some(deployed) = &slot.deployment else { return Ok(()) };
        let deployment = &deployed.deployment;
        if !deployment.works_off() || slot.gate.is_closed() {
            return Ok(());
        }
        while queue.running(Some(&slot.route.name)) < deployment.jobs_at_once() {
            let Some(taken) = queue.take(&slot.route.name, JOB_LEASE).await? else { break };
            let Some(member) = table.tenants.named(taken.owner()) else {
                put_off(taken).await?;
                continue;
            };
            let run = deployment.clone().work_off(member.runtime.clone(), taken, crew.told());
            crew.runs.spawn(async move {
                if let Err(error) = run.await {
                    tracing::error!("how a background job ended cannot be kept, it will run again: {error}");
                }
            });
        }
        Ok(())
    }
}

/// Waits until something may be due that was not before.
async fn wait(queue: Option<JobQueue>, crew: &mut Crew) {
    let Some(queue) = queue else { return sleep(LOOK_AGAIN).await };
    tokio::select! {
        () = queue.changed() => {}
        Some(_) = crew.runs.join_next() => {}
        () = sleep(LOOK_AGAIN) => {
            if let Err(error) = queue.sweep().await {
                tracing::error!("background jobs that are over cannot be ended: {error}");
            }
        }
    }
}

/// A job whose tenant is not here.
async fn put_off(taken: Taken) -> Result<(), StoreError> {
    let owner = Owner::new(taken.owner(), None);
    let why = format!("its tenant `{}` is not in the manifest any more", taken.owner());
    tracing::warn!(id = taken.id(), "a background job waits: {why}");
    taken.end(owner, JobEnd::Again { why, after: TENANT_AWAY }).await.map(drop)
}

impl Crew {
    /// Ends when running jobs are to be given back.
    fn told(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut give_back = self.give_back.subscribe();
        Box::pin(async move {
            // an error means that nobody is left to tell, which comes to the same
            let _ = give_back.wait_for(|given| *given).await;
        })
    }

    /// Lets what runs finish, or gives it back.
    async fn end(mut self, drain: Duration) {
        let running = self.runs.len();
        if running > 0 {
            tracing::info!(running, "background jobs may finish");
        }
        if timeout(drain, all(&mut self.runs)).await.is_err() {
            self.give_back.send_replace(true);
            // what cannot be noted is found by the next process, as after a crash
            let _ = timeout(GIVING_BACK, all(&mut self.runs)).await;
        }
    }
}

async fn all(runs: &mut JoinSet<()>) {
    while runs.join_next().await.is_some() {}
}
