//! Norms of the transformers whose scale comes from elsewhere or that keep the mean: one pass over each row on the CPU,
//! tensor operations on other devices.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::contiguous;
use super::math::vectorized;
use super::norm::{moments, sum};
use crate::weights::Builder;

/// Divides by the root of the mean square over the last dimension (arXiv 1910.07467).
#[derive(Debug, Clone)]
pub struct RmsNorm {
    weight: Tensor,
    eps: f32,
}

impl RmsNorm {
    /// `width` is the last dimension.
    pub fn load(width: usize, eps: f64, builder: Builder) -> Result<Self> {
        Ok(Self { weight: builder.get(width, "weight")?, eps: eps as f32 })
    }

    /// With a number added to each weight: some files hold what a weight differs from one.
    pub fn load_offset(width: usize, eps: f64, offset: f64, builder: Builder) -> Result<Self> {
        let norm = Self::load(width, eps, builder)?;
        Ok(Self { weight: (norm.weight + offset)?, ..norm })
    }

    /// The shape is kept.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if has_kernel(x) {
            return x.contiguous()?.apply_op2_no_bwd(&self.weight, &RootMeanSquare { eps: self.eps });
        }
        let square = x.sqr()?.mean_keepdim(D::Minus1)?;
        x.broadcast_div(&(square + f64::from(self.eps))?.sqrt()?)?.broadcast_mul(&self.weight)
    }
}

/// Layer norm without weights of its own, then `x * (1 + scale) + shift` (adaLN, arXiv 2212.09748, 3.2).
/// `x` is (b, n, width), `scale` and `shift` are (b, width).
pub fn modulated_norm(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    if has_kernel(x) {
        let (scale, shift) = (scale.contiguous()?, shift.contiguous()?);
        return x.contiguous()?.apply_op3_no_bwd(&scale, &shift, &Modulated { eps: eps as f32 });
    }
    plain_modulated(x, scale, shift, eps)
}

/// By tensor operations; for devices without a kernel, and the kernel's reference.
fn plain_modulated(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    let normed = x.broadcast_div(&deviation)?;
    normed.broadcast_mul(&(scale.unsqueeze(1)? + 1.0)?)?.broadcast_add(&shift.unsqueeze(1)?)
}

/// The kernels read plain slices of f32 in main memory.
fn has_kernel(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// (..., width) and a weight (width).
struct RootMeanSquare {
    eps: f32,
}

impl CustomOp2 for RootMeanSquare {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (contiguous(x, layout)?, contiguous(weight, weight_layout)?);
        let width = weight.len().max(1);
        if layout.shape().dims().last() != Some(&width) {
            candle_core::bail!("rms norm of {:?} with a weight of {width}", layout.shape());
        }
        let mut out = vec![0.0f32; x.len()];
        out.par_chunks_exact_mut(width)
            .zip(x.par_chunks_exact(width))
            .for_each(|(out, x)| rms_row(out, x, weight, self.eps));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

vectorized! {
    fn rms_row(out: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
        let square = sum(x, |value| value * value) / x.len() as f32;
        let inverse = 1.0 / (square + eps).sqrt();
        out.iter_mut().zip(x).zip(weight).for_each(|((out, x), weight)| *out = x * inverse * weight);
    }
}

/// (b, n, width), with scale and shift (b, width).
struct Modulated {
    eps: f32,
}

impl CustomOp3 for Modulated {
    fn name(&self) -> &'static str {
        "modulated-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        scale: &CpuStorage,
        scale_layout: &Layout,
        shift: &CpuStorage,
        shift_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, tokens, width) = layout.shape().dims3()?;
        let expected = [batch, width];
        if scale_layout.dims() != expected || shift_layout.dims() != expected || width == 0 {
            let (scale, shift) = (scale_layout.shape(), shift_layout.shape());
            candle_core::bail!("norm of {:?} modulated by {scale:?} and {shift:?}", layout.shape());
        }
        let x = contiguous(x, layout)?;
        let (scale, shift) = (contiguous(scale, scale_layout)?, contiguous(shift, shift_layout)?);
        let mut out = vec![0.0f32; x.len()];
        let rows = out.par_chunks_exact_mut(width).zip(x.par_chunks_exact(width));
        rows.enumerate().for_each(|(row, (out, x))| {
            let own = row / tokens * width..(row / tokens + 1) * width;
            modulated_row(out, x, &scale[own.clone()], &shift[own], self.eps);
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

vectorized! {
    fn modulated_row(out: &mut [f32], x: &[f32], scale: &[f32], shift: &[f32], eps: f32) {
        let (mean, variance) = moments(x);
        let inverse = 1.0 / (variance + eps).sqrt();
        for (((out, x), scale), shift) in out.iter_mut().zip(x).zip(scale).zip(shift) {
            *out = (x - mean) * inverse * (1.0 + scale) + shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, ramp};

    #[test]
    fn the_modulated_norm_equals_the_plain_one() {
        for (batch, tokens, width) in [(1, 5, 48), (3, 2, 7), (2, 4, 1500)] {
            let x = (ramp((batch, tokens, width), 1) * 20.0).unwrap();
            let (scale, shift) = (ramp((batch, width), 2), ramp((batch, width), 3));
            let expected = plain_modulated(&x, &scale, &shift, 1e-6).unwrap();
            assert_close(&modulated_norm(&x, &scale, &shift, 1e-6).unwrap(), &expected, 2e-6);
        }
    }

    #[test]
    fn the_root_mean_square_norm_is_that_of_torch() {
        // torch.nn.RMSNorm(4, eps=1e-6) of [1, 2, 3, 4] with the weights [1, 2, 0, -1]
        let device = candle_core::Device::Cpu;
        let norm = RmsNorm { weight: Tensor::new(&[1.0f32, 2.0, 0.0, -1.0], &device).unwrap(), eps: 1e-6 };
        let x = Tensor::new(&[[1.0f32, 2.0, 3.0, 4.0]], &device).unwrap();
        let expected = Tensor::new(&[[0.365_148_37f32, 1.460_593_5, 0.0, -1.460_593_5]], &device).unwrap();
        assert_close(&norm.forward(&x).unwrap(), &expected, 1e-6);
    }

    #[test]
    fn rows_of_another_width_are_an_error() {
        let norm = RmsNorm { weight: ramp(4, 1), eps: 1e-6 };
        assert!(norm.forward(&ramp((2, 5), 2)).is_err());
        assert!(modulated_norm(&ramp((2, 3, 4), 1), &ramp((1, 4), 2), &ramp((2, 4), 3), 1e-6).is_err());
    }
}
