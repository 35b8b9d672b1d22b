//! `atelier models list`, `pull ID` and `export ID FILE`: which models the manifest names, whether their files are here,
//! what they would take of the memory and how they are kept there; fetching those of the hub; and writing one as a
//! single file. Loads none: what a running host does with them is in `residency.rs`. Which public models there are
//! is in `catalog.rs`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::{Common, Usage, catalog as public, residency};
use crate::config::{self, Config, HubSource, ModelSource, Product};
use crate::hub::{Hub, Progress, Pulled, Wanted};
use crate::terminal::{Style, Terminal};
use crate::{app, catalog};

#[derive(Debug, clap::Args)]
pub(super) struct Models {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the manifest's models.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// List the public models that can be pulled and served by their names.
    Catalog {
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a model as a single file, in the layout that other tools for Stable Diffusion read.
    Export {
        /// Its id in the manifest.
        model: String,
        /// The file to write; nothing that is there is replaced.
        file: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Fetch a model's files into the cache, continuing where an earlier pull stopped.
    Pull {
        /// A model's id in the manifest, a public model's name (see `catalog`), or owner/name[@revision] of the hub; with
        /// :file.gguf behind it that file alone.
        model: String,
        #[command(flatten)]
        common: Common,
    },
    #[command(flatten)]
    Residency(residency::Verb),
}

pub(super) async fn run(arguments: Models) -> anyhow::Result<()> {
    match arguments.verb {
        Verb::List { common } => list(&common).await,
        Verb::Catalog { json } => public::list(&Terminal::of_process(json)).await,
        Verb::Export { model, file, common } => export(&model, &file, &common).await,
        Verb::Pull { model, common } => pull(&model, &common).await,
        Verb::Residency(verb) => residency::run(verb).await,
    }
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let terminal = common.terminal();
    let config = common.load()?;
    let located = app::locate(&config.models).await?;
    if terminal.json {
        let row = |located: &app::Located| {
            let app::Located { model, files, .. } = located;
            let (fix, memory) = (files.as_ref().err(), located.memory_bytes(&config.engine));
            json!({
                "id": model.id,
                "source": model.source.to_string(),
                "description": model.description,
                "available": fix.is_none(),
                "fix": fix,
                "memory_bytes": memory.as_ref().ok(),
                "problem": memory.as_ref().err().filter(|_| fix.is_none()),
                "pin": model.pin,
                "preload": model.preload,
                "idle_unload_s": model.idle_unload.map(|idle| idle.as_secs()),
            })
        };
        let elsewhere = elsewhere(&config).map(|model| {
            json!({
                "id": model.id,
                "source": model.source.to_string(),
                "description": model.description,
                "available": true,
                "makes": model.offer.as_ref().map(|offer| offer.makes),
                "context_length": model.offer.as_ref().and_then(|offer| offer.context_length),
                "fallback": model.fallback,
            })
        });
        terminal.json(&located.iter().map(row).chain(elsewhere).collect::<Vec<_>>());
        return Ok(());
    }
    let width = config.models.iter().map(|model| model.id.as_str().len()).max().unwrap_or_default();
    for row in &located {
        let (model, state) = (&row.model, state(&terminal, row, &config.engine));
        let id = terminal.paint(Style::Strong, format_args!("{:width$}", model.id.as_str()));
        terminal.line(format_args!("{id}  {}  {state}", model.source));
        if !model.description.is_empty() {
            terminal.line(terminal.paint(Style::Faint, format_args!("{:width$}  {}", "", model.description)));
        }
    }
    for model in elsewhere(&config) {
        let id = terminal.paint(Style::Strong, format_args!("{:width$}", model.id.as_str()));
        let fallback = model.fallback.as_ref().map(|id| format!(", or {id} instead")).unwrap_or_default();
        let makes = model.offer.as_ref().map(|offer| offer.makes).filter(|makes| *makes != Product::Replies);
        let makes = makes.map(|makes| format!(", makes {makes}")).unwrap_or_default();
        terminal.line(format_args!("{id}  {}  elsewhere{makes}{fallback}", model.source));
    }
    if config.models.is_empty() {
        terminal.line(format_args!("{} names no models; add a [[model]]", config.manifest));
    }
    Ok(())
}

/// The models that a provider serves.
fn elsewhere(config: &Config) -> impl Iterator<Item = &config::Model> {
    config.models.iter().filter(|model| matches!(model.source, ModelSource::Provider(_)))
}

/// Whether a model can be used, and what is to know of its memory.
fn state(terminal: &Terminal, located: &app::Located, settings: &config::Engine) -> String {
    let bytes = match (&located.files, located.memory_bytes(settings)) {
        (Err(fix), _) => return terminal.paint(Style::Bad, format_args!("not here: {fix}")),
        (Ok(_), Err(problem)) => return terminal.paint(Style::Bad, format_args!("not usable: {problem}")),
        (Ok(_), Ok(bytes)) => bytes,
    };
    let model = &located.model;
    let idle = model.idle_unload.map(|idle| format!(", unloaded after {} idle seconds", idle.as_secs()));
    let kept = [(model.preload, ", preloaded"), (model.pin, ", pinned")];
    let kept = kept.into_iter().filter_map(|(holds, text)| holds.then_some(text)).collect::<String>();
    let here = terminal.paint(Style::Good, "here");
    format!("{here}, {:.1} MB in memory{kept}{}", bytes as f64 / 1e6, idle.unwrap_or_default())
}

async fn export(id: &str, file: &Path, common: &Common) -> anyhow::Result<()> {
    let config = common.load()?;
    let located = app::locate(&config.models).await?;
    let found = located.iter().find(|located| located.model.id.as_str() == id);
    let found = found.ok_or_else(|| Usage(unknown(&config, id)))?;
    if file.exists() {
        return Err(Usage(format!("{} is there already", file.display())).into());
    }
    found.export(file).map_err(anyhow::Error::msg)?;
    let bytes = std::fs::metadata(file)?.len();
    let terminal = common.terminal();
    if terminal.json {
        terminal.json(&json!({ "model": id, "file": file, "bytes": bytes }));
    } else {
        terminal.line(format_args!("{id} is in {}, {:.1} MB", file.display(), bytes as f64 / 1e6));
    }
    Ok(())
}

fn unknown(config: &Config, id: &str) -> String {
    let known = config.models.iter().map(|model| model.id.to_string()).collect::<Vec<_>>().join(", ");
    format!("{} names no model `{id}`; known: {known}", config.manifest)
}

async fn pull(model: &str, common: &Common) -> anyhow::Result<()> {
    let terminal = common.terminal();
    let is_of_hub = model.starts_with("hub:") || model.contains('/');
    let (wanted, entry) = match is_of_hub {
        true => (vec![Wanted::of(of_hub(model)?)], None),
        false => wanted(&common.load()?, model)?,
    };
    let hub = Hub::of_process()?;
    let bar = bar(&terminal);
    let tell = |progress: Progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    let pulled = hub.pull(&wanted, &tell).await;
    bar.finish_and_clear();
    let pulled = pulled?;
    match (terminal.json, entry) {
        (true, None) => terminal.json(&pulled.first()),
        (true, Some(entry)) => {
            terminal.json(&json!({ "model": entry.name, "licence": entry.licence, "repositories": pulled }))
        }
        (false, _) => {
            pulled.iter().for_each(|pulled| report(&terminal, pulled));
            entry.into_iter().for_each(|entry| public::explain(&terminal, entry));
        }
    }
    Ok(())
}

/// A model of the hub, with or without the word before it: no model of a manifest has a slash in its name.
fn of_hub(name: &str) -> Result<HubSource, Usage> {
    HubSource::parse(&format!("hub:{}", name.strip_prefix("hub:").unwrap_or(name))).map_err(Usage)
}

fn report(terminal: &Terminal, pulled: &Pulled) {
    let Pulled { repo, folder, commit, files, bytes } = pulled;
    terminal.line(format_args!("hub:{repo} is here: {files} files, {:.1} MB", *bytes as f64 / 1e6));
    terminal.field("commit", commit);
    terminal.field("folder", folder.display());
}

/// What a name stands for: first in the manifest, then among the public models.
fn wanted(config: &Config, name: &str) -> anyhow::Result<(Vec<Wanted>, Option<&'static catalog::Entry>)> {
    let of_entry = |entry: &'static catalog::Entry| (entry.wanted(), Some(entry));
    match config.models.iter().find(|model| model.id.as_str() == name).map(|model| &model.source) {
        Some(ModelSource::Hub(source)) => Ok((vec![Wanted::of(source.clone())], None)),
        Some(ModelSource::Catalog(entry)) => Ok(of_entry(entry)),
        Some(other) => {
            Err(Usage(format!("model `{name}` comes from {other}; there is nothing to pull")).into())
        }
        None => catalog::find(name.strip_prefix("catalog:").unwrap_or(name)).map(of_entry).ok_or_else(|| {
            let unknown = unknown(config, name);
            Usage(format!(
                "{unknown}; `atelier models catalog` lists the public ones; or write owner/name of one of the hub's"
            ))
            .into()
        }),
    }
}

fn bar(terminal: &Terminal) -> indicatif::ProgressBar {
    terminal.bar(0, "{bar:32.cyan} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left")
}
