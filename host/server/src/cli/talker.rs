//! What replies to `atelier chat`: a model in this very process, or one that is served elsewhere, with the models that may
//! reply in its place.

use anyhow::{Context, bail};
use atelier_inference::{ChatOrder, ChatRequest, Job, ModelId, ModelInfo, Scheduler, Ticket};
use atelier_runtime::Runtime;

use super::local::scheduler_of;
use crate::app;
use crate::config::{Config, Model, ModelSource, Variables};

/// A model that is ready to be asked.
pub(super) enum Talker {
    /// Of this process.
    Own(Scheduler, ModelInfo),
    /// Of a provider.
    Elsewhere(Runtime, ModelId),
}

impl Talker {
    /// Makes the manifest's model ready.
    pub(super) async fn of(config: &Config, model: &Model) -> anyhow::Result<Self> {
        let chain = chain(config, model);
        let (elsewhere, own): (Vec<&Model>, Vec<&Model>) =
            chain.into_iter().partition(|model| matches!(model.source, ModelSource::Provider(_)));
        let scheduler = scheduler_of(config, own.into_iter()).await?;
        if elsewhere.is_empty() {
            let info = scheduler.catalog().get(&model.id)?.clone();
            return Ok(Self::Own(scheduler, info));
        }
        let runtime = app::runtime(config, &Variables::of_process(), scheduler)?;
        let elsewhere: Vec<Model> = elsewhere.into_iter().cloned().collect();
        let missing = app::provide(config, &elsewhere, &runtime).await?;
        if let Some((id, fix)) = missing.first() {
            bail!("model `{id}` is not here: {fix}");
        }
        Ok(Self::Elsewhere(runtime, model.id.clone()))
    }

    /// Asks it.
    pub(super) fn begin(&self, request: ChatRequest) -> anyhow::Result<Ticket> {
        match self {
            Self::Own(scheduler, info) => Ok(scheduler.submit(Job::new(ChatOrder::new(request, info)?))?),
            Self::Elsewhere(runtime, id) => runtime.chat(request, id).context("the model cannot be asked"),
        }
    }

    /// Its name.
    pub(super) fn id(&self) -> &ModelId {
        match self {
            Self::Own(_, info) => info.id(),
            Self::Elsewhere(_, id) => id,
        }
    }

    /// What is shown until it says something.
    pub(super) fn waiting(&self) -> String {
        match self {
            Self::Own(_, info) => format!("loading {}", info.id()),
            Self::Elsewhere(_, id) => format!("waiting for {id}"),
        }
    }
}

/// The model, and those that may reply in its place. The manifest was checked: it ends.
fn chain<'a>(config: &'a Config, model: &'a Model) -> Vec<&'a Model> {
    let after = |model: &&'a Model| {
        let next = model.fallback.as_ref()?;
        config.models.iter().find(|model| model.id == *next)
    };
    std::iter::successors(Some(model), after).collect()
}
