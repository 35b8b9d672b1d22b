//! The accept loop. A connection holds a permit for its life; it must bring its first whole request within the header
//! timeout, and later ones within the same (hyper watches those, given a timer; it does not watch the bytes by which
//! HTTP/1 and HTTP/2 are told apart, hence the clock here). When the process closes, idle connections end at once and
//! busy ones after their request; what is left at the deadline is cut.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::socket::Socket;
use super::{Service, Stop};
use crate::config::Server;

/// Streams of one HTTP/2 connection at a time.
const MAX_STREAMS: u32 = 100;
/// Between two looks whether an HTTP/2 client still lives, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// After an accept that failed, as it does when file handles run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The limits of one listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) max_connections: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) write_idle_timeout: Duration,
    pub(crate) header_bytes: usize,
    pub(crate) max_headers: usize,
    pub(crate) url_bytes: usize,
    pub(crate) drain: Duration,
}

impl From<&Server> for Settings {
    fn from(server: &Server) -> Self {
        Self {
            max_connections: server.max_connections,
            header_timeout: server.header_timeout,
            write_idle_timeout: server.write_idle_timeout,
            header_bytes: server.header_bytes,
            max_headers: server.max_headers,
            url_bytes: server.url_bytes,
            drain: server.drain,
        }
    }
}

/// Serves until the process closes and every connection has ended, or the drain deadline has passed.
pub(crate) async fn accept<S: Service>(
    listener: TcpListener,
    settings: Settings,
    service: S,
    mut stop: Stop,
) {
    let permits = Arc::new(Semaphore::new(settings.max_connections));
    let builder = Arc::new(builder(&settings));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = stop.closing() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection =
                    connection(stream, peer, builder.clone(), settings, service.clone(), stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    // no new client is kept waiting in the backlog
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(settings.drain, ended).await.is_err() {
        tracing::warn!("some connections did not end within server.drain-ms and were cut");
    }
}

fn builder(settings: &Settings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // beyond these, hyper answers by itself, without a body; below them, the service names the limit
    let head_bytes = (settings.header_bytes + settings.url_bytes) * 2;
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_headers(settings.max_headers * 2)
        .max_buf_size(head_bytes.max(64 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

async fn connection<S: Service>(
    stream: TcpStream,
    peer: SocketAddr,
    builder: Arc<Builder<TokioExecutor>>,
    settings: Settings,
    service: S,
    mut stop: Stop,
) {
    // answers are small or streamed; waiting to fill packets only delays them
    let _ = stream.set_nodelay(true);
    let heard = Arc::new(AtomicBool::new(false));
    let silence = silence(settings.header_timeout, heard.clone());
    let answer = service_fn(move |request| {
        heard.store(true, Ordering::Relaxed);
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(request, peer).await) }
    });
    let io = TokioIo::new(Socket::new(stream, settings.write_idle_timeout));
    let mut connection = pin!(builder.serve_connection(io, answer));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = silence => return tracing::debug!(%peer, "no request within server.header-timeout-ms"),
        () = stop.closing() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, "connection ended: {error}");
    }
}

/// Ends when the client brought no whole request in time.
async fn silence(limit: Duration, heard: Arc<AtomicBool>) {
    sleep(limit).await;
    if heard.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}
