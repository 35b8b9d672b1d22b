//! Brings a finished picture to the size that was asked for: pixel art by whole blocks, everything else by a resampler
//! that keeps edges crisp without halos. Same size in, same picture out.
//!
//! `fit` decides, `pixel_art`, `soft_grid`, `resample` and `sharpen` do; none of them knows of handles or bindings.

mod fit;
mod picture;
mod pixel_art;
mod resample;
mod sharpen;
mod soft_grid;

#[cfg(target_arch = "wasm32")]
mod glue;

pub use fit::{TooLarge, fit};
pub use picture::Picture;
