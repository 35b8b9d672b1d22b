//! `atelier component upload|list|promote|rollback`: the versions of a running host's route. What is done to a component
//! before that is in `signing.rs`.

use std::path::PathBuf;

use anyhow::Context;
use serde_json::Value;

use super::remote::{Remote, ago, list, text};
use super::signing;
use crate::signing::beside;
use crate::terminal::{Style, Terminal};

/// Of a digest, as much is shown.
const DIGEST_CHARS: usize = 12;

#[derive(Debug, clap::Args)]
pub(super) struct Component {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Upload a component to a route: it is checked, compiled and probed, and then serves.
    Upload {
        /// The route's name in the manifest.
        route: String,
        /// A component (.wasm). Its signature, FILE.sig, is sent along if there is one.
        file: PathBuf,
        /// Where it stands: component, intent, style.0, select, finish.0 and so on.
        #[arg(long, default_value = "component")]
        place: String,
        /// Let it wait until it is promoted.
        #[arg(long)]
        stage: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// List a route's versions, the newest first.
    List {
        /// The route's name in the manifest.
        route: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Let a version serve that waits or served before.
    Promote {
        /// The route's name in the manifest.
        route: String,
        /// The version's number.
        version: u64,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take the version that serves back.
    Rollback {
        /// The route's name in the manifest.
        route: String,
        /// What serves instead: previous, manifest, or a version's number.
        #[arg(long, default_value = "previous")]
        to: String,
        #[command(flatten)]
        remote: Remote,
    },
    #[command(flatten)]
    Signing(signing::Verb),
}

pub(super) async fn run(arguments: Component) -> anyhow::Result<()> {
    match arguments.verb {
        Verb::Signing(verb) => return signing::run(verb),
        Verb::Upload { route, file, place, stage, remote } => {
            let bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
            let signature = beside(&file).with_context(|| file.display().to_string())?;
            let query = format!("place={place}&promote={}", !stage);
            let path = format!("/v1/routes/{route}/versions?{query}");
            let version = remote.upload(&path, bytes, signature).await?;
            told(&remote.terminal(), &route, &version);
        }
        Verb::List { route, remote } => {
            let answer = remote.get(&format!("/v1/routes/{route}/versions")).await?;
            let terminal = remote.terminal();
            match terminal.json {
                true => terminal.json(&answer),
                false => list(&answer, "versions").iter().for_each(|version| line(&terminal, version)),
            }
        }
        Verb::Promote { route, version, remote } => {
            let version = remote.post(&format!("/v1/routes/{route}/versions/{version}/promote")).await?;
            told(&remote.terminal(), &route, &version);
        }
        Verb::Rollback { route, to, remote } => {
            let version = remote.post(&format!("/v1/routes/{route}/rollback?to={to}")).await?;
            told(&remote.terminal(), &route, &version);
        }
    }
    Ok(())
}

/// What became of a route.
fn told(terminal: &Terminal, route: &str, version: &Value) {
    if terminal.json {
        return terminal.json(version);
    }
    let route = terminal.paint(Style::Strong, route);
    terminal.line(format_args!("{route}: version {} is {}", version["id"], state(terminal, version)));
}

fn line(terminal: &Terminal, version: &Value) {
    let place = match text(version, "place") {
        "" => text(version, "source").to_owned(),
        place => format!("upload to {place}"),
    };
    let digest = text(version, "digest");
    let digest = terminal.paint(Style::Faint, digest.get(..DIGEST_CHARS).unwrap_or(digest));
    let id = terminal.paint(Style::Strong, format_args!("{:>4}", version["id"].to_string()));
    let (by, ago) = (text(version, "by"), ago(&version["at_ms"]));
    terminal.line(format_args!("{id}  {}  {place:<20}  {digest}  {by:<8}  {ago}", padded(terminal, version)));
    if !text(version, "reason").is_empty() {
        terminal.line(terminal.paint(Style::Faint, format_args!("      {}", text(version, "reason"))));
    }
}

fn state(terminal: &Terminal, version: &Value) -> String {
    let state = text(version, "state");
    terminal.paint(style(state), state)
}

/// Filled up before it is painted: colours have no width.
fn padded(terminal: &Terminal, version: &Value) -> String {
    let state = text(version, "state");
    terminal.paint(style(state), format_args!("{state:<11}"))
}

fn style(state: &str) -> Style {
    match state {
        "serving" => Style::Good,
        "refused" | "rolled-back" => Style::Bad,
        "staged" => Style::Strong,
        _ => Style::Faint,
    }
}
