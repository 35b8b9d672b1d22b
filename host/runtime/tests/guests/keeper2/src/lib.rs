//! A handler of `wasi:http` 0.2 that keeps things, as its request's body tells it line by line.

wit_bindgen::generate!({ path: "../../../../../wit", world: "atelier:host/proxy-handler", generate_all });

mod acts;

use exports::wasi::http0_2_12::incoming_handler::Guest;
use wasi::http0_2_12::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasi::io::streams::StreamError;

struct Keeper;

impl Guest for Keeper {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let text = acts::act(&String::from_utf8_lossy(&read(&request)));
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().unwrap();
        ResponseOutparam::set(answer, Ok(response));
        let stream = body.write().unwrap();
        for piece in text.as_bytes().chunks(4_096) {
            stream.blocking_write_and_flush(piece).unwrap();
        }
        drop(stream);
        OutgoingBody::finish(body, None).unwrap();
    }
}

fn read(request: &IncomingRequest) -> Vec<u8> {
    let body = request.consume().unwrap();
    let stream = body.stream().unwrap();
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(65_536) {
            Ok(piece) => bytes.extend(piece),
            Err(StreamError::Closed) => return bytes,
            Err(error) => panic!("{error:?}"),
        }
    }
}

export!(Keeper);
