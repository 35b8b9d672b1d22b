//! Takes up changes while requests run. A changed component or plugin is deployed beside the running one, a changed
//! manifest is read and checked as a whole; then one pointer is swapped, and requests that are under way finish on what
//! they began with. Whatever does not load leaves everything as it was, but for a line in the log and in the status.
//! What cannot change without a restart ([server], [log], [telemetry], [engine], [store], [[model]]) is said, not done.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use atelier_inference::metrics::Histogram;
use futures::future::join_all;
use serde::Serialize;

use crate::app::StartError;
use crate::config::{Builtins, CodeSource, Config, Manifest, Route, Tenant, Variables};
use crate::http::Tls;
use crate::live::{Live, Slot};
use crate::manager::Manager;
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
    pub(crate) reports: Reports,
    /// What clients' connections are encrypted with, if they are.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) manager: Manager,
    /// The routes that are wanted: of the newest manifest that is valid.
    pub(crate) routes: Vec<Route>,
    /// The tenants, of the same manifest.
    pub(crate) tenants: Vec<Tenant>,
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
        // nobody else can have changed anything yet
        self.versions.settle(made).await;
        Ok(())
    }

    /// Takes up what `watch` sees, until it is dropped.
    pub(crate) async fn run(mut self, mut watch: Watch) {
        loop {
            watch.set(self.files());
            let changed = watch.changed().await;
            self.manager.reloading();
            self.take_up(&changed).await;
            self.manager.ready();
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

    async fn take_up(&mut self, changed: &BTreeSet<PathBuf>) {
        let began = Instant::now();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.reports.change(|report| report.last = Some(now));
        let believed = self.versions.signing();
        if self.manifest().is_some_and(|manifest| changed.contains(manifest)) && !self.read_manifest() {
            // what else changed is taken up by the routes that still run
            tracing::warn!("the changed manifest is not taken up");
        }
        let resigned = self.versions.signing() != believed;
        let failed = self.deploy_changed(changed, resigned).await + self.read_certificate(changed);
        self.reports.change(|report| {
            report.reloads += 1;
            report.failures += failed;
        });
        let took = began.elapsed();
        self.reports.durations().record(took);
        tracing::info!(ms = took.as_millis() as u64, failed, "reloaded");
    }

    /// Takes the manifest's routes; answers whether it is valid.
    fn read_manifest(&mut self) -> bool {
        let path = self.manifest().cloned();
        match Config::load(path.as_deref(), &self.variables, &self.builtins) {
            Ok(config) => {
                let restart_needed = self.restart_needed(&config);
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

    fn restart_needed(&self, config: &Config) -> Vec<&'static str> {
        let sections = [
            ("[server]", config.server != self.started.server),
            ("[log]", config.log != self.started.log),
            ("[telemetry]", config.telemetry != self.started.telemetry),
            ("[engine]", config.engine != self.started.engine),
            ("[store]", config.store != self.started.store),
            ("[[model]]", config.models != self.started.models),
        ];
        sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    /// Makes the table that is wanted, reusing what has not changed; answers how many routes did not load. When other
    /// signatures count than before, every file is checked again.
    async fn deploy_changed(&self, changed: &BTreeSet<PathBuf>, resigned: bool) -> u64 {
        loop {
            let table = self.live.table();
            let wanted = self.routes.iter().map(async |route| match table.slot(&route.name) {
                Some(slot) if is_unchanged(slot, route, changed, resigned) => (Made::kept(slot.clone()), 0),
                before => {
                    let made = self.versions.make(route, before.cloned()).await;
                    let failed = u64::from(made.problem().is_some());
                    (made, failed)
                }
            });
            // together: a component that is slow to compile keeps no other from being compiled meanwhile
            let (made, failed): (_, Vec<u64>) = join_all(wanted).await.into_iter().unzip();
            // an operator may have changed a route meanwhile: then it is made again from what that left
            if self.versions.settle(made).await {
                return failed.iter().sum();
            }
        }
    }
}

/// Whether the slot already serves what is wanted.
fn is_unchanged(slot: &Slot, route: &Route, changed: &BTreeSet<PathBuf>, resigned: bool) -> bool {
    let touched = |code: &CodeSource| match code {
        CodeSource::File(path) => resigned || changed.contains(path) || changed.contains(&signature_of(path)),
        CodeSource::Builtin(_) => false,
    };
    // a route that does not load is tried again with every change, since what it lacks may have come
    let retry = slot.problem.as_ref().is_some_and(|problem| problem.retry);
    !retry && slot.wanted == *route && !route.code().any(touched)
}
