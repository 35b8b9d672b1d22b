//! `[[model]]`: where a model's files are, what these do not say, which other models it works with, and how it is kept in
//! memory. Looks whether files and folders are there, and at nothing in them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atelier_inference::{DEFAULT_REFINER_SHARE, ModelId};
use serde::Serialize;

use super::check::{Context, builtin, hint, name, one_of};
use super::elsewhere::offer;
use super::hub::HubSource;
use super::provider::{Asked, Provider, ProviderSource, check_models};
use super::raw::{Found, Table};
use super::types::{Adapter, Control, Model, ModelSource};
use crate::catalog;

/// How the name of a single file ends; nothing else is opened as one.
const SINGLE_FILE: &str = "safetensors";
/// How that of a language model may end as well.
const BLOCKS_FILE: &str = "gguf";

/// What a denoiser was trained to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Prediction {
    /// The noise.
    #[serde(rename = "epsilon")]
    Epsilon,
    /// The velocity.
    #[serde(rename = "v_prediction")]
    Velocity,
}

impl Prediction {
    /// As in the manifest, and in diffusers' files.
    pub const NAMES: [&str; 2] = ["epsilon", "v_prediction"];

    /// By its name.
    fn named(name: &str) -> Option<Self> {
        [Self::Epsilon, Self::Velocity]
            .into_iter()
            .zip(Self::NAMES)
            .find(|(_, known)| *known == name)
            .map(|(it, _)| it)
    }
}

pub(super) fn models(tables: Vec<Table<'_>>, providers: &[Provider], context: &Context<'_>) -> Vec<Model> {
    let mut seen = BTreeSet::new();
    let (mut models, mut asked, mut refined) = (Vec::new(), Vec::new(), Vec::new());
    for mut table in tables {
        let id = name(&mut table, "model", "id", &mut seen);
        let source = match table.text("source") {
            Some(found) => model_source(&table, &found, context),
            None => public(&table, id.as_deref()),
        };
        let description = table.text("description").map_or(String::new(), |found| found.value);
        let (vae, prediction) = (vae(&table, context), prediction(&table, source.as_ref()));
        let (adapters, embeddings) = (adapters(&table, context), embeddings(&table, context));
        let controls = controls(&table, context);
        let (pin, preload, idle_unload) = keep(&table);
        let (refiner, refiner_share) = refiner(&table);
        let kept = [("pin", pin), ("preload", preload)];
        let (offer, fallback) = (offer(&table, source.as_ref(), kept), table.text("fallback"));
        // a model with a wrong source still exists for the grants that name it; the problem keeps it from being used
        let source = source.unwrap_or(ModelSource::Folder(PathBuf::new()));
        let id = id.map(ModelId::new);
        models.extend(id.clone().map(|id| Model {
            id,
            source,
            vae,
            prediction,
            adapters,
            controls,
            embeddings,
            refiner: refiner.as_ref().map(|found| ModelId::new(found.value.clone())),
            refiner_share,
            offer,
            fallback: fallback.as_ref().map(|found| ModelId::new(found.value.clone())),
            description,
            pin,
            preload,
            idle_unload,
        }));
        refined.push(refiner);
        asked.push(Asked { table, id, fallback });
    }
    // a model may be refined by one that stands below it, or fall back to it
    check_refiners(&models, &asked, &refined);
    check_models(&asked, &models, providers);
    asked.into_iter().for_each(|asked| asked.table.finish());
    models
}

/// The public model that an id alone stands for.
fn public(table: &Table<'_>, id: Option<&str>) -> Option<ModelSource> {
    let entry = id.and_then(catalog::find);
    if entry.is_none() {
        let fix = "write source = \"builtin:…\", \"hub:owner/name\", \"catalog:…\", \"provider:…\", a folder, or a .safetensors \
                   or .gguf file, or give it the id of a public model (`atelier models catalog`)";
        table.missing("source", fix);
    }
    entry.map(ModelSource::Catalog)
}

/// The model that ends another one's pictures; which models there are is known later.
fn refiner(table: &Table<'_>) -> (Option<Found<String>>, Option<f64>) {
    let refiner = table.text("refiner");
    let share = table.fraction("refiner-share");
    if share.is_some_and(|share| share == 0.0 || share == 1.0) {
        let text =
            "`refiner-share` is between 0 and 1: at either end one of the two models has nothing to do";
        table.problem(table.at(), text);
    }
    match &refiner {
        Some(_) => (refiner, share.or(Some(DEFAULT_REFINER_SHARE))),
        None => {
            if share.is_some() {
                table.problem(table.at(), "`refiner-share` says when a `refiner` takes over; name one");
            }
            (None, None)
        }
    }
}

fn check_refiners(models: &[Model], asked: &[Asked<'_>], refined: &[Option<Found<String>>]) {
    let known: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
    for (Asked { table, .. }, found) in asked.iter().zip(refined) {
        let Some(Found { value, at }) = found else { continue };
        if table.at().key == format!("model.{value}") {
            table.problem(at, "names the model itself; name another one");
        } else if !known.contains(&value.as_str()) {
            let text =
                format!("there is no model `{value}`; {}", hint(value, &known, "add a [[model]] of that id"));
            table.problem(at, text);
        }
    }
}

fn model_source(table: &Table<'_>, found: &Found<String>, context: &Context<'_>) -> Option<ModelSource> {
    let text = found.value.as_str();
    if let Some(name) = text.strip_prefix("builtin:") {
        // a binary built without models says so when one is used, not when one is named
        let known = &context.builtins.models;
        let named =
            if known.is_empty() { Some(name.to_owned()) } else { builtin(table, &found.at, name, known) };
        return named.map(ModelSource::Builtin);
    }
    if text.starts_with("hub:") {
        let source = HubSource::parse(text);
        return source.map(ModelSource::Hub).map_err(|text| table.problem(&found.at, text)).ok();
    }
    if let Some(rest) = text.strip_prefix("provider:") {
        let source = ProviderSource::parse(rest);
        return source.map(ModelSource::Provider).map_err(|text| table.problem(&found.at, text)).ok();
    }
    if let Some(name) = text.strip_prefix("catalog:") {
        let entry = catalog::find(name);
        if entry.is_none() {
            let hint = hint(name, &catalog::names(), "name a repository as hub:owner/name");
            table.problem(&found.at, format!("there is no public model `{name}`; {hint}"));
        }
        return entry.map(ModelSource::Catalog);
    }
    let kinds = [SINGLE_FILE, BLOCKS_FILE];
    let path = files(table, found, context, &kinds);
    Some(if is_single(&path, &kinds) { ModelSource::File(path) } else { ModelSource::Folder(path) })
}

fn is_single(path: &Path, kinds: &[&str]) -> bool {
    path.extension().is_some_and(|extension| kinds.iter().any(|kind| extension == *kind))
}

/// A folder, or a single file of one of these kinds; it must be there.
fn files(table: &Table<'_>, found: &Found<String>, context: &Context<'_>, kinds: &[&str]) -> PathBuf {
    let path = path(found, context);
    let (is_single, shown) = (is_single(&path, kinds), path.display());
    match (path.is_dir(), path.is_file()) {
        (false, true) if !is_single => {
            let text = format!(
                "{shown} is no .{} file; pickled checkpoints are not opened: they can run code",
                kinds.join(" or .")
            );
            table.problem(&found.at, text);
        }
        (false, false) if is_single => table.problem(&found.at, format!("there is no file {shown}")),
        (false, false) => table.problem(&found.at, format!("there is no folder {shown}")),
        _ => {}
    }
    path
}

/// Another autoencoder.
fn vae(table: &Table<'_>, context: &Context<'_>) -> Option<PathBuf> {
    table.text("vae").map(|found| files(table, &found, context, &[SINGLE_FILE]))
}

/// What requests may lay beside the model's weights, by name.
fn adapters(table: &Table<'_>, context: &Context<'_>) -> Vec<Adapter> {
    let fix = "write source = a .safetensors file or a folder of peft";
    let named =
        named(table, "adapters", "adapter", fix, |table, found| files(table, found, context, &[SINGLE_FILE]));
    named.into_iter().map(|(id, source)| Adapter { id, source }).collect()
}

/// ControlNets, by name.
fn controls(table: &Table<'_>, context: &Context<'_>) -> Vec<Control> {
    let fix = "write source = a folder that diffusers wrote for a ControlNetModel";
    let named = named(table, "controls", "control", fix, |table, found| folder(table, found, context));
    named.into_iter().map(|(id, source)| Control { id, source }).collect()
}

/// What lies beside a model under a name of its own; `place` looks for its source, and `fix` says what to write where there
/// is none.
fn named(
    table: &Table<'_>,
    key: &'static str,
    kind: &str,
    fix: &str,
    place: impl Fn(&Table<'_>, &Found<String>) -> PathBuf,
) -> Vec<(String, PathBuf)> {
    let mut seen = BTreeSet::new();
    let one = |mut table: Table<'_>| {
        let id = name(&mut table, kind, "id", &mut seen);
        let source = table.text("source");
        if source.is_none() {
            table.missing("source", fix);
        }
        let source = source.map(|found| place(&table, &found));
        table.finish();
        Some((id?, source?))
    };
    table.tables(key).into_iter().filter_map(one).collect()
}

fn folder(table: &Table<'_>, found: &Found<String>, context: &Context<'_>) -> PathBuf {
    let path = path(found, context);
    if !path.is_dir() {
        table.problem(&found.at, format!("there is no folder {}", path.display()));
    }
    path
}

/// A path of the manifest, from the folder that it is in.
fn path(found: &Found<String>, context: &Context<'_>) -> PathBuf {
    context.base.join(found.value.strip_prefix("path:").unwrap_or(&found.value))
}

/// Files of learned words.
fn embeddings(table: &Table<'_>, context: &Context<'_>) -> Vec<PathBuf> {
    let file = |found: Found<String>| {
        let path = files(table, &found, context, &[SINGLE_FILE]);
        if path.is_dir() {
            table.problem(&found.at, format!("{} is a folder; name a .{SINGLE_FILE} file", path.display()));
        }
        path
    };
    table.texts("embeddings").into_iter().map(file).collect()
}

/// What a single file's model predicts; folders say it themselves.
fn prediction(table: &Table<'_>, source: Option<&ModelSource>) -> Option<Prediction> {
    let name = one_of(table, "prediction", &Prediction::NAMES)?;
    let is_said = match source {
        Some(ModelSource::File(path)) => !is_single(path, &[SINGLE_FILE]),
        Some(_) => true,
        None => false,
    };
    if is_said {
        let text = "`prediction` is for single files of pictures: a folder says it in scheduler/scheduler_config.json; leave it out";
        table.problem(table.at(), text);
    }
    Prediction::named(name)
}

/// How a model is kept in memory.
fn keep(table: &Table<'_>) -> (bool, bool, Option<Duration>) {
    let [pin, preload] = ["pin", "preload"].map(|key| table.boolean(key).unwrap_or(false));
    let idle_unload = table.number("idle-unload-s", 1..=7 * 86_400).map(Duration::from_secs);
    if pin && idle_unload.is_some() {
        table.problem(table.at(), "`pin` keeps the model in memory: leave `idle-unload-s` out, or `pin`");
    }
    (pin, preload, idle_unload)
}
