//! A plain `wasi:http` 0.3 handler, written for no host in particular.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_bindgen, wit_future, wit_stream};

wasip3::http::service::export!(Hello);

struct Hello;

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(_: Request) -> Result<Response, ErrorCode> {
        let (mut body, contents) = wit_stream::new();
        let (trailers, no_trailers) = wit_future::new(|| Ok(None));
        let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
        drop(trailers);
        wit_bindgen::spawn_local(async move {
            body.write_all(b"hello from 0.3".to_vec()).await;
        });
        Ok(response)
    }
}
