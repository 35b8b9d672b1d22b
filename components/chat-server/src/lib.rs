//! Audio to text, and pictures with streamed progress: a drop-in for the service of that name, with its paths, fields,
//! defaults and FastAPI's error shape, and a few documented extensions.
//!
//! A recording goes `api` → `decode`. A wish for a picture goes `api` → `request` (parse) → `draw` (model, picture, job) →
//! `told` (the events). `models` knows which granted model each of the service's names stands for. Everything is written
//! against the traits of `atelier_kit` and tested natively with a fake; `glue` joins it to the real ones. Nothing here holds
//! samples or pixels, opens sockets or keeps state between requests.

pub mod api;
mod decode;
mod draw;
mod models;
mod openapi;
mod request;
mod told;

#[cfg(target_arch = "wasm32")]
mod glue;
