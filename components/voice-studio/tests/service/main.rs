//! The whole service against a fake host: one binary, so that there is one link step.

mod accounts;
mod commands;
mod errors;
mod fake;
mod gallery;
mod modes;
mod pages;
