//! Text to image with prompt assist: a drop-in for the service of that name, with its endpoints, fields, defaults,
//! environment variables and error shape, and a few documented extensions.
//!
//! A request goes `api` → `request` (parse) → `plan` (model and size) → `enhance` → `draw` (job, finish, encode) →
//! `answer`. Everything is written against `atelier_kit::Host` and tested natively with a fake; `glue` joins it to
//! the real one. Nothing here holds pixels, opens sockets or keeps state between requests.

mod answer;
pub mod api;
mod draw;
mod enhance;
mod failure;
mod language;
mod openapi;
mod plan;
mod progress;
mod request;
mod settings;

#[cfg(target_arch = "wasm32")]
mod glue;
