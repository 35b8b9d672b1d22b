//! `atelier config`: checks the configuration, and prints the whole of it with `--print`. Secrets are masked.

use super::Common;

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Print everything that is in effect, defaults and overrides included.
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(arguments: &Check) -> anyhow::Result<()> {
    let terminal = arguments.common.terminal();
    let config = arguments.common.load()?;
    match (arguments.print, terminal.json) {
        (true, true) => terminal.json(&config),
        (true, false) => terminal.line(config.to_toml()?.trim_end()),
        (false, true) => {
            terminal.json(&serde_json::json!({ "manifest": config.manifest.to_string(), "valid": true }))
        }
        (false, false) => terminal.line(format_args!(
            "{} is valid (routes: {}, models: {})",
            config.manifest,
            config.routes.len(),
            config.models.len()
        )),
    }
    Ok(())
}
