//! The requests that tests send to a handler, and its replies, read to their ends. Broken ones end the test.

use futures::executor::block_on;
use futures::{StreamExt, future};
use serde_json::Value;

use crate::http::{Reply, Request, Response};

/// A request to read something.
pub fn get(path: &str) -> Request {
    Request { method: "GET".into(), path: path.into(), ..Request::default() }
}

/// A form that is posted. A part whose name ends in `@` is a file.
pub fn form(path: &str, parts: &[(&str, &str)]) -> Request {
    let head = |name: &str| match name.strip_suffix('@') {
        Some(name) => format!("name=\"{name}\"; filename=\"a.bin\""),
        None => format!("name=\"{name}\""),
    };
    let part = |(name, content): &(&str, &str)| {
        format!("--XX\r\ncontent-disposition: form-data; {}\r\n\r\n{content}\r\n", head(name))
    };
    let body = parts.iter().map(part).collect::<String>() + "--XX--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=XX")].into_iter().collect();
    Request {
        method: "POST".into(),
        path: path.into(),
        headers,
        body: body.into_bytes(),
        ..Request::default()
    }
}

/// A reply that must be whole.
pub fn whole(reply: Reply) -> Response {
    match reply {
        Reply::Whole(response) => response,
        Reply::Stream(..) => panic!("a stream where a whole answer was expected"),
    }
}

/// Status and JSON of a reply that must be whole.
pub fn json(reply: Reply) -> (u16, Value) {
    let response = whole(reply);
    let value = serde_json::from_slice(&response.body);
    (response.status, value.unwrap_or_else(|error| panic!("{error}: {response:?}")))
}

/// The head of a reply that must be an event stream, and every event with its data.
pub fn events(reply: Reply) -> (Response, Vec<(String, Value)>) {
    let (head, producer) = match reply {
        Reply::Stream(head, producer) => (head, producer),
        Reply::Whole(response) => panic!("no stream: {}", String::from_utf8_lossy(&response.body)),
    };
    let (writer, reader) = futures::channel::mpsc::channel(64);
    let (_, chunks) = block_on(future::join(producer(writer), reader.collect::<Vec<_>>()));
    let text = String::from_utf8(chunks.concat()).expect("events are text");
    (head, text.split_terminator("\n\n").map(event).collect())
}

fn event(frame: &str) -> (String, Value) {
    let (name, data) = frame.split_once('\n').expect("an event has two lines");
    let name = name.strip_prefix("event: ").expect("the first names it").to_owned();
    let data = data.strip_prefix("data: ").expect("the second has its data");
    (name, serde_json::from_str(data).expect("the data is JSON"))
}
