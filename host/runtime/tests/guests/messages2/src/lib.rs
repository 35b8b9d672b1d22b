//! What a `wasi:http` 0.2 handler may do with a request and a response, one behaviour per path.

use std::io::{Read, Write};

use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

wasip2::http::proxy::export!(Messages);

struct Messages;

impl wasip2::exports::http::incoming_handler::Guest for Messages {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (name, value) = path.trim_start_matches('/').split_once('/').unwrap_or((&path[1..], ""));
        match name {
            "echo" => echo(&request, answer),
            "trailers" => trailers(&request, answer),
            "unread" => {
                drop(request);
                text(answer, 200, "read nothing");
            }
            "half-read" => half_read(request, answer),
            "after" => after(answer),
            "forbidden" => text(answer, 200, &forbidden(&request)),
            "status" => status(answer, value.parse().unwrap()),
            "status-with-body" => text(answer, value.parse().unwrap(), "a body"),
            "length" => with_length(answer, value),
            "twice" => twice(answer),
            "body-twice" => body_twice(answer),
            "dropped" => drop(answer),
            "error" => {
                ResponseOutparam::set(answer, Err(ErrorCode::InternalError(Some("on purpose".into()))))
            }
            "unfinished" => unfinished(answer),
            _ => text(answer, 200, &format!("{:?} {path}", request.method())),
        }
    }
}

fn send(body: OutgoingBody, bytes: &[u8]) {
    let mut stream = body.write().unwrap();
    // whoever asked may be gone
    let _ = stream.write_all(bytes);
    let _ = stream.flush();
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn text(answer: ResponseOutparam, status: u16, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let known = response.set_status_code(status).is_ok();
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let refused = format!("{status} is no status");
    send(body, if known { text } else { &refused }.as_bytes());
}

fn status(answer: ResponseOutparam, status: u16) {
    let response = OutgoingResponse::new(Fields::new());
    if response.set_status_code(status).is_err() {
        return text(answer, 200, &format!("{status} is no status"));
    }
    ResponseOutparam::set(answer, Ok(response));
}

/// Answers what comes while it comes.
fn echo(request: &IncomingRequest, answer: ResponseOutparam) {
    let incoming = request.consume().unwrap();
    let response = OutgoingResponse::new(Fields::new());
    let outgoing = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let (mut input, mut output) = (incoming.stream().unwrap(), outgoing.write().unwrap());
    std::io::copy(&mut input, &mut output).unwrap();
    output.flush().unwrap();
    drop((input, output));
    OutgoingBody::finish(outgoing, None).unwrap();
}

/// Answers with the request's trailers behind its own body, and one that says how long the body was.
fn trailers(request: &IncomingRequest, answer: ResponseOutparam) {
    let incoming = request.consume().unwrap();
    let mut body = Vec::new();
    incoming.stream().unwrap().read_to_end(&mut body).unwrap();
    let received = IncomingBody::finish(incoming);
    received.subscribe().block();
    let fields = Fields::new();
    let received = received.get().unwrap().unwrap().unwrap();
    for (name, value) in received.map(|fields| fields.entries()).unwrap_or_default() {
        fields.append(&name, &value).unwrap();
    }
    fields.append("x-length", body.len().to_string().as_bytes()).unwrap();
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let mut stream = body.write().unwrap();
    stream.write_all(b"see below").unwrap();
    stream.flush().unwrap();
    drop(stream);
    OutgoingBody::finish(body, Some(fields)).unwrap();
}

fn half_read(request: IncomingRequest, answer: ResponseOutparam) {
    let incoming = request.consume().unwrap();
    let mut stream = incoming.stream().unwrap();
    let read = Read::read(&mut stream, &mut [0]).unwrap();
    drop(stream);
    drop((incoming, request));
    text(answer, 200, &format!("read {read}"));
}

/// Goes on when the answer is complete.
fn after(answer: ResponseOutparam) {
    text(answer, 200, "answered");
    std::thread::sleep(std::time::Duration::from_millis(200));
    println!("worked on after the answer");
}

/// What becomes of headers that are the host's business, and of those that are not the guest's to change.
fn forbidden(request: &IncomingRequest) -> String {
    let fields = Fields::new();
    let names = ["connection", "keep-alive", "transfer-encoding", "upgrade", "host", "proxy-authorization"];
    let mut told: Vec<String> =
        names.iter().map(|name| format!("{name} {:?}", fields.append(name, b"x").unwrap_err())).collect();
    told.push(format!("value {:?}", fields.append("x-a", b"a\r\nb: c").unwrap_err()));
    told.push(format!("name {:?}", fields.append("x a", b"a").unwrap_err()));
    told.push(format!("received {:?}", request.headers().append("x-a", b"a").unwrap_err()));
    told.join(", ")
}

/// `announced/sent`.
fn with_length(answer: ResponseOutparam, lengths: &str) {
    let (announced, sent) = lengths.split_once('/').unwrap();
    let fields = Fields::new();
    fields.append("content-length", announced.as_bytes()).unwrap();
    let response = OutgoingResponse::new(fields);
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    send(body, &vec![b'x'; sent.parse().unwrap()]);
}

/// Sets the response, and then once more by the handle that it has given away.
fn twice(answer: ResponseOutparam) {
    let handle = answer.handle();
    text(answer, 200, "first");
    // long enough for the answer to be taken
    std::thread::sleep(std::time::Duration::from_millis(300));
    // SAFETY: only the host looks at the handle, and is to refuse it
    let again = unsafe { ResponseOutparam::from_handle(handle) };
    ResponseOutparam::set(again, Ok(OutgoingResponse::new(Fields::new())));
}

/// There is one body, and one stream into it.
fn body_twice(answer: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    let mut stream = body.write().unwrap();
    let told = format!("body {:?}, stream {:?}", response.body().err(), body.write().err());
    ResponseOutparam::set(answer, Ok(response));
    stream.write_all(told.as_bytes()).unwrap();
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

/// A head and some bytes, and no end.
fn unfinished(answer: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let mut stream = body.write().unwrap();
    stream.write_all(b"some").unwrap();
    stream.flush().unwrap();
    drop(stream);
    drop(body);
}
