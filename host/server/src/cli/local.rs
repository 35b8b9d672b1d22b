//! Models and handlers in this very process, for verbs that work without a server.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use atelier_inference::{ModelInfo, Scheduler};
use atelier_runtime::Deployment;
use bytes::Bytes;

use super::Usage;
use crate::app::{self, Located};
use crate::config::{Config, Model, ModelSource, Route, Variables};
use crate::deploy::{Deployer, absent};
use crate::metrics::Counts;
use crate::vault::Vault;
use crate::versions::Uploads;

/// The manifest's model of that name.
pub(super) fn named_model<'a>(asked: &str, config: &'a Config) -> Result<&'a Model, Usage> {
    let known = || config.models.iter().map(|model| model.id.as_str()).collect::<Vec<_>>().join(", ");
    let unknown = || Usage(format!("{} names no model `{asked}`; known: {}", config.manifest, known()));
    config.models.iter().find(|model| model.id.as_str() == asked).ok_or_else(unknown)
}

/// A scheduler with these models alone; each has to be here.
pub(super) async fn scheduler_of<'a>(
    config: &Config,
    models: impl Iterator<Item = &'a Model>,
) -> anyhow::Result<Scheduler> {
    let models: Vec<Model> = models.cloned().collect();
    let located = app::locate(&models).await?;
    for Located { model, files, .. } in &located {
        if let Err(fix) = files {
            bail!("model `{}` is not here: {fix}", model.id);
        }
    }
    Ok(app::scheduler(config, app::engine(config, &located)?)?)
}

/// The manifest's first model of a kind, if its files are here, or if it is served elsewhere and that will do. Those after it
/// are not looked at.
pub(super) async fn first_model(
    config: &Config,
    is_wanted: impl Fn(&ModelInfo) -> bool,
    is_elsewhere_too: bool,
) -> anyhow::Result<Option<&Model>> {
    for model in &config.models {
        if let ModelSource::Provider(_) = model.source {
            match is_elsewhere_too {
                true => return Ok(Some(model)),
                false => continue,
            }
        }
        let located = app::locate(std::slice::from_ref(model)).await?;
        if app::engine(config, &located)?.models().iter().any(&is_wanted) {
            return Ok(Some(model));
        }
    }
    Ok(None)
}

/// What to do where no model is named, and none does what is asked.
pub(super) fn none_here(config: &Config, made: &str) -> Usage {
    Usage(format!(
        "{} names no model that makes {made}, or its files are not here; see `models list`",
        config.manifest
    ))
}

/// A file that is given by name.
pub(super) fn read(path: &Path) -> anyhow::Result<Bytes> {
    Ok(std::fs::read(path).with_context(|| path.display().to_string())?.into())
}

/// A route's handler, as the manifest has it, with the granted models that are here and nobody's but this process's.
pub(super) async fn handler(config: &Config, route: &Route) -> anyhow::Result<Arc<Deployment>> {
    let is_granted = |model: &&Model| route.grants.models.contains(&model.id);
    let models: Vec<Model> = config.models.iter().filter(is_granted).cloned().collect();
    let located = app::locate(&models).await?;
    let scheduler = app::scheduler(config, app::engine(config, &located)?)?;
    let missing = located.into_iter().filter_map(|located| Some((located.model.id, located.files.err()?)));
    let runtime = app::runtime(config, &Variables::of_process(), scheduler)?;
    let elsewhere = app::provide(config, &models, &runtime).await?;
    let missing: Vec<_> = missing.chain(elsewhere).collect();
    let deployer = Deployer {
        missing: absent(&models, &missing),
        runtime,
        builtin: app::builtin_component,
        counts: Counts::new(config.telemetry.metric_labels),
        signing: Arc::new(ArcSwap::from_pointee(config.signing.clone())),
        vault: Arc::new(Vault::new(config.store.data_dir.clone())),
        storage: Arc::new(app::shelf(config)?),
    };
    // what operators uploaded to a running host is that host's
    let draft = deployer.read(route, &Uploads::new(), None).await?;
    Ok(deployer.deploy(draft).await?)
}
