//! The whole service against a fake host: one binary, so that there is one link step.

mod errors;
mod fake;
mod listening;
mod pages;
mod transcriptions;
