//! From a route of the manifest to a deployment: reads the components' bytes, turns checked configuration into what the
//! runtime takes, and says why when it does not load. Decides nothing about when; `app.rs` and `reload.rs` do.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use atelier_inference::ModelId;
use atelier_runtime::{Code, Grants, Limits, Origin, RouteSpec, Runtime};

use crate::config::{self, CodeSource, Route, Signing};
use crate::live::{DeployError, Deployed, Slot};
use crate::metrics::{Counts, RouteTally};
use crate::signing;

/// Deploys routes on one runtime.
#[derive(Clone)]
pub(crate) struct Deployer {
    pub(crate) runtime: Runtime,
    /// A builtin component's bytes.
    pub(crate) builtin: fn(&str) -> Option<&'static [u8]>,
    /// Models of the manifest whose files are not here, each with what brings them.
    pub(crate) missing: Arc<[(ModelId, String)]>,
    pub(crate) counts: Arc<Counts>,
    /// Whose components are believed; those in the binary always are.
    pub(crate) signing: Arc<Signing>,
}

impl Deployer {
    /// The slot of a route. When the route does not load, what answered before goes on answering, under its old
    /// configuration.
    pub(crate) async fn slot(&self, route: Route, before: Option<&Slot>) -> Slot {
        let tally = match before {
            Some(slot) => slot.tally.clone(),
            None => RouteTally::new(&route.name, &self.counts.routes),
        };
        match self.deploy(&route, &tally).await {
            Ok(deployed) => Slot { route, deployment: Some(deployed), problem: None, tally },
            Err(problem) => {
                tracing::error!(route = route.name, "the route does not load: {problem}");
                let kept = before.and_then(|slot| Some((slot.route.clone(), slot.deployment.clone()?)));
                // who may ask is no business of the component's: that changes at once
                let (tenant, access) = (route.tenant.clone(), route.access);
                let (route, deployment) = kept.map_or((route, None), |(kept, deployment)| {
                    (Route { tenant, access, ..kept }, Some(deployment))
                });
                Slot { route, deployment, problem: Some(problem), tally }
            }
        }
    }

    async fn deploy(&self, route: &Route, tally: &RouteTally) -> Result<Deployed, DeployError> {
        let spec = self.spec(route, tally).await?;
        let deployment = self.runtime.deploy(spec).await.map_err(|error| operators(error.to_string()))?;
        tracing::info!(route = route.name, generation = deployment.generation(), "deployed");
        Ok(Deployed { deployment, since: SystemTime::now() })
    }

    async fn spec(&self, route: &Route, tally: &RouteTally) -> Result<RouteSpec, DeployError> {
        let select = match &route.select {
            Some(source) => Some(self.code(source).await?),
            None => None,
        };
        Ok(RouteSpec {
            route: route.name.clone(),
            handler: self.code(&route.component).await?,
            style: self.codes(&route.style).await?,
            select,
            finish: self.codes(&route.finish).await?,
            grants: self.grants(route)?,
            limits: limits(&route.limits),
            config: route.component_config(std::env::vars_os()),
            metrics: tally.guests().clone(),
        })
    }

    async fn codes(&self, sources: &[CodeSource]) -> Result<Vec<Code>, DeployError> {
        let mut codes = Vec::with_capacity(sources.len());
        for source in sources {
            codes.push(self.code(source).await?);
        }
        Ok(codes)
    }

    async fn code(&self, source: &CodeSource) -> Result<Code, DeployError> {
        let bytes = match source {
            CodeSource::Builtin(name) => {
                (self.builtin)(name).map(Into::into).ok_or("is not in this binary".to_owned())
            }
            CodeSource::File(path) => {
                let (path, signing) = (path.clone(), self.signing.clone());
                let read = tokio::task::spawn_blocking(move || read(&path, &signing)).await;
                read.unwrap_or_else(|panic| Err(panic.to_string())).map(Into::into)
            }
        };
        let bytes = bytes.map_err(|why| operators(format!("component `{source}`: {why}")))?;
        Ok(Code { name: source.to_string(), bytes })
    }

    /// The grants, with the models that are here apart from those that are not. A route whose every model is missing
    /// could only disappoint, so it does not load.
    fn grants(&self, route: &Route) -> Result<Grants, DeployError> {
        let missing = |id: &ModelId| self.missing.iter().find(|(missing, _)| missing == id);
        let granted = &route.grants.models;
        let models: Vec<ModelId> = granted.iter().filter(|id| missing(id).is_none()).cloned().collect();
        let absent: Vec<(ModelId, String)> = granted.iter().filter_map(missing).cloned().collect();
        let fixes: Vec<&str> = absent.iter().map(|(_, fix)| fix.as_str()).collect();
        if models.is_empty() && !fixes.is_empty() {
            let text = format!("none of its models is here; {}", fixes.join("; "));
            return Err(DeployError { text, is_public: true });
        }
        for fix in fixes {
            tracing::warn!(route = route.name, "granted without one of its models: {fix}");
        }
        let outbound = origins("grants.outbound", &route.grants.outbound)?;
        let outbound_private = origins("grants.outbound-private", &route.grants.outbound_private)?;
        Ok(Grants { models, absent, outbound, outbound_private })
    }
}

/// The bytes of a file that is believed.
fn read(path: &Path, signing: &Signing) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if let Some(key) = signing::check(signing, path, &bytes).map_err(|error| error.to_string())? {
        tracing::debug!(component = %path.display(), key, "the signature holds");
    }
    Ok(bytes)
}

fn operators(text: String) -> DeployError {
    DeployError { text, is_public: false }
}

fn origins(key: &str, texts: &[String]) -> Result<Vec<Origin>, DeployError> {
    let parse = |text: &String| Origin::parse(text).map_err(|error| operators(format!("{key}: {error}")));
    texts.iter().map(parse).collect()
}

/// The runtime's limits, with those that the manifest sets.
fn limits(set: &config::Limits) -> Limits {
    let default = Limits::default();
    let millis = |set: Option<u64>, default| set.map_or(default, Duration::from_millis);
    let size = |set: Option<u64>, default| set.map_or(default, |value| value as usize);
    Limits {
        wall: millis(set.wall_ms, default.wall),
        cpu: millis(set.cpu_ms, default.cpu),
        capability_wait: millis(set.capability_wait_ms, default.capability_wait),
        memory_bytes: size(set.memory_bytes, default.memory_bytes),
        table_elements: size(set.table_elements, default.table_elements),
        instances: size(set.instances, default.instances),
        handles: size(set.handles, default.handles),
        hostcall_bytes: size(set.hostcall_bytes, default.hostcall_bytes),
        header_bytes: size(set.header_bytes, default.header_bytes),
        random_bytes: set.random_bytes.unwrap_or(default.random_bytes),
        log_bytes: size(set.log_bytes, default.log_bytes),
        component_bytes: size(set.component_bytes, default.component_bytes),
        compile: millis(set.compile_ms, default.compile),
        compile_memory_bytes: size(set.compile_memory_bytes, default.compile_memory_bytes),
        request_body_bytes: set.request_body_bytes.unwrap_or(default.request_body_bytes),
        response_body_bytes: set.response_body_bytes.unwrap_or(default.response_body_bytes),
        picture_bytes: set.picture_bytes.unwrap_or(default.picture_bytes),
        outbound_requests: set.outbound_requests.map_or(default.outbound_requests, |value| value as u32),
        outbound_bytes: set.outbound_bytes.unwrap_or(default.outbound_bytes),
        outbound_connect: millis(set.outbound_connect_ms, default.outbound_connect),
        outbound_first_byte: millis(set.outbound_first_byte_ms, default.outbound_first_byte),
        outbound_between_bytes: millis(set.outbound_between_bytes_ms, default.outbound_between_bytes),
        jobs: set.jobs.map_or(default.jobs, |value| value as u32),
    }
}
