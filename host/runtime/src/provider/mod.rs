//! Models that are served elsewhere, through plugins that know their servers' protocols. For whoever asks, they are models like
//! any other: jobs with tickets, events and an outcome. They take no turn of the inference worker.
//!
//! `spec.rs` is what the server asks for, `load.rs` compiles and links; a job is seen to by `asking.rs`, in attempts
//! (`attempt.rs`, whose streams are read in `parts.rs`) that end in an answer or in a `Trouble` (`trouble.rs`); `circuit.rs` leaves servers alone that fail. What a
//! job is, by what its model makes, is in `wanted.rs`, and beside it `replies.rs`, `pictures.rs` and `transcripts.rs`: each says
//! what a plugin is told, and holds against it what comes back. Each attempt has a store of its own with the provider's
//! configuration, the key among it (`secret.rs`), which no other guest sees. Knows no protocol of any server.

mod asking;
mod attempt;
mod circuit;
mod load;
mod parts;
mod pictures;
mod replies;
mod secret;
mod spec;
mod transcripts;
mod trouble;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use atelier_inference::metrics::{Counter, Kinds, ModelMetrics};
use atelier_inference::{Error, ModelCard, ModelId, ModelInfo};

pub(crate) use asking::Asking;
use circuit::Circuit;
use load::Served;
pub use secret::Secret;
pub use spec::{Makes, ProvidedSpec, ProviderLimits, ProviderSpec};
use trouble::Trouble;
pub(crate) use wanted::Wanted;

use crate::admission::Door;
use crate::code::Compiled;
use crate::metrics::ComponentMetrics;
use crate::runtime::Host;
use crate::sandbox::Route;
use crate::{LoadError, LoadProblem};

/// Every model that is served elsewhere.
#[derive(Default)]
pub(crate) struct Providers {
    models: Vec<Arc<Provided>>,
    providers: Vec<Arc<Provider>>,
}

/// A model that is served elsewhere.
pub(crate) struct Provided {
    /// As the catalog describes it.
    pub(crate) info: ModelInfo,
    provider: Arc<Provider>,
    /// At its server.
    name: String,
    fallback: Option<ModelId>,
    metrics: Arc<ModelMetrics>,
}

/// A server, and the plugin that speaks to it.
struct Provider {
    id: String,
    plugin: String,
    served: Served,
    /// With which its stores are made: limits, servers, configuration.
    route: Arc<Route>,
    secret: Option<Secret>,
    limits: ProviderLimits,
    door: Arc<Door>,
    circuit: Circuit,
    component: Arc<ComponentMetrics>,
    metrics: ProviderMetrics,
    /// Held for as long as it may be called.
    _code: Arc<Compiled>,
}

/// What happened at one provider since the start.
#[derive(Debug, Default)]
struct ProviderMetrics {
    attempts: Kinds,
    retries: Counter,
    fallbacks: Counter,
    read: Counter,
    written: Counter,
    pictures: Counter,
    audio_seconds: Counter,
}

/// What operators see of a provider.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ProviderStatus {
    /// As in the manifest.
    pub id: String,
    /// The plugin's name, as in the manifest.
    pub plugin: String,
    /// Whether it is left alone, since it failed too often in a row.
    pub left_alone: bool,
    /// Calls that run.
    pub running: u32,
    /// Calls that wait.
    pub waiting: u32,
    /// Attempts by how they ended; `answered` are those with an answer.
    pub attempts: Vec<(&'static str, u64)>,
    /// Attempts after failed ones.
    pub retries: u64,
    /// Jobs that went to another model.
    pub fallbacks: u64,
    /// Tokens of conversations.
    pub tokens_read: u64,
    /// Tokens of replies.
    pub tokens_written: u64,
    /// Pictures that came.
    pub pictures: u64,
    /// Seconds of sound, each that was begun, of which a transcript came.
    pub audio_seconds: u64,
}

/// What operators see of a model that is served elsewhere.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ProvidedStatus {
    /// What every model has.
    #[serde(flatten)]
    pub card: ModelCard,
    /// `image`, `speech` or `language`, as of every model.
    pub kind: &'static str,
    /// Of a language model: tokens of the conversation and the reply together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
    /// The provider, as in the manifest.
    pub provider: String,
    /// The model that does the work when this one is not to be had.
    pub fallback: Option<ModelId>,
    /// Whether the provider is left alone now.
    pub left_alone: bool,
}

impl Providers {
    /// Compiles and links every plugin; all problems are told at once.
    pub(crate) async fn load(host: &Arc<Host>, specs: Vec<ProviderSpec>) -> Result<Self, LoadError> {
        let (mut all, mut problems) = (Self::default(), Vec::<LoadProblem>::new());
        for spec in specs {
            let models = spec.models.clone();
            match load::provider(host, spec).await {
                Ok(provider) => {
                    let provider = Arc::new(provider);
                    let provided = |spec| Arc::new(load::model(host, &provider, spec));
                    all.models.extend(models.into_iter().map(provided));
                    all.providers.push(provider);
                }
                Err(problem) => problems.extend(problem.problems),
            }
        }
        if problems.is_empty() { Ok(all) } else { Err(LoadError { problems }) }
    }

    /// Every model, in the manifest's order.
    pub(crate) fn models(&self) -> &[Arc<Provided>] {
        &self.models
    }

    /// What happened so far.
    pub(crate) fn status(&self) -> Vec<ProviderStatus> {
        self.providers.iter().map(|provider| provider.status()).collect()
    }
}

impl Provided {
    /// What it is called in messages.
    fn title(&self) -> String {
        format!("model `{}` of provider `{}`", self.info.id(), self.provider.id)
    }

    /// What operators see of it.
    pub(crate) fn status(&self) -> ProvidedStatus {
        let (kind, context_length) = match &self.info {
            ModelInfo::Image(_) => ("image", None),
            ModelInfo::Speech(_) => ("speech", None),
            ModelInfo::Language(model) => ("language", Some(model.context_length)),
        };
        ProvidedStatus {
            card: self.info.card().clone(),
            kind,
            context_length,
            provider: self.provider.id.clone(),
            fallback: self.fallback.clone(),
            left_alone: self.provider.circuit.is_open(),
        }
    }
}

impl Provider {
    fn status(&self) -> ProviderStatus {
        let (door, metrics) = (self.door.status("provider"), &self.metrics);
        ProviderStatus {
            id: self.id.clone(),
            plugin: self.plugin.clone(),
            left_alone: self.circuit.is_open(),
            running: door.held,
            waiting: door.waiting,
            attempts: metrics.attempts.all(),
            retries: metrics.retries.get(),
            fallbacks: metrics.fallbacks.get(),
            tokens_read: metrics.read.get(),
            tokens_written: metrics.written.get(),
            pictures: metrics.pictures.get(),
            audio_seconds: metrics.audio_seconds.get(),
        }
    }

    /// What is said where no more calls fit.
    fn full(&self, retry_after: Duration) -> Error {
        let ProviderLimits { calls, waiting, .. } = self.limits;
        let reason = format!(
            "no room for another call of provider `{}`: {calls} run at a time (provider.calls), and {waiting} of each tenant wait \
             (provider.waiting)",
            self.id
        );
        Error::Overloaded { reason, retry_after }
    }

    /// What is said while it is left alone.
    fn left_alone(&self, model: &Provided, rest: Duration) -> Trouble {
        self.metrics.attempts.count("left_alone");
        let ProviderLimits { circuit_failures, .. } = self.limits;
        let reason = format!(
            "{}: it failed {circuit_failures} times in a row and is left alone for a while (provider.circuit-ms)",
            model.title()
        );
        Trouble::unavailable("left_alone", reason, Some(rest))
    }
}
