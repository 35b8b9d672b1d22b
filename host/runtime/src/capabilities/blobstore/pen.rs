//! Writing an object through a stream of `wasi:io`. One piece is on its way to the disk at a time; what was written before the
//! stream was dropped is still written, since the value outlives its stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use atelier_store::{Draft, Error as StoreError};
use bytes::Bytes;
use tokio::task::JoinHandle;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::capabilities::storage::told;
use crate::sandbox::{Held, Meter};

/// Bytes of one piece.
const PIECE: usize = 64 * 1024;

/// A value that is being written; its stream is another handle of the same.
#[derive(Clone)]
pub(super) struct Pen {
    state: Arc<Mutex<State>>,
    /// Whose fault is told to whom; nobody where nothing was begun.
    meter: Option<Arc<Meter>>,
    _held: Arc<Option<Held>>,
}

enum State {
    Ready(Draft),
    Writing(JoinHandle<(Draft, Result<(), StoreError>)>),
    Broken(String),
}

impl Pen {
    pub(super) fn new(draft: Draft, meter: Arc<Meter>, held: Held) -> Self {
        let state = Arc::new(Mutex::new(State::Ready(draft)));
        Self { state, meter: Some(meter), _held: Arc::new(Some(held)) }
    }

    /// One that writes nothing, and says why.
    pub(super) fn broken(why: String) -> Self {
        Self { state: Arc::new(Mutex::new(State::Broken(why))), meter: None, _held: Arc::default() }
    }

    pub(super) fn stream(&self) -> PenStream {
        PenStream { pen: self.clone(), is_told: false }
    }

    /// What was written, when all of it is.
    pub(super) async fn finish(self) -> Result<Draft, String> {
        poll_fn(|context| self.poll_idle(context)).await;
        match std::mem::replace(&mut *self.state(), State::Broken("it is finished".into())) {
            State::Ready(draft) => Ok(draft),
            State::Broken(why) => Err(why),
            State::Writing(_) => Err("it is still written".into()),
        }
    }

    /// Ready when no piece is on its way.
    fn poll_idle(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if let State::Writing(piece) = &mut *state {
            *state = match ready!(Pin::new(piece).poll(context)) {
                Ok((draft, Ok(()))) => State::Ready(draft),
                Ok((_, Err(error))) => State::Broken(self.told(&error)),
                Err(_) => State::Broken(self.told(&StoreError::Closed)),
            };
        }
        Poll::Ready(())
    }

    fn told(&self, error: &StoreError) -> String {
        self.meter.as_ref().map_or_else(|| error.to_string(), |meter| told(meter, error))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error of reading, in a guest's words.
pub(super) fn failed(meter: &Meter, error: &std::io::Error) -> String {
    // one that comes from elsewhere says itself what became of it
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<StoreError>());
    if let Some(error) = inner {
        return told(meter, error);
    }
    let source = std::io::Error::new(error.kind(), error.to_string());
    told(meter, &StoreError::Io { action: "read", path: "an object".into(), source })
}

/// The stream of a value.
pub(super) struct PenStream {
    pen: Pen,
    /// Whether the guest knows that the value is broken; from then on the stream is closed.
    is_told: bool,
}

#[async_trait::async_trait]
impl OutputStream for PenStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.check_write()? < bytes.len() {
            return Err(StreamError::trap("more was written than there was a permit for"));
        }
        let mut state = self.pen.state();
        let before = std::mem::replace(&mut *state, State::Broken("it ended".into()));
        *state = match before {
            State::Ready(mut draft) => State::Writing(tokio::spawn(async move {
                let written = draft.write(bytes).await;
                (draft, written)
            })),
            other => other,
        };
        Ok(())
    }

    /// What is written is on its way already; whoever waits until the stream is ready waits for it.
    fn flush(&mut self) -> StreamResult<()> {
        self.check_write().map(drop)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match &*self.pen.state() {
            State::Ready(_) => Ok(PIECE),
            State::Writing(_) => Ok(0),
            State::Broken(_) if self.is_told => Err(StreamError::Closed),
            State::Broken(why) => {
                self.is_told = true;
                Err(StreamError::LastOperationFailed(wasmtime::Error::msg(why.clone())))
            }
        }
    }
}

#[async_trait::async_trait]
impl Pollable for PenStream {
    async fn ready(&mut self) {
        poll_fn(|context| self.pen.poll_idle(context)).await;
    }
}
