//! Server-sent events (the WHATWG HTML standard's `text/event-stream`): framing, and keep-alive while work goes on.

use std::future::Future;
use std::pin::pin;

use futures::SinkExt;
use futures::future::{Either, select};
use serde_json::Value;

use crate::channels::Room;
use crate::http::{BodyWriter, Response};

/// The head of an event stream. Proxies are asked not to collect it.
pub fn head() -> Response {
    Response::new(200, "text/event-stream", Vec::new())
        .with("cache-control", "no-cache, no-transform")
        .with("x-accel-buffering", "no")
}

/// One event as bytes. JSON has no line breaks outside of escapes, so the data is one line.
/// Names are ours and have no line breaks either.
pub fn frame(event: &str, data: &Value) -> Vec<u8> {
    format!("event: {event}\ndata: {data}\n\n").into_bytes()
}

/// Sends an event. A client that has gone is noticed by the body's writer, which drops the whole work; nothing is to be done
/// about it here.
pub async fn send(writer: &mut BodyWriter, event: &str, data: &Value) {
    let _ = writer.send(frame(event, data)).await;
}

/// Where what happens is told, if anywhere: to a client that asked for an event stream, to a room of clients, to both, or to nobody.
pub struct Progress {
    writer: Option<BodyWriter>,
    room: Option<Room>,
}

impl Progress {
    /// Tells nobody.
    pub fn silent() -> Self {
        Self { writer: None, room: None }
    }

    /// Tells the client at the other end of a body.
    pub fn to(writer: BodyWriter) -> Self {
        Self { writer: Some(writer), room: None }
    }

    /// Tells a room of clients as well.
    pub fn and_to(self, room: Room) -> Self {
        Self { room: Some(room), ..self }
    }

    /// Whether anybody listens.
    pub fn is_followed(&self) -> bool {
        self.writer.is_some() || self.room.is_some()
    }

    /// Sends an event, as [`send`] does. Those in the room hear it first: nobody waits for them.
    pub async fn send(&mut self, event: &str, data: &Value) {
        if let Some(room) = &self.room {
            room(event, data).await;
        }
        if let Some(writer) = &mut self.writer {
            send(writer, event, data).await;
        }
    }
}

/// Milliseconds of silence on a stream after which a comment is sent: well under the 30 to 60 seconds after which proxies
/// close a quiet connection.
pub const KEEP_ALIVE_MS: u64 = 10_000;

/// The comment that keeps a quiet connection open.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Runs `work` to its end and sends a comment whenever `pause` has passed. Ends early, dropping the work, when the
/// client has gone.
pub async fn keeping_alive<P: Future<Output = ()>>(
    mut writer: BodyWriter,
    pause: impl Fn() -> P,
    work: impl Future<Output = ()>,
) {
    let mut work = pin!(work);
    loop {
        let rest = pin!(pause());
        match select(work.as_mut(), rest).await {
            // work is polled first, so an answer that is ready is never held up by a comment
            Either::Left(_) => return,
            Either::Right(_) if writer.send(KEEP_ALIVE.to_vec()).await.is_err() => return,
            Either::Right(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;
    use futures::executor::block_on;
    use futures::{StreamExt, future};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_break_in_the_data_cannot_forge_an_event() {
        let bytes = frame("step", &json!({"text": "a\n\nevent: error"}));
        let text = String::from_utf8(bytes).expect("utf-8");
        assert_eq!(text, "event: step\ndata: {\"text\":\"a\\n\\nevent: error\"}\n\n");
    }

    #[test]
    fn comments_are_sent_until_the_client_goes() {
        let (writer, mut reader) = mpsc::channel(0);
        let waiting = keeping_alive(writer, || future::ready(()), future::pending());
        let client = async move {
            assert_eq!(reader.next().await.as_deref(), Some(KEEP_ALIVE));
            assert_eq!(reader.next().await.as_deref(), Some(KEEP_ALIVE));
        };
        block_on(future::join(waiting, client));
    }

    #[test]
    fn the_stream_ends_with_the_work() {
        let (writer, reader) = mpsc::channel(4);
        block_on(keeping_alive(writer, future::pending, future::ready(())));
        assert_eq!(block_on(reader.collect::<Vec<_>>()), Vec::<Vec<u8>>::new());
    }
}
