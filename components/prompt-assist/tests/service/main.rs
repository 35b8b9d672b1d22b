//! The whole service against a fake host: one binary, so that there is one link step.

mod enhancement;
mod errors;
mod events;
mod fake;
mod generation;
mod pages;
