//! A studio in the browser: pictures are made, changed and taken back by voice or in writing, and kept in a gallery.
//!
//! A command goes `api` → `command` (the form) → `studio` (hear, understand, draw, keep) → `progress` (events). Whose pictures
//! they are says `visitor` (a signed cookie, and what a visitor may do without an account) with `accounts`; `gallery` keeps
//! them. Everything is written against the traits of `atelier_kit` and tested natively with a fake; `glue` joins it to the real
//! ones. Nothing here opens sockets, holds pixels, or keeps state in its own memory between requests.

mod accounts;
pub mod api;
mod command;
mod failure;
mod gallery;
mod modes;
mod openapi;
mod page;
mod painter;
mod pictures;
mod progress;
mod settings;
mod studio;
mod time;
mod visitor;

#[cfg(target_arch = "wasm32")]
mod glue;
