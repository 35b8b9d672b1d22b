//! The edge: sockets on one side, a service on the other. Owns the accept loop and every limit that a hostile client
//! meets before a component does. Knows nothing of routes or components; the service (`edge.rs`, `admin.rs`) does.
//!
//! `accept.rs` takes connections and drains them, `socket.rs` gives up on clients that take nothing, `body.rs` bounds
//! request bodies, `held.rs` holds something as long as an answer lasts, `access.rs` names, times and logs every answer.

mod accept;
mod access;
mod body;
mod held;
mod socket;
mod stop;

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Incoming};

pub(crate) use accept::{Settings, accept};
pub(crate) use access::Access;
pub(crate) use body::{Broken, RequestBody, Verdict};
pub(crate) use held::Held;
pub(crate) use stop::{Phase, Stop, Stopper};

/// An error of a body that is on its way.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of every answer.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, BodyError>;

/// Answers requests; cloned for every connection.
pub(crate) trait Service: Clone + Send + 'static {
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
