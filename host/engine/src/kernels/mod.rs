//! Every operation whose speed matters: convolution, norms, linear layers, attention and activations. Models use
//! these and no others, so that a kernel can be replaced without touching a model. Each has a plain reference beside
//! it in its tests. Nothing here knows which model calls.
//!
//! Everything between the layers is f32. What a product multiplies is rounded to bf16 where the operator says so
//! ([`Precision`]); its sums are f32 all the same.
//!
//! Layouts: pictures and latents are (batch, channels, height, width); sequences are (batch, tokens, channels).

mod activation;
mod attention;
mod blocks;
mod conv;
mod conv1d;
mod embedding;
mod gemm;
mod layout;
mod linear;
mod low_rank;
mod math;
mod norm;
mod past;
mod rotary;
mod rows;

pub use activation::{Activation, geglu};
pub use attention::{Mask, attention, biased_attention};
pub use blocks::Blocks;
pub use conv::{Conv2d, Window};
pub use conv1d::Conv1d;
pub use embedding::Embedding;
pub use layout::{to_pixels, to_tokens, upsample_nearest};
pub use linear::Linear;
pub use norm::{GroupNorm, LayerNorm};
pub use past::{Heads, Past, Seen, attend_each, attention_to_past};
pub use rotary::{Pairs, Rotation, Turned};
pub use rows::{RmsNorm, modulated_norm};

use atelier_inference::Precision;
use candle_core::{CpuStorage, Device, Layout, Result};

/// Whether layers on this device have kernels of ours. These pack a picture piece by piece, where tensor operations unroll it
/// whole, and to a row of their input it is the same, to the bit, which others are beside it.
pub(crate) fn are_packed(device: &Device) -> bool {
    device.is_cpu() && gemm::is_available()
}

/// Whether this machine has kernels that multiply in bf16.
pub fn have_bf16() -> bool {
    gemm::has_pairs()
}

/// The values in order; callers make them contiguous first.
fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let values = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&values[from..to]),
        None => candle_core::bail!("this kernel needs contiguous values"),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Numbers and comparison for the kernels' tests.

    use candle_core::{DType, Device, Shape, Tensor};

    use super::Precision;

    /// Those that this machine computes in. Where it has no kernel for bf16, asking for it is refused before any layer is made.
    pub(crate) fn precisions() -> impl Iterator<Item = Precision> {
        std::iter::once(Precision::F32).chain(super::have_bf16().then_some(Precision::Bf16))
    }

    /// The values as a product in that precision sees them, in f32: the reference of a kernel is the plain operation on these.
    pub(crate) fn in_precision(x: &Tensor, precision: Precision) -> Tensor {
        match precision {
            Precision::F32 => x.clone(),
            Precision::Bf16 => x.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap(),
        }
    }

    /// Values between -1 and 1 that look random and are always the same.
    pub(crate) fn ramp(shape: impl Into<Shape>, seed: u32) -> Tensor {
        let shape = shape.into();
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let values: Vec<f32> = (0..shape.elem_count()).map(|_| next()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// Fails with the largest difference when it is over `tolerance`.
    #[track_caller]
    pub(crate) fn assert_close(left: &Tensor, right: &Tensor, tolerance: f32) {
        assert_eq!(left.dims(), right.dims());
        let difference = (left - right).unwrap().abs().unwrap().flatten_all().unwrap();
        let worst = difference.max(0).unwrap().to_scalar::<f32>().unwrap();
        assert!(worst <= tolerance, "largest difference {worst:e}, allowed {tolerance:e}");
    }
}
