//! What leaves the host about itself without being asked: the log (`file.rs` bounds it on disk) and traces (`traces.rs`
//! decides which, `otlp.rs` sends them). What is said is said where it happens. Neither ever makes a request wait: lines
//! and traces that find no room are lost, and counted.

mod file;
mod otlp;
mod traces;

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat, Server};
use file::RotatingFile;
pub(crate) use otlp::{Exporter, SpanQueue};
pub(crate) use traces::Tracer;

/// Lines that wait for a slow disk or terminal.
const WAITING_LINES: usize = 16_384;
/// Libraries that tell of headers and keys when they tell much; only naming one of them makes it tell.
const DISCREET: [&str; 4] = ["h2", "hyper", "hyper_util", "rustls"];

/// Lines that found no room: the log is the process's, and so is this.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();
/// Lines that could not be written.
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);

/// The log's writer; what waits is written out when this is dropped.
#[must_use]
pub(crate) struct Writer {
    _guard: WorkerGuard,
}

/// Starts logging, to standard error or to a file. The error names the configuration key.
pub(crate) fn start(server: &Server, log: &Log) -> Result<Writer, String> {
    let filter = filter(&server.log)?;
    let (lines, guard) = match &log.file {
        Some(path) => {
            let file = RotatingFile::open(path, log).map_err(|error| format!("log.file: {error}"))?;
            writer(file)
        }
        None => writer(std::io::stderr()),
    };
    // another subscriber is refused below, so this is the first
    let _ = LOST.set(lines.error_counter());
    let color = log.file.is_none()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).with_ansi(color);
    let started = match server.log_format {
        LogFormat::Human => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| format!("the log is set up already: {error}"))?;
    Ok(Writer { _guard: guard })
}

/// Lines that were lost so far: for want of room, and for want of a disk that takes them.
pub(crate) fn lost_lines() -> (u64, u64) {
    let lost = LOST.get().map_or(0, |counter| counter.dropped_lines() as u64);
    (lost, UNWRITTEN.load(Ordering::Relaxed))
}

fn filter(text: &str) -> Result<EnvFilter, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("server.log: {error}");
    let mut filter = EnvFilter::try_new(text).map_err(|error| wrong(&error))?;
    for library in DISCREET.iter().filter(|library| !names(text, library)) {
        let directive = format!("{library}=info").parse().map_err(|error| wrong(&error))?;
        filter = filter.add_directive(directive);
    }
    Ok(filter)
}

/// Whether a filter says something of a library.
fn names(filter: &str, library: &str) -> bool {
    filter.split(',').any(|part| part.trim().split(['=', ':', '[']).next() == Some(library))
}

fn writer(to: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).thread_name("log").finish(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_tells_its_secrets_only_when_it_is_named() {
        assert!(filter("debug").unwrap().to_string().contains("h2=info"));
        assert!(filter("info,h2=trace").unwrap().to_string().contains("h2=trace"));
        assert!(!names("info,h2o=trace", "h2") && names("warn, h2::codec=trace", "h2"));
        assert!(filter("atelier=loud").unwrap_err().starts_with("server.log: "));
    }
}
