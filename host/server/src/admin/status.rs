//! What operators see: pages of JSON made of counters and tables. Nothing of a component's configuration, and never a key
//! or its hash.

use std::sync::Arc;
use std::time::SystemTime;

use atelier_inference::{Error, TenantsStatus};
use atelier_store::{JobLine, OutboxLine, ServiceStatus};
use http::Method;
use serde_json::{Value, json};

use super::View;
use super::fault::Fault;
use crate::http::Phase;
use crate::live::{Deployed, Slot};
use crate::tenants::Member;

pub(super) fn version() -> Value {
    json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") })
}

impl View {
    pub(super) fn tenants(&self) -> Value {
        let table = self.live.table();
        let tenants: Vec<Value> = table.tenants.members().map(|member| self.tenant(member)).collect();
        json!({ "tenants": tenants })
    }

    /// A tenant without its hashes.
    pub(super) fn tenant(&self, member: &Member) -> Value {
        let tenant = &member.tenant;
        json!({
            "id": tenant.id,
            "share": tenant.share,
            "priority": tenant.priority,
            "quotas": tenant.quotas,
            "keys": tenant.keys.iter().map(|key| &key.name).collect::<Vec<_>>(),
            "usage": member.usage(),
        })
    }

    /// Whether requests are welcome, with the reasons if not.
    pub(super) fn ready(&self) -> (bool, Value) {
        let reasons: Vec<&str> = [
            (self.stop.phase() != Phase::Running, "draining"),
            (!self.scheduler.status().alive, "the inference worker has stopped"),
            (self.scheduler.preloading() > 0, "models are being loaded"),
            (!self.live.table().is_ready(), "no route is deployed"),
        ]
        .into_iter()
        .filter_map(|(holds, reason)| holds.then_some(reason))
        .collect();
        (reasons.is_empty(), json!({ "ready": reasons.is_empty(), "reasons": reasons }))
    }

    pub(super) fn status(&self) -> Value {
        let phase = match self.stop.phase() {
            Phase::Running => "running",
            Phase::Draining => "draining",
            Phase::Closing => "closing",
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "phase": phase,
            "uptime_s": self.started.elapsed().as_secs(),
            "manifest": self.manifest,
            "routes": self.routes(),
            "models": self.models(),
            "memory": self.scheduler.memory(),
            "providers": self.runtime.providers(),
            "queue": self.queue(),
            "copies": self.copies(),
            "reload": self.reports.now(),
            "runtime": self.runtime.metrics(),
        })
    }

    pub(super) fn routes(&self) -> Vec<Value> {
        self.live.table().slots.iter().map(|slot| route(slot)).collect()
    }

    /// Jobs in the order in which they will be served, and what each tenant had of the engine.
    pub(super) fn queue(&self) -> Value {
        let mut value = json!(self.scheduler.status());
        value["jobs"] = json!(self.scheduler.jobs(None));
        let TenantsStatus { tenants, others } = self.scheduler.tenants();
        value["tenants"] = json!(tenants);
        value["other_tenants"] = json!(others);
        value
    }

    /// Background jobs: nothing where there is no place for any.
    pub(super) async fn jobs(&self) -> Result<Value, Fault> {
        let Some(queue) = self.runtime.storage().map(|storage| storage.job_queue()) else {
            return Ok(json!({ "running": 0, "waiting": [], "webhooks": [] }));
        };
        let unread = |error: atelier_store::Error| {
            tracing::error!("background jobs cannot be listed: {error}");
            Fault::Internal
        };
        let line = |line: JobLine| json!({ "route": line.route, "tenant": line.owner, "jobs": line.waiting });
        let lines = queue.lines().await.map_err(unread)?;
        let waiting: Vec<Value> = lines.into_iter().map(line).collect();
        let untold = |line: OutboxLine| json!({ "tenant": line.owner, "receiver": line.receiver, "messages": line.waiting });
        let lines = queue.outbox().lines().await.map_err(unread)?;
        let webhooks: Vec<Value> = lines.into_iter().map(untold).collect();
        Ok(json!({ "running": queue.running(None), "waiting": waiting, "webhooks": webhooks }))
    }

    /// What other programs read of what components keep: nothing where there is no place for anything.
    fn copies(&self) -> Vec<Value> {
        let copy = |status: ServiceStatus| {
            json!({
                "id": status.id,
                "kind": status.kind,
                "state": status.state.name(),
                "since": status.since_ms / 1_000,
                "reason": status.reason,
                "waiting": status.waiting,
                "copied": status.copied,
                "failed": status.failed,
            })
        };
        let known = self.runtime.storage().map(|storage| storage.copies().known_lately());
        known.into_iter().flatten().map(copy).collect()
    }

    pub(super) fn models(&self) -> Vec<Value> {
        let states = self.scheduler.models();
        let here = self.scheduler.catalog().iter().zip(states).map(|(info, state)| {
            let mut value = json!(info);
            value["state"] = json!(state.state);
            value["pinned"] = state.pinned.into();
            value["idle_s"] = state.idle_s.into();
            value["idle_unload_s"] = state.idle_unload_s.into();
            value["problem"] = state.problem.into();
            value
        });
        let missing =
            self.missing.iter().map(|(id, fix)| json!({ "id": id, "state": "missing", "fix": fix }));
        let elsewhere = self.runtime.provided_models().into_iter().map(|model| {
            let mut value = json!(model);
            value["state"] = if model.left_alone { "left alone" } else { "elsewhere" }.into();
            value
        });
        here.chain(elsewhere).chain(missing).collect()
    }

    /// One of them.
    pub(super) fn model(&self, id: &str) -> Result<Value, Fault> {
        let known = || self.models().into_iter();
        known().find(|model| model["id"] == id).ok_or_else(|| {
            let known = known().filter_map(|model| model["id"].as_str().map(str::to_owned)).collect();
            Fault::Model(Error::UnknownModel { id: id.to_owned(), known })
        })
    }

    /// The slot of a route.
    pub(super) fn slot(&self, name: &str) -> Option<Arc<Slot>> {
        self.live.table().slot(name).cloned()
    }
}

pub(super) fn route(slot: &Slot) -> Value {
    let route = &slot.route;
    let since =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let deployment = slot.deployment.as_ref().map(|deployed| {
        let Deployed { deployment, version, trial, .. } = deployed;
        json!({
            "version": version,
            "on_trial": trial.is_some(),
            "generation": deployment.generation(),
            "digest": deployment.code_digest(),
            "component": deployment.component().as_ref(),
            "http": deployment.http(),
            "in_flight": deployment.in_flight(),
            "since": since(deployed.since),
        })
    });
    json!({
        "name": route.name,
        "host": route.host,
        "path": route.path,
        "tenant": route.tenant,
        "access": route.access,
        "reuse": route.reuse,
        "methods": route.methods.iter().map(Method::as_str).collect::<Vec<_>>(),
        "component": route.component.to_string(),
        "closed": slot.gate.is_closed(),
        "deployment": deployment,
        "error": slot.problem.as_ref().map(ToString::to_string),
        "answers": slot.tally.answers(),
    })
}
