//! Takes up changes while requests run. A changed component or plugin is deployed beside the running one, a changed
//! manifest is read and checked as a whole; then a pointer is swapped for each route as soon as it is ready (`rollout.rs`),
//! and requests that are under way finish on what they began with. Whatever does not load leaves everything as it was, but
//! for a line in the log and in the status. What cannot change without a restart ([server], [log], [telemetry], [engine], [store], [[model]]) is said, not done.
//! Of [server] the operators' keys do change at once: a key that leaked must not open anything until a restart.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use atelier_inference::metrics::Histogram;
use futures::future::join_all;
use serde::Serialize;

use crate::app::StartError;
use crate::config::{ApiKey, Builtins, CodeSource, Config, Manifest, Route, Tenant, Variables};
use crate::http::Tls;
use crate::live::{Live, Slot};
use crate::manager::Manager;
use crate::rollout::{Outcome, Rollout};
use crate::roster::Roster;
use crate::signing::signature_of;
use crate::versions::{Made, Versions};
use crate::watch::Watch;

/// What became of changes so far.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Report {
    /// Changes taken up.
    pub(crate) reloads: u64,
    /// Changes that did not load.
    pub(crate) failures: u64,
    /// When the last change was seen, in seconds since 1970.
    pub(crate) last: Option<u64>,
    /// Why the last change of the manifest was not taken up, if so.
    pub(crate) manifest_error: Option<String>,
    /// Why the last change of certificate or key was not taken up, if so.
    pub(crate) tls_error: Option<String>,
    /// Sections that differ from what runs and need a restart.
    pub(crate) restart_needed: Vec<&'static str>,
}

/// The report, shared with the admin address.
#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<Shared>);

#[derive(Default)]
struct Shared {
    report: Mutex<Report>,
    durations: Histogram,
}

impl Reports {
    /// The report now.
    pub(crate) fn now(&self) -> Report {
        self.0.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From a change that is seen to the swap.
    pub(crate) fn durations(&self) -> &Histogram {
        &self.0.durations
    }

    fn change(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.0.report.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Watches and reloads.
pub(crate) struct Reloader {
    /// As it was at the start: what needs a restart is compared with this.
    pub(crate) started: Config,
    pub(crate) variables: Variables,
    pub(crate) builtins: Builtins,
    pub(crate) versions: Arc<Versions>,
    pub(crate) live: Arc<Live>,
    pub(crate) roster: Arc<Roster>,
    /// What opens the operators' address, shared with it.
    pub(crate) operators: Arc<ArcSwap<Vec<ApiKey>>>,
    pub(crate) reports: Reports,
    /// What clients' connections are encrypted with, if they are.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) manager: Manager,
    /// The routes that are wanted: of the newest manifest that is valid.
    pub(crate) routes: Vec<Route>,
    /// The tenants, of the same manifest.
    pub(crate) tenants: Vec<Tenant>,
    /// Routes on their way from a change to service.
    pub(crate) rollout: Rollout,
    /// Changes that were seen and are not wholly taken up.
    pub(crate) pending: u64,
}

impl Reloader {
    /// Deploys every route for the first time. Some may fail; an error when all do.
    pub(crate) async fn deploy_all(&self) -> Result<(), StartError> {
        self.roster.set(&self.tenants, &self.routes);
        let made = join_all(self.routes.iter().map(|route| self.versions.make(route, None))).await;
        if !made.is_empty() && !made.iter().any(Made::answers) {
            let problems: Vec<String> = made.iter().filter_map(Made::problem).collect();
            return Err(StartError::NoRoute(problems.join("; ")));
        }
        let names: Vec<String> = self.routes.iter().map(|route| route.name.clone()).collect();
        // nobody else can have changed anything yet
        self.versions.settle(&made, &names);
        self.versions.save_served().await;
        Ok(())
    }

    /// Takes up what `watch` sees, until it is dropped. A change is looked at when it comes, whatever is still being made
    /// of those before it.
    pub(crate) async fn run(mut self, mut watch: Watch) {
        loop {
            tokio::select! {
                changed = watch.changed() => {
                    self.take_up(&changed);
                    // before any of them is read, so that no change falls between
                    watch.set(self.files());
                }
                () = self.rollout.ready() => {}
            }
            self.settle().await;
        }
    }

    /// The manifest, certificate and key, and every file that a route names, with its signature where one counts.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        let file = |code: &CodeSource| match code {
            CodeSource::File(path) => Some(path.clone()),
            CodeSource::Builtin(_) => None,
        };
        let code: Vec<PathBuf> = self.routes.iter().flat_map(Route::code).filter_map(file).collect();
        let asked = self.versions.signing().is_asked();
        let signatures: Vec<PathBuf> = code.iter().filter(|_| asked).map(|path| signature_of(path)).collect();
        let tls = self.tls.iter().flat_map(|tls| tls.files()).map(Path::to_path_buf);
        code.into_iter().chain(signatures).chain(tls).chain(self.manifest().cloned()).collect()
    }

    fn manifest(&self) -> Option<&PathBuf> {
        match &self.started.manifest {
            Manifest::File(path) => Some(path),
            Manifest::Embedded => None,
        }
    }

    /// Reads what is read at once, and begins to make what is not as wanted.
    fn take_up(&mut self, changed: &BTreeSet<PathBuf>) {
        let seen = Instant::now();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.reports.change(|report| report.last = Some(now));
        self.pending += 1;
        self.manager.reloading();
        let believed = self.versions.signing();
        if self.manifest().is_some_and(|manifest| changed.contains(manifest)) && !self.read_manifest() {
            // what else changed is taken up by the routes that still run
            tracing::warn!("the changed manifest is not taken up");
        }
        let change = Change { files: changed, resigned: self.versions.signing() != believed };
        let table = self.live.table();
        for route in &self.routes {
            let is_wanted = match (self.rollout.in_the_making(&route.name), table.slot(&route.name)) {
                (Some(making), slot) => making == route && !change.touches(route, slot),
                (None, Some(slot)) => is_served(slot, route) && !change.touches(route, Some(slot)),
                (None, None) => false,
            };
            if !is_wanted {
                self.rollout.begin(route, seen);
            }
        }
        let failed = self.read_certificate(changed);
        self.reports.change(|report| report.failures += failed);
    }

    /// Lets requests meet what is ready.
    async fn settle(&mut self) {
        let settled = self.rollout.settle(&self.routes).await;
        for Outcome { failed, took } in settled {
            self.reports.durations().record(took);
            self.reports.change(|report| report.failures += u64::from(failed));
        }
        if self.pending > 0 && self.rollout.is_idle() {
            tracing::info!(changes = self.pending, "reloaded");
            self.reports.change(|report| report.reloads += self.pending);
            self.pending = 0;
            self.manager.ready();
        }
    }

    /// Takes the manifest's routes; answers whether it is valid.
    fn read_manifest(&mut self) -> bool {
        let path = self.manifest().cloned();
        match Config::load(path.as_deref(), &self.variables, &self.builtins) {
            Ok(config) => {
                let restart_needed = self.restart_needed(&config, !self.admit(&config));
                if !restart_needed.is_empty() {
                    tracing::warn!("restart needed for changes of {}", restart_needed.join(", "));
                }
                self.routes = config.routes;
                self.tenants = config.tenants;
                self.versions.believe(config.signing);
                // at once: no component that takes long to compile keeps a revoked key alive
                self.roster.set(&self.tenants, &self.routes);
                self.reports.change(|report| {
                    report.manifest_error = None;
                    report.restart_needed = restart_needed;
                });
                true
            }
            Err(error) => {
                tracing::error!("{error}");
                self.reports.change(|report| {
                    report.failures += 1;
                    report.manifest_error = Some(error.to_string());
                });
                false
            }
        }
    }

    /// Takes changed certificates for connections to come; answers how many changes failed.
    fn read_certificate(&self, changed: &BTreeSet<PathBuf>) -> u64 {
        let touched = |tls: &&Arc<Tls>| tls.files().iter().any(|file| changed.contains(*file));
        let Some(tls) = self.tls.as_ref().filter(touched) else { return 0 };
        let error = tls.reload().err().map(|error| error.to_string());
        match &error {
            Some(error) => tracing::error!("the old certificate stays: {error}"),
            None => tracing::info!("the certificate was taken up"),
        }
        let failed = u64::from(error.is_some());
        self.reports.change(|report| report.tls_error = error);
        failed
    }

    /// Lets the manifest's operators in, and nobody else; answers whether it names any or none were wanted. Without keys
    /// whoever reaches the address may look: a slip in the manifest does not come to that.
    fn admit(&self, config: &Config) -> bool {
        let operators = config.server.operators();
        if operators.is_empty() && !self.operators.load().is_empty() {
            tracing::warn!(
                "the manifest names no operators' key any more; the keys of before stay, since without any the admin \
                 address shows everything to whoever reaches it: name another key, or restart the host"
            );
            return false;
        }
        self.operators.store(Arc::new(operators));
        true
    }

    /// The sections that differ from what runs; `keys_stay` says that the operators' keys are not as the manifest wants.
    fn restart_needed(&self, config: &Config, keys_stay: bool) -> Vec<&'static str> {
        let mut server = self.started.server.clone();
        server.admin_key_hash = config.server.admin_key_hash;
        server.admin_keys.clone_from(&config.server.admin_keys);
        let sections = [
            ("[server]", keys_stay || config.server != server),
            ("[log]", config.log != self.started.log),
            ("[telemetry]", config.telemetry != self.started.telemetry),
            ("[engine]", config.engine != self.started.engine),
            ("[store]", config.store != self.started.store),
            ("[[provider]]", config.providers != self.started.providers),
            ("[[model]]", config.models != self.started.models),
        ];
        sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

/// Files that changed, as far as components are concerned.
struct Change<'a> {
    files: &'a BTreeSet<PathBuf>,
    /// Whether other signatures count than before: then everything that came from outside is checked again.
    resigned: bool,
}

impl Change<'_> {
    /// Whether a component of the route may be another one than before, or one that is not believed any more.
    fn touches(&self, route: &Route, slot: Option<&Arc<Slot>>) -> bool {
        let touched = |code: &CodeSource| match code {
            CodeSource::File(path) => {
                self.resigned || self.files.contains(path) || self.files.contains(&signature_of(path))
            }
            CodeSource::Builtin(_) => false,
        };
        let deployed = slot.and_then(|slot| slot.deployment.as_ref());
        let is_uploaded = deployed.is_some_and(|deployed| !deployed.bases.is_empty());
        self.resigned && is_uploaded || route.code().any(touched)
    }
}

/// Whether the slot serves the route as it is wanted.
fn is_served(slot: &Slot, route: &Route) -> bool {
    // a route that does not load is tried again with every change, since what it lacks may have come
    let retry = slot.problem.as_ref().is_some_and(|problem| problem.retry);
    !retry && slot.wanted == *route
}
