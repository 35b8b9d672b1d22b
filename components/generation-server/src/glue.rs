//! The thin side that faces the host: the exports that hand requests to `api`, jobs to `work` and standings to `view`.
//!
//! Nothing is decided here: what can be tested natively is in those and below them.

#![allow(unsafe_code, missing_docs, reason = "the export macros generate it")]

use atelier_kit::bindings::background::exports::atelier::host::{job_runner, job_view};
use atelier_kit::bindings::exports::wasi::http0_3_0::handler::Guest;
use atelier_kit::bindings::wasi::http0_3_0::types::{ErrorCode, Request, Response};
use atelier_kit::wasm::{Granted, describe, serve, work};

use crate::{api, view};

struct GenerationServer;

impl Guest for GenerationServer {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        serve(request, api::BODY_LIMIT, |request| api::handle(Granted, request)).await
    }
}

impl job_runner::Guest for GenerationServer {
    async fn run(job: job_runner::Job) -> Result<Vec<u8>, job_runner::Failure> {
        work(job, |job| async move { crate::work::run(&Granted, job).await }).await
    }
}

impl job_view::Guest for GenerationServer {
    async fn describe(standing: job_view::Standing) -> Result<String, String> {
        describe(standing, |standing| async move { Ok(view::view(&standing)) }).await
    }
}

atelier_kit::bindings::export!(GenerationServer);
atelier_kit::bindings::background::export!(GenerationServer);
