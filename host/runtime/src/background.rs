//! Working background jobs off: the component that submitted a job runs it in a store of its own, on its tenant's account,
//! with the grants and limits of its route. Which job is next and where it is kept is the store's affair; who looks for the
//! next one is the server's.
//!
//! A job is in the hands of one run at a time, under a lease that is renewed while the run lasts. Whatever ends a run (the
//! guest, a limit, a cancel, the end of the host) ends here in one of the store's ends, or the lease does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use atelier_store::{Error as StoreError, JobEnd, JobState, Owner, Taken};

use crate::admission::Place;
use crate::bindings::worker::exports::atelier::host::job_runner::{Failure as Refusal, Job};
use crate::context::{RequestContext, Scope};
use crate::drive::{Call, limited};
use crate::in_flight::InFlight;
use crate::sandbox::Meter;
use crate::stage::task;
use crate::{Deployment, Failure, Tenant};

/// How long a job is in somebody's hands without a sign of life. The host's threads are never blocked for nearly so long.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often a run gives its sign of life.
const RENEWAL: Duration = Duration::from_secs(10);
/// How much later the second attempt begins; the third begins four times as much later.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks for an instance while others have all.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl Deployment {
    /// Whether its component works jobs off.
    pub fn works_off(&self) -> bool {
        self.worker.is_some()
    }

    /// How many it may work on at a time (`limits.jobs-at-once`).
    pub fn jobs_at_once(&self) -> usize {
        self.route.limits.jobs_at_once as usize
    }

    /// How long one may take by the clock (`limits.job-ms`).
    pub fn job_limit(&self) -> Duration {
        self.route.limits.job
    }

    /// Works a job off and ends it, or gives it back when `stop` comes first. How it stands then; `None` when it was called off
    /// or its lease had ended. Dropping the future ends the run, and the lease in its time.
    ///
    /// # Errors
    /// The storage failed; the job will be run again.
    pub async fn work_off(
        self: Arc<Self>,
        tenant: Arc<Tenant>,
        mut taken: Taken,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<JobState>, StoreError> {
        let job = Job {
            id: taken.id().to_owned(),
            kind: taken.kind().to_owned(),
            payload: taken.payload(),
            attempt: taken.attempt(),
        };
        let made_by = self.maker(&taken).await;
        let end = tokio::select! {
            biased;
            () = taken.stopped() => return Ok(None),
            () = renew(&taken) => return Ok(None),
            () = stop => JobEnd::GivenBack,
            end = self.done(&tenant, &taken, job, made_by.as_deref()) => end,
        };
        let owner = Owner::new(taken.owner(), tenant.quota.stored_bytes());
        if let Some(made_by) = made_by {
            taken.is_made_by(made_by);
        }
        taken.end(owner, end).await
    }

    /// What does the job's work, where its result may be kept for others. A model that is gone makes nothing that anybody could
    /// ask for.
    async fn maker(&self, taken: &Taken) -> Option<String> {
        self.host.maker(&self.route, taken.tools()?).await.ok()
    }

    /// What another job of the same work made while this one waited, or else one attempt.
    async fn done(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        taken: &Taken,
        job: Job,
        made_by: Option<&str>,
    ) -> JobEnd {
        if let Some(made_by) = made_by {
            match taken.known(made_by).await {
                Ok(Some(result)) => return JobEnd::Cached(result),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(id = taken.id(), "whether the work is done is not known: {error}")
                }
            }
        }
        self.attempt(tenant, taken, job).await
    }

    /// One attempt, and how it ends.
    async fn attempt(self: &Arc<Self>, tenant: &Arc<Tenant>, taken: &Taken, job: Job) -> JobEnd {
        let context = RequestContext::new(taken.id(), None);
        let scope = Scope::of(context);
        let place = self.place(tenant, &scope).await;
        let (began, attempt) = (Instant::now(), job.attempt);
        let ended = self.run(tenant, taken, &scope, job, place).await;
        if let Err(failure) = &ended {
            self.count_failure(failure);
            let (id, code) = (taken.id(), failure.code());
            tracing::warn!(id, code, route = self.route(), "a background job failed: {}", failure.internal());
        }
        let after = FIRST_PAUSE * 4_u32.pow(attempt.saturating_sub(1).min(4));
        match ended {
            Ok(Ok(result)) => {
                self.route.metrics.job_took(began.elapsed());
                JobEnd::Completed(result)
            }
            Ok(Err(Refusal::Permanent(why))) => JobEnd::Failed(why),
            Ok(Err(Refusal::Temporary(why))) => JobEnd::Again { why, after },
            Err(failure) => JobEnd::Again { why: failure.public(), after },
        }
    }

    /// Waits until there is room for one more guest: a job has time, and is not lost because requests come first.
    pub(crate) async fn place(&self, tenant: &Tenant, scope: &Scope) -> Option<Place> {
        loop {
            match self.admit(tenant, scope).await {
                Ok(place) => return Some(place),
                Err(Failure::Saturated { .. } | Failure::Share { .. }) => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                // the door is gone with the host, which ends the run as well
                Err(_) => return None,
            }
        }
    }

    /// Runs the component in a store of its own, for as long as a job may take.
    async fn run(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        taken: &Taken,
        scope: &Scope,
        job: Job,
        place: Option<Place>,
    ) -> Result<Result<Vec<u8>, Refusal>, Failure> {
        let no_worker = || Failure::host("the deployment works no jobs off");
        let worker = self.worker.clone().ok_or_else(no_worker)?;
        let mut span = scope.open("job");
        span.set("atelier.component", || self.component().as_ref());
        let meter = Meter::of_job(
            self.route.clone(),
            tenant.clone(),
            self.metrics.clone(),
            span.scope(),
            taken.reports(),
        );
        let meter = Arc::new(meter);
        let call = Call { host: self.host.clone(), route: self.route.clone(), meter: meter.clone() };
        let counted = InFlight::new(self.clone());
        let (limit, route) = (self.route.limits.job, meter.route());
        let work = async move {
            let (mut store, instance) = (call.store(), call.meter.clone());
            let work = async move {
                let worker = instance.instantiate(worker.instantiate_async(&mut store)).await?;
                let run = async |accessor: &_| worker.atelier_host_job_runner().call_run(accessor, job).await;
                store.run_concurrent(run).await?
            };
            let result = tokio::select! {
                biased;
                result = limited(call, work) => result,
                () = tokio::time::sleep(limit) => Err(meter.settle(|| Failure::JobTime { route, limit })),
            };
            span.settle(&result);
            drop((place, counted));
            result
        };
        task(work).await
    }
}

/// Renews the lease until it does not stand any more.
async fn renew(taken: &Taken) {
    while taken.renew(LEASE) {
        tokio::time::sleep(RENEWAL).await;
    }
}
