//! The edge: sockets on one side, a service on the other. Owns the accept loop and every limit that a hostile client
//! meets before a component does. Knows nothing of routes or components; the service (`edge.rs`, `admin.rs`) does.
//!
//! `accept.rs` takes connections and drains them, as many from one client as `peers.rs` allows and as long as
//! `activity.rs` sees a use in them. Bytes come in through `socket.rs` (gives up on clients that take too little), `tls.rs`
//! and `frames.rs` (gives up on HTTP/2 clients that ask for nothing). `body.rs` bounds request bodies, `taken.rs` gives up
//! answers over HTTP/2 that nobody takes, `pace.rs` says how slow a client may be, `held.rs` holds something as long as an
//! answer lasts, `access.rs` names, times and logs every answer.

mod accept;
mod access;
mod activity;
mod body;
mod frames;
mod held;
mod pace;
mod peers;
mod socket;
mod stop;
mod taken;
mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Incoming};

pub(crate) use accept::{Door, Settings, accept};
pub(crate) use access::Access;
pub(crate) use body::{Broken, RequestBody, Verdict};
pub(crate) use held::Held;
pub(crate) use pace::Pace;
pub(crate) use peers::{Peers, Place};
pub(crate) use stop::{Phase, Stop, Stopper};
pub(crate) use tls::Tls;

/// An error of a body that is on its way.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of every answer.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, BodyError>;

/// Answers requests; cloned for every connection.
pub(crate) trait Service: Clone + Send + Sync + 'static {
    /// Answers one request. Dropped when its client goes away.
    fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> impl Future<Output = Answer> + Send;
}

/// What a service gives: there is always an answer.
pub(crate) type Answer = Response<AnswerBody>;

/// Any body as an answer's.
pub(crate) fn boxed<B>(body: B) -> AnswerBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A body that is there already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> AnswerBody {
    boxed(http_body_util::Full::new(bytes.into()).map_err(|never: Infallible| match never {}))
}
