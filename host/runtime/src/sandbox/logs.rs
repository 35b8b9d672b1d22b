//! What guests print: cut into lines, made harmless for terminals, bounded per request, and handed to `tracing` under
//! the target `guest`. Never to the host's own standard output.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::RequestContext;

/// Longest line handed on in one piece.
const MAX_LINE: usize = 4_096;

/// One request's output, shared by its standard output and standard error.
pub(crate) struct Log {
    route: Arc<str>,
    context: Arc<RequestContext>,
    budget: Mutex<Budget>,
}

struct Budget {
    left: usize,
    exceeded: bool,
}

impl Log {
    pub(crate) fn new(route: Arc<str>, context: Arc<RequestContext>, limit: usize) -> Arc<Self> {
        Arc::new(Self { route, context, budget: Mutex::new(Budget { left: limit, exceeded: false }) })
    }

    /// How many of `wanted` bytes are still allowed; says once when it is not all of them.
    fn take(&self, wanted: usize) -> usize {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = wanted.min(budget.left);
        budget.left -= taken;
        if taken < wanted && !budget.exceeded {
            budget.exceeded = true;
            let id = self.context.id();
            tracing::warn!(target: "guest", id, route = %self.route, "output truncated (limits.log-bytes)");
        }
        taken
    }
}

/// One of a guest's two output streams.
#[derive(Clone)]
pub(crate) struct GuestOutput {
    log: Arc<Log>,
    line: Arc<Mutex<Line>>,
}

/// The line that is not ended yet; written out when the last stream goes.
struct Line {
    log: Arc<Log>,
    name: &'static str,
    bytes: Vec<u8>,
}

impl Line {
    fn emit(&mut self) {
        if !self.bytes.is_empty() {
            let text = harmless(&self.bytes);
            let Log { route, context, .. } = &*self.log;
            tracing::info!(target: "guest", id = context.id(), %route, stream = self.name, "{text}");
            self.bytes.clear();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.emit();
    }
}

impl GuestOutput {
    pub(crate) fn new(log: &Arc<Log>, name: &'static str) -> Self {
        let line = Line { log: log.clone(), name, bytes: Vec::new() };
        Self { log: log.clone(), line: Arc::new(Mutex::new(line)) }
    }

    fn print(&self, bytes: &[u8]) {
        let kept = &bytes[..self.log.take(bytes.len())];
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in kept.split_inclusive(|byte| *byte == b'\n') {
            line.bytes.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            if piece.ends_with(b"\n") || line.bytes.len() >= MAX_LINE {
                line.emit();
            }
        }
    }
}

/// Text without control characters, which could steer the terminal of whoever reads the log.
fn harmless(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let escape =
        |c: char| -> String { if c.is_control() { c.escape_default().to_string() } else { c.to_string() } };
    text.chars().map(escape).collect()
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

#[async_trait::async_trait]
impl Pollable for GuestOutput {
    async fn ready(&mut self) {}
}

impl AsyncWrite for GuestOutput {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.print(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Log, harmless};

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(harmless(b"\x1b[31mred\x07 \xc3\xa4\r"), "\\u{1b}[31mred\\u{7} ä\\r");
    }

    #[test]
    fn bytes_past_the_limit_are_dropped() {
        let log = Log::new("/x".into(), Arc::default(), 5);
        assert_eq!((log.take(3), log.take(3), log.take(3)), (3, 2, 0));
    }
}
