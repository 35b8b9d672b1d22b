//! Diffusion models, Whisper and language models on candle; the first behind `atelier_inference::Engine`.
//!
//! Data flows one way: `files` (bytes of a diffusers folder) → `models` (text encoder, denoiser, VAE) and `schedule`
//! → `pipeline` (a job becomes a run that is stepped) → `engine` (the trait's implementation). `adapters` add to layers of
//! `models` for a run, `textual_inversion` adds words for good. Audio goes from `files` and `models/whisper` through
//! `transcribe`, and conversations through `models/llama` and `converse`; both are stepped as well. No candle type leaves this crate, and nothing here knows
//! HTTP, wasm or queues.

// hidden modules are public for this crate's own tests and benchmarks alone: they may change without notice
#[doc(hidden)]
pub mod adapters;
mod checkpoint;
#[doc(hidden)]
pub mod converse;
mod device;
mod engine;
mod error;
mod files;
#[doc(hidden)]
pub mod kernels;
#[doc(hidden)]
pub mod models;
pub mod noise;
#[doc(hidden)]
pub mod pipeline;
mod precision;
pub mod schedule;
#[doc(hidden)]
pub mod textual_inversion;
#[doc(hidden)]
pub mod tokenizer;
#[doc(hidden)]
pub mod transcribe;
#[doc(hidden)]
pub mod weights;

pub use checkpoint::PredictionType;
pub use checkpoint::convert::write_single_file;
pub use device::DeviceChoice;
pub use engine::{CandleEngine, Defaults, EngineConfig, Extras, ModelSpec};
pub use error::{Error, Result};
pub use files::ModelFiles;
pub use precision::PrecisionChoice;
