//! A studio in the browser: pictures are made, changed and taken back by voice or in writing, and kept in a gallery.
//!
//! A command goes `api` → `command` (the form) → `studio` (hear, understand, draw, keep) → `progress` (events). The work is done
//! here (`hear`, `painter`) or by another of these servers (`relay`), which `workshop` decides; `backend` is that other server.
//! Whose pictures they are says `visitor` (a signed cookie, and what a visitor may do without an account) with `accounts` and their
//! `sessions`; `gallery` keeps them. Visitors who stay connected are in `channel`. Everything is written against the traits of `atelier_kit` and tested natively with a fake; `glue` joins it to the real
//! ones. Nothing here opens sockets, holds pixels, or keeps state in its own memory between requests.

mod accounts;
pub mod api;
mod backend;
pub mod channel;
mod command;
mod failure;
mod gallery;
mod hear;
mod modes;
mod openapi;
mod page;
mod painter;
mod pictures;
mod progress;
mod relay;
mod sessions;
mod settings;
mod studio;
mod visitor;
mod workshop;

#[cfg(target_arch = "wasm32")]
mod glue;
