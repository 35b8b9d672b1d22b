//! `atelier route GET /path`: which route of the manifest answers a request. Runs nothing. And `atelier route
//! list|drain|resume`: the routes of a running host.

use anyhow::bail;
use serde_json::{Value, json};

use super::remote::{Remote, list, text};
use super::{Common, Usage};
use crate::router::{Found, Router};
use crate::terminal::{Style, Terminal};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Route {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Such as GET.
    #[arg(required = true)]
    method: Option<http::Method>,
    /// Such as /v1/images/generations.
    #[arg(required = true)]
    path: Option<String>,
    /// The host that the client asks for.
    host: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List a running host's routes.
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Take no more requests for a route; those that run finish.
    Drain {
        /// The route's name in the manifest.
        route: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take requests for a route again.
    Resume {
        /// The route's name in the manifest.
        route: String,
        #[command(flatten)]
        remote: Remote,
    },
}

pub(super) async fn run(arguments: Route) -> anyhow::Result<()> {
    let Route { verb, method, path, host, common } = arguments;
    match verb {
        Some(Verb::List { remote }) => show_all(&remote.terminal(), &remote.get("/v1/routes").await?),
        Some(Verb::Drain { route, remote }) => {
            show(&remote.terminal(), &remote.post(&format!("/v1/routes/{route}/drain")).await?);
        }
        Some(Verb::Resume { route, remote }) => {
            show(&remote.terminal(), &remote.post(&format!("/v1/routes/{route}/resume")).await?);
        }
        None => {
            let asked = method.zip(path);
            let (method, path) = asked.ok_or_else(|| Usage("name a method and a path, or a verb".into()))?;
            return told(&method, &path, host.as_deref(), &common);
        }
    }
    Ok(())
}

fn show_all(terminal: &Terminal, answer: &Value) {
    match terminal.json {
        true => terminal.json(answer),
        false => list(answer, "routes").iter().for_each(|route| show(terminal, route)),
    }
}

fn show(terminal: &Terminal, route: &Value) {
    if terminal.json {
        return terminal.json(route);
    }
    let deployment = &route["deployment"];
    let (style, state) = match (route["closed"].as_bool(), deployment.is_object()) {
        (Some(true), _) => (Style::Bad, "takes no requests".to_owned()),
        (_, true) => (Style::Good, format!("version {}", deployment["version"])),
        (_, false) => (Style::Bad, "not deployed".to_owned()),
    };
    let trial = if deployment["on_trial"] == true { ", on trial" } else { "" };
    let running = deployment["in_flight"].as_u64().unwrap_or_default();
    let name = terminal.paint(Style::Strong, text(route, "name"));
    let place = format!("{}{}", text(route, "host"), text(route, "path"));
    let state = terminal.paint(style, format_args!("{state}{trial}"));
    terminal.line(format_args!("{name}  {place}  {state}  {running} running, {} answered", route["answers"]));
    if !text(route, "error").is_empty() {
        terminal.line(terminal.paint(Style::Bad, format_args!("    {}", text(route, "error"))));
    }
}

fn told(method: &http::Method, path: &str, host: Option<&str>, common: &Common) -> anyhow::Result<()> {
    let terminal = common.terminal();
    let config = common.load()?;
    let route = match Router::new(&config.routes).find(host, method, path) {
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
