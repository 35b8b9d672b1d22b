//! `atelier inspect FILE`: what a component is, imports and needs to be granted; or how a picture was made. Decides by
//! the file's first bytes, never by its name.

use std::path::PathBuf;

use anyhow::Context;
use atelier_inference::picture::read_parameters;
use atelier_runtime::Inspection;
use serde_json::json;

use super::{Common, Usage};
use crate::app;
use crate::terminal::{Style, Terminal};

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// A component (.wasm or builtin:name) or a PNG file.
    file: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(arguments: &Inspect) -> anyhow::Result<()> {
    let terminal = arguments.common.terminal();
    let shown = arguments.file.display().to_string();
    let bytes = match shown.strip_prefix("builtin:") {
        Some(name) => {
            let known = || {
                Usage(format!(
                    "there is no builtin `{name}`; known: {}",
                    app::builtins().components.join(", ")
                ))
            };
            app::builtin_component(name).ok_or_else(known)?.to_vec()
        }
        None => std::fs::read(&arguments.file).with_context(|| shown.clone())?,
    };
    match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => picture(&terminal, &shown, &bytes),
        [0, b'a', b's', b'm', ..] => component(&terminal, &shown, &bytes),
        _ => Err(Usage(format!("{shown} is neither a WebAssembly component nor a PNG file")).into()),
    }
}

fn component(terminal: &Terminal, shown: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let inspection = atelier_runtime::inspect(bytes).with_context(|| shown.to_owned())?;
    if terminal.json {
        terminal.json(&inspection);
        return Ok(());
    }
    terminal.line(format_args!(
        "{} is {}",
        terminal.paint(Style::Strong, shown),
        inspection.kind.words_with_article()
    ));
    if let Some(version) = inspection.other_version() {
        let own = Inspection::HOST_VERSION;
        terminal.field("built for", format_args!("atelier:host {version}; this host has {own}"));
    }
    terminal.field("size", format_args!("{:.1} KiB", inspection.bytes as f64 / 1_024.0));
    let grants = if inspection.grants.is_empty() { "none".into() } else { inspection.grants.join(", ") };
    terminal.field("grants", grants);
    column(terminal, "exports", &inspection.exports);
    column(terminal, "imports", &inspection.imports);
    Ok(())
}

fn column(terminal: &Terminal, label: &str, names: &[String]) {
    for (index, name) in names.iter().enumerate() {
        terminal.field(if index == 0 { label } else { "" }, name);
    }
}

fn picture(terminal: &Terminal, shown: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let parameters = read_parameters(bytes).with_context(|| shown.to_owned())?;
    if terminal.json {
        terminal.json(&json!({ "kind": "png", "parameters": parameters }));
        return Ok(());
    }
    let Some(parameters) = parameters else {
        terminal.line(format_args!("{shown} carries no generation parameters"));
        return Ok(());
    };
    terminal.line(format_args!(
        "{} was made by {}",
        terminal.paint(Style::Strong, shown),
        parameters.software
    ));
    let serde_json::Value::Object(values) = serde_json::to_value(&parameters)? else { return Ok(()) };
    for (name, value) in values.iter().filter(|(name, _)| *name != "software") {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        terminal.field(&name.replace('_', " "), text);
    }
    Ok(())
}
