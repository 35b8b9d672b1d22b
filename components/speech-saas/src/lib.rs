//! Speech to text, pictures in the style that a prompt asks for, and a history of them: a drop-in for the Flask backend of that
//! name, with its paths and what its README says of them.
//!
//! A request goes `api` → `rate` (may this client ask now?) → `transcribe`, or `generate` (`wish`, `clean`, `styles`, the job) →
//! `history` (what is known of pictures) and its container (the files). `cleanup` takes old ones away, `status` says how all of it
//! fares. Everything is written against the traits of `atelier_kit` and tested natively with a fake; `glue` joins it to the real
//! ones. What is kept lies in the host's storage, and nothing in this component's memory.

pub mod api;
mod clean;
mod cleanup;
mod failure;
mod generate;
mod history;
mod openapi;
mod rate;
mod settings;
mod status;
mod styles;
mod transcribe;
mod wish;

#[cfg(target_arch = "wasm32")]
mod glue;
