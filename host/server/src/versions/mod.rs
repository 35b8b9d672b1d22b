//! Versions of routes: what serves, what served, and what may serve next. The way of a new version, whoever brings it:
//! read, check, compile, link (`deploy.rs`), probe (`probe.rs`), one swap of a pointer (`live.rs`), and a trial
//! (`trial.rs`) during which what served before is held, so that a version that keeps failing is rolled back by itself.
//! `history.rs` remembers, `change.rs` holds what operators do, this file what the manifest and its files do.
//!
//! **What wins.** A version is the whole set of a route's components. An uploaded one serves, over restarts too, until
//! an operator goes back, or until what it stands instead of changes: the manifest names another component in its place,
//! or that component has other bytes. Then the manifest's components serve again.
//!
//! The manifest is never written. Nothing here knows HTTP requests of operators; `admin/` does.

mod change;
mod fault;
mod history;
mod place;
mod probe;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use atelier_runtime::Deployment;

use crate::config::{Route, Signing, Store};
use crate::deploy::{Deployer, Draft, operators};
use crate::live::{DeployError, Deployed, Live, Slot};
use crate::metrics::RouteTally;
use crate::vault::{Vault, VaultError};
pub(crate) use change::{Target, Upload};
pub(crate) use fault::Fault;
pub(crate) use history::{Base, Kept, State, Uploads, Version, now_ms};
use history::{History, New};
pub(crate) use place::Place;
use trial::Verdict;
pub(crate) use trial::{Trial, Watched};

/// The document that survives restarts.
const DOCUMENT: &str = "versions";

/// Why versions are taken back, as metrics call it.
const BY_TRIAL: &str = "trial";
const BY_OPERATOR: &str = "operator";

type Histories = BTreeMap<String, History>;

/// Everyone who changes what a route serves goes through here.
pub(crate) struct Versions {
    live: Arc<Live>,
    deployer: Deployer,
    histories: Mutex<Histories>,
    versions_per_route: usize,
    upload_bytes: u64,
    /// Digests of the uploads on the disk. Held while the disk is written to, so that nothing older comes last.
    on_disk: tokio::sync::Mutex<BTreeSet<String>>,
}

/// A slot for a route of the manifest.
pub(crate) struct Made {
    /// What it was made from.
    before: Option<Arc<Slot>>,
    slot: Arc<Slot>,
    /// The version that begins to serve with it.
    begins: Option<Begins>,
}

struct Begins {
    id: u64,
    /// To be noted, unless the history has it.
    new: New,
    /// Why uploads served until now and do not any more.
    fallen: Option<String>,
}

impl Made {
    /// Whether anything answers for the route.
    pub(crate) fn answers(&self) -> bool {
        self.slot.deployment.is_some()
    }

    /// The route that it is for, as the manifest wanted it then.
    pub(crate) fn wanted(&self) -> &Route {
        &self.slot.wanted
    }

    /// Why the newest attempt to load the route failed, if it did.
    pub(crate) fn problem(&self) -> Option<String> {
        self.slot.problem.as_ref().map(ToString::to_string)
    }
}

/// What becomes of the version that served until now.
enum Leaving {
    /// Another took its place; there may be more to say of it.
    Replaced { reason: Option<String> },
    /// It was taken back.
    TakenBack { by: &'static str, reason: String },
}

/// What the manifest's place holds, and why uploads do not stand in it any more.
struct Standing {
    uploads: Uploads,
    bases: BTreeMap<Place, Base>,
    fallen: Option<String>,
}

impl Versions {
    /// With what the vault remembers.
    pub(crate) fn open(live: Arc<Live>, deployer: Deployer, store: &Store) -> Result<Self, VaultError> {
        let histories: Histories = deployer.vault.load(DOCUMENT)?;
        let on_disk = digests(&histories);
        Ok(Self {
            live,
            deployer,
            histories: Mutex::new(histories),
            versions_per_route: store.versions_per_route,
            upload_bytes: store.upload_bytes,
            on_disk: tokio::sync::Mutex::new(on_disk),
        })
    }

    /// Deploys a route as the manifest has it now, uploads that still stand included. When that does not load, what
    /// answered before goes on answering, under its old configuration.
    pub(crate) async fn make(&self, route: &Route, before: Option<Arc<Slot>>) -> Made {
        // first, so that routes are told apart in the order of the manifest as far as metrics tell any apart
        let (tally, gate) = match &before {
            Some(slot) => (slot.tally.clone(), slot.gate.clone()),
            None => (RouteTally::new(&route.name, &self.deployer.counts.routes), self.gate(&route.name)),
        };
        let standing = self.standing(route).await;
        let (mut result, mut problem) = (self.attempt(route, &standing).await, None);
        if let (Err(error), false, None) = (&result, standing.uploads.is_empty(), &before) {
            // nothing else could answer: better the manifest's own components, said aloud, than nobody
            let text =
                format!("its uploaded version does not load ({error}); the manifest's components answer");
            tracing::error!(route = route.name, "{text}");
            let fallen = Some(text.clone());
            let own = Standing { uploads: Uploads::new(), bases: BTreeMap::new(), fallen };
            (result, problem) = (self.attempt(route, &own).await, Some(lasting(text)));
        }
        let wanted = route.clone();
        let (slot, begins) = match result {
            Ok((deployed, begins)) => {
                let deployed = tried(deployed, route, before.as_ref());
                let (route, deployment) = (route.clone(), Some(deployed));
                (Slot { route, wanted, deployment, problem, tally, gate }, Some(begins))
            }
            Err(problem) => {
                tracing::error!(route = route.name, "the route does not load: {problem}");
                let kept =
                    before.as_ref().and_then(|slot| Some((slot.route.clone(), slot.deployment.clone()?)));
                let (route, deployment) = match kept {
                    Some((kept, deployment)) => (owned_as(kept, route), Some(deployment)),
                    None => (wanted.clone(), None),
                };
                (Slot { route, wanted, deployment, problem: Some(problem), tally, gate }, None)
            }
        };
        Made { before, slot: Arc::new(slot), begins }
    }

    /// Requests that begin from now on see these slots, and no other routes than `names`, in this order. False, and
    /// nothing happens, when an operator changed one of them while it was made. To be followed by [`Self::save_served`].
    pub(crate) fn settle(self: &Arc<Self>, made: &[Made], names: &[String]) -> bool {
        let slots = made.iter().map(|made| (made.before.clone(), made.slot.clone())).collect();
        {
            let mut histories = self.histories();
            if !self.live.settle(slots, names) {
                return false;
            }
            // what was uploaded to a route that is gone waits for it to come back, within the bound of all uploads
            histories.retain(|name, history| names.contains(name) || history.uploads().next().is_some());
            for Made { slot, begins, .. } in made {
                let (Some(deployed), Some(begins)) = (&slot.deployment, begins) else { continue };
                let history = histories.entry(slot.route.name.clone()).or_default();
                if history.get(begins.id).is_none() {
                    history.note(begins.id, begins.new.clone());
                }
                let leaving = Leaving::Replaced { reason: begins.fallen.clone() };
                self.begin(&slot.route.name, history, deployed, leaving);
            }
        }
        for Made { slot, .. } in made.iter().filter(|made| made.begins.is_some()) {
            if let Some(deployed) = &slot.deployment {
                self.watch(&slot.route.name, deployed);
            }
        }
        true
    }

    /// Writes down what serves by now.
    pub(crate) async fn save_served(&self) {
        if let Err(error) = self.save().await {
            tracing::error!("the versions that serve are not kept over a restart: {error}");
        }
    }

    /// Whose components are believed.
    pub(crate) fn signing(&self) -> Arc<Signing> {
        self.deployer.signing.load_full()
    }

    /// Whose components are believed from now on.
    pub(crate) fn believe(&self, signing: Signing) {
        self.deployer.signing.store(Arc::new(signing));
    }

    /// Every version of a route, the newest first.
    pub(crate) fn history(&self, route: &str) -> Vec<Version> {
        self.histories().get(route).map(|history| history.versions().collect()).unwrap_or_default()
    }

    /// Reads, compiles, links and probes; the version that it is.
    async fn attempt(&self, route: &Route, standing: &Standing) -> Result<(Deployed, Begins), DeployError> {
        let draft = self.deployer.read(route, &standing.uploads, None).await?;
        let digest = draft.digest.clone();
        let (id, new) = self.version_of(&route.name, &digest, standing);
        let deployment = self.check(route, draft).await.inspect_err(|problem| {
            let mut histories = self.histories();
            let history = histories.entry(route.name.clone()).or_default();
            // a version that worked under another configuration is not refused for good
            if history.get(id).is_none() {
                history.refuse(id, new.clone(), &problem.text);
            }
        })?;
        tracing::info!(route = route.name, version = id, generation = deployment.generation(), "deployed");
        let (since, bases) = (SystemTime::now(), standing.bases.clone());
        let begins = Begins { id, new, fallen: standing.fallen.clone() };
        Ok((Deployed { deployment, since, version: id, bases, trial: None }, begins))
    }

    /// Compiles, links and probes.
    async fn check(&self, route: &Route, draft: Draft) -> Result<Arc<Deployment>, DeployError> {
        let deployment = self.deployer.deploy(draft).await?;
        if let Some(wanted) = &route.probe {
            probe::probe(&deployment, wanted).await.map_err(operators)?;
        }
        Ok(deployment)
    }

    /// The version that this code is: the one that serves, one that the files once were, or a new one.
    fn version_of(&self, route: &str, digest: &str, standing: &Standing) -> (u64, New) {
        let new = New::of_manifest(digest, standing.uploads.clone());
        let mut histories = self.histories();
        let history = histories.entry(route.to_owned()).or_default();
        let is_it = |version: &&Version| version.uploads == standing.uploads && version.digest == digest;
        let again = || history.of_manifest(digest).filter(|_| standing.uploads.is_empty());
        let known = history.serving().filter(is_it).or_else(again).map(|version| version.id);
        (known.unwrap_or_else(|| history.reserve()), new)
    }

    /// The uploads that serve and still stand instead of what they stood instead of.
    async fn standing(&self, route: &Route) -> Standing {
        let (uploads, bases) = {
            let histories = self.histories();
            let history = histories.get(&route.name);
            let uploads = history.and_then(History::serving).map(|version| version.uploads.clone());
            (uploads.unwrap_or_default(), history.map(|history| history.bases.clone()).unwrap_or_default())
        };
        for place in uploads.keys() {
            let now = self.deployer.base(route, *place).await.ok();
            // a file that is gone is on its way out or about to be replaced: the upload stays
            let changed = match (&now, bases.get(place)) {
                (Some(now), Some(base)) => now != base,
                (Some(_), None) => true,
                (None, _) => place.source(route).is_none(),
            };
            if changed {
                let what = now.map_or(format!("`{place}`"), |now| format!("`{}`", now.source));
                let fallen = Some(format!("the manifest's {what} is not what it stood instead of"));
                return Standing { uploads: Uploads::new(), bases: BTreeMap::new(), fallen };
            }
        }
        Standing { uploads, bases, fallen: None }
    }

    fn gate(&self, route: &str) -> Arc<crate::live::Gate> {
        let gate = crate::live::Gate::default();
        gate.set_closed(self.histories().get(route).is_some_and(|history| history.closed));
        Arc::new(gate)
    }

    /// Notes that requests meet this deployment from now on.
    fn begin(&self, route: &str, history: &mut History, deployed: &Deployed, leaving: Leaving) {
        let counts = self.deployer.counts.routes.get(route);
        // under another configuration the same version may begin again: that counts for nothing
        let is_new = history.serving().is_some_and(|before| before.id != deployed.version);
        let (left, reason) = match leaving {
            Leaving::Replaced { reason } => {
                counts.promoted.add(u64::from(is_new));
                (State::Retired, reason)
            }
            Leaving::TakenBack { by, reason } => {
                if is_new {
                    counts.rolled_back.count(by);
                }
                (State::RolledBack, Some(reason))
            }
        };
        history.serve(deployed.version, left, reason);
        history.runs(deployed.version, &deployed.deployment);
        history.bases = deployed.bases.clone();
        history.trim(self.versions_per_route, deployed.fallback());
    }

    /// Waits for the end of a version's trial, if it is on one.
    fn watch(self: &Arc<Self>, route: &str, deployed: &Deployed) {
        let Some(trial) = deployed.trial.clone() else { return };
        let (versions, route, version) = (Arc::downgrade(self), route.to_owned(), deployed.version);
        tokio::spawn(async move {
            let verdict = trial.verdict().await;
            let Some(versions) = versions.upgrade() else { return };
            match verdict {
                Verdict::Proven => versions.prove(&route, version),
                Verdict::Failed(reason) => {
                    tracing::error!(route, version, "rolled back: {reason}");
                    let problem = lasting(format!("version {version} was rolled back: {reason}"));
                    versions.go_back(&route, version, (BY_TRIAL, &reason), Some(problem));
                    if let Err(error) = versions.save().await {
                        tracing::error!("the rollback is not kept over a restart: {error}");
                    }
                }
            }
        });
    }

    /// The version stays: what served before is let go.
    fn prove(&self, route: &str, version: u64) {
        while let Some((slot, deployed, _)) = self.trial_of(route, version) {
            let deployment = Some(Deployed { trial: None, ..deployed });
            if self.live.replace(&slot, slot.with(deployment, slot.problem.clone())) {
                tracing::info!(route, version, "has proven itself");
                return;
            }
        }
    }

    /// What served before serves again, for whoever wants it and why; false when the version is not on trial any more.
    fn go_back(
        &self,
        route: &str,
        version: u64,
        (by, reason): (&'static str, &str),
        problem: Option<DeployError>,
    ) -> bool {
        let mut histories = self.histories();
        while let Some((slot, _, trial)) = self.trial_of(route, version) {
            let mut restored = slot.with(trial.before.deployment.clone(), problem.clone());
            restored.route = owned_as(trial.before.route.clone(), &slot.wanted);
            if !self.live.replace(&slot, restored) {
                continue;
            }
            if let (Some(history), Some(before)) = (histories.get_mut(route), &trial.before.deployment) {
                self.begin(route, history, before, Leaving::TakenBack { by, reason: reason.to_owned() });
            }
            return true;
        }
        false
    }

    /// The slot of a route that serves this version on trial.
    fn trial_of(&self, route: &str, version: u64) -> Option<(Arc<Slot>, Deployed, Arc<Trial>)> {
        let slot = self.live.table().slot(route)?.clone();
        let deployed = slot.deployment.clone().filter(|deployed| deployed.version == version)?;
        let trial = deployed.trial.clone()?;
        Some((slot, deployed, trial))
    }

    /// Writes down what must survive a restart, once there is anything that does not follow from the manifest.
    async fn save(&self) -> Result<(), VaultError> {
        let mut on_disk = self.on_disk.lock().await;
        let vault = self.deployer.vault.clone();
        let (document, needed) = {
            let histories = self.histories();
            let matters =
                histories.values().any(|history| history.closed || history.uploads().next().is_some());
            if !matters && !vault.is_used() {
                return Ok(());
            }
            (serde_json::to_value(&*histories).unwrap_or_default(), digests(&histories))
        };
        let gone: Vec<String> = on_disk.difference(&needed).cloned().collect();
        let write = move |vault: &Vault| {
            vault.save(DOCUMENT, &document)?;
            // only now: what the document names must be there
            gone.iter().try_for_each(|digest| vault.forget_component(digest))
        };
        apart(&vault, write).await?;
        *on_disk = needed;
        Ok(())
    }

    /// The version that would serve again if the one that serves fails.
    fn fallback(&self, route: &str) -> Option<u64> {
        self.live.table().slot(route)?.deployment.as_ref()?.fallback()
    }

    fn histories(&self) -> MutexGuard<'_, Histories> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deployed {
    /// The version that would serve again.
    fn fallback(&self) -> Option<u64> {
        let trial = self.trial.as_ref()?;
        trial.before.deployment.as_ref().map(|before| before.version)
    }
}

impl Slot {
    /// Whether it is the same route with the same version as the other; trials may differ.
    fn serves_as(&self, other: &Slot) -> bool {
        let version = |slot: &Slot| slot.deployment.as_ref().map(|deployed| deployed.version);
        self.wanted == other.wanted && version(self) == version(other)
    }

    /// The same route, answered by something else.
    fn with(&self, deployment: Option<Deployed>, problem: Option<DeployError>) -> Slot {
        let (tally, gate) = (self.tally.clone(), self.gate.clone());
        Slot { route: self.route.clone(), wanted: self.wanted.clone(), deployment, problem, tally, gate }
    }
}

/// A problem that other changes do not mend: the same components would fail the same way.
fn lasting(text: String) -> DeployError {
    DeployError { text, is_public: false, retry: false }
}

/// Every upload that some version needs.
fn digests(histories: &Histories) -> BTreeSet<String> {
    histories.values().flat_map(History::uploads).map(|kept| kept.digest.clone()).collect()
}

/// Who may ask is no business of the component's: that is as wanted, whatever serves.
fn owned_as(route: Route, wanted: &Route) -> Route {
    Route { tenant: wanted.tenant.clone(), access: wanted.access, ..route }
}

/// A version other than the one before is on trial, with the last one that has proven itself behind it.
fn tried(deployed: Deployed, route: &Route, before: Option<&Arc<Slot>>) -> Deployed {
    let Some((slot, running)) = before.and_then(|slot| Some((slot, slot.deployment.as_ref()?))) else {
        return deployed;
    };
    let trial = match &running.trial {
        // the same code under another configuration: the trial goes on
        Some(trial) if running.version == deployed.version => Some(trial.clone()),
        _ if running.version == deployed.version || route.trial.failures == 0 => None,
        Some(trial) => Some(Arc::new(Trial::new(route.trial, trial.before.clone()))),
        None => Some(Arc::new(Trial::new(route.trial, slot.clone()))),
    };
    Deployed { trial, ..deployed }
}

/// Work on the disk, on a thread that may block.
pub(crate) async fn apart<T: Send + 'static>(
    vault: &Arc<Vault>,
    work: impl FnOnce(&Vault) -> Result<T, VaultError> + Send + 'static,
) -> Result<T, VaultError> {
    let vault = vault.clone();
    let done = tokio::task::spawn_blocking(move || work(&vault)).await;
    done.unwrap_or_else(|error| {
        let source = std::io::Error::other(error);
        Err(VaultError::Store(atelier_store::Error::Io {
            action: "use",
            path: "store.data-dir".into(),
            source,
        }))
    })
}
