//! A socket that gives up on a client which takes what was written too slowly, or not at all: otherwise it would hold a
//! request, its component and its pictures for ever.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::pace::{Late, Pace, Watch};

/// A client's socket.
pub(crate) struct Socket {
    stream: TcpStream,
    watch: Watch,
    /// Told when the socket is gone, whatever protocol it spoke last.
    _gone: oneshot::Sender<Infallible>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, pace: Pace, gone: oneshot::Sender<Infallible>) -> Self {
        Self { stream, watch: Watch::new(pace), _gone: gone }
    }

    /// Watches a write: progress earns time, waiting uses it up.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = write {
            self.watch.moved(result.as_ref().map_or(0, bytes));
            return Poll::Ready(result);
        }
        let why = match ready!(self.watch.poll_late(cx)) {
            Late::Silent => "the client takes nothing (server.write-idle-timeout-ms)",
            Late::Slow => "the client takes too little (server.body-min-bytes-per-second)",
        };
        // what the kernel still holds for this client is thrown away with the socket
        let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, write, |bytes| *bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.watch(cx, write, |bytes| *bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // a TCP socket holds nothing back
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
