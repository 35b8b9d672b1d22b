//! A handler that remembers: it counts its visits (`wasi:keyvalue`), keeps a note (`wasi:blobstore`) and tells the operator
//! (`wasi:logging`). It names a bucket and a container; whose they are is the host's affair.

wit_bindgen::generate!({ path: "../../wit", world: "atelier:host/handler", generate_all });

use exports::wasi::http0_3_0::handler::Guest;
use wasi::blobstore::blobstore::{container_exists, create_container, get_container};
use wasi::blobstore::container::Container;
use wasi::blobstore::types::{IncomingValue, OutgoingValue};
use wasi::http0_3_0::types::{ErrorCode, Fields, Method, Request, Response};
use wasi::io::streams::StreamError;
use wasi::keyvalue::atomics::increment;
use wasi::keyvalue::store;
use wasi::logging::logging::{Level, log};

const BUCKET: &str = "visits";
const CONTAINER: &str = "notes";
const NOTE: &str = "note.txt";
/// As much as `blocking-write-and-flush` takes at a time.
const PIECE: usize = 4_096;

struct Notebook;

impl Guest for Notebook {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let answer = match request.get_method() {
            Method::Put => keep_note(request).await.map(|()| "kept\n".to_owned()),
            _ => visit(),
        };
        Ok(match answer {
            Ok(text) => respond(200, text),
            // what the host says is safe to show: a quota, a limit, a grant that is missing
            Err(why) => respond(507, why + "\n"),
        })
    }
}

/// Counts the visit, and shows the note.
fn visit() -> Result<String, String> {
    let bucket = store::open(BUCKET).map_err(told)?;
    let visits = increment(&bucket, "visits", 1).map_err(told)?;
    let note = match container_exists(CONTAINER)? {
        true => get_container(CONTAINER).and_then(|container| read(&container))?,
        false => "nothing yet".to_owned(),
    };
    Ok(format!("visit {visits}; the note says: {note}\n"))
}

fn read(container: &Container) -> Result<String, String> {
    let value = container.get_data(NOTE, 0, u64::MAX)?;
    let bytes = IncomingValue::incoming_value_consume_sync(value)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Replaces the note. Until `finish` has returned, the old one is there.
async fn keep_note(request: Request) -> Result<(), String> {
    let (_done, outcome) = wit_future::new(|| Ok(()));
    let (body, _trailers) = Request::consume_body(request, outcome);
    let note = body.collect().await;
    let container = match container_exists(CONTAINER)? {
        true => get_container(CONTAINER)?,
        false => create_container(CONTAINER)?,
    };
    let value = OutgoingValue::new_outgoing_value();
    container.write_data(NOTE, &value)?;
    let stream = value.outgoing_value_write_body().map_err(|()| "the stream is taken")?;
    for piece in note.chunks(PIECE) {
        stream.blocking_write_and_flush(piece).map_err(failed)?;
    }
    drop(stream);
    OutgoingValue::finish(value)?;
    log(Level::Info, "notebook", &format!("a note of {} bytes", note.len()));
    Ok(())
}

fn failed(error: StreamError) -> String {
    match error {
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
        StreamError::Closed => "the note ended early".into(),
    }
}

fn told(error: store::Error) -> String {
    match error {
        store::Error::Other(text) => text,
        other => other.to_string(),
    }
}

fn respond(status: u16, text: String) -> Response {
    let (mut body, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(contents), no_trailers);
    // 200 and 507 are statuses
    let _ = response.set_status_code(status);
    wit_bindgen::spawn_local(async move {
        body.write_all(text.into_bytes()).await;
        drop(trailers);
    });
    response
}

export!(Notebook);
