//! From a [`ProviderSpec`] to a provider that can be called: inspect, check imports, compile, link. A plugin may import WASI,
//! HTTP and its configuration, and nothing of the host's.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use atelier_inference::{ImageModel, LanguageModel, ModelCard, ModelInfo, SpeechModel};
use wasmtime::component::InstancePre;
use wasmtime_wasi_config::WasiConfigVariables;

use super::circuit::Circuit;
use super::{Makes, Provided, ProvidedSpec, Provider, ProviderMetrics, ProviderSpec, Secret};
use crate::admission::{Door, Rules};
use crate::bindings::picture_provider::PictureProviderPre;
use crate::bindings::provider::ProviderPre;
use crate::bindings::speech_provider::SpeechProviderPre;
use crate::code::Bounds;
use crate::deploy::{is_base, wrong_world};
use crate::inspect::{Kind, inspect_named, interface};
use crate::metrics::RouteMetrics;
use crate::runtime::Host;
use crate::sandbox::{Route, Sandbox};
use crate::stage::Stages;
use crate::{Grants, Limits, LoadError, LoadProblem};

/// A long reply is some thousand events, each of which is parsed.
const CPU: Duration = Duration::from_secs(10);
const MEMORY_BYTES: usize = 64 << 20;
/// Of one that makes pictures or hears: files of some MiB are there as bytes and as base64 at a time, in what is sent and in what
/// comes.
const FILES_MEMORY_BYTES: usize = 192 << 20;
/// An answer that is longer is none: a reply, with all that stands around each of its words, or some large pictures.
const OUTBOUND_BYTES: u64 = 64 << 20;
/// A plugin needs one; one that follows a server elsewhere needs some.
const OUTBOUND_REQUESTS: u32 = 8;
/// What a plugin exports for each thing that models make.
const REPLIES: &str = "atelier:host/provider-language";
const PICTURES: &str = "atelier:host/provider-images";
const TRANSCRIPTS: &str = "atelier:host/provider-speech";
/// What is not told of how many token ids there are bounds nothing.
const ANY_VOCABULARY: u32 = u32::MAX;

/// A linked plugin, by what it can be asked for; at least one of them is there.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) replies: Option<ProviderPre<Sandbox>>,
    pub(super) pictures: Option<PictureProviderPre<Sandbox>>,
    pub(super) transcripts: Option<SpeechProviderPre<Sandbox>>,
}

impl Served {
    fn of(pre: &InstancePre<Sandbox>, exports: &[String]) -> wasmtime::Result<Self> {
        let has = |makes: &str| exports.iter().any(|export| interface(export) == makes);
        Ok(Self {
            replies: has(REPLIES).then(|| ProviderPre::new(pre.clone())).transpose()?,
            pictures: has(PICTURES).then(|| PictureProviderPre::new(pre.clone())).transpose()?,
            transcripts: has(TRANSCRIPTS).then(|| SpeechProviderPre::new(pre.clone())).transpose()?,
        })
    }
}

pub(super) async fn provider(host: &Arc<Host>, spec: ProviderSpec) -> Result<Provider, LoadError> {
    let (code, limits) = (&spec.plugin, store_limits(&spec));
    let exports = check(&code.name, &code.bytes, &spec.models)?;
    let title = format!("provider {}", spec.id);
    let compiled = host.compiler.compile(code, &Bounds::within(&title, &limits)).await?;
    let broken =
        |error: wasmtime::Error| LoadProblem::Broken { name: code.name.clone(), why: format!("{error:#}") };
    let pre = host.providers_linker.instantiate_pre(&compiled.component).map_err(broken)?;
    let served = Served::of(&pre, &exports).map_err(broken)?;
    let rules = Rules {
        places: spec.limits.calls,
        kept: 0,
        waiting: spec.limits.waiting,
        patience: spec.limits.timeout,
    };
    Ok(Provider {
        plugin: code.name.clone(),
        served,
        route: Arc::new(route(title, limits, &spec)),
        door: Door::new(rules),
        circuit: Circuit::new(spec.limits.circuit_failures, spec.limits.circuit),
        component: compiled.metrics.clone(),
        metrics: ProviderMetrics::default(),
        id: spec.id,
        secret: spec.key,
        limits: spec.limits,
        _code: compiled,
    })
}

pub(super) fn model(host: &Host, provider: &Arc<Provider>, spec: ProvidedSpec) -> Provided {
    let card = ModelCard {
        source: format!("provider:{}/{}", provider.id, spec.name),
        family: provider.id.clone(),
        description: spec.description,
        memory_bytes: 0,
        device: "elsewhere".into(),
        id: spec.id,
    };
    let metrics = host.scheduler.metrics_of(&card.id);
    let info: ModelInfo = match spec.makes {
        Makes::Replies { context_length } => {
            LanguageModel { card, context_length, vocabulary: ANY_VOCABULARY }.into()
        }
        Makes::Pictures { features, sizes } => ImageModel::elsewhere(card, features, sizes).into(),
        Makes::Transcripts => SpeechModel::elsewhere(card).into(),
    };
    Provided { info, provider: provider.clone(), name: spec.name, fallback: spec.fallback, metrics }
}

/// The plugin's exports, if it is a provider of all that these models make.
fn check(name: &str, bytes: &[u8], models: &[ProvidedSpec]) -> Result<Vec<String>, LoadError> {
    let inspection = inspect_named(name, bytes)?;
    let mut problems = Vec::new();
    if inspection.kind == Kind::Provider {
        problems.extend(models.iter().filter_map(|model| lacking(name, &inspection.exports, model)));
    } else {
        problems.push(wrong_world(name, &inspection, &[Kind::Provider]));
    }
    let refused = inspection.imports.iter().filter(|import| !is_for_providers(interface(import)));
    problems.extend(refused.map(|import| LoadProblem::NeverGranted {
        name: name.into(),
        import: import.clone(),
        why: "is not for providers: they have HTTP, their configuration and nothing of the host's".into(),
    }));
    if problems.is_empty() { Ok(inspection.exports) } else { Err(LoadError { problems }) }
}

/// What is wrong where the plugin's server has no such models.
fn lacking(name: &str, exports: &[String], model: &ProvidedSpec) -> Option<LoadProblem> {
    let wanted = match model.makes {
        Makes::Replies { .. } => REPLIES,
        Makes::Pictures { .. } => PICTURES,
        Makes::Transcripts => TRANSCRIPTS,
    };
    let is_there = exports.iter().any(|export| interface(export) == wanted);
    (!is_there).then(|| LoadProblem::WrongWorld {
        name: name.into(),
        found: Kind::Provider.words().into(),
        wanted: format!("provider of what model `{}` `makes`, {}", model.id, model.makes.word()),
        export: wanted.into(),
    })
}

fn is_for_providers(interface: &str) -> bool {
    let own = ["atelier:host/provider-types", "wasi:config/store"];
    let http = ["wasi:http/types", "wasi:http/client", "wasi:http/outgoing-handler"];
    own.contains(&interface) || http.contains(&interface) || is_base(interface)
}

fn route(title: String, limits: Limits, spec: &ProviderSpec) -> Route {
    let own =
        [("base-url", Some(spec.base_url.as_str())), ("api-key", spec.key.as_ref().map(Secret::reveal))];
    let own = own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
    let config = spec.config.iter().cloned().chain(own);
    let grants = Grants {
        outbound: spec.outbound.clone(),
        outbound_private: spec.outbound_private.clone(),
        ..Grants::default()
    };
    Route {
        name: title.into(),
        identity: String::new(),
        limits: Arc::new(limits),
        grants,
        config: WasiConfigVariables::from_iter(config),
        secret: spec.key.clone(),
        stages: Stages::default(),
        // no route of the manifest: a provider has counts of its own
        metrics: Arc::<RouteMetrics>::default(),
        channel_message_bytes: 0,
        plugin_failures: AtomicU64::new(0),
    }
}

fn store_limits(spec: &ProviderSpec) -> Limits {
    let limits = &spec.limits;
    let has_files = spec.models.iter().any(|model| !matches!(model.makes, Makes::Replies { .. }));
    Limits {
        wall: limits.timeout,
        capability_wait: limits.timeout,
        cpu: CPU,
        memory_bytes: if has_files { FILES_MEMORY_BYTES } else { MEMORY_BYTES },
        outbound_requests: OUTBOUND_REQUESTS,
        outbound_bytes: OUTBOUND_BYTES,
        outbound_connect: limits.connect,
        outbound_first_byte: limits.first_byte,
        outbound_between_bytes: limits.between_bytes,
        ..Limits::default()
    }
}
