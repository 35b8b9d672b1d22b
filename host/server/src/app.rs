//! The composition root: the only place where configuration, engine, scheduler, runtime and routes meet, and the only
//! module that names the engine and the bundle. Everyone else gets what is put together here.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use atelier_engine::{
    CandleEngine, Defaults, DeviceChoice, EngineConfig, Extras, ModelFiles, ModelSpec, PredictionType,
};
use atelier_inference::{
    self as inference, DefaultRefiner, Engine, Keep, MemoryConfig, ModelId, QueueConfig, Scheduler,
    SchedulerConfig, Size,
};
use atelier_runtime::{Code, Runtime, RuntimeConfig, TraceSink};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::admin::{Admin, Audit, View};
use crate::background::{Background, joined};
use crate::catalog::{Base, Entry, Large, Overlay, Usage};
use crate::channels::{Clients, Reception, keep};
use crate::cli::compile;
use crate::config::{self, Builtins, Config, Model, ModelSource, Prediction, Variables};
use crate::deploy::{Deployer, absent};
use crate::edge::Edge;
use crate::http::{Door, Pace, Peers, Phase, Settings, Stop, Stopper, Tls, accept};
use crate::hub::{Hub, HubError, Wanted};
use crate::live::Live;
use crate::manager::Manager;
use crate::metrics::Counts;
use crate::providers::{self, Resolved};
use crate::reload::{Reloader, Reports};
use crate::rollout::Rollout;
use crate::roster::Roster;
use crate::shelf::Shelf;
use crate::telemetry::{Exporter, SpanQueue, Tracer};
use crate::vault::{Vault, VaultError};
use crate::versions::Versions;
use crate::watch::Watch;
use crate::weights::Weights;

/// The component in which untrusted bytes are decoded.
const DECODER: &str = "media";
/// Connections of the admin address: a few operators and scrapers.
const ADMIN_CONNECTIONS: usize = 64;
/// Components that operators upload at a time: each is in memory until it is on the disk.
const UPLOADS: usize = 2;

/// Why the host does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine cannot be set up.
    #[error("the engine does not start: {0}")]
    Engine(String),
    /// The worker thread cannot be started, or a model does not fit the memory.
    #[error(transparent)]
    Scheduler(#[from] inference::StartError),
    /// The runtime cannot be set up.
    #[error(transparent)]
    Runtime(#[from] atelier_runtime::Error),
    /// The model hub's cache cannot be looked at.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Clients' connections cannot be encrypted as the manifest wants.
    #[error("{0}")]
    Tls(String),
    /// A provider of models cannot be set up.
    #[error("{0}")]
    Provider(String),
    /// An address of a store lacks a variable of the process.
    #[error("{0}")]
    Store(String),
    /// This binary carries no decoder.
    #[error("this binary carries no component `{DECODER}`; build it with the bundle")]
    NoDecoder,
    /// What operators changed while the host ran cannot be read.
    #[error("{0}")]
    Vault(String),
    /// There are routes, and none of them loads.
    #[error("no route loads: {0}")]
    NoRoute(String),
}

/// A model of the manifest and, if its files are here, where.
pub struct Located {
    /// As in the manifest.
    pub model: Model,
    /// The files; what would bring them when they are not here.
    pub files: Result<ModelFiles, String>,
    /// Adapters that are part of the model.
    fixed_adapters: Vec<PathBuf>,
    /// Where the files lie: files, and folders with all that is below them.
    places: Vec<PathBuf>,
}

/// Files of a model that are here.
struct Found {
    files: ModelFiles,
    fixed_adapters: Vec<PathBuf>,
    places: Vec<PathBuf>,
}

impl Found {
    fn new(files: ModelFiles, places: Vec<PathBuf>) -> Self {
        Self { files, fixed_adapters: Vec::new(), places }
    }
}

/// What the binary carries.
pub fn builtins() -> Builtins {
    Builtins {
        components: atelier_bundle::names().collect(),
        models: atelier_bundle::model_names().collect(),
        manifest: atelier_bundle::DEFAULT_MANIFEST,
    }
}

/// The bytes of a component that the binary carries.
pub fn builtin_component(name: &str) -> Option<&'static [u8]> {
    atelier_bundle::component(name)
}

/// Finds the files of every model that is not served elsewhere, in the cache that the environment names. Downloads nothing.
pub async fn locate(models: &[Model]) -> Result<Vec<Located>, StartError> {
    let needs_hub = |model: &Model| matches!(model.source, ModelSource::Hub(_) | ModelSource::Catalog(_));
    // set up only when a model needs it
    let hub = models.iter().any(needs_hub).then(Hub::of_process).transpose()?;
    Ok(locate_in(hub.as_ref(), models).await)
}

/// Finds every model's files; those of the hub only where there is one to look into.
pub async fn locate_in(hub: Option<&Hub>, models: &[Model]) -> Vec<Located> {
    let mut located = Vec::with_capacity(models.len());
    for model in models.iter().filter(|model| !matches!(model.source, ModelSource::Provider(_))) {
        let (files, fixed_adapters, mut places) = match find(hub, model).await {
            Ok(Found { files, fixed_adapters, places }) => (Ok(files), fixed_adapters, places),
            Err(fix) => (Err(fix), Vec::new(), Vec::new()),
        };
        places.extend(model.vae.clone());
        let files = files.map(|files| match &model.vae {
            Some(path) if path.is_file() => files.with_vae(ModelFiles::single_file(path, None)),
            Some(path) => files.with_vae(ModelFiles::folder(path)),
            None => files,
        });
        located.push(Located { model: model.clone(), files, fixed_adapters, places });
    }
    located
}

/// A model's own files and its fixed adapters; the text says what would bring them.
async fn find(hub: Option<&Hub>, model: &Model) -> Result<Found, String> {
    let absent = || format!("run `atelier models pull {}`", model.id);
    Ok(match &model.source {
        ModelSource::Builtin(name) => {
            let files = atelier_bundle::model(name).map(ModelFiles::embedded);
            let files = files.ok_or_else(|| format!("this binary carries no model `{name}`"))?;
            Found::new(files, Vec::new())
        }
        ModelSource::Folder(path) => Found::new(ModelFiles::folder(path), vec![path.clone()]),
        ModelSource::File(path) => {
            let files = ModelFiles::single_file(path, model.prediction.map(prediction));
            Found::new(files, vec![path.clone()])
        }
        ModelSource::Hub(source) => {
            let folders = cached(hub, &[Wanted::of(source.clone())]).await;
            let folder = folders.and_then(|folders| folders.into_iter().next()).ok_or_else(absent)?;
            let files = match &source.file {
                Some(file) => ModelFiles::single_file(folder.join(file), None),
                None => ModelFiles::folder(&folder),
            };
            Found::new(files, vec![folder])
        }
        ModelSource::Provider(_) => return Err("it is served elsewhere".into()),
        ModelSource::Catalog(entry) => {
            let folders = cached(hub, &entry.wanted()).await.ok_or_else(absent)?;
            let (files, fixed_adapters) = assemble(entry, &folders);
            Found { files, fixed_adapters, places: folders }
        }
    })
}

/// The folders of what is wanted, if all of it is in the cache.
async fn cached(hub: Option<&Hub>, wanted: &[Wanted]) -> Option<Vec<PathBuf>> {
    let mut folders = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        folders.push(hub?.cached(wanted).await?.folder);
    }
    Some(folders)
}

/// An entry's files and fixed adapters; `folders` are those of its repositories, the base's first.
fn assemble(entry: &Entry, folders: &[PathBuf]) -> (ModelFiles, Vec<PathBuf>) {
    let place =
        |index: usize, file: &str| folders.get(index).map(|folder| folder.join(file)).unwrap_or_default();
    let (mut elsewhere, mut vae, mut adapters) = (Vec::new(), None, Vec::new());
    for (index, overlay) in (1..).zip(entry.overlays) {
        match overlay {
            Overlay::Unet { weights, config, .. } => {
                elsewhere.push(("unet/diffusion_pytorch_model.safetensors", place(index, weights)));
                elsewhere.extend(config.map(|config| ("unet/config.json", place(index, config))));
            }
            Overlay::Blocks { of, weights, .. } => {
                let name = match of {
                    Large::Transformer => "transformer/model.gguf",
                    Large::TextEncoder2 => "text_encoder_2/model.gguf",
                };
                elsewhere.push((name, place(index, weights)));
            }
            Overlay::Vae(_, file) => vae = Some(ModelFiles::single_file(place(index, file), None)),
            Overlay::Adapter(_, file) => adapters.push(place(index, file)),
        }
    }
    let base = match entry.base {
        Base::Pipeline(_) => ModelFiles::overlaid(place(0, ""), elsewhere),
        Base::Checkpoint(_, file) => ModelFiles::single_file(place(0, file), None),
    };
    (vae.into_iter().fold(base, ModelFiles::with_vae), adapters)
}

fn defaults(usage: &Usage) -> Defaults {
    let (width, height) = usage.size;
    Defaults {
        size: Some(Size { width, height }),
        steps: Some(usage.steps),
        guidance: Some(usage.guidance),
        image_guidance: usage.image_guidance,
        schedule: Some(usage.schedule.into()),
        is_guidance_free: usage.is_guidance_free,
    }
}

fn prediction(prediction: Prediction) -> PredictionType {
    match prediction {
        Prediction::Epsilon => PredictionType::Epsilon,
        Prediction::Velocity => PredictionType::Velocity,
    }
}

impl Located {
    fn spec(&self) -> Option<ModelSpec> {
        let Model { id, source, description, adapters, controls, embeddings, refiner, refiner_share, .. } =
            &self.model;
        let files = self.files.as_ref().ok()?.clone();
        let entry = match source {
            ModelSource::Catalog(entry) => Some(*entry),
            _ => None,
        };
        let about = entry.map(|entry| entry.about.to_owned());
        let description = (!description.is_empty()).then(|| description.clone()).or(about);
        let adapters = adapters.iter().map(|adapter| (adapter.id.clone(), adapter.source.clone())).collect();
        let refiner =
            refiner.clone().zip(*refiner_share).map(|(model, share)| DefaultRefiner { model, share });
        let controls = controls.iter().map(|control| (control.id.clone(), control.source.clone())).collect();
        let extras = Extras {
            adapters,
            controls,
            embeddings: embeddings.clone(),
            fixed_adapters: self.fixed_adapters.clone(),
            defaults: entry.map(|entry| defaults(&entry.usage)).unwrap_or_default(),
            refiner,
        };
        Some(ModelSpec { id: id.to_string(), source: source.origin(), files, description, extras })
    }

    /// Writes the model as a single file. The text says why it cannot be.
    pub fn export(&self, file: &Path) -> Result<(), String> {
        let files = self.files.as_ref().map_err(Clone::clone)?;
        atelier_engine::write_single_file(files, file).map_err(|error| error.to_string())
    }

    /// Bytes that the model takes while it is loaded, from its files' headers: nothing is loaded. The text says why the
    /// files cannot be used, or what would bring them.
    pub fn memory_bytes(&self, settings: &config::Engine) -> Result<u64, String> {
        let models = self.files.as_ref().map(|_| self.spec().into_iter().collect()).map_err(Clone::clone)?;
        // asked of the CPU, so that no device is opened for it; a GPU computes in f32
        let precision = if settings.device == "cuda" { "f32" } else { settings.precision.as_str() };
        let precision = precision.parse().map_err(|error: atelier_engine::Error| error.to_string())?;
        let device = DeviceChoice::Cpu;
        let engine = CandleEngine::new(EngineConfig { device, precision, models, memory_bytes: None });
        let models = engine.map_err(|error| error.to_string())?.models();
        Ok(models.iter().map(|info| info.card().memory_bytes).sum())
    }
}

/// Where the files are of every model and of what its requests may lay beside it.
fn weights(located: &[Located]) -> Weights {
    let mut weights = Weights::default();
    for Located { model, fixed_adapters, places, .. } in located {
        let beside = model.adapters.iter().map(|adapter| &adapter.source);
        let beside = beside.chain(model.controls.iter().map(|control| &control.source));
        let beside = beside.chain(&model.embeddings).chain(fixed_adapters);
        let embedded = match &model.source {
            ModelSource::Builtin(name) => atelier_bundle::model(name),
            _ => None,
        };
        let places = places.iter().chain(beside).cloned().collect();
        weights.add(model.id.clone(), places, embedded);
    }
    weights
}

/// The engine with every model whose files are here.
pub fn engine(config: &Config, located: &[Located]) -> Result<Box<dyn Engine>, StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Engine(error.to_string());
    let settings = &config.engine;
    let device = settings.device.parse().map_err(|error: atelier_engine::Error| failed(&error))?;
    let precision = settings.precision.parse().map_err(|error: atelier_engine::Error| failed(&error))?;
    let models = located.iter().filter_map(Located::spec).collect();
    let engine = EngineConfig { device, precision, models, memory_bytes: settings.memory_bytes };
    Ok(Box::new(CandleEngine::new(engine).map_err(|error| failed(&error))?))
}

/// The scheduler in front of an engine.
pub fn scheduler(config: &Config, engine: Box<dyn Engine>) -> Result<Scheduler, StartError> {
    let config::Engine { queue_depth: depth, reorder_window, conversations, .. } = config.engine;
    let queue = QueueConfig { depth, reorder_window, conversations };
    let keep = |model: &Model| {
        let Model { id, pin, preload, idle_unload, .. } = model;
        (id.clone(), Keep { pinned: *pin, preload: *preload, idle_unload: *idle_unload })
    };
    let models = config.models.iter().map(keep).collect();
    let memory = MemoryConfig { bytes: config.engine.memory_bytes, models };
    Ok(Scheduler::start(engine, SchedulerConfig { queue, memory })?)
}

/// The runtime with the decoder that the binary carries.
pub fn runtime(config: &Config, variables: &Variables, scheduler: Scheduler) -> Result<Runtime, StartError> {
    let bytes = builtin_component(DECODER).ok_or(StartError::NoDecoder)?;
    let decoder = Code { name: format!("builtin:{DECODER}"), bytes: bytes.into() };
    let runtime = RuntimeConfig {
        cache_dir: config.store.cache_dir.clone(),
        max_instances: config.server.max_instances,
        max_waiting: config.server.max_waiting,
        compiler: variables.binary.as_deref().map(compile::program),
        component_labels: config.telemetry.metric_labels,
        ..RuntimeConfig::default()
    };
    Ok(Runtime::new(runtime, scheduler, decoder)?)
}

/// Sets up the providers of these models, before any route is deployed. Answers with the models that cannot be had, each
/// with what brings it.
pub async fn provide(
    config: &Config,
    models: &[Model],
    runtime: &Runtime,
) -> Result<Vec<(ModelId, String)>, StartError> {
    let variable = |name: &str| std::env::var(name).ok();
    let resolved = providers::resolve(config, models, builtin_component, variable);
    let Resolved { specs, missing } = resolved.map_err(StartError::Provider)?;
    runtime.provide(specs).await.map_err(|error| StartError::Provider(error.to_string()))?;
    Ok(missing)
}

/// The place for what components keep, with what of its addresses is in the process's variables.
pub(crate) fn shelf(config: &Config) -> Result<Shelf, StartError> {
    let variable = |name: &str| std::env::var(name).ok();
    Shelf::new(&config.store, variable).map_err(StartError::Store)
}

/// A host that is ready to serve.
pub struct App {
    config: Config,
    scheduler: Scheduler,
    runtime: Runtime,
    missing: Arc<[(ModelId, String)]>,
    audit: Arc<Audit>,
    live: Arc<Live>,
    reloader: Reloader,
    watch: Watch,
}

/// Where an app is served. The addresses may be any free ones, so that tests do not meet.
pub struct Doors {
    /// For clients.
    pub edge: TcpListener,
    /// For operators; none when it is off.
    pub admin: Option<TcpListener>,
}

impl Doors {
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let doors = std::iter::once(&self.edge).chain(&self.admin);
        doors.filter_map(|door| door.local_addr().ok())
    }
}

impl App {
    /// Puts everything together, with the engine that the configuration asks for.
    pub async fn open(config: Config, variables: Variables) -> Result<App, StartError> {
        let located = locate(&config.models).await?;
        let engine = engine(&config, &located)?;
        let weights = weights(&located);
        let missing =
            located.into_iter().filter_map(|located| Some((located.model.id, located.files.err()?)));
        let app = Self::build(config, variables, engine, missing.collect()).await?;
        app.runtime.know_files_by(move |id| weights.text(id));
        Ok(app)
    }

    /// Puts everything together around an engine; `missing` are the models that it lacks, with what brings them.
    pub async fn build(
        config: Config,
        variables: Variables,
        engine: Box<dyn Engine>,
        mut missing: Vec<(ModelId, String)>,
    ) -> Result<App, StartError> {
        let tls = config.server.tls.as_ref().map(Tls::load).transpose();
        let tls = tls.map_err(|error| StartError::Tls(error.to_string()))?;
        let scheduler = scheduler(&config, engine)?;
        let runtime = runtime(&config, &variables, scheduler.clone())?;
        missing.extend(provide(&config, &config.models, &runtime).await?);
        for (id, fix) in &missing {
            tracing::warn!("model `{id}` is not here: {fix}");
        }
        let vault = Arc::new(Vault::new(config.store.data_dir.clone()));
        let missing: Arc<[(ModelId, String)]> = missing.into();
        let counts = Counts::new(config.telemetry.metric_labels);
        let live = Arc::new(Live::new(counts.clone()));
        let deployer = Deployer {
            runtime: runtime.clone(),
            builtin: builtin_component,
            missing: absent(&config.models, &missing),
            counts,
            signing: Arc::new(ArcSwap::from_pointee(config.signing.clone())),
            vault: vault.clone(),
            storage: Arc::new(shelf(&config)?),
        };
        let unread = |error: VaultError| StartError::Vault(error.to_string());
        let versions = Arc::new(Versions::open(live.clone(), deployer, &config.store).map_err(unread)?);
        let roster = Roster::open(live.clone(), scheduler.clone(), vault.clone()).map_err(unread)?;
        let audit = Arc::new(Audit::new(vault, config.store.audit_bytes));
        let reloader = Reloader {
            started: config.clone(),
            tls,
            manager: Manager::new(variables.notify_socket.as_deref()),
            variables,
            builtins: builtins(),
            rollout: Rollout::new(versions.clone(), live.clone()),
            versions,
            live: live.clone(),
            roster: Arc::new(roster),
            operators: Arc::new(ArcSwap::from_pointee(config.server.operators())),
            reports: Reports::default(),
            routes: config.routes.clone(),
            tenants: config.tenants.clone(),
            pending: 0,
        };
        // watched before they are read, so that no change falls between
        let mut watch = Watch::new();
        watch.set(reloader.files());
        reloader.deploy_all().await?;
        Ok(App { config, scheduler, runtime, missing, audit, live, reloader, watch })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The models that the engine has.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// The models that are not here, each with what brings it.
    pub fn missing(&self) -> &[(ModelId, String)] {
        &self.missing
    }

    /// Routes that do not load, each with the reason.
    pub fn problems(&self) -> Vec<(String, String)> {
        let problem = |slot: &Arc<crate::live::Slot>| {
            Some((slot.route.name.clone(), slot.problem.as_ref()?.to_string()))
        };
        self.live.table().slots.iter().filter_map(problem).collect()
    }

    /// Serves until `signal`, then drains: readiness goes off, after `server.drain-delay-ms` no new connection is taken,
    /// and running requests have `server.drain-ms` to finish. The admin address stays until the end.
    pub async fn serve(self, doors: Doors, signal: impl Future<Output = ()>) {
        let server = self.config.server.clone();
        self.runtime.guard(doors.addresses());
        let (stopper, stop) = Stopper::new();
        let (admin_stopper, admin_stop) = Stopper::new();
        let exporter = self.config.telemetry.otlp_endpoint.as_ref().map(Exporter::start);
        let spans = exporter.as_ref().map(Exporter::queue);
        let sink = spans.clone().map(|queue| queue as Arc<dyn TraceSink>);
        let tracer = Tracer::new(sink, self.config.telemetry.sample_ratio);
        let clients = Arc::<Clients>::default();
        self.runtime.connect_channels(clients.clone());
        let reception = Reception::new(self.live.clone(), clients.clone(), &server);
        let keeper = tokio::spawn(keep(reception.desk(), stop.clone()));
        let edge = Edge::new(self.live.clone(), &server, tracer, reception);
        let settings = Settings::from(&server);
        let peers = Peers::new(server.max_connections_per_ip, "server.max-connections-per-ip");
        let admin = self.view(stop.clone(), peers.clone(), clients, spans);
        let (tls, manager) = (self.reloader.tls.clone(), self.reloader.manager.clone());
        let background = Background::begin(&self.live, &self.runtime, server.drain, &stop);
        let edge = tokio::spawn(accept(Door { listener: doors.edge, settings, peers, tls }, edge, stop));
        let admin =
            doors.admin.map(|door| tokio::spawn(accept(admin_door(door, settings), admin, admin_stop)));
        let reload = server.reload.then(|| tokio::spawn(self.reloader.run(self.watch)));
        manager.ready();
        signal.await;
        tracing::info!("stopping: running requests may finish");
        if let Some(reload) = reload {
            reload.abort();
        }
        manager.stopping();
        stopper.advance(Phase::Draining);
        sleep(server.drain_delay).await;
        stopper.advance(Phase::Closing);
        joined(edge.await);
        joined(keeper.await);
        background.end().await;
        if let Some(exporter) = exporter {
            exporter.finish().await;
        }
        admin_stopper.advance(Phase::Closing);
        if let Some(admin) = admin {
            joined(admin.await);
        }
    }

    fn view(
        &self,
        stop: Stop,
        peers: Arc<Peers>,
        channels: Arc<Clients>,
        spans: Option<Arc<SpanQueue>>,
    ) -> Admin {
        Admin(Arc::new(View {
            live: self.live.clone(),
            scheduler: self.scheduler.clone(),
            runtime: self.runtime.clone(),
            reports: self.reloader.reports.clone(),
            versions: self.reloader.versions.clone(),
            roster: self.reloader.roster.clone(),
            audit: self.audit.clone(),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            body_pace: Pace::of_bodies(&self.config.server),
            missing: self.missing.clone(),
            peers,
            channels,
            spans,
            manifest: self.config.manifest.to_string(),
            keys: self.reloader.operators.clone(),
            stop,
            started: Instant::now(),
        }))
    }
}

/// For few, unencrypted, and quickly closed.
fn admin_door(listener: TcpListener, settings: Settings) -> Door {
    let drain = Duration::from_secs(1);
    let settings = Settings { max_connections: ADMIN_CONNECTIONS, drain, ..settings };
    Door { listener, settings, peers: Peers::new(ADMIN_CONNECTIONS, "of the admin address"), tls: None }
}
