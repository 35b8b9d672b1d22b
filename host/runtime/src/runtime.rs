//! The runtime as a whole: made once at start, shared by every deployment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use atelier_inference::metrics::Labelled;
use atelier_inference::{
    ChatRequest, ImageRequest, ModelId, ModelInfo, Pixels, Scheduler, SpeechOptions, Ticket,
};
use atelier_store::Storage;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::admission::{Door, Rules};
use crate::capabilities::decode_pixels;
use crate::code::{Cache, Compiler, CompilerProgram};
use crate::compute::ComputeThreads;
use crate::context::Scope;
use crate::decoder::Decoder;
use crate::machine::Machine;
use crate::maker::Files;
use crate::metrics::{ComponentMetrics, DoorStatus, LoadTimes, Metrics};
use crate::outbound::Network;
use crate::provider::{Asking, Provided, ProvidedStatus, Providers, Wanted};
use crate::recording::decode_audio;
use crate::sandbox::Sandbox;
use crate::{
    AudioError, Channels, Code, Deployment, Error, LoadError, ProviderSpec, ProviderStatus, Recording,
    RouteSpec, RuntimeMetrics, Work, deploy, engine, linker,
};

/// One of so many places is kept for tenants that run less than their share.
const KEPT_PART: u32 = 4;

/// How the runtime is set up.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Where compiled components are kept; nowhere when `None`.
    pub cache_dir: Option<PathBuf>,
    /// Requests that run at a time (`server.max-instances`).
    pub max_instances: u32,
    /// Requests of one tenant that wait for their turn (`server.max-waiting`); one more is refused.
    pub max_waiting: usize,
    /// How long a request waits for its turn before it is refused.
    pub admission_wait: Duration,
    /// What compiles the components of routes, each in a process of its own within the route's limits. When `None`,
    /// this process does, which bounds the time but not the memory: for tests and benchmarks.
    pub compiler: Option<CompilerProgram>,
    /// Components that are counted apart (`telemetry.metric-labels`); the others are counted together.
    pub component_labels: usize,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            cache_dir: None,
            max_instances: 128,
            max_waiting: 64,
            admission_wait: Duration::from_secs(1),
            compiler: None,
            component_labels: 256,
        }
    }
}

/// What every deployment and every store shares.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) pooled: bool,
    pub(crate) handlers: Linker<Sandbox>,
    pub(crate) plugins: Linker<Sandbox>,
    pub(crate) providers_linker: Linker<Sandbox>,
    /// Set once, before any route is deployed.
    providers: OnceLock<Providers>,
    pub(crate) compiler: Arc<Compiler>,
    pub(crate) scheduler: Scheduler,
    pub(crate) decoder: Decoder,
    pub(crate) metrics: Arc<Metrics>,
    /// Requests that run at a time.
    pub(crate) instances: Arc<Door>,
    /// Where guests compute that compute for long.
    pub(crate) compute_threads: ComputeThreads,
    /// Those that do at a time, for a slice each.
    pub(crate) computing: Arc<Door>,
    /// Instances that wait for another request.
    pub(crate) idle_places: Arc<Door>,
    pub(crate) network: Network,
    /// Plugins that run at a time: a request may call many at once, and the pool has room for one each.
    pub(crate) plugin_places: Arc<Door>,
    /// Pictures that are encoded or scaled at a time, each on a thread that may block.
    pub(crate) painters: Arc<Door>,
    pub(crate) generations: AtomicU64,
    /// Where buckets and containers are, once there is a place.
    pub(crate) storage: OnceLock<Storage>,
    /// How files of models are told from others, once there is a way.
    pub(crate) model_files: OnceLock<Files>,
    /// Where clients are that stay connected, once there is a place.
    pub(crate) channels: OnceLock<Arc<dyn Channels>>,
    pub(crate) machine: Machine,
}

impl Host {
    /// A model that is served elsewhere.
    pub(crate) fn provided(&self, id: &ModelId) -> Option<&Arc<Provided>> {
        self.all_provided().iter().find(|model| model.info.id() == id)
    }

    /// Every model that is served elsewhere, in the manifest's order.
    pub(crate) fn all_provided(&self) -> &[Arc<Provided>] {
        self.providers.get().map_or(&[], Providers::models)
    }

    /// A model, wherever it is served.
    pub(crate) fn model(&self, id: &ModelId) -> Option<ModelInfo> {
        let own = self.scheduler.catalog().get(id).ok().cloned();
        own.or_else(|| self.provided(id).map(|model| model.info.clone()))
    }

    /// The names of all of them.
    pub(crate) fn model_ids(&self) -> impl Iterator<Item = &ModelId> {
        let elsewhere = self.all_provided().iter().map(|model| model.info.id());
        self.scheduler.catalog().iter().map(ModelInfo::id).chain(elsewhere)
    }
}

/// Compiles, links and runs components. Cloning is cheap.
#[derive(Clone)]
pub struct Runtime {
    host: Arc<Host>,
}

impl Runtime {
    /// Sets the runtime up and compiles the media decoder, which takes seconds unless it is in the cache.
    pub fn new(config: RuntimeConfig, scheduler: Scheduler, decoder: Code) -> Result<Runtime, Error> {
        let shared = engine::shared(config.max_instances)?;
        let engine = shared.engine.clone();
        let link = |error: wasmtime::Error| Error::Engine(format!("{error:#}"));
        let (handlers, plugins) =
            (linker::for_handlers(&engine).map_err(link)?, linker::for_plugins(&engine).map_err(link)?);
        let providers_linker = linker::for_providers(&engine).map_err(link)?;
        let max_instances = config.max_instances.min(shared.max_instances);
        let metrics = Arc::new(Metrics::default());
        let cache = config.cache_dir.as_deref().map(Cache::open).transpose()?;
        let components = Labelled::new(config.component_labels);
        let compiler = Compiler::new(engine.clone(), cache, config.compiler, metrics.clone(), components);
        let compiler = Arc::new(compiler);
        let decoder = Decoder::load(&compiler, &plugins, &decoder).map_err(Error::Decoder)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let kept = max_instances / KEPT_PART;
        let instances = Rules {
            places: max_instances,
            kept,
            waiting: config.max_waiting,
            patience: config.admission_wait,
        };
        let idle = engine::idle_places(max_instances);
        let idle = Rules { places: idle, kept: idle / KEPT_PART, waiting: 0, patience: Duration::ZERO };
        let host = Host {
            engine,
            pooled: shared.pooled,
            handlers,
            plugins,
            providers_linker,
            providers: OnceLock::new(),
            compiler,
            scheduler,
            decoder,
            metrics,
            network: Network::new().map_err(|error| Error::Tls(error.to_string()))?,
            instances: Door::new(instances),
            idle_places: Door::new(idle),
            compute_threads: ComputeThreads::start(threads).map_err(Error::Thread)?,
            computing: Door::inner(threads as u32, 0),
            plugin_places: Door::inner(max_instances, kept),
            painters: Door::inner(threads as u32, 0),
            generations: AtomicU64::new(0),
            storage: OnceLock::new(),
            model_files: OnceLock::new(),
            channels: OnceLock::new(),
            machine: Machine::new(),
        };
        Ok(Runtime { host: Arc::new(host) })
    }

    /// Sets up the providers of models that are served elsewhere, once and before any route is deployed; later calls change
    /// nothing. The error holds every problem that was found.
    pub async fn provide(&self, specs: Vec<ProviderSpec>) -> Result<(), LoadError> {
        let providers = Providers::load(&self.host, specs).await?;
        // whoever was first is what runs
        let _ = self.host.providers.set(providers);
        Ok(())
    }

    /// Gives buckets and containers a place, before any route is deployed that has some; later calls change nothing.
    pub fn store_in(&self, storage: Storage) {
        // whoever was first is what runs
        let _ = self.host.storage.set(storage);
    }

    /// Tells the files of a model from others by a text, which is another one whenever these are. It is asked where it may block.
    /// Later calls change nothing.
    pub fn know_files_by(&self, text: impl Fn(&ModelId) -> String + Send + Sync + 'static) {
        // whoever was first is what runs
        let _ = self.host.model_files.set(Arc::new(text));
    }

    /// Says where clients are that stay connected; later calls change nothing. Until then nobody is.
    pub fn connect_channels(&self, channels: Arc<dyn Channels>) {
        // whoever was first is what runs
        let _ = self.host.channels.set(channels);
    }

    /// Where buckets and containers are, if there is a place.
    pub fn storage(&self) -> Option<&Storage> {
        self.host.storage.get()
    }

    /// What happened at each provider so far.
    pub fn providers(&self) -> Vec<ProviderStatus> {
        self.host.providers.get().map(Providers::status).unwrap_or_default()
    }

    /// The models that are served elsewhere, in the manifest's order.
    pub fn provided_models(&self) -> Vec<ProvidedStatus> {
        self.host.all_provided().iter().map(|model| model.status()).collect()
    }

    /// Begins a reply of a model that is served elsewhere, on nobody's account; for work that no route asks for.
    ///
    /// # Errors
    /// What of the request is wrong, or that there is no such model.
    pub fn chat(&self, request: ChatRequest, model: &ModelId) -> atelier_inference::Result<Ticket> {
        self.ask(Wanted::Reply(request), model)
    }

    /// The same for pictures.
    ///
    /// # Errors
    /// What of the request is wrong, or that there is no such model.
    pub fn draw(&self, request: ImageRequest, model: &ModelId) -> atelier_inference::Result<Ticket> {
        self.ask(Wanted::Pictures(Box::new(request)), model)
    }

    /// The same for what is said in a recording, of samples at [`Recording::RATE`].
    ///
    /// # Errors
    /// What of the request is wrong, or that there is no such model.
    pub fn transcribe(
        &self,
        audio: Arc<[f32]>,
        options: SpeechOptions,
        model: &ModelId,
    ) -> atelier_inference::Result<Ticket> {
        self.ask(Wanted::Transcript(audio, Box::new(options)), model)
    }

    fn ask(&self, wanted: Wanted, model: &ModelId) -> atelier_inference::Result<Ticket> {
        let unknown = || atelier_inference::Error::UnknownModel {
            id: model.to_string(),
            known: self.host.model_ids().map(ToString::to_string).collect(),
        };
        let model = self.host.provided(model).ok_or_else(unknown)?;
        wanted.check(&model.info)?;
        let asking = Asking {
            host: self.host.clone(),
            tenant: Arc::default(),
            route: "".into(),
            scope: Scope::default(),
            wanted,
            work: Work::default(),
        };
        Ok(asking.begin(model.clone()))
    }

    /// Checks, compiles and links a route. The error holds every problem that was found. Nothing that runs is touched.
    pub async fn deploy(&self, spec: RouteSpec) -> Result<Arc<Deployment>, LoadError> {
        deploy::deploy(&self.host, spec).await
    }

    /// Decodes a picture (PNG, JPEG, WebP or the first frame of GIF) from untrusted bytes, in the sandbox. The error is
    /// a text that is safe to show.
    pub async fn decode_image(&self, bytes: bytes::Bytes) -> Result<Pixels, String> {
        decode_pixels(&self.host, &Arc::default(), &Scope::default(), bytes.to_vec())
            .await
            .map_err(|error| error.into_text())
    }

    /// Decodes a recording (wav, flac, mp3, mp4, ogg or webm) of at most so many seconds, and 30 minutes, from untrusted
    /// bytes, in the sandbox.
    pub async fn decode_audio(&self, bytes: bytes::Bytes, max_seconds: u32) -> Result<Recording, AudioError> {
        decode_audio(&self.host, &Arc::default(), &Scope::default(), bytes.to_vec(), max_seconds).await
    }

    /// Keeps guests away from where this process listens, whatever a manifest grants.
    pub fn guard(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        self.host.network.guard(addresses);
    }

    /// What happened so far.
    pub fn metrics(&self) -> RuntimeMetrics {
        self.host.metrics.snapshot(self.host.pooled)
    }

    /// How long compiling and deploying took so far.
    pub fn load_times(&self) -> &LoadTimes {
        &self.host.metrics.loads
    }

    /// What was counted of each component, by the beginning of its digest.
    pub fn components(&self) -> Vec<(Arc<str>, Arc<ComponentMetrics>)> {
        self.host.compiler.components()
    }

    /// Who is inside the doors in front of what is scarce, and who waits.
    pub fn doors(&self) -> [DoorStatus; 7] {
        let Host { instances, idle_places, computing, plugin_places, painters, decoder, .. } = &*self.host;
        [
            instances.status("instances"),
            idle_places.status("idle_instances"),
            computing.status("long_computations"),
            plugin_places.status("plugins"),
            painters.status("pictures"),
            decoder.pictures.status("decoders"),
            decoder.recordings.status("audio_decoders"),
        ]
    }

    /// What of the pool of instances is in use, by kind; nothing without a pool.
    pub fn pool(&self) -> Vec<(&'static str, u64)> {
        let Some(pool) = self.host.engine.pooling_allocator_metrics() else { return Vec::new() };
        vec![
            ("component_instances", pool.component_instances()),
            ("core_instances", pool.core_instances()),
            ("memories", pool.memories() as u64),
            ("tables", pool.tables() as u64),
            ("stacks", pool.stacks() as u64),
        ]
    }
}
