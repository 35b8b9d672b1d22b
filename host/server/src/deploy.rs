//! From a route of the manifest to a deployment: reads the components' bytes, turns checked configuration into what the
//! runtime takes, and says why when it does not load. Decides nothing about when or which; `versions/` does.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use atelier_inference::ModelId;
use atelier_runtime::{AbsentModel, Code, Deployment, Grants, Limits, Origin, RouteSpec, Runtime, Webhooks};
use bytes::Bytes;

use crate::config::{self, CodeSource, Model, Route, Signing};
use crate::live::DeployError;
use crate::metrics::Counts;
use crate::shelf::Shelf;
use crate::signing;
use crate::vault::Vault;
use crate::versions::{Base, Kept, Place, Uploads};
use crate::webhooks;

/// Of an upload's digest, as much goes into messages.
const DIGEST_CHARS: usize = 12;

/// Deploys routes on one runtime.
#[derive(Clone)]
pub(crate) struct Deployer {
    pub(crate) runtime: Runtime,
    /// A builtin component's bytes.
    pub(crate) builtin: fn(&str) -> Option<&'static [u8]>,
    /// Models of the manifest that are not here.
    pub(crate) missing: Arc<[AbsentModel]>,
    pub(crate) counts: Arc<Counts>,
    /// Whose components are believed, by the newest manifest; those in the binary always are.
    pub(crate) signing: Arc<ArcSwap<Signing>>,
    /// Where uploads are.
    pub(crate) vault: Arc<Vault>,
    /// Where components keep things.
    pub(crate) storage: Arc<Shelf>,
}

/// What the manifest says of the models that are not here, each of which comes with what brings it.
pub(crate) fn absent(models: &[Model], missing: &[(ModelId, String)]) -> Arc<[AbsentModel]> {
    let source =
        |id: &ModelId| models.iter().find(|model| model.id == *id).map(|model| model.source.origin());
    let absent = missing.iter().map(|(id, fix)| AbsentModel {
        id: id.clone(),
        source: source(id).unwrap_or_default(),
        fix: fix.clone(),
    });
    absent.collect()
}

/// An upload that is not kept yet.
pub(crate) struct Fresh {
    /// BLAKE3, in hexadecimal.
    pub(crate) digest: String,
    pub(crate) bytes: Bytes,
}

/// A route whose components have been read.
pub(crate) struct Draft {
    spec: RouteSpec,
    /// BLAKE3 over the digests of all of them, as the deployment will give it.
    pub(crate) digest: String,
}

impl Deployer {
    /// Reads the route's components, with uploads in place of what the manifest names.
    pub(crate) async fn read(
        &self,
        route: &Route,
        uploads: &Uploads,
        fresh: Option<&Fresh>,
    ) -> Result<Draft, DeployError> {
        let mut codes = Vec::new();
        for place in Place::all(route) {
            let code = match uploads.get(&place) {
                Some(kept) => self.uploaded(kept, place, fresh).await?,
                None => self.named(route, place).await?,
            };
            codes.push((place, code));
        }
        let mut all = blake3::Hasher::new();
        codes.iter().for_each(|(_, code)| {
            all.update(digest(&code.bytes).as_bytes());
        });
        let digest = all.finalize().to_string();
        self.open_storage(route).await?;
        Ok(Draft { spec: self.spec(route, codes)?, digest })
    }

    /// Checks, compiles and links what was read. Touches nothing that runs.
    pub(crate) async fn deploy(&self, draft: Draft) -> Result<Arc<Deployment>, DeployError> {
        self.runtime.deploy(draft.spec).await.map_err(|error| operators(error.to_string()))
    }

    /// What an upload at this place would stand instead of.
    pub(crate) async fn base(&self, route: &Route, place: Place) -> Result<Base, DeployError> {
        let code = self.named(route, place).await?;
        Ok(Base { digest: digest(&code.bytes), source: code.name })
    }

    fn spec(&self, route: &Route, codes: Vec<(Place, Code)>) -> Result<RouteSpec, DeployError> {
        let (mut handler, mut intent, mut select) = (None, None, None);
        let (mut style, mut finish) = (Vec::new(), Vec::new());
        for (place, code) in codes {
            match place {
                Place::Component => handler = Some(code),
                Place::Intent => intent = Some(code),
                Place::Style(_) => style.push(code),
                Place::Select => select = Some(code),
                Place::Finish(_) => finish.push(code),
            }
        }
        Ok(RouteSpec {
            route: route.name.clone(),
            handler: handler.ok_or_else(|| operators("there is no handler".into()))?,
            intent,
            style,
            select,
            finish,
            grants: self.grants(route)?,
            limits: limits(&route.limits),
            channel_message_bytes: route.channels.as_ref().map(|channels| channels.message_bytes as usize),
            reuse: route.reuse,
            config: route.component_config(std::env::vars_os()),
            metrics: self.counts.routes.get(&route.name).guests.clone(),
        })
    }

    /// The component that the manifest names.
    async fn named(&self, route: &Route, place: Place) -> Result<Code, DeployError> {
        let source = place.source(route).ok_or_else(|| operators(format!("there is no `{place}`")))?;
        let bytes = match source {
            CodeSource::Builtin(name) => {
                (self.builtin)(name).map(Into::into).ok_or("is not in this binary".to_owned())
            }
            CodeSource::File(path) => {
                let (path, signing) = (path.clone(), self.signing.load_full());
                let limit = limits(&route.limits).component_bytes;
                let read = tokio::task::spawn_blocking(move || read(&path, limit, &signing)).await;
                read.unwrap_or_else(|panic| Err(panic.to_string())).map(Into::into)
            }
        };
        let bytes = bytes.map_err(|why| operators(format!("component `{source}`: {why}")))?;
        Ok(Code { name: source.to_string(), bytes })
    }

    /// A component that was uploaded, just now or earlier. Keys come and go: its signature is checked at every load.
    async fn uploaded(&self, kept: &Kept, place: Place, fresh: Option<&Fresh>) -> Result<Code, DeployError> {
        let short = kept.digest.get(..DIGEST_CHARS).unwrap_or(&kept.digest);
        let name = format!("upload {short} as {place}");
        let fresh = fresh.filter(|fresh| fresh.digest == kept.digest).map(|fresh| fresh.bytes.clone());
        let (vault, kept, signing) = (self.vault.clone(), kept.clone(), self.signing.load_full());
        let read = tokio::task::spawn_blocking(move || {
            let bytes = fresh.map_or_else(|| kept_bytes(&vault, &kept), Ok)?;
            let by = signing::check_upload(&signing, kept.signature.as_ref(), &bytes);
            by.map(|_| bytes).map_err(|error| error.to_string())
        });
        let bytes = read.await.unwrap_or_else(|panic| Err(panic.to_string()));
        let bytes = bytes.map_err(|why| operators(format!("component `{name}`: {why}")))?;
        Ok(Code { name, bytes })
    }

    /// The grants, with the models that are here apart from those that are not. A route whose every model is missing
    /// could only disappoint, so it does not load.
    fn grants(&self, route: &Route) -> Result<Grants, DeployError> {
        let missing = |id: &ModelId| self.missing.iter().find(|missing| missing.id == *id);
        let granted = &route.grants.models;
        let models: Vec<ModelId> = granted.iter().filter(|id| missing(id).is_none()).cloned().collect();
        let absent: Vec<AbsentModel> = granted.iter().filter_map(missing).cloned().collect();
        let fixes: Vec<&str> = absent.iter().map(|model| model.fix.as_str()).collect();
        if models.is_empty() && !fixes.is_empty() {
            let text = format!("none of its models is here; {}", fixes.join("; "));
            return Err(DeployError { text, is_public: true, retry: true });
        }
        for fix in fixes {
            tracing::warn!(route = route.name, "granted without one of its models: {fix}");
        }
        let outbound = origins("grants.outbound", &route.grants.outbound)?;
        let outbound_private = origins("grants.outbound-private", &route.grants.outbound_private)?;
        let (buckets, containers) = (route.grants.buckets.clone(), route.grants.containers.clone());
        let machine = route.grants.machine;
        let (jobs, webhooks, copies) = (route.grants.jobs, told(route)?, route.grants.copies.clone());
        let channels = route.grants.channels;
        let places =
            Grants { buckets, containers, machine, jobs, webhooks, copies, channels, ..Grants::default() };
        Ok(Grants { models, absent, outbound, outbound_private, ..places })
    }

    /// Makes sure that there is a place where a route may keep things that does.
    async fn open_storage(&self, route: &Route) -> Result<(), DeployError> {
        let config::Grants { buckets, containers, jobs, copies, .. } = &route.grants;
        if buckets.is_empty() && containers.is_empty() && copies.is_empty() && !jobs {
            return Ok(());
        }
        let storage = self.storage.get().await.map_err(operators)?;
        self.runtime.store_in(storage);
        Ok(())
    }
}

/// The bytes of a file that is believed, and not larger than it may be. Its size is looked at before there is memory for
/// it, and what grows while it is read is read one byte too far at most.
pub(crate) fn read(path: &Path, limit: usize, signing: &Signing) -> Result<Vec<u8>, String> {
    let bytes = read_within(path, limit as u64).map_err(|error| error.to_string())?;
    let too_large = || format!("has more than {limit} bytes (limits.component-bytes)");
    let bytes = bytes.ok_or_else(too_large)?;
    if let Some(key) = signing::check_file(signing, path, &bytes).map_err(|error| error.to_string())? {
        tracing::debug!(component = %path.display(), key, "the signature holds");
    }
    Ok(bytes)
}

/// A file's bytes; `None` when there are more of them.
fn read_within(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        // a pipe would keep us waiting for somebody to write
        return Err(io::Error::other("is no file"));
    }
    if metadata.len() > limit {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// The bytes of an upload that was kept.
fn kept_bytes(vault: &Vault, kept: &Kept) -> Result<Bytes, String> {
    match vault.component(&kept.digest, kept.bytes) {
        Ok(Some(bytes)) => Ok(bytes.into()),
        Ok(None) => Err("is not in store.data-dir any more, or was changed there".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A problem that is for operators, and may be gone with the next change.
pub(crate) fn operators(text: String) -> DeployError {
    DeployError { text, is_public: false, retry: true }
}

/// BLAKE3 of a component, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_string()
}

/// Who may be told of the route's background jobs. A secret that is none is said now and not with the first message. Without one
/// the route does all else, so that it runs where nobody wants to be told.
fn told(route: &Route) -> Result<Option<Webhooks>, DeployError> {
    let Some(webhooks) = &route.webhooks else { return Ok(None) };
    let private = origins("webhooks.private", &webhooks.private)?;
    let name = &webhooks.secret_env;
    if webhooks::is_unset(webhooks) {
        tracing::warn!(route = route.name, "tells nobody of its jobs until the variable {name} is set");
        return Ok(Some(Webhooks { private, unset: Some(name.clone()) }));
    }
    webhooks::signer(webhooks).map_err(operators)?;
    Ok(Some(Webhooks { private, unset: None }))
}

fn origins(key: &str, texts: &[String]) -> Result<Vec<Origin>, DeployError> {
    let parse = |text: &String| Origin::parse(text).map_err(|error| operators(format!("{key}: {error}")));
    texts.iter().map(parse).collect()
}

/// The runtime's limits, with those that the manifest sets.
pub(crate) fn limits(set: &config::Limits) -> Limits {
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
        audio_seconds: set.audio_seconds.unwrap_or(default.audio_seconds),
        tokens: set.tokens.unwrap_or(default.tokens),
        outbound_requests: set.outbound_requests.map_or(default.outbound_requests, |value| value as u32),
        outbound_bytes: set.outbound_bytes.unwrap_or(default.outbound_bytes),
        outbound_connect: millis(set.outbound_connect_ms, default.outbound_connect),
        outbound_first_byte: millis(set.outbound_first_byte_ms, default.outbound_first_byte),
        outbound_between_bytes: millis(set.outbound_between_bytes_ms, default.outbound_between_bytes),
        jobs: set.jobs.map_or(default.jobs, |value| value as u32),
        job: millis(set.job_ms, default.job),
        jobs_at_once: set.jobs_at_once.map_or(default.jobs_at_once, |value| value as u32),
        reuse_requests: set.reuse_requests.map_or(default.reuse_requests, |value| value as u32),
        reuse_at_a_time: set.reuse_at_a_time.map_or(default.reuse_at_a_time, |value| value as u32),
        reuse_age: millis(set.reuse_age_ms, default.reuse_age),
        reuse_idle: millis(set.reuse_idle_ms, default.reuse_idle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_not_looked_into_beyond_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        std::fs::write(&path, b"12345678").unwrap();
        assert_eq!(read_within(&path, 8).unwrap().as_deref(), Some(&b"12345678"[..]));
        assert_eq!(read_within(&path, 7).unwrap(), None);
        // 64 GiB that lie on no disk: nobody could read them
        File::options().write(true).open(&path).unwrap().set_len(1 << 36).unwrap();
        assert_eq!(read_within(&path, 8).unwrap(), None);
        let told = read(&path, 8, &Signing::default()).unwrap_err();
        assert_eq!(told, "has more than 8 bytes (limits.component-bytes)");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("a.wasm");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), folder.path()] {
            assert_eq!(read_within(path, 8).unwrap_err().to_string(), "is no file");
        }
    }
}
