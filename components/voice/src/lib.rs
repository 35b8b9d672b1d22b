//! Speech over HTTP: transcriptions and translations as OpenAI's interface has them, and pictures by spoken commands.
//!
//! A recording to be written down goes `api` → `transcription` → `transcribe` (model, recording, job) → `written` (the
//! answer's form) or, as it comes, `told`. A command goes `api` → `listen`. Everything is written against the traits of
//! `atelier_kit` and tested natively with a fake; `glue` joins it to the real ones. Nothing here holds samples or pixels,
//! opens sockets or keeps state between requests.

pub mod api;
mod failure;
mod listen;
mod models;
mod openapi;
mod told;
mod transcribe;
mod transcription;
mod written;

#[cfg(target_arch = "wasm32")]
mod glue;
