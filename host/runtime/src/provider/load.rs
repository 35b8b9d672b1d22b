//! From a [`ProviderSpec`] to a provider that can be called: inspect, check imports, compile, link. A plugin may import WASI,
//! HTTP and its configuration, and nothing of the host's.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use atelier_inference::{LanguageModel, ModelCard};
use wasmtime_wasi_config::WasiConfigVariables;

use super::circuit::Circuit;
use super::{Provided, ProvidedSpec, Provider, ProviderLimits, ProviderMetrics, ProviderSpec, Secret};
use crate::admission::{Door, Rules};
use crate::bindings::provider::ProviderPre;
use crate::code::Bounds;
use crate::deploy::{is_base, wrong_world};
use crate::inspect::{Kind, inspect_named, interface};
use crate::metrics::RouteMetrics;
use crate::runtime::Host;
use crate::sandbox::Route;
use crate::stage::Stages;
use crate::{Grants, Limits, LoadError, LoadProblem};

/// A long reply is some thousand events, each of which is parsed.
const CPU: Duration = Duration::from_secs(10);
const MEMORY_BYTES: usize = 64 << 20;
/// An answer that is longer is none: a reply, with all that stands around each of its words.
const OUTBOUND_BYTES: u64 = 64 << 20;
/// A plugin needs one; one that follows a server elsewhere needs some.
const OUTBOUND_REQUESTS: u32 = 8;
/// What is not told of how many token ids there are bounds nothing.
const ANY_VOCABULARY: u32 = u32::MAX;

pub(super) async fn provider(host: &Arc<Host>, spec: ProviderSpec) -> Result<Provider, LoadError> {
    let (code, limits) = (&spec.plugin, store_limits(&spec.limits));
    check(&code.name, &code.bytes)?;
    let title = format!("provider {}", spec.id);
    let compiled = host.compiler.compile(code, &Bounds::within(&title, &limits)).await?;
    let broken =
        |error: wasmtime::Error| LoadProblem::Broken { name: code.name.clone(), why: format!("{error:#}") };
    let pre = host.providers_linker.instantiate_pre(&compiled.component).map_err(broken)?;
    let pre = ProviderPre::new(pre).map_err(broken)?;
    let rules = Rules {
        places: spec.limits.calls,
        kept: 0,
        waiting: spec.limits.waiting,
        patience: spec.limits.timeout,
    };
    Ok(Provider {
        plugin: code.name.clone(),
        pre,
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
    let info = LanguageModel { card, context_length: spec.context_length, vocabulary: ANY_VOCABULARY };
    Provided {
        info: Arc::new(info),
        provider: provider.clone(),
        name: spec.name,
        fallback: spec.fallback,
        metrics,
    }
}

fn check(name: &str, bytes: &[u8]) -> Result<(), LoadError> {
    let inspection = inspect_named(name, bytes)?;
    let mut problems = Vec::new();
    if inspection.kind != Kind::Provider {
        problems.push(wrong_world(name, inspection.kind, &[Kind::Provider]));
    }
    let refused = inspection.imports.iter().filter(|import| !is_for_providers(interface(import)));
    problems.extend(refused.map(|import| LoadProblem::NeverGranted {
        name: name.into(),
        import: import.clone(),
        why: "is not for providers: they have HTTP, their configuration and nothing of the host's".into(),
    }));
    if problems.is_empty() { Ok(()) } else { Err(LoadError { problems }) }
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
        limits: Arc::new(limits),
        grants,
        config: WasiConfigVariables::from_iter(config),
        secret: spec.key.clone(),
        stages: Stages::default(),
        // no route of the manifest: a provider has counts of its own
        metrics: Arc::<RouteMetrics>::default(),
        plugin_failures: AtomicU64::new(0),
    }
}

fn store_limits(limits: &ProviderLimits) -> Limits {
    Limits {
        wall: limits.timeout,
        capability_wait: limits.timeout,
        cpu: CPU,
        memory_bytes: MEMORY_BYTES,
        outbound_requests: OUTBOUND_REQUESTS,
        outbound_bytes: OUTBOUND_BYTES,
        outbound_connect: limits.connect,
        outbound_first_byte: limits.first_byte,
        outbound_between_bytes: limits.between_bytes,
        ..Limits::default()
    }
}
