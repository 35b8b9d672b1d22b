//! The thin side that faces the host: the exports that hand every request and every background job to `api`, and visitors who
//! stay connected to `channel`.
//!
//! Nothing is decided here: what can be tested natively is in `api` and below it.

#![allow(unsafe_code, missing_docs, reason = "the export macro generates it")]

use atelier_kit::bindings::atelier::host::jobs::Standing;
use atelier_kit::bindings::background::exports::atelier::host::job_runner::{self, Failure, Job};
use atelier_kit::bindings::background::exports::atelier::host::job_view;
use atelier_kit::bindings::channel::exports::atelier::host::channel_receiver::{
    Client, Event, Guest as Receiver, Peer, Welcome,
};
use atelier_kit::bindings::exports::wasi::http0_3_0::handler::Guest;
use atelier_kit::bindings::wasi::http0_3_0::types::{ErrorCode, Request, Response};
use atelier_kit::wasm::{Granted, describe, receive, serve, welcome, work};

use crate::{api, channel};

struct VoiceStudio;

impl Guest for VoiceStudio {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        serve(request, api::BODY_LIMIT, |request| api::handle(Granted, request)).await
    }
}

impl job_runner::Guest for VoiceStudio {
    async fn run(job: Job) -> Result<Vec<u8>, Failure> {
        work(job, |job| api::run(Granted, job)).await
    }
}

impl job_view::Guest for VoiceStudio {
    async fn describe(standing: Standing) -> Result<String, String> {
        describe(standing, |standing| async move { Ok(api::view(&standing)) }).await
    }
}

impl Receiver for VoiceStudio {
    async fn connect(client: Client) -> Result<Welcome, String> {
        welcome(client, |client| channel::welcome(Granted, client)).await
    }

    async fn receive(peer: Peer, event: Event) -> Result<Option<String>, String> {
        receive(peer, event, |peer, event| channel::receive(Granted, peer, event)).await
    }

    async fn disconnect(_: Peer) {
        // a visitor who is gone left nothing behind
    }
}

atelier_kit::bindings::export!(VoiceStudio);
atelier_kit::bindings::background::export!(VoiceStudio);
atelier_kit::bindings::channel::export!(VoiceStudio);
