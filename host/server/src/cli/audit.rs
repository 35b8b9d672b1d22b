//! `atelier audit`: what operators changed on a running host, the newest first.

use super::remote::{Remote, ago, list, text};
use crate::terminal::Style;

#[derive(Debug, clap::Args)]
pub(super) struct Audit {
    /// How many changes, at most 1000.
    #[arg(long, default_value_t = 20)]
    limit: u16,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(arguments: Audit) -> anyhow::Result<()> {
    let Audit { limit, remote } = arguments;
    let answer = remote.get(&format!("/v1/audit?limit={limit}")).await?;
    let terminal = remote.terminal();
    if terminal.json {
        terminal.json(&answer);
        return Ok(());
    }
    let entries = list(&answer, "entries");
    if entries.is_empty() {
        terminal.line("nobody has changed anything on this host");
    }
    for entry in entries {
        let status = entry["status"].as_u64().unwrap_or_default();
        let style = if status < 400 { Style::Good } else { Style::Bad };
        let operation = terminal.paint(Style::Strong, format_args!("{:<15}", text(entry, "operation")));
        let (by, ago) = (text(entry, "by"), ago(&entry["at_ms"]));
        let status = terminal.paint(style, status);
        terminal.line(format_args!("{status}  {operation}  {by}  {ago:<10}  {}", text(entry, "target")));
        if !text(entry, "error").is_empty() {
            terminal.line(terminal.paint(Style::Faint, format_args!("     {}", text(entry, "error"))));
        }
    }
    Ok(())
}
