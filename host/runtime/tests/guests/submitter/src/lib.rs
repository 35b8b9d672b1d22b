//! A handler that submits background jobs and says nothing of how they are worked off: it must not load.

wit_bindgen::generate!({ path: "../../../../../wit", world: "atelier:host/handler", generate_all });

use exports::wasi::http0_3_0::handler::Guest;
use wasi::http0_3_0::types::{ErrorCode, Request, Response};

struct Submitter;

impl Guest for Submitter {
    async fn handle(_: Request) -> Result<Response, ErrorCode> {
        let submitted = atelier::host::jobs::submit(Vec::new()).await;
        Err(ErrorCode::InternalError(Some(format!("{submitted:?}"))))
    }
}

export!(Submitter);
