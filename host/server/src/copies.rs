//! Copies for other programs: lets the store copy objects, tells the operator how the servers fare, and renders the jobs that are
//! copied, each as the component of its route says that it reads. What is copied where, when, and what becomes of servers that are
//! gone is the store's affair.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atelier_runtime::{Deployment, Runtime};
use atelier_store::{
    Copies, Error as StoreError, JobCopy, JobPlace, JobQueue, JobSeen, JobTurn, JobView, ServiceState,
};
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::live::Live;

/// A look for the place, which is opened with the first route that keeps something.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Until a job is tried again whose route or tenant is not here, or that the disk does not show.
const ROUTE_AWAY: Duration = Duration::from_secs(30);

/// Who copies.
pub(crate) struct Copier {
    pub(crate) live: Arc<Live>,
    pub(crate) runtime: Runtime,
}

impl Copier {
    /// Copies until it is dropped. What is behind then is found by the next process.
    pub(crate) async fn run(self) {
        let storage = loop {
            match self.runtime.storage() {
                Some(storage) => break storage.clone(),
                None => sleep(LOOK_AGAIN).await,
            }
        };
        let (copies, this, mut work) = (storage.copies(), Arc::new(self), JoinSet::new());
        work.spawn(copies.clone().upload());
        work.spawn(tell(copies.clone()));
        for copy in copies.of_jobs() {
            work.spawn(this.clone().follow(copy, storage.job_queue()));
        }
        while let Some(ended) = work.join_next().await {
            if let Err(error) = ended {
                tracing::error!("a copy for other programs ended by itself: {error}");
            }
        }
    }

    /// Writes jobs down as they change. Those of a batch are rendered beside each other: a component that takes its time holds up
    /// no more than one.
    async fn follow(self: Arc<Self>, copy: JobCopy, queue: JobQueue) {
        loop {
            let mut reading = JoinSet::new();
            for place in copy.next().await {
                let (this, queue) = (self.clone(), queue.clone());
                reading.spawn(async move {
                    let view = this.view(&queue, &place).await;
                    (place, view)
                });
            }
            let mut jobs = Vec::new();
            while let Some(read) = reading.join_next().await {
                match read {
                    Ok((place, Ok(Some(view)))) => jobs.push((place, view)),
                    Ok((place, Ok(None))) => copy.put_back([place], ROUTE_AWAY),
                    Ok((place, Err(error))) => {
                        tracing::error!(copy = copy.id(), "a job cannot be copied: {error}");
                        copy.put_back([place], ROUTE_AWAY);
                    }
                    Err(error) => tracing::error!(copy = copy.id(), "a job was not copied: {error}"),
                }
            }
            if !jobs.is_empty() {
                copy.write(jobs).await;
            }
        }
    }

    /// How a job reads: nothing where it is forgotten. `None` while nobody can say.
    async fn view(&self, queue: &JobQueue, place: &JobPlace) -> Result<Option<Option<JobView>>, StoreError> {
        let Some(seen) = queue.look(&place.id).await? else { return Ok(Some(None)) };
        let table = self.live.table();
        let tenant = table.tenants.named(&place.owner);
        let deployed = table.slot(&place.route).and_then(|slot| slot.deployment.clone());
        let (Some(tenant), Some(deployed)) = (tenant, deployed) else { return Ok(None) };
        let deployment = deployed.deployment;
        let (turn, ttl) = (JobTurn::from(&seen.status), life(&seen, &deployment));
        let text = deployment.describe(&tenant.runtime, seen.status).await;
        Ok(Some(Some(JobView { fields: flat(&text), turn, ttl })))
    }
}

/// Tells the operator when a server fares otherwise than before.
async fn tell(copies: Copies) {
    let (mut turns, mut before) = (copies.turns(), HashMap::new());
    loop {
        turns.borrow_and_update();
        for status in copies.known_lately() {
            let was = before.insert(status.id.clone(), status.state);
            let (copy, kind) = (status.id, status.kind);
            match (was, status.state) {
                (was, state) if was == Some(state) => {}
                (_, ServiceState::Degraded) => {
                    let reason = status.reason.unwrap_or_default();
                    tracing::warn!(copy, kind, "copies wait for their server: {reason}");
                }
                (Some(ServiceState::Degraded), _) => {
                    tracing::info!(copy, kind, "copies go to their server again");
                }
                _ => {}
            }
        }
        if turns.changed().await.is_err() {
            return;
        }
    }
}

/// How long a job is to be found if nothing more is heard of it.
fn life(seen: &JobSeen, deployment: &Deployment) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let until = match seen.status.ended_ms {
        Some(ended) => Duration::from_millis(ended) + seen.keep,
        None => Duration::from_millis(seen.start_by_ms).max(now) + deployment.job_limit() + seen.keep,
    };
    until.saturating_sub(now)
}

/// The members of a JSON object as texts: texts as they are, numbers in decimal, `null` as nothing, and what has members of its own
/// as JSON.
fn flat(object: &str) -> Vec<(String, String)> {
    let members: Map<String, Value> = serde_json::from_str(object).unwrap_or_default();
    let text = |value: Value| match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        value => value.to_string(),
    };
    members.into_iter().map(|(name, value)| (name, text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_reads_as_texts() {
        let object = r#"{"status":"processing","progress":40,"share":0.5,"result_url":null,"is":true,"more":{"a":[1]}}"#;
        let expected = [
            ("status", "processing"),
            ("progress", "40"),
            ("share", "0.5"),
            ("result_url", ""),
            ("is", "true"),
            ("more", "{\"a\":[1]}"),
        ];
        assert_eq!(flat(object), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(flat("no object").is_empty());
    }
}
