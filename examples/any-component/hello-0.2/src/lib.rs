//! A `wasi:http` 0.2 handler written with the `wasi` crate alone: it knows nothing of Atelier.

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

impl Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("a new response has a body");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("a new body can be written");
        stream.blocking_write_and_flush(b"hello from wasi:http 0.2\n").expect("the host takes the body");
        drop(stream);
        OutgoingBody::finish(body, None).expect("the body ends");
    }
}

wasi::http::proxy::export!(Hello);
