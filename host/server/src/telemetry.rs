//! The log: one subscriber for the process, set up once. What is logged is said where it happens.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Server};

/// Starts logging to standard error. The error names the configuration key.
pub(crate) fn start(server: &Server) -> Result<(), String> {
    let filter = EnvFilter::try_new(&server.log).map_err(|error| format!("server.log: {error}"))?;
    let color =
        std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stderr().is_terminal();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(color);
    let started = match server.log_format {
        LogFormat::Human => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| format!("the log is set up already: {error}"))
}
