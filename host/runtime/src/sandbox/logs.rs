//! What guests print and log: cut into lines, made harmless for terminals, bounded per request, and handed to `tracing` under
//! the target `guest`. Never to the host's own standard output.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::{RequestContext, Secret};

/// Longest line handed on in one piece.
const MAX_LINE: usize = 4_096;

/// What one request prints and logs, by whatever way.
pub(crate) struct Log {
    route: Arc<str>,
    context: Arc<RequestContext>,
    /// Never printed.
    secret: Option<Secret>,
    printed: Mutex<Printed>,
}

struct Printed {
    left: usize,
    exceeded: bool,
    /// The lines that are not ended yet, by stream.
    lines: [Vec<u8>; 2],
}

/// One of a guest's two output streams.
#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

impl Log {
    pub(crate) fn new(
        route: Arc<str>,
        context: Arc<RequestContext>,
        limit: usize,
        secret: Option<Secret>,
    ) -> Arc<Self> {
        let printed = Printed { left: limit, exceeded: false, lines: Default::default() };
        Arc::new(Self { route, context, secret, printed: Mutex::new(printed) })
    }

    /// A message that says how serious it is, by the guest's word and by the host's level for it. What goes beyond the limit is
    /// cut off.
    pub(super) fn say(&self, level: Level, severity: &str, context: &str, message: &str) {
        let mut printed = self.printed();
        let mut cut = |text: &str| self.shown(&text.as_bytes()[..self.take(&mut printed, text.len())]);
        let (text, context) = (cut(message), cut(context));
        drop(printed);
        let (id, route, context) = (self.context.id(), &self.route, context.as_str());
        match level {
            Level::TRACE => tracing::trace!(target: "guest", id, %route, severity, context, "{text}"),
            Level::DEBUG => tracing::debug!(target: "guest", id, %route, severity, context, "{text}"),
            Level::INFO => tracing::info!(target: "guest", id, %route, severity, context, "{text}"),
            Level::WARN => tracing::warn!(target: "guest", id, %route, severity, context, "{text}"),
            Level::ERROR => tracing::error!(target: "guest", id, %route, severity, context, "{text}"),
        }
    }

    fn print(&self, stream: Stream, bytes: &[u8]) {
        let mut printed = self.printed();
        let kept = &bytes[..self.take(&mut printed, bytes.len())];
        for piece in kept.split_inclusive(|byte| *byte == b'\n') {
            let line = &mut printed.lines[stream as usize];
            line.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            if piece.ends_with(b"\n") || line.len() >= MAX_LINE {
                self.emit(stream, line);
            }
        }
    }

    /// How many of `wanted` bytes are still allowed; says once when it is not all of them.
    fn take(&self, printed: &mut Printed, wanted: usize) -> usize {
        let taken = wanted.min(printed.left);
        printed.left -= taken;
        if taken < wanted && !printed.exceeded {
            printed.exceeded = true;
            let id = self.context.id();
            tracing::warn!(target: "guest", id, route = %self.route, "output truncated (limits.log-bytes)");
        }
        taken
    }

    fn emit(&self, stream: Stream, line: &mut Vec<u8>) {
        if !line.is_empty() {
            let (text, id, route) = (self.shown(line), self.context.id(), &self.route);
            tracing::info!(target: "guest", id, %route, stream = stream.name(), "{text}");
            line.clear();
        }
    }

    fn shown(&self, line: &[u8]) -> String {
        let text = harmless(line);
        self.secret.as_ref().map_or_else(|| text.clone(), |secret| secret.scrub(&text))
    }

    fn printed(&self) -> MutexGuard<'_, Printed> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Log {
    /// The request is over: what has no line end yet is written out.
    fn drop(&mut self) {
        let [mut stdout, mut stderr] = std::mem::take(&mut self.printed().lines);
        self.emit(Stream::Stdout, &mut stdout);
        self.emit(Stream::Stderr, &mut stderr);
    }
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// Where a store's guest prints: into the log of the request that it works for at the moment.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<Arc<Log>>>);

impl Output {
    pub(crate) fn to(log: Arc<Log>) -> Self {
        Self(Arc::new(Mutex::new(log)))
    }

    /// Another request's log takes what is printed from now on.
    pub(crate) fn turn_to(&self, log: Arc<Log>) {
        let before = std::mem::replace(&mut *self.log(), log);
        // outside of the lock: it may be the last to let go, and write lines
        drop(before);
    }

    pub(crate) fn stdout(&self) -> GuestOutput {
        GuestOutput { log: Whose::Current(self.clone()), stream: Stream::Stdout }
    }

    pub(crate) fn stderr(&self) -> GuestOutput {
        GuestOutput { log: Whose::Current(self.clone()), stream: Stream::Stderr }
    }

    fn log(&self) -> MutexGuard<'_, Arc<Log>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of a guest's two output streams, as WASI sees it.
#[derive(Clone)]
pub(crate) struct GuestOutput {
    log: Whose,
    stream: Stream,
}

#[derive(Clone)]
enum Whose {
    /// Of whoever is served when something is printed: guests keep their handle of a 0.2 stream from request to request.
    Current(Output),
    /// Of whoever opened a 0.3 stream, which is read by the host at its leisure.
    Fixed(Arc<Log>),
}

impl GuestOutput {
    fn log(&self) -> Arc<Log> {
        match &self.log {
            Whose::Current(output) => output.log().clone(),
            Whose::Fixed(log) => log.clone(),
        }
    }

    fn print(&self, bytes: &[u8]) {
        self.log().print(self.stream, bytes);
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
        Box::new(Self { log: Whose::Fixed(self.log()), stream: self.stream })
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

    use super::{GuestOutput, Log, Output, Whose, harmless};

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(harmless(b"\x1b[31mred\x07 \xc3\xa4\r"), "\\u{1b}[31mred\\u{7} ä\\r");
    }

    #[test]
    fn bytes_past_the_limit_are_dropped() {
        let log = Log::new("/x".into(), Arc::default(), 5, None);
        let take = |wanted| log.take(&mut log.printed(), wanted);
        assert_eq!((take(3), take(3), take(3)), (3, 2, 0));
    }

    #[test]
    fn a_stream_of_0_2_prints_for_whoever_is_served_and_one_of_0_3_for_whoever_opened_it() {
        let logs = [1, 2].map(|_| Log::new("/x".into(), Arc::default(), 100, None));
        let left = || logs.each_ref().map(|log| log.printed().left);
        let output = Output::to(logs[0].clone());
        let (kept, opened) =
            (output.stdout(), GuestOutput { log: Whose::Fixed(logs[0].clone()), ..output.stderr() });
        kept.print(b"1");
        output.turn_to(logs[1].clone());
        kept.print(b"22");
        opened.print(b"4444");
        assert_eq!(left(), [95, 98]);
    }
}
