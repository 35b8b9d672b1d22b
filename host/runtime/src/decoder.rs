//! The media decoder: the sandbox in which untrusted bytes become pixels or samples. Each file gets a store of its own,
//! within limits that are fixed: they protect the host, not a route. Whatever a file does to the decoder is a [`Failure`]
//! here and an error value for whoever sent it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use atelier_inference::speech::SAMPLE_RATE;
use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};
use wasmtime_wasi_config::WasiConfigVariables;

use crate::admission::Door;
use crate::bindings::decoder::exports::atelier::host::media;
use crate::bindings::decoder::{Decoder as Bindings, DecoderPre};
use crate::code::Compiler;
use crate::context::Scope;
use crate::deploy::wrong_world;
use crate::drive::{Call, limited};
use crate::engine::{MAX_AUDIO_DECODERS, MAX_DECODERS};
use crate::inspect::{Kind, inspect_named};
use crate::metrics::{ComponentMetrics, DoorStatus, RouteMetrics, count};
use crate::runtime::Host;
use crate::sandbox::{Meter, Route, Sandbox};
use crate::stage::{Stages, task};
use crate::{Code, Failure, Grants, Limits, LoadError, LoadProblem, Tenant};

const PICTURE_TIME: Duration = Duration::from_secs(5);
const PICTURE_MEMORY_BYTES: usize = 256 << 20;
/// A decoded picture of 16.7 million pixels, and a little more.
const PICTURE_HOSTCALL_BYTES: usize = 80 << 20;
const PICTURE_MAX_SIDE: u32 = atelier_inference::picture::MAX_SIDE;
const PICTURE_MAX_PIXELS: u64 = 4_096 * 4_096;

/// The longest recording, whatever a caller allows.
pub(crate) const AUDIO_MAX_SECONDS: u32 = 30 * 60;
/// Samples of a decoded second, and bytes of them.
pub(crate) const AUDIO_RATE: u32 = SAMPLE_RATE as u32;
const AUDIO_SECOND_BYTES: usize = AUDIO_RATE as usize * size_of::<f32>();
const AUDIO_MAX_BYTES: u64 = 64 << 20;
/// Half an hour of Opus in one channel took 41 s on a busy processor: time for two, and for slower machines.
const AUDIO_CPU: Duration = Duration::from_secs(180);
const AUDIO_WALL: Duration = Duration::from_secs(300);
/// The longest file, its samples, and what they were held in while they were few.
const AUDIO_MEMORY_BYTES: usize = 320 << 20;
/// The samples of the longest recording, and a little more.
const AUDIO_HOSTCALL_BYTES: usize = AUDIO_MAX_SECONDS as usize * AUDIO_SECOND_BYTES + (1 << 20);

/// The linked component.
pub(crate) struct Decoder {
    pre: DecoderPre<Sandbox>,
    metrics: Arc<ComponentMetrics>,
    pub(crate) pictures: Medium,
    pub(crate) recordings: Medium,
}

/// What is decoded at a time of one kind of file, and within which limits.
pub(crate) struct Medium {
    route: Arc<Route>,
    places: Arc<Door>,
}

impl Decoder {
    /// Compiles and links the decoder on this thread.
    pub(crate) fn load(
        compiler: &Compiler,
        linker: &Linker<Sandbox>,
        code: &Code,
    ) -> Result<Self, LoadError> {
        let inspection = inspect_named(&code.name, &code.bytes)?;
        if inspection.kind != Kind::Decoder {
            return Err(wrong_world(&code.name, &inspection, &[Kind::Decoder]).into());
        }
        let compiled = compiler.compile_own(code)?;
        let broken = |error: wasmtime::Error| LoadProblem::Broken {
            name: code.name.clone(),
            why: format!("{error:#}"),
        };
        let pre: InstancePre<Sandbox> = linker.instantiate_pre(&compiled.component).map_err(broken)?;
        let pre = DecoderPre::new(pre).map_err(broken)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            pre,
            metrics: compiled.metrics.clone(),
            pictures: Medium::new(&code.name, threads.min(MAX_DECODERS), picture_limits()),
            // half of the processors: others have other work
            recordings: Medium::new(
                &code.name,
                threads.div_ceil(2).min(MAX_AUDIO_DECODERS),
                recording_limits(),
            ),
        })
    }

    /// Decodes one picture.
    pub(crate) async fn decode_image(
        &self,
        host: &Arc<Host>,
        tenant: &Arc<Tenant>,
        scope: &Scope,
        bytes: Vec<u8>,
    ) -> Result<Result<media::Decoded, media::Error>, Failure> {
        let limits = media::Limits { max_side: PICTURE_MAX_SIDE, max_pixels: PICTURE_MAX_PIXELS };
        let call = self.pictures.call(host, tenant, scope, &self.metrics);
        let decode = move |decoder: Bindings, mut store: Store<Sandbox>| async move {
            let run = async |accessor: &_| {
                decoder.atelier_host_media().call_decode_image(accessor, bytes, limits).await
            };
            store.run_concurrent(run).await?
        };
        self.run(&self.pictures, call, decode).await
    }

    /// Decodes one recording of at most so many seconds. `read` takes the answer where there is time for long ones.
    pub(crate) async fn decode_audio<R: Send + 'static>(
        &self,
        host: &Arc<Host>,
        tenant: &Arc<Tenant>,
        scope: &Scope,
        (bytes, max_seconds): (Vec<u8>, u32),
        read: impl FnOnce(Result<media::Recording, media::AudioError>) -> R + Send + 'static,
    ) -> Result<R, Failure> {
        let limits = media::AudioLimits { max_bytes: AUDIO_MAX_BYTES, max_seconds };
        let call = self.recordings.call(host, tenant, scope, &self.metrics);
        let decode = move |decoder: Bindings, mut store: Store<Sandbox>| async move {
            let run = async |accessor: &_| {
                decoder.atelier_host_media().call_decode_audio(accessor, bytes, limits).await
            };
            store.run_concurrent(run).await?.map(read)
        };
        self.run(&self.recordings, call, decode).await
    }

    /// Runs one call in a store of its own, in its turn.
    async fn run<R, W>(
        &self,
        medium: &Medium,
        call: Call,
        work: impl FnOnce(Bindings, Store<Sandbox>) -> W + Send + 'static,
    ) -> Result<R, Failure>
    where
        R: Send + 'static,
        W: Future<Output = wasmtime::Result<R>> + Send,
    {
        count(&call.host.metrics.decodes);
        let _place = medium.places.enter(call.meter.tenant()).await?;
        let (pre, meter) = (self.pre.clone(), call.meter.clone());
        let ended = task(async move {
            let (mut store, own) = (call.store(), call.meter.clone());
            let work = async move {
                let decoder = own.instantiate(pre.instantiate_async(&mut store)).await?;
                work(decoder, store).await
            };
            limited(call, work).await
        });
        ended.await.inspect_err(|failure| meter.count_failure(failure))
    }
}

impl Medium {
    fn new(name: &str, places: usize, limits: Limits) -> Self {
        let route = Route {
            name: name.into(),
            identity: String::new(),
            limits: Arc::new(limits),
            grants: Grants::default(),
            config: WasiConfigVariables::default(),
            secret: None,
            stages: Stages::default(),
            // no route of the manifest: the decoder is counted as a component
            metrics: Arc::<RouteMetrics>::default(),
            channel_message_bytes: 0,
            plugin_failures: AtomicU64::new(0),
        };
        // a decoding ends soon by its limits, so no place is kept
        Self { route: Arc::new(route), places: Door::inner(places as u32, 0) }
    }

    /// Who is inside, and who waits.
    pub(crate) fn status(&self, name: &'static str) -> DoorStatus {
        self.places.status(name)
    }

    fn call(
        &self,
        host: &Arc<Host>,
        tenant: &Arc<Tenant>,
        scope: &Scope,
        metrics: &Arc<ComponentMetrics>,
    ) -> Call {
        let meter = Meter::new(self.route.clone(), tenant.clone(), metrics.clone(), scope.clone());
        Call { host: host.clone(), route: self.route.clone(), meter: Arc::new(meter) }
    }
}

fn picture_limits() -> Limits {
    Limits {
        wall: PICTURE_TIME,
        cpu: PICTURE_TIME,
        memory_bytes: PICTURE_MEMORY_BYTES,
        hostcall_bytes: PICTURE_HOSTCALL_BYTES,
        ..Limits::default()
    }
}

fn recording_limits() -> Limits {
    Limits {
        wall: AUDIO_WALL,
        cpu: AUDIO_CPU,
        memory_bytes: AUDIO_MEMORY_BYTES,
        hostcall_bytes: AUDIO_HOSTCALL_BYTES,
        ..Limits::default()
    }
}

/// What a decoder that was stopped says of the file, in words that are safe to show.
pub(crate) enum Stopped {
    /// It is not worth decoding.
    AtLimit(String),
    /// The decoder failed over it.
    Broken(String),
}

/// Logs why a decoder was stopped, and says what that means for the file.
pub(crate) fn stopped(failure: &Failure, scope: &Scope) -> Stopped {
    let (id, code) = (scope.context().id(), failure.code());
    tracing::warn!(id, code, "the decoder failed: {}", failure.internal());
    match failure {
        Failure::Memory { limit, .. } => {
            Stopped::AtLimit(format!("decoding it takes more than {limit} bytes of memory"))
        }
        Failure::Cpu { limit, .. } | Failure::Wall { limit, .. } => {
            Stopped::AtLimit(format!("decoding it takes longer than {} s", limit.as_secs()))
        }
        _ => Stopped::Broken("the decoder stopped with an error".into()),
    }
}
