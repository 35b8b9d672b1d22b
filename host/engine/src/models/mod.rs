//! The networks, each built from a component's `config.json` and its safetensors file, with the checkpoint's keys
//! visible in the `pp(..)` calls. Networks know tensors and nothing of prompts, schedules or jobs.

mod blocks;
pub mod clip;
mod config;
pub mod controlnet;
pub mod flux;
pub mod llama;
pub mod t5;
pub mod unet;
pub mod vae;
pub mod whisper;

pub use config::OneOrMany;
pub(crate) use config::same;
