//! A plain `wasi:http` 0.2 handler, written for no host in particular, and a hostile one by path.

use std::io::Write;

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Handler);

struct Handler;

impl wasip2::exports::http::incoming_handler::Guest for Handler {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        match request.path_with_query().unwrap_or_default().as_str() {
            "/spin" => loop {
                std::hint::black_box(0);
            },
            "/sleep" => std::thread::sleep(std::time::Duration::from_secs(3_600)),
            "/grow" => grow(),
            "/trap" => std::process::abort(),
            "/silent" => {}
            "/logs" => logs(),
            "/headers" => headers(),
            "/half" => half(answer),
            "/echo" => respond(answer, &seen(&request)),
            _ => respond(answer, "hello from 0.2"),
        }
    }
}

fn respond(answer: ResponseOutparam, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let mut stream = body.write().unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream.flush().unwrap();
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

/// Every header, as the component sees it.
fn seen(request: &IncomingRequest) -> String {
    let fields = request.headers().entries();
    fields.iter().map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value))).collect()
}

/// A head and a first chunk, then a trap.
fn half(answer: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let mut stream = body.write().unwrap();
    stream.write_all(b"first").unwrap();
    stream.flush().unwrap();
    std::process::abort();
}

fn grow() {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&kept);
    }
}

fn logs() {
    loop {
        println!("\u{1b}[31mflood");
    }
}

fn headers() {
    let fields = Fields::new();
    for n in 0.. {
        fields.append(&format!("x-{n}"), &vec![b'x'; 1_000]).unwrap();
    }
}
