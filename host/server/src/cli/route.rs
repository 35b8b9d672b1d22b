//! `atelier route GET /path`: which route of the manifest answers a request. Runs nothing.

use anyhow::bail;
use serde_json::json;

use super::Common;
use crate::router::{Found, Router};

#[derive(Debug, clap::Args)]
pub(super) struct Ask {
    /// Such as GET.
    method: http::Method,
    /// Such as /v1/images/generations.
    path: String,
    /// The host that the client asks for.
    host: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(arguments: &Ask) -> anyhow::Result<()> {
    let Ask { method, path, host, common } = arguments;
    let terminal = common.terminal();
    let config = common.load()?;
    let route = match Router::new(&config.routes).find(host.as_deref(), method, path) {
        Found::Route(index) => &config.routes[index],
        Found::OtherMethods(allowed) => {
            let allowed: Vec<&str> = allowed.iter().map(http::Method::as_str).collect();
            bail!("{path} takes {}, not {method}", allowed.join(", "));
        }
        Found::Nothing => bail!("no route of {} answers {path}", config.manifest),
    };
    if terminal.json {
        terminal.json(
            &json!({ "route": route.name, "path": route.path, "component": route.component.to_string() }),
        );
    } else {
        terminal.line(format_args!("{} ({}): {}", route.name, route.path, route.component));
    }
    Ok(())
}
