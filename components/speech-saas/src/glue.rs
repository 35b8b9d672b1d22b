//! The thin side that faces the host: the export that hands every request to `api`.
//!
//! Nothing is decided here: what can be tested natively is in `api` and below it.

#![allow(unsafe_code, missing_docs, reason = "the export macro generates it")]

use atelier_kit::bindings::exports::wasi::http0_3_0::handler::Guest;
use atelier_kit::bindings::wasi::http0_3_0::types::{ErrorCode, Request, Response};
use atelier_kit::wasm::{Granted, serve};

use crate::api;

struct SpeechSaas;

impl Guest for SpeechSaas {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        serve(request, api::BODY_LIMIT, |request| api::handle(Granted, request)).await
    }
}

atelier_kit::bindings::export!(SpeechSaas);
