//! Pictures made in the background: a drop-in for the FastAPI generation server, with its paths, fields, defaults, states and places,
//! and what its README lists as future (webhooks, batches, priorities, known results) as documented extensions.
//!
//! A task goes `api` → `submit` (`wish` parses it, `models` says who draws, `inputs` keeps its picture) → the host's queue → `work`
//! → `drawing` → `placing`. How it stands is `view`'s to say, for `sessions` and for whoever reads the host's copies. Everything
//! is written against the traits of `atelier_kit` and tested natively with a fake; `glue` joins it to the real ones. Nothing here
//! holds pixels, opens sockets or keeps state between requests.

pub mod api;
mod batch;
mod drawing;
mod health;
mod inputs;
mod models;
mod openapi;
mod placing;
mod sessions;
mod settings;
mod submit;
mod task;
pub mod view;
mod wish;
pub mod work;

#[cfg(target_arch = "wasm32")]
mod glue;
