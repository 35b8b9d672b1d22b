//! `atelier serve`: opens the addresses, says what is served, and serves until it is told to stop. A second signal ends
//! the process at once.

use std::net::SocketAddr;

use anyhow::Context;
use atelier_inference::ModelInfo;
use serde_json::json;
use tokio::net::TcpListener;

use super::{Common, Usage};
use crate::app::{App, Doors};
use crate::config::{Access, CodeSource, Config, LogFormat, Route, Variables};
use crate::telemetry;
use crate::terminal::{Style, Terminal};

/// The exit code of a process that was told twice to stop.
#[cfg(unix)]
const INTERRUPTED: i32 = 130;

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Where to serve, such as 127.0.0.1:8000.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where to serve health, status and metrics.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// human or json.
    #[arg(long, value_name = "FORM")]
    log_format: Option<LogFormat>,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(arguments: Serve) -> anyhow::Result<()> {
    let terminal = arguments.common.terminal();
    let variables = arguments.variables();
    let config = arguments.common.load_with(&variables)?;
    let _log = telemetry::start(&config.server, &config.log).map_err(Usage)?;
    // taken first: a port in use should be known before models are looked at
    let doors = doors(&config).await?;
    let app = App::open(config, variables).await?;
    let signal = stop_signal().context("cannot listen for signals")?;
    announce(&terminal, &app, &doors)?;
    app.serve(doors, signal).await;
    Ok(())
}

impl Serve {
    /// The process's variables, and what the command line sets as if a variable did: the manifest is read again with them, and is
    /// not taken for one that wants other addresses.
    fn variables(&self) -> Variables {
        let log_format = self.log_format.map(|format| match format {
            LogFormat::Human => "human",
            LogFormat::Json => "json",
        });
        let given = [
            ("LISTEN", self.listen.map(|address| address.to_string())),
            ("ADMIN", self.admin.map(|address| address.to_string())),
            ("LOG_FORMAT", log_format.map(str::to_owned)),
        ];
        let mut variables = Variables::of_process();
        let given =
            given.into_iter().filter_map(|(key, value)| Some((format!("ATELIER__SERVER__{key}"), value?)));
        variables.overrides.extend(given);
        variables
    }
}

async fn doors(config: &Config) -> anyhow::Result<Doors> {
    let bind = |address: SocketAddr, key: &'static str| async move {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} ({key})"))
    };
    let edge = bind(config.server.listen, "server.listen").await?;
    let admin = match config.server.admin {
        Some(address) => Some(bind(address, "server.admin").await?),
        None => None,
    };
    Ok(Doors { edge, admin })
}

/// Ends with the first SIGTERM or ctrl-c; the second one ends the process. Heard from the moment this returns.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut heard = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        heard().await;
        tokio::spawn(async move {
            heard().await;
            std::process::exit(INTERRUPTED);
        });
    })
}

/// Ends with the first ctrl-c.
#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        // an error means that there are no signals here: then nothing but its end stops the process
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    })
}

fn announce(terminal: &Terminal, app: &App, doors: &Doors) -> anyhow::Result<()> {
    let listen = doors.edge.local_addr()?;
    let admin = doors.admin.as_ref().map(TcpListener::local_addr).transpose()?;
    if terminal.json {
        let admin = admin.map(|admin| admin.to_string());
        terminal.json(&json!({ "listen": listen.to_string(), "admin": admin }));
        return Ok(());
    }
    let config = app.config();
    terminal.line(format_args!(
        "{} {}\n",
        terminal.paint(Style::Strong, "atelier"),
        env!("CARGO_PKG_VERSION")
    ));
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    terminal.field("address", format_args!("{scheme}://{}", reachable(listen)));
    if let Some(admin) = admin {
        terminal.field("admin", format_args!("http://{}/status", reachable(admin)));
    }
    terminal.field("manifest", &config.manifest);
    models(terminal, app);
    routes(terminal, app);
    for line in invitations(config, &format!("{scheme}://{}", reachable(listen))) {
        terminal.line(format_args!("\n  {line}"));
    }
    terminal.line("");
    Ok(())
}

/// What to try first, of the first-party components that this manifest serves at `base` without asking for a key.
fn invitations(config: &Config, base: &str) -> Vec<String> {
    let at = |component: &'static str| {
        let serves = |route: &&Route| {
            let is_it = matches!(route.component, CodeSource::Builtin(ref name) if name == component);
            is_it && route.host.is_none() && route.tenant.is_none() && route.access == Access::Open
        };
        config.routes.iter().find(serves).map(|route| route.path.trim_end_matches('/'))
    };
    let picture = at("prompt-assist").map(|path| {
        let body = r#"{"prompt": "a red boat on the sea at sunset", "size": "512x512"}"#;
        let url = format!("{base}{path}/v1/images/generations");
        format!("curl -H 'Accept: image/png' --json '{body}' {url} -o boat.png")
    });
    let studio = at("voice-studio").map(|path| format!("open {base}{path}/ and hold SPACE"));
    picture.into_iter().chain(studio).collect()
}

/// An address that a client on this machine can use.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    address
}

fn models(terminal: &Terminal, app: &App) {
    let here = app
        .scheduler()
        .catalog()
        .iter()
        .map(ModelInfo::card)
        .map(|card| format!("{}  {} on {}", card.id, card.source, card.device));
    let missing = app.missing().iter().map(|(id, fix)| {
        let text = format!("{id}  not here: {fix}");
        terminal.paint(Style::Bad, text)
    });
    for (index, line) in here.chain(missing).enumerate() {
        terminal.field(if index == 0 { "models" } else { "" }, line);
    }
}

fn routes(terminal: &Terminal, app: &App) {
    let problems = app.problems();
    for (index, route) in app.config().routes.iter().enumerate() {
        let methods: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
        let methods = if methods.is_empty() { "any".into() } else { methods.join(",") };
        let host = route.host.as_deref().unwrap_or_default();
        let line = format!("{methods} {host}{}  {}", route.path, route.component);
        terminal.field(if index == 0 { "routes" } else { "" }, line);
        if let Some((_, problem)) = problems.iter().find(|(name, _)| *name == route.name) {
            terminal.field("", terminal.paint(Style::Bad, problem));
        }
    }
}
