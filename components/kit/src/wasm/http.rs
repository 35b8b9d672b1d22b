//! `wasi:http` 0.3 requests to plain ones and back. Bodies are read with a limit and written by a task of their own.

use futures::channel::mpsc;
use futures::future::{self, Either};
use futures::{Future, StreamExt};

use crate::bindings::wasi::http0_3_0::types::{
    ErrorCode, Fields, Method, Request as Incoming, Response as Outgoing,
};
use crate::bindings::{wit_future, wit_stream};
use crate::http::{BodyError, BodyWriter, Headers, Producer, Reply, Request, Response};

/// Bytes asked for in one read of a body.
const READ_BYTES: usize = 64 << 10;

/// Chunks of a streamed answer that may wait for a slow client.
const CHUNKS_WAITING: usize = 8;

/// Answers one request: reads it, lets `handle` work on it, and writes what comes out. A body over `max_body_bytes`
/// reaches `handle` as an error instead of bytes.
pub async fn serve<F: Future<Output = Reply>>(
    incoming: Incoming,
    max_body_bytes: usize,
    handle: impl FnOnce(Result<Request, BodyError>) -> F,
) -> Result<Outgoing, ErrorCode> {
    let is_head = matches!(incoming.get_method(), Method::Head);
    match handle(read(incoming, max_body_bytes).await).await {
        Reply::Whole(response) if is_head => bodiless(&response),
        Reply::Whole(response) => whole(response),
        Reply::Stream(head, producer) => streamed(&head, producer),
    }
}

/// Reads head and body. The path is as the host hands it over, with the route's prefix taken off.
async fn read(incoming: Incoming, max_bytes: usize) -> Result<Request, BodyError> {
    let target = incoming.get_path_with_query().unwrap_or_default();
    let (path, query) =
        target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
    let mut request = Request {
        method: method_name(&incoming.get_method()),
        path: if path.is_empty() { "/".into() } else { path.to_owned() },
        query: query.map(str::to_owned),
        authority: incoming.get_authority(),
        headers: headers(&incoming.get_headers()),
        body: Vec::new(),
    };
    request.body = read_body(incoming, max_bytes).await?;
    Ok(request)
}

/// The body, if it came whole: a connection that breaks shows in the trailers, not in the stream.
async fn read_body(incoming: Incoming, max_bytes: usize) -> Result<Vec<u8>, BodyError> {
    let (done, outcome) = wit_future::new(|| Ok(()));
    let (stream, trailers) = Incoming::consume_body(incoming, outcome);
    let body = read_stream(stream, max_bytes).await?;
    drop(done);
    trailers.await.map(|_| body).map_err(|_| BodyError::Incomplete)
}

/// Reads a stream to its end, or up to the limit.
pub(super) async fn read_stream(
    mut stream: wit_bindgen::StreamReader<u8>,
    max_bytes: usize,
) -> Result<Vec<u8>, BodyError> {
    use wit_bindgen::StreamResult::{Cancelled, Complete, Dropped};
    let mut body = Vec::new();
    loop {
        let (result, chunk) = stream.read(Vec::with_capacity(READ_BYTES)).await;
        body.extend_from_slice(&chunk);
        // after each read, so that at most one read is held beyond the limit
        if body.len() > max_bytes {
            return Err(BodyError::TooLarge);
        }
        match result {
            Complete(_) => {}
            Dropped | Cancelled => return Ok(body),
        }
    }
}

fn method_name(method: &Method) -> String {
    let name = match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    };
    name.to_ascii_uppercase()
}

/// Values that are not UTF-8 are left out: no handler reads such a header.
fn headers(fields: &Fields) -> Headers {
    let pairs = fields.copy_all().into_iter();
    pairs.filter_map(|(name, value)| Some((name, String::from_utf8(value).ok()?))).collect()
}

fn fields(headers: &Headers) -> Result<Fields, ErrorCode> {
    let entries: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect();
    Fields::from_list(&entries)
        .map_err(|error| ErrorCode::InternalError(Some(format!("response headers: {error}"))))
}

fn whole(response: Response) -> Result<Outgoing, ErrorCode> {
    let head = with_length(&response);
    outgoing(&head, Box::new(|writer| Box::pin(send(writer, response.body))))
}

/// The answer to a HEAD request: the length that a GET would give, and no bytes.
fn bodiless(response: &Response) -> Result<Outgoing, ErrorCode> {
    outgoing(&with_length(response), Box::new(|_| Box::pin(future::ready(()))))
}

fn streamed(head: &Response, producer: Producer) -> Result<Outgoing, ErrorCode> {
    outgoing(head, producer)
}

/// The head alone, with the body's length as a header. A status that has no body must not give the length of none (RFC
/// 9110, section 8.6).
fn with_length(response: &Response) -> Response {
    let head = Response { status: response.status, headers: response.headers.clone(), body: Vec::new() };
    if matches!(response.status, 204 | 304) {
        return head;
    }
    head.with("content-length", &response.body.len().to_string())
}

async fn send(mut writer: BodyWriter, body: Vec<u8>) {
    // the client may have gone: then there is nobody to tell
    let _ = futures::SinkExt::send(&mut writer, body).await;
}

/// Makes the response and starts the task that writes its body.
fn outgoing(head: &Response, producer: Producer) -> Result<Outgoing, ErrorCode> {
    let (body, contents) = wit_stream::new::<u8>();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Outgoing::new(fields(&head.headers)?, Some(contents), no_trailers);
    if response.set_status_code(head.status).is_err() {
        return Err(ErrorCode::InternalError(Some(format!("status {} is no HTTP status", head.status))));
    }
    wit_bindgen::spawn_local(async move {
        write(body, producer).await;
        drop(trailers);
    });
    Ok(response)
}

/// Moves chunks from the producer to the client until one of them ends. When the client goes first, the producer is
/// dropped, and with it the job that it waits for.
async fn write(mut body: wit_bindgen::StreamWriter<u8>, producer: Producer) {
    let (writer, mut chunks) = mpsc::channel::<Vec<u8>>(CHUNKS_WAITING);
    let pump = std::pin::pin!(async {
        while let Some(chunk) = chunks.next().await {
            if !body.write_all(chunk).await.is_empty() {
                return;
            }
        }
    });
    if let Either::Right((_, rest)) = future::select(pump, producer(writer)).await {
        rest.await;
    }
}
