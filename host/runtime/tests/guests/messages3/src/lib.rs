//! What a `wasi:http` 0.3 handler may do with a request and a response, one behaviour per path.

use std::time::Duration;

use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wasip3::wit_bindgen::{self, StreamResult};
use wasip3::{clocks::monotonic_clock, wit_future, wit_stream};

wasip3::http::service::export!(Messages);

struct Messages;

impl wasip3::exports::http::handler::Guest for Messages {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let (name, value) = path.trim_start_matches('/').split_once('/').unwrap_or((&path[1..], ""));
        Ok(match name {
            "echo" => echo(request),
            "double" => double(request),
            "trailers" => trailers(request).await,
            "middleware" => return middleware(request).await,
            "unread" => {
                drop(request);
                text(200, "read nothing")
            }
            "half-read" => half_read(request).await,
            "after" => after(),
            "forbidden" => text(200, &forbidden(&request)),
            "status" => without_body(value.parse().unwrap()),
            "status-with-body" => text(value.parse().unwrap(), "a body"),
            "long-head" => long_head(value.parse().unwrap()),
            "length" => with_length(value),
            "no-trailers-ever" => leaking(),
            "error" => return Err(ErrorCode::InternalError(Some("on purpose".into()))),
            _ => text(200, &format!("{} {path}", shown(&request.get_method()))),
        })
    }
}

fn shown(method: &Method) -> String {
    format!("{method:?}")
}

fn with(fields: Fields, body: Vec<u8>) -> Response {
    let (mut writer, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(fields, Some(contents), no_trailers);
    wit_bindgen::spawn_local(async move {
        writer.write_all(body).await;
        drop(trailers);
    });
    response
}

fn text(status: u16, text: &str) -> Response {
    let response = with(Fields::new(), text.into());
    if response.set_status_code(status).is_err() {
        return with(Fields::new(), format!("{status} is no status").into());
    }
    response
}

fn without_body(status: u16) -> Response {
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), None, no_trailers);
    match response.set_status_code(status) {
        Ok(()) => response,
        Err(()) => text(200, &format!("{status} is no status")),
    }
}

/// Hands the body on as it is, with its trailers: no byte of it enters the guest.
fn echo(request: Request) -> Response {
    let (_, outcome) = wit_future::new(|| Ok(()));
    let (contents, trailers) = Request::consume_body(request, outcome);
    Response::new(Fields::new(), Some(contents), trailers).0
}

/// Answers every piece twice, as soon as it comes.
fn double(request: Request) -> Response {
    let (_, outcome) = wit_future::new(|| Ok(()));
    let (mut incoming, _trailers) = Request::consume_body(request, outcome);
    let (mut writer, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
    wit_bindgen::spawn_local(async move {
        loop {
            let (result, piece) = incoming.read(Vec::with_capacity(16_384)).await;
            if !piece.is_empty() && !writer.write_all(piece.repeat(2)).await.is_empty() {
                break;
            }
            if !matches!(result, StreamResult::Complete(_)) {
                break;
            }
        }
        drop((writer, trailers));
    });
    response
}

async fn body(request: Request) -> (Vec<u8>, Result<Option<Fields>, ErrorCode>) {
    let (_, outcome) = wit_future::new(|| Ok(()));
    let (incoming, trailers) = Request::consume_body(request, outcome);
    (incoming.collect().await, trailers.await)
}

/// Answers with the request's trailers behind its own body, and one that says how long the body was.
async fn trailers(request: Request) -> Response {
    let (body, received) = body(request).await;
    let fields = Fields::new();
    for (name, value) in received.unwrap().map(|fields| fields.copy_all()).unwrap_or_default() {
        fields.append(&name, &value).unwrap();
    }
    fields.append("x-length", body.len().to_string().as_bytes()).unwrap();
    let (mut writer, contents) = wit_stream::new();
    let (sender, trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), Some(contents), trailers);
    wit_bindgen::spawn_local(async move {
        writer.write_all(b"see below".to_vec()).await;
        drop(writer);
        let _ = sender.write(Ok(Some(fields))).await;
    });
    response
}

/// Sends the request on to the server that `x-to` names, for `x-path`, and its answer back, with a word of its own in both heads.
async fn middleware(request: Request) -> Result<Response, ErrorCode> {
    let (headers, method) = (request.get_headers(), request.get_method());
    let to = headers.get("x-to").remove(0);
    let fields = Fields::new();
    for (name, value) in headers.copy_all().into_iter().filter(|(name, _)| name.starts_with("x-")) {
        fields.append(&name, &value).unwrap();
    }
    fields.append("x-via", b"out").unwrap();
    let (_, outcome) = wit_future::new(|| Ok(()));
    let (contents, trailers) = Request::consume_body(request, outcome);
    let (onward, _) = Request::new(fields, Some(contents), trailers, None);
    onward.set_method(&method).unwrap();
    onward.set_scheme(Some(&Scheme::Http)).unwrap();
    onward.set_authority(Some(&String::from_utf8(to).unwrap())).unwrap();
    let path = headers.get("x-path").pop().map(|path| String::from_utf8(path).unwrap());
    onward.set_path_with_query(path.as_deref()).unwrap();
    let answer = client::send(onward).await?;
    let (status, fields) = (answer.get_status_code(), answer.get_headers().clone());
    fields.append("x-via", b"back").unwrap();
    let (_, outcome) = wit_future::new(|| Ok(()));
    let (contents, trailers) = Response::consume_body(answer, outcome);
    let (response, _) = Response::new(fields, Some(contents), trailers);
    response.set_status_code(status).unwrap();
    Ok(response)
}

async fn half_read(request: Request) -> Response {
    let (_, outcome) = wit_future::new(|| Ok(()));
    let (mut incoming, _trailers) = Request::consume_body(request, outcome);
    let (_, piece) = incoming.read(Vec::with_capacity(1)).await;
    drop(incoming);
    text(200, &format!("read {}", piece.len()))
}

/// Goes on when the answer is complete.
fn after() -> Response {
    let response = with(Fields::new(), b"answered".to_vec());
    wit_bindgen::spawn_local(async {
        monotonic_clock::wait_for(Duration::from_millis(200).as_nanos() as u64).await;
        println!("worked on after the answer");
    });
    response
}

/// What becomes of headers that are the host's business, and of those that are not the guest's to change.
fn forbidden(request: &Request) -> String {
    let fields = Fields::new();
    let names = ["connection", "keep-alive", "transfer-encoding", "upgrade", "host", "proxy-authorization"];
    let mut told: Vec<String> =
        names.iter().map(|name| format!("{name} {:?}", fields.append(name, b"x").unwrap_err())).collect();
    told.push(format!("value {:?}", fields.append("x-a", b"a\r\nb: c").unwrap_err()));
    told.push(format!("name {:?}", fields.append("x a", b"a").unwrap_err()));
    told.push(format!("received {:?}", request.get_headers().append("x-a", b"a").unwrap_err()));
    told.join(", ")
}

/// So many headers of 1,000 bytes.
fn long_head(headers: usize) -> Response {
    let fields = Fields::new();
    for n in 0..headers {
        fields.append(&format!("x-{n}"), &vec![b'x'; 1_000]).unwrap();
    }
    with(fields, b"long".to_vec())
}

/// `announced/sent`.
fn with_length(lengths: &str) -> Response {
    let (announced, sent) = lengths.split_once('/').unwrap();
    let fields = Fields::new();
    fields.append("content-length", announced.as_bytes()).unwrap();
    with(fields, vec![b'x'; sent.parse().unwrap()])
}

/// Never ends its body: the guest forgets the end of the stream in its hands.
fn leaking() -> Response {
    let (mut writer, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
    wit_bindgen::spawn_local(async move {
        writer.write_all(b"all there is".to_vec()).await;
        std::mem::forget((writer, trailers));
    });
    response
}
