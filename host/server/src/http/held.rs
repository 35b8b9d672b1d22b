//! A body that holds something until it is dropped: whoever counts answers that are not complete counts by this. Knows
//! nothing of what it holds.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{AnswerBody, BodyError};

/// A body and what goes with it.
pub(crate) struct Held<T> {
    body: AnswerBody,
    _held: T,
}

impl<T> Held<T> {
    pub(crate) fn new(body: AnswerBody, held: T) -> Self {
        Self { body, _held: held }
    }
}

impl<T: Unpin> Body for Held<T> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
