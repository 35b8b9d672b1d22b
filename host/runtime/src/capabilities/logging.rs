//! `wasi:logging`: messages for the operator, in the same log and within the same limit as what the guest prints.

use wasmtime::Result;

use crate::bindings::logging::logging::{Host, Level};
use crate::sandbox::Sandbox;

impl Host for Sandbox {
    fn log(&mut self, level: Level, context: String, message: String) -> Result<()> {
        let (host, word) = match level {
            Level::Trace => (tracing::Level::TRACE, "trace"),
            Level::Debug => (tracing::Level::DEBUG, "debug"),
            Level::Info => (tracing::Level::INFO, "info"),
            Level::Warn => (tracing::Level::WARN, "warn"),
            Level::Error => (tracing::Level::ERROR, "error"),
            // the host's log knows nothing worse than an error
            Level::Critical => (tracing::Level::ERROR, "critical"),
        };
        self.say(host, word, &context, &message);
        Ok(())
    }
}
