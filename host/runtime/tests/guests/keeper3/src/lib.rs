//! A handler of `wasi:http` 0.3 that keeps things, as its request's body tells it line by line.

wit_bindgen::generate!({ path: "../../../../../wit", world: "atelier:host/handler", generate_all });

#[path = "../../keeper2/src/acts.rs"]
mod acts;

use exports::wasi::http0_3_0::handler::Guest;
use wasi::http0_3_0::types::{ErrorCode, Fields, Request, Response};

struct Keeper;

impl Guest for Keeper {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (_done, outcome) = wit_future::new(|| Ok(()));
        let (stream, _trailers) = Request::consume_body(request, outcome);
        let body = stream.collect().await;
        let (mut writer, contents) = wit_stream::new();
        let (trailers, no_trailers) = wit_future::new(|| Ok(None));
        let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
        wit_bindgen::spawn_local(async move {
            writer.write_all(acts::act(&String::from_utf8_lossy(&body)).into_bytes()).await;
            drop(trailers);
        });
        Ok(response)
    }
}

export!(Keeper);
