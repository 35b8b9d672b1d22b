//! Answers over HTTP/2, handed over in pieces, so that one which its client does not take can be thrown away. HTTP/1 needs none of
//! this: there a client that takes nothing blocks its socket, which `socket.rs` watches. Over HTTP/2 it closes a stream's window and
//! goes on talking, and hyper does not look at a body again before the window is open.
//!
//! So an answer lies with its connection's [`Activity`] from each piece until hyper asks for the next one, for as long as the client
//! may take over that piece. Once it was thrown away the stream breaks off; the connection's other streams do not notice.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Version;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::activity::{Activity, Busy};
use super::{AnswerBody, BodyError, Pace};

/// Bytes that HTTP/2 is given at a time: what a frame of it carries. So much of an answer is out of reach while its window is closed.
const PIECE_BYTES: usize = 16 * 1024;

/// What there still is of an answer.
pub(super) struct Parcel {
    body: AnswerBody,
    /// The end of a frame whose beginning was handed over.
    rest: Bytes,
    _busy: Busy,
}

/// An answer's body, which keeps its connection busy.
pub(super) struct Taken {
    /// None while it lies with the connection, and for ever if it was thrown away there.
    parcel: Option<Parcel>,
    /// Where it lies, under which number, and how slow its client may be; none over HTTP/1.
    place: Option<(Activity, u64, Pace)>,
    hint: SizeHint,
}

impl Taken {
    pub(super) fn new(body: AnswerBody, version: Version, busy: Busy, pace: Pace) -> Self {
        let is_paced = version == Version::HTTP_2 && !body.is_end_stream();
        let place = is_paced.then(|| (busy.activity.clone(), busy.number, pace));
        let hint = body.size_hint();
        let mut taken = Self { parcel: Some(Parcel { body, rest: Bytes::new(), _busy: busy }), place, hint };
        // its head has to be taken as well
        taken.lay_down(0);
        taken
    }

    /// The client is waited for, after so many bytes.
    fn lay_down(&mut self, bytes: usize) {
        if let Some((activity, number, pace)) = &self.place
            && let Some(parcel) = self.parcel.take()
        {
            activity.wait(*number, Instant::now() + pace.at_most(bytes), parcel);
        }
    }

    fn take_up(&mut self) {
        if let Some((activity, number, _)) = &self.place
            && self.parcel.is_none()
        {
            self.parcel = activity.take(*number);
        }
    }
}

impl Parcel {
    /// The next frame, a piece at most.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let bytes = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(bytes)))))
    }

    fn is_end(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}

impl Body for Taken {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.take_up();
        let is_paced = self.place.is_some();
        let Some(parcel) = &mut self.parcel else {
            return Poll::Ready(Some(Err("the client did not take it in time".into())));
        };
        if !is_paced {
            return Pin::new(&mut parcel.body).poll_frame(cx);
        }
        // a body that gives nothing yet is not the client's fault
        let piece = ready!(parcel.poll_piece(cx));
        if let Some(Ok(frame)) = &piece
            && !parcel.is_end()
        {
            self.lay_down(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.parcel.as_ref().is_some_and(Parcel::is_end)
    }

    /// As it was in the beginning, which is when hyper asks.
    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.take_up();
    }
}
