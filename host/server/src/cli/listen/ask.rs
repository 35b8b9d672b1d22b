//! Asks a handler in this process: a form in memory goes in, and of the event stream that comes back each event is told and
//! the last one is the answer.

use std::sync::Arc;

use anyhow::{Context, bail};
use atelier_runtime::Deployment;
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

/// The path of the handler that takes commands.
const PATH: &str = "/listen";

/// A form with files (RFC 7578).
#[derive(Default)]
pub(super) struct Form(Vec<(&'static str, Option<&'static str>, Vec<u8>)>);

impl Form {
    pub(super) fn text(&mut self, name: &'static str, text: impl Into<String>) {
        self.0.push((name, None, text.into().into_bytes()));
    }

    pub(super) fn file(&mut self, name: &'static str, bytes: Vec<u8>) {
        self.0.push((name, Some("file"), bytes));
    }

    /// The body, and the boundary between its parts, which is in none of them: it is made of all of them.
    fn written(self) -> (String, Vec<u8>) {
        let mut all = blake3::Hasher::new();
        self.0.iter().for_each(|(_, _, bytes)| {
            all.update(bytes);
        });
        let boundary = all.finalize().to_string();
        let mut body = Vec::new();
        for (name, file, bytes) in self.0 {
            let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
            let head =
                format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
            body.extend(head.into_bytes());
            body.extend(bytes);
            body.extend(b"\r\n");
        }
        body.extend(format!("--{boundary}--\r\n").into_bytes());
        (boundary, body)
    }
}

/// The answer to a form. `tell` gets the name and the data of each event before it.
pub(super) async fn ask(
    handler: &Arc<Deployment>,
    form: Form,
    tell: impl Fn(&str, &Value),
) -> anyhow::Result<Value> {
    let (boundary, body) = form.written();
    let request = Request::post(PATH)
        .header(ACCEPT, "text/event-stream")
        .header(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
        .body(Full::new(Bytes::from(body)))?;
    let answer = handler.handle(request).await?;
    if !answer.status().is_success() {
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        bail!("{}", failure(&body).with_context(|| format!("the handler answered with status {status}"))?);
    }
    let (mut body, mut text) = (answer.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        text.extend(frame?.into_data().unwrap_or_default());
        while let Some((name, data)) = next_event(&mut text)? {
            match name.as_str() {
                "picture" => return Ok(data),
                "error" => bail!("{}", message(&data).unwrap_or("the handler failed and did not say why")),
                name => tell(name, &data),
            }
        }
    }
    bail!("the handler's answer broke off")
}

/// Takes a whole event off the front of what has come; comments have no name.
fn next_event(text: &mut Vec<u8>) -> anyhow::Result<Option<(String, Value)>> {
    let Some(end) = text.windows(2).position(|bytes| bytes == b"\n\n") else { return Ok(None) };
    let frame: Vec<u8> = text.drain(..end + 2).collect();
    let frame = std::str::from_utf8(&frame).context("the handler's answer is not text")?;
    let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let (name, data) = (field("event: ").to_owned(), field("data: "));
    let data = if name.is_empty() { Value::Null } else { serde_json::from_str(data)? };
    Ok(Some((name, data)))
}

/// The text of an error that is an answer of its own.
fn failure(body: &[u8]) -> Option<String> {
    message(&serde_json::from_slice(body).ok()?).map(str::to_owned)
}

fn message(body: &Value) -> Option<&str> {
    body["error"]["message"].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_off_whole_and_in_order() {
        let mut text = b": keep-alive\n\nevent: heard\ndata: {\"transcript\":\"a\"}\n\nevent: pict".to_vec();
        assert_eq!(next_event(&mut text).unwrap(), Some((String::new(), Value::Null)));
        let (name, data) = next_event(&mut text).unwrap().unwrap();
        assert_eq!((name.as_str(), &data["transcript"]), ("heard", &"a".into()));
        assert_eq!(next_event(&mut text).unwrap(), None);
        assert_eq!(text, b"event: pict");
    }

    #[test]
    fn a_form_has_its_parts_between_a_boundary_that_is_in_none_of_them() {
        let mut form = Form::default();
        form.text("command", "luo vene");
        form.file("picture", b"--a\r\n".to_vec());
        let (boundary, body) = form.written();
        let body = String::from_utf8(body).unwrap();
        let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
        assert_eq!(parts.len(), 4);
        assert_eq!(parts[1], "\r\ncontent-disposition: form-data; name=\"command\"\r\n\r\nluo vene\r\n");
        assert!(parts[2].ends_with("filename=\"file\"\r\n\r\n--a\r\n\r\n") && parts[3] == "--\r\n");
    }
}
