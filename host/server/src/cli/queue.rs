//! `atelier queue list|cancel`: the jobs of a running host.

use serde_json::Value;

use super::remote::{Remote, ago, list, text};
use crate::terminal::Style;

#[derive(Debug, clap::Args)]
pub(super) struct Queue {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List jobs in the order in which they will be served.
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Cancel a job that waits or runs.
    Cancel {
        /// The job's id.
        job: String,
        #[command(flatten)]
        remote: Remote,
    },
}

pub(super) async fn run(arguments: Queue) -> anyhow::Result<()> {
    match arguments.verb {
        Verb::List { remote } => {
            let answer = remote.get("/v1/queue").await?;
            show(&remote, &answer);
        }
        Verb::Cancel { job, remote } => {
            let answer = remote.delete(&format!("/v1/queue/{job}")).await?;
            let terminal = remote.terminal();
            match terminal.json {
                true => terminal.json(&answer),
                false => terminal.line(format_args!("{} is cancelled", terminal.paint(Style::Strong, job))),
            }
        }
    }
    Ok(())
}

fn show(remote: &Remote, answer: &Value) {
    let terminal = remote.terminal();
    if terminal.json {
        return terminal.json(answer);
    }
    let jobs = list(answer, "jobs");
    for job in jobs {
        let id = terminal.paint(Style::Strong, text(job, "id"));
        let state = match job["running"].as_bool() {
            Some(true) => terminal.paint(Style::Good, "runs"),
            _ => format!("{:>4}", job["position"].to_string()),
        };
        let (tenant, model) = (text(job, "tenant"), text(job, "model"));
        terminal.line(format_args!("{state}  {id}  {tenant}  {model}  {}", ago(&job["since_ms"])));
    }
    if jobs.is_empty() {
        terminal.line("nothing waits and nothing runs");
    }
}
