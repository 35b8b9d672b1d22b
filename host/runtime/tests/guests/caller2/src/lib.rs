//! A handler of `wasi:http` 0.2 that calls the server which its request's query names, `authority` or
//! `authority&timeout in nanoseconds`, and answers with the status or the error.

use std::io::Write;

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, RequestOptions,
    ResponseOutparam, Scheme,
};

wasip2::http::proxy::export!(Handler);

struct Handler;

impl wasip2::exports::http::incoming_handler::Guest for Handler {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let target = path.split_once('?').map_or("", |(_, query)| query);
        let text = match call(target) {
            Ok(status) => status.to_string(),
            Err(error) => format!("{error:?}"),
        };
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().unwrap();
        ResponseOutparam::set(answer, Ok(response));
        let mut stream = body.write().unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        drop(stream);
        OutgoingBody::finish(body, None).unwrap();
    }
}

fn call(target: &str) -> Result<u16, ErrorCode> {
    let (authority, timeout) = match target.split_once('&') {
        Some((authority, timeout)) => (authority, Some(timeout.parse().unwrap())),
        None => (target, None),
    };
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(authority)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    request.set_path_with_query(Some("/")).unwrap();
    let options = RequestOptions::new();
    options.set_connect_timeout(timeout).unwrap();
    options.set_first_byte_timeout(timeout).unwrap();
    options.set_between_bytes_timeout(timeout).unwrap();
    let future = outgoing_handler::handle(request, Some(options))?;
    future.subscribe().block();
    let response = future.get().unwrap().unwrap()?;
    Ok(response.status())
}
