//! What operators do to a route's versions: upload, promote, go back, close. Each either happens whole or leaves what
//! serves as it is, and is on the disk before it is answered.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use atelier_runtime::Deployment;
use bytes::Bytes;

use super::history::{Kept, New, Source};
use super::{BY_OPERATOR, Base, Fault, Leaving, Place, State, Uploads, Version, Versions, apart, tried};
use crate::config::{Route, Signing};
use crate::deploy::{Fresh, digest};
use crate::live::{DeployError, Deployed, Slot};
use crate::signing::Signature;

/// A component that somebody uploads.
pub(crate) struct Upload {
    pub(crate) place: Place,
    pub(crate) bytes: Bytes,
    /// What came with it.
    pub(crate) signature: Option<Signature>,
    /// The key's name of who uploads it.
    pub(crate) by: String,
    /// Whether it is to serve at once.
    pub(crate) promote: bool,
}

/// Where to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// What served before.
    Previous,
    /// What the manifest names.
    Manifest,
    /// A version by its number.
    Version(u64),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "previous" => Ok(Target::Previous),
            "manifest" => Ok(Target::Manifest),
            _ => text
                .parse()
                .map(Target::Version)
                .map_err(|_| format!("wants previous, manifest or a version's number, not `{text}`")),
        }
    }
}

/// How a version comes to serve.
struct Coming {
    id: u64,
    checked: Checked,
    /// What becomes of the one that serves now.
    leaving: Leaving,
    /// Whether it must prove itself.
    on_trial: bool,
}

/// A version that has passed everything that it must pass before it serves.
struct Checked {
    deployment: Arc<Deployment>,
    /// What its uploads stand instead of.
    bases: BTreeMap<Place, Base>,
    /// Whose components were believed when its own were read.
    signing: Arc<Signing>,
}

impl Versions {
    /// Takes a component in, and lets it serve if that is wanted.
    pub(crate) async fn upload(self: &Arc<Self>, route: &str, upload: Upload) -> Result<Version, Fault> {
        let slot = self.slot(route)?;
        let wanted = slot.wanted.clone();
        let Upload { place, bytes, signature, by, promote } = upload;
        if place.source(&wanted).is_none() {
            return Err(Fault::NoPlace { route: route.into(), place });
        }
        apart(&self.deployer.vault, |vault| vault.claim()).await?;
        let fresh = Fresh { digest: digest(&bytes), bytes };
        let kept = Kept { digest: fresh.digest.clone(), bytes: fresh.bytes.len() as u64, signature };
        let uploads = self.set_with(route, &wanted, place, kept);
        let known = self.histories().get(route).and_then(|history| history.of_uploads(&uploads).cloned());
        if let Some(version) = known {
            // asked again, perhaps since the first answer was lost
            return if promote { self.promote(route, version.id).await } else { Ok(version) };
        }
        let id = self.histories().entry(route.to_owned()).or_default().reserve();
        let source = Source::Upload;
        let mut new = New { source, place: Some(place), digest: fresh.digest.clone(), by, uploads };
        let checked = match self.checked(&wanted, &new.uploads, Some(&fresh)).await {
            Ok(checked) => checked,
            Err(problem) => return self.refuse(route, id, new, problem).await,
        };
        checked.deployment.code_digest().clone_into(&mut new.digest);
        self.keep(route, id, new, fresh).await?;
        let leaving = Leaving::Replaced { reason: None };
        let coming = Coming { id, checked, leaving, on_trial: true };
        let result = if promote { self.replace(&slot, coming) } else { Ok(()) };
        self.save().await?;
        result?;
        self.version(route, id)
    }

    /// Puts an upload on the disk and its version into the history.
    async fn keep(&self, route: &str, id: u64, new: New, fresh: Fresh) -> Result<(), Fault> {
        let mut on_disk = self.on_disk.lock().await;
        let Fresh { digest, bytes } = fresh;
        on_disk.insert(digest.clone());
        self.make_room(&digest, bytes.len() as u64)?;
        apart(&self.deployer.vault, move |vault| vault.keep_component(&digest, &bytes)).await?;
        let fallback = self.fallback(route);
        let mut histories = self.histories();
        let history = histories.entry(route.to_owned()).or_default();
        history.note(id, new);
        history.trim(self.versions_per_route, fallback);
        Ok(())
    }

    /// Lets a version serve that waits or served before.
    pub(crate) async fn promote(self: &Arc<Self>, route: &str, id: u64) -> Result<Version, Fault> {
        let (slot, version) = (self.slot(route)?, self.version(route, id)?);
        if version.state != State::Serving {
            self.bring_back(&slot, &version, Leaving::Replaced { reason: None }).await?;
        }
        self.version(route, id)
    }

    /// Takes the version that serves back, in favour of another.
    pub(crate) async fn rollback(
        self: &Arc<Self>,
        route: &str,
        target: Target,
        by: &str,
    ) -> Result<Version, Fault> {
        let slot = self.slot(route)?;
        let reason = format!("by {by}");
        let target = match target {
            Target::Manifest => return self.to_manifest(&slot, reason).await,
            Target::Previous => {
                let histories = self.histories();
                let previous = histories.get(route).and_then(|history| history.previous()).cloned();
                previous.ok_or_else(|| Fault::NothingBefore(route.into()))?
            }
            Target::Version(id) => self.version(route, id)?,
        };
        if target.state == State::Serving {
            return Ok(target);
        }
        // while it is on trial, what it would fall back to is still there, files and all
        let current = slot.deployment.as_ref().filter(|deployed| deployed.fallback() == Some(target.id));
        let why = (BY_OPERATOR, reason.as_str());
        if current.is_some_and(|deployed| self.go_back(route, deployed.version, why, None)) {
            self.save().await?;
        } else {
            self.bring_back(&slot, &target, Leaving::TakenBack { by: BY_OPERATOR, reason }).await?;
        }
        self.version(route, target.id)
    }

    /// Opens or closes a route. Requests that run are not touched.
    pub(crate) async fn set_closed(&self, route: &str, closed: bool) -> Result<(), Fault> {
        let slot = self.slot(route)?;
        if closed {
            // a promise that would not survive a restart is not made
            apart(&self.deployer.vault, |vault| vault.claim()).await?;
        }
        self.histories().entry(route.to_owned()).or_default().closed = closed;
        slot.gate.set_closed(closed);
        Ok(self.save().await?)
    }

    /// A version as it is seen.
    fn version(&self, route: &str, id: u64) -> Result<Version, Fault> {
        let found = self.history(route).into_iter().find(|version| version.id == id);
        found.ok_or_else(|| Fault::NoVersion { route: route.into(), version: id })
    }

    fn slot(&self, route: &str) -> Result<Arc<Slot>, Fault> {
        self.live.table().slot(route).cloned().ok_or_else(|| Fault::NoRoute(route.into()))
    }

    /// The uploads that serve, with a new one.
    fn set_with(&self, route: &str, wanted: &Route, place: Place, kept: Kept) -> Uploads {
        let histories = self.histories();
        let serving = histories.get(route).and_then(|history| history.serving());
        let mut uploads = serving.map(|version| version.uploads.clone()).unwrap_or_default();
        uploads.retain(|place, _| place.source(wanted).is_some());
        uploads.insert(place, kept);
        uploads
    }

    /// Everything that a version must pass before it serves.
    async fn checked(
        &self,
        wanted: &Route,
        uploads: &Uploads,
        fresh: Option<&Fresh>,
    ) -> Result<Checked, DeployError> {
        let (signing, mut bases) = (self.signing(), BTreeMap::new());
        for place in uploads.keys() {
            bases.insert(*place, self.deployer.base(wanted, *place).await?);
        }
        let draft = self.deployer.read(wanted, uploads, fresh).await?;
        Ok(Checked { deployment: self.check(wanted, draft).await?, bases, signing })
    }

    async fn refuse(&self, route: &str, id: u64, new: New, problem: DeployError) -> Result<Version, Fault> {
        {
            let fallback = self.fallback(route);
            let mut histories = self.histories();
            let history = histories.entry(route.to_owned()).or_default();
            history.refuse(id, new, &problem.text);
            history.trim(self.versions_per_route, fallback);
        }
        self.save().await?;
        Err(Fault::Refused { route: route.into(), version: id, reason: problem.text })
    }

    /// Deploys a version of the history again, and lets it serve.
    async fn bring_back(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        version: &Version,
        leaving: Leaving,
    ) -> Result<(), Fault> {
        let (route, id) = (slot.wanted.name.clone(), version.id);
        if version.state == State::Refused {
            let reason = version.reason.clone().unwrap_or_default();
            return Err(Fault::WasRefused { route, version: id, reason });
        }
        apart(&self.deployer.vault, |vault| vault.claim()).await?;
        let checked = self.checked(&slot.wanted, &version.uploads, None).await;
        let checked = checked.map_err(|problem| Fault::Refused {
            route: route.clone(),
            version: id,
            reason: problem.text,
        })?;
        if version.uploads.is_empty() && checked.deployment.code_digest() != version.digest {
            return Err(Fault::FilesChanged { route, version: id });
        }
        // what served and was left in peace has proven itself
        let on_trial = version.state == State::Staged;
        self.replace(slot, Coming { id, checked, leaving, on_trial })?;
        Ok(self.save().await?)
    }

    /// The manifest's components serve, as they are now.
    async fn to_manifest(self: &Arc<Self>, slot: &Arc<Slot>, reason: String) -> Result<Version, Fault> {
        let route = slot.wanted.name.clone();
        apart(&self.deployer.vault, |vault| vault.claim()).await?;
        let checked = self.checked(&slot.wanted, &Uploads::new(), None).await;
        let id = {
            let mut histories = self.histories();
            let history = histories.entry(route.clone()).or_default();
            let digest = checked.as_ref().map_or("", |checked| checked.deployment.code_digest());
            match history.of_manifest(digest) {
                Some(version) if version.state == State::Serving => return Ok(version.clone()),
                Some(version) => version.id,
                None => history.reserve(),
            }
        };
        let checked = checked.map_err(|problem| Fault::Refused {
            route: route.clone(),
            version: id,
            reason: problem.text,
        })?;
        {
            let mut histories = self.histories();
            let history = histories.entry(route.clone()).or_default();
            if history.get(id).is_none() {
                history.note(id, New::of_manifest(checked.deployment.code_digest(), Uploads::new()));
            }
        }
        let leaving = Leaving::TakenBack { by: BY_OPERATOR, reason };
        self.replace(slot, Coming { id, checked, leaving, on_trial: false })?;
        self.save().await?;
        self.version(&route, id)
    }

    /// The swap. Refused when something else than what `slot` served, or was to serve, stands there by now, or other keys
    /// count than those by which the version was believed.
    fn replace(self: &Arc<Self>, slot: &Arc<Slot>, coming: Coming) -> Result<(), Fault> {
        let Coming { id, checked: Checked { deployment, bases, signing }, leaving, on_trial } = coming;
        let route = slot.wanted.clone();
        let untried = Deployed { deployment, since: SystemTime::now(), version: id, bases, trial: None };
        let mut histories = self.histories();
        let history = histories.entry(route.name.clone()).or_default();
        if history.get(id).is_none() {
            // other uploads took its place meanwhile
            return Err(Fault::NoVersion { route: route.name, version: id });
        }
        let deployed = loop {
            let current = self.slot(&route.name)?;
            if !current.serves_as(slot) || signing != self.signing() {
                return Err(Fault::Changed { route: route.name, version: id });
            }
            let before = on_trial.then_some(&current);
            let deployed = tried(untried.clone(), &route, before);
            let mut after = current.with(Some(deployed.clone()), None);
            after.route = route.clone();
            // what served may have proven itself this moment: then once more
            if self.live.replace(&current, after) {
                break deployed;
            }
        };
        self.begin(&route.name, history, &deployed, leaving);
        drop(histories);
        tracing::info!(route = route.name, version = id, "serves");
        self.watch(&route.name, &deployed);
        Ok(())
    }

    /// The uploads that are missed least go, none that serves, until so many bytes more fit.
    fn make_room(&self, digest: &str, bytes: u64) -> Result<(), Fault> {
        let mut histories = self.histories();
        loop {
            let others = histories.values().flat_map(|history| history.uploads());
            let others: BTreeMap<&str, u64> = others
                .map(|kept| (kept.digest.as_str(), kept.bytes))
                .filter(|(of, _)| *of != digest)
                .collect();
            let used: u64 = others.values().sum();
            if used + bytes <= self.upload_bytes {
                return Ok(());
            }
            let oldest = histories
                .iter()
                .filter_map(|(name, history)| {
                    let (missed, at, id) = history.oldest_upload(self.fallback(name))?;
                    Some((missed, at, id, name.clone()))
                })
                .min();
            let Some((_, _, id, name)) = oldest else {
                return Err(Fault::NoRoom { used, bytes, limit: self.upload_bytes });
            };
            tracing::info!(route = name, version = id, "forgotten: store.upload-bytes is full");
            histories.get_mut(&name).into_iter().for_each(|history| history.forget(id));
        }
    }
}
