//! The whole service against a fake host: one binary, so that there is one link step.

mod accounts;
mod backend;
mod channel;
mod commands;
mod errors;
mod fake;
mod gallery;
mod modes;
mod pages;
mod relay;
