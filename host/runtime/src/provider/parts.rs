//! An answer that comes as a stream of parts, whatever they are parts of: what is told on the way, what is gathered, and the last
//! part, after which nothing counts.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::{Notify, oneshot};
use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, Lift, Source, StreamConsumer, StreamReader, StreamResult};

use super::attempt::{Answer, Broken, Ended};
use crate::bindings::picture_provider::exports::atelier::host::provider_images;
use crate::bindings::provider::atelier::host::provider_types::Error as Reported;
use crate::bindings::provider::exports::atelier::host::provider_language;
use crate::sandbox::Sandbox;

/// Longest reply in bytes: more than the longest context that is sold.
const MAX_REPLY_BYTES: usize = 4 << 20;
/// Files of pictures in bytes, with those of unfinished ones: as much as may come from a server.
const MAX_PICTURE_BYTES: usize = 64 << 20;
/// Parts that are taken over at a time.
const PARTS: usize = 64;

/// Reads a plugin's stream to its last part.
pub(super) async fn follow<P: Part>(
    accessor: &Accessor<Sandbox>,
    called: Result<StreamReader<P>, Reported>,
    said: Arc<Said>,
) -> wasmtime::Result<Ended> {
    let stream = match called {
        Ok(stream) => stream,
        Err(error) => return Ok(Err(Broken::Reported(error))),
    };
    let (ended, end) = oneshot::channel();
    let so_far = SoFar { said, bytes: 0, pictures: Vec::new() };
    let parts = Parts { so_far, ended: Some(ended), part: PhantomData };
    accessor.with(|store| stream.pipe(store, parts))?;
    Ok(end.await.unwrap_or(Err(Broken::Silent)))
}

/// What waits to be told: text, no more than a reply may have, and the newest preview.
#[derive(Default)]
pub(super) struct Said {
    waiting: Mutex<(String, Option<Vec<u8>>)>,
    pub(super) more: Notify,
}

impl Said {
    fn add(&self, text: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).0.push_str(text);
        self.more.notify_one();
    }

    fn show(&self, preview: Vec<u8>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(preview);
        self.more.notify_one();
    }

    pub(super) fn take(&self) -> (String, Option<Vec<u8>>) {
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What came of a stream until now.
pub(super) struct SoFar {
    said: Arc<Said>,
    bytes: usize,
    pictures: Vec<Vec<u8>>,
}

impl SoFar {
    /// Counts what came; too much of it is the end.
    fn count(&mut self, bytes: usize, limit: usize) -> Option<Ended> {
        self.bytes = self.bytes.saturating_add(bytes);
        (self.bytes > limit).then_some(Err(Broken::TooLong(limit)))
    }
}

/// A piece of an answer that comes as a stream.
pub(super) trait Part: Lift + Send + Sync + 'static {
    /// Takes it over; how the answer ended, where this is its end.
    fn take(self, so_far: &mut SoFar) -> Option<Ended>;
}

impl Part for provider_language::Part {
    fn take(self, so_far: &mut SoFar) -> Option<Ended> {
        match self {
            Self::Said(text) => {
                let ended = so_far.count(text.len(), MAX_REPLY_BYTES);
                if ended.is_none() {
                    so_far.said.add(&text);
                }
                ended
            }
            Self::End(end) => Some(Ok(Answer::Reply(end))),
            Self::Failed(error) => Some(Err(Broken::Reported(error))),
        }
    }
}

impl Part for provider_images::Part {
    fn take(self, so_far: &mut SoFar) -> Option<Ended> {
        match self {
            Self::Preview(file) => {
                let ended = so_far.count(file.len(), MAX_PICTURE_BYTES);
                so_far.said.show(file);
                ended
            }
            Self::Picture(file) => {
                let ended = so_far.count(file.len(), MAX_PICTURE_BYTES);
                so_far.pictures.push(file);
                ended
            }
            Self::End(end) => Some(Ok(Answer::Pictures(std::mem::take(&mut so_far.pictures), end))),
            Self::Failed(error) => Some(Err(Broken::Reported(error))),
        }
    }
}

/// Takes a stream's parts over.
struct Parts<P> {
    so_far: SoFar,
    ended: Option<oneshot::Sender<Ended>>,
    part: PhantomData<fn(P)>,
}

impl<P: Part> Parts<P> {
    /// Whether more is wanted.
    fn take(&mut self, part: P) -> bool {
        let Some(ended) = part.take(&mut self.so_far) else { return true };
        if let Some(sender) = self.ended.take() {
            drop(sender.send(ended));
        }
        false
    }
}

impl<P: Part> StreamConsumer<Sandbox> for Parts<P> {
    type Item = P;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, Sandbox>,
        mut source: Source<'_, P>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut parts = Vec::with_capacity(PARTS);
        source.read(store, &mut parts)?;
        if parts.is_empty() && finish {
            return Poll::Ready(Ok(StreamResult::Cancelled));
        }
        let is_wanted = parts.into_iter().all(|part| self.take(part));
        Poll::Ready(Ok(if is_wanted { StreamResult::Completed } else { StreamResult::Dropped }))
    }
}
