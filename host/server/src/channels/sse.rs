//! Clients that only listen: server-sent events (the WHATWG HTML standard's `text/event-stream`). Events have numbers; none is kept
//! for a client that comes back, whose `last-event-id` the component sees.

use std::sync::Arc;

use atelier_runtime::ChannelEvent;
use bytes::Bytes;
use futures::stream::{self, Stream};
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::time::{Interval, interval};

use super::client::{Client, Leaving, Outbox};
use crate::http::{Answer, BodyError, boxed};

/// The first that a client hears, and what keeps proxies from closing a quiet connection.
const COMMENT: &[u8] = b":\n\n";

/// The answer that tells a client its events for as long as both are there.
pub(super) fn answer(client: Arc<Client>, outbox: Outbox) -> Answer {
    let mut response = Response::new(boxed(StreamBody::new(frames(client, outbox))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // asked of nginx and those like it
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct Listening {
    leaving: Leaving,
    outbox: Outbox,
    pulse: Interval,
    number: u64,
}

fn frames(client: Arc<Client>, outbox: Outbox) -> impl Stream<Item = Result<Frame<Bytes>, BodyError>> {
    // its first tick is at once: so the client hears that it is connected
    let pulse = interval(client.origin.rules.ping_interval);
    let listening = Listening { leaving: Leaving(client), outbox, pulse, number: 0 };
    stream::unfold(listening, |mut listening| async move {
        let bytes = listening.next().await?;
        Some((Ok(Frame::data(bytes)), listening))
    })
}

impl Listening {
    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            biased;
            _ = self.leaving.0.closed() => None,
            event = self.outbox.recv() => {
                let event = event?;
                self.number += 1;
                Some(frame(self.number, &event))
            }
            _ = self.pulse.tick() => Some(Bytes::from_static(COMMENT)),
        }
    }
}

/// JSON may have line breaks between its values: each line is one of data.
fn frame(number: u64, event: &ChannelEvent) -> Bytes {
    let mut text = format!("id: {number}\nevent: {}\n", event.name);
    for line in event.payload.split(['\n', '\r']) {
        text.extend(["data: ", line, "\n"]);
    }
    text.push('\n');
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_in_a_payload_forges_no_event() {
        let event = ChannelEvent { name: "news".into(), payload: "[1,\r\nevent: 2,\n\n3]".into() };
        let expected = "id: 7\nevent: news\ndata: [1,\ndata: \ndata: event: 2,\ndata: \ndata: 3]\n\n";
        assert_eq!(frame(7, &event), expected);
    }
}
