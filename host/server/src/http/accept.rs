//! The accept loop. A connection holds a permit for its life, one of those that its client may have; it must bring its
//! first whole request within the header timeout, handshake included, and later ones within the same (hyper watches those
//! of HTTP/1, given a timer; it does not watch the bytes by which HTTP/1 and HTTP/2 are told apart, hence the clock here).
//! When the process closes, idle connections end at once and busy ones after their request; what is left at the deadline
//! is cut.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::activity::Activity;
use super::frames::Frames;
use super::socket::Socket;
use super::taken::Taken;
use super::tls::Transport;
use super::{Answer, Pace, Peers, Service, Stop, Tls, whole};
use crate::config::Server;

/// Streams of one HTTP/2 connection at a time.
const MAX_STREAMS: u32 = 100;
/// Streams that a client may have taken back before anybody looked at them (the rapid reset attack).
const MAX_UNSEEN_RESETS: usize = 20;
/// Streams that may break the protocol before their connection ends.
const MAX_BROKEN_STREAMS: usize = 100;
/// Between two looks whether an HTTP/2 client still lives, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// An HTTP/2 connection without a request; browsers come back within this.
const IDLE: Duration = Duration::from_secs(60);
/// When the process closes, for requests that are on their way already.
const LAST_MOMENT: Duration = Duration::from_millis(200);
/// After an accept that failed, as it does when file handles run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What the kernel holds of an answer that its client has not taken. The rest waits where limits see it.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// The limits of one listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) max_connections: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) write_pace: Pace,
    pub(crate) header_bytes: usize,
    pub(crate) max_headers: usize,
    pub(crate) url_bytes: usize,
    pub(crate) drain: Duration,
}

impl From<&Server> for Settings {
    fn from(server: &Server) -> Self {
        let bytes_per_second = server.body_min_bytes_per_second;
        Self {
            max_connections: server.max_connections,
            header_timeout: server.header_timeout,
            write_pace: Pace { silence: server.write_idle_timeout, bytes_per_second },
            header_bytes: server.header_bytes,
            max_headers: server.max_headers,
            url_bytes: server.url_bytes,
            drain: server.drain,
        }
    }
}

/// Where connections come in.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) settings: Settings,
    pub(crate) peers: Arc<Peers>,
    pub(crate) tls: Option<Arc<Tls>>,
}

/// Serves until the process closes and every connection has ended, or the drain deadline has passed.
pub(crate) async fn accept<S: Service>(door: Door, service: S, mut stop: Stop) {
    let Door { listener, settings, peers, tls } = door;
    let permits = Arc::new(Semaphore::new(settings.max_connections));
    let house = Arc::new(House { builder: builder(&settings), settings, tls, service });
    let mut connections = JoinSet::new();
    bound_send_buffer(&listener);
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
                if let Some(place) = peers.enter(peer.ip()) {
                    let (house, stop) = (house.clone(), stop.clone());
                    connections.spawn(async move {
                        house.receive(stream, peer, stop).await;
                        drop((permit, place));
                    });
                }
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

/// Connections inherit it from their listener.
fn bound_send_buffer(listener: &TcpListener) {
    if let Err(error) = rustix::net::sockopt::set_socket_send_buffer_size(listener, SEND_BUFFER_BYTES) {
        tracing::debug!("the kernel keeps its own size of send buffers: {error}");
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
        .max_pending_accept_reset_streams(MAX_UNSEEN_RESETS)
        .max_local_error_reset_streams(MAX_BROKEN_STREAMS)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

/// What every connection of a listener shares.
struct House<S> {
    builder: Builder<TokioExecutor>,
    settings: Settings,
    tls: Option<Arc<Tls>>,
    service: S,
}

impl<S: Service> House<S> {
    async fn receive(&self, stream: TcpStream, peer: SocketAddr, mut stop: Stop) {
        // answers are small or streamed; waiting to fill packets only delays them
        let _ = stream.set_nodelay(true);
        let activity = Activity::default();
        tokio::select! {
            () = self.converse(stream, peer, &activity, stop.clone()) => {}
            () = activity.silence(self.settings.header_timeout) => {
                tracing::debug!(%peer, "no request within server.header-timeout-ms");
            }
            // a handshake or half a head that late is nobody's request
            () = async { stop.closing().await; activity.silence(LAST_MOMENT).await } => {}
        }
    }

    async fn converse(&self, stream: TcpStream, peer: SocketAddr, activity: &Activity, mut stop: Stop) {
        let (gone, is_gone) = oneshot::channel();
        let socket = Socket::new(stream, self.settings.write_pace, gone);
        let transport = match &self.tls {
            Some(tls) => tls.accept(socket).await,
            None => Ok(Transport::Plain(socket)),
        };
        let transport = match transport {
            Ok(transport) => transport,
            Err(error) => return tracing::debug!(%peer, "no TLS handshake: {error}"),
        };
        let pace = self.settings.write_pace;
        let answer = service_fn(|request: Request<Incoming>| {
            let (service, busy) = (self.service.clone(), activity.begin());
            let (version, method) = (request.version(), request.method().clone());
            async move {
                let answer = fitting(version, &method, service.answer(request, peer).await);
                Ok::<_, Infallible>(answer.map(|body| Taken::new(body, version, busy, pace)))
            }
        });
        let io = TokioIo::new(Frames::new(transport));
        let result = {
            let mut connection = pin!(self.builder.serve_connection_with_upgrades(io, answer));
            tokio::select! {
                result = connection.as_mut() => result,
                () = async { stop.closing().await; sleep(LAST_MOMENT).await } => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
                () = activity.idle(IDLE, pace.silence) => {
                    connection.as_mut().graceful_shutdown();
                    timeout(self.settings.header_timeout, connection).await.unwrap_or(Ok(()))
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%peer, "connection ended: {error}");
        }
        // one that changed its protocol goes on elsewhere, and is one of this client's connections all the while
        let _ = is_gone.await;
    }
}

/// The answer without its body where there can be none. Over HTTP/1 hyper sees to that by itself; over HTTP/2 it would send
/// the body, which clients take for a broken stream.
fn fitting(version: Version, method: &Method, answer: Answer) -> Answer {
    let bodiless = matches!(answer.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if version != Version::HTTP_2 || !(bodiless || *method == Method::HEAD) {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact().filter(|_| !bodiless) {
        // as long as the answer to GET would be
        head.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    Response::from_parts(head, whole(""))
}
