//! `atelier models status|load|unload|pin|unpin`: what a running host has in memory, and what is to stay there. Until the
//! host ends; after that the manifest's `pin` and `preload` count again.

use serde_json::Value;

use super::remote::{Remote, list, since, text};
use crate::terminal::{Style, Terminal};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// List a running host's models: what is in memory, what it takes, and when it was last used.
    Status {
        #[command(flatten)]
        remote: Remote,
    },
    /// Load a model on a running host, after the job that runs.
    Load {
        /// The model's id in the manifest.
        model: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Unload a model on a running host, after the job that runs; its next job loads it again.
    Unload {
        /// The model's id in the manifest.
        model: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Never unload a model, once it is loaded, until the host ends.
    Pin {
        /// The model's id in the manifest.
        model: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Let a model give way to others again.
    Unpin {
        /// The model's id in the manifest.
        model: String,
        #[command(flatten)]
        remote: Remote,
    },
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<()> {
    let (change, model, remote) = match verb {
        Verb::Status { remote } => return status(&remote).await,
        Verb::Load { model, remote } => ("load", model, remote),
        Verb::Unload { model, remote } => ("unload", model, remote),
        Verb::Pin { model, remote } => ("pin", model, remote),
        Verb::Unpin { model, remote } => ("unpin", model, remote),
    };
    let model = remote.post(&format!("/v1/models/{model}/{change}")).await?;
    let terminal = remote.terminal();
    match terminal.json {
        true => terminal.json(&model),
        false => line(&terminal, &model),
    }
    Ok(())
}

async fn status(remote: &Remote) -> anyhow::Result<()> {
    let answer = remote.get("/v1/models").await?;
    let terminal = remote.terminal();
    if terminal.json {
        terminal.json(&answer);
        return Ok(());
    }
    list(&answer, "models").iter().for_each(|model| line(&terminal, model));
    let memory = |part: &str| megabytes(&answer["memory"][part]);
    let (models, runs, budget) = (memory("models"), memory("runs"), memory("budget"));
    terminal.line(format_args!("models take {models:.1} MB and runs {runs:.1} MB of {budget:.1} MB"));
    Ok(())
}

fn line(terminal: &Terminal, model: &Value) {
    let id = terminal.paint(Style::Strong, text(model, "id"));
    let state = match text(model, "state") {
        "loaded" => terminal.paint(Style::Good, "loaded"),
        "missing" => terminal.paint(Style::Bad, format_args!("missing: {}", text(model, "fix"))),
        state => terminal.paint(Style::Faint, state),
    };
    if text(model, "state") == "missing" {
        return terminal.line(format_args!("{id}  {state}"));
    }
    let pinned = if model["pinned"] == true { ", pinned" } else { "" };
    let used = model["idle_s"].as_u64().map_or("never used".into(), |idle| format!("used {}", since(idle)));
    let bytes = megabytes(&model["memory_bytes"]);
    terminal.line(format_args!("{id}  {state}{pinned}  {bytes:.1} MB  {used}"));
    if !text(model, "problem").is_empty() {
        terminal.line(terminal.paint(Style::Bad, format_args!("    {}", text(model, "problem"))));
    }
}

fn megabytes(bytes: &Value) -> f64 {
    bytes.as_u64().unwrap_or_default() as f64 / 1e6
}
