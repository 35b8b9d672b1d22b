//! A job's events on their way into a guest, in a form of its capability's own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use atelier_inference::{Event as HostEvent, EventReader};
use tokio::sync::mpsc;
use wasmtime::component::{Destination, Lower, StreamProducer, StreamResult};
use wasmtime::{Result, StoreContextMut};

use crate::sandbox::{Meter, Sandbox, Wait};

/// A task of its own translates them, one event ahead of the guest at most, so a slow guest loses detail in the reader's
/// bounded buffer and nothing piles up here.
pub(super) struct Events<T> {
    receiver: mpsc::Receiver<T>,
    meter: Arc<Meter>,
    waiting: Option<Wait>,
}

impl<T: Send + 'static> Events<T> {
    /// `translate` gives nothing for what the guest is not told.
    pub(super) fn follow<F>(
        reader: EventReader,
        meter: Arc<Meter>,
        translate: impl Fn(HostEvent) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Option<T>> + Send,
    {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move { forward(reader, sender, translate).await });
        Self { receiver, meter, waiting: None }
    }
}

/// Ends with the job, or when nobody reads any more.
async fn forward<T, F: Future<Output = Option<T>>>(
    mut reader: EventReader,
    sender: mpsc::Sender<T>,
    translate: impl Fn(HostEvent) -> F,
) {
    loop {
        let event = tokio::select! {
            event = reader.next() => event,
            () = sender.closed() => None,
        };
        let Some(event) = event else { return };
        let Some(event) = translate(event).await else { continue };
        if sender.send(event).await.is_err() {
            return;
        }
    }
}

impl<T: Lower + Send + Sync + 'static> StreamProducer<Sandbox> for Events<T> {
    type Item = T;
    type Buffer = Option<T>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Sandbox>,
        mut destination: Destination<'a, T, Option<T>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        if destination.remaining(&mut store) == Some(0) {
            // the guest asks whether something is there; it will learn that by reading
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let polled = self.receiver.poll_recv(cx);
        self.waiting = match &polled {
            Poll::Pending if !finish => self.waiting.take().or_else(|| Some(self.meter.wait())),
            _ => None,
        };
        match polled {
            Poll::Ready(Some(event)) => {
                destination.set_buffer(Some(event));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(None) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}
