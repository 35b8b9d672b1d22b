//! Pointwise activations and the gated unit of the transformer's feed-forward.
//!
//! On the CPU, SiLU, both forms of GELU and the gated unit are one pass over the memory on all threads; the rest is candle's.

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::contiguous;
use super::math::{gelu, gelu_tanh, silu, vectorized};

/// An activation by the name that configurations use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `x * Phi(x)` with the error function, not the tanh approximation.
    Gelu,
    /// GELU by the tanh approximation, of T5 and FLUX.
    GeluTanh,
    /// `x * sigmoid(1.702 x)`, of OpenAI's CLIP.
    QuickGelu,
}

impl Activation {
    /// The activation of that name in diffusers and transformers.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "relu" => Some(Self::Relu),
            "silu" | "swish" => Some(Self::Silu),
            "gelu" => Some(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Some(Self::GeluTanh),
            "quick_gelu" => Some(Self::QuickGelu),
            _ => None,
        }
    }

    /// Applies it to every value.
    /// ReLU and quick GELU are left to candle: the first is bound by memory, the second is the text encoder's alone.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Relu => x.relu(),
            Self::Silu if has_kernel(x) => x.contiguous()?.apply_op1_no_bwd(&Pointwise(silu_all)),
            Self::Silu => x.silu(),
            Self::Gelu if has_kernel(x) => x.contiguous()?.apply_op1_no_bwd(&Pointwise(gelu_all)),
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh if has_kernel(x) => x.contiguous()?.apply_op1_no_bwd(&Pointwise(gelu_tanh_all)),
            // candle's own is this approximation
            Self::GeluTanh => x.gelu(),
            Self::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
        }
    }
}

/// `value * gelu(gate)`, where the last dimension holds value and gate side by side (arXiv 2002.05202, GEGLU).
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    if has_kernel(x) { x.contiguous()?.apply_op1_no_bwd(&Geglu) } else { plain_geglu(x) }
}

/// By tensor operations; for devices without a kernel, and the kernel's reference.
fn plain_geglu(x: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let value = x.narrow(D::Minus1, 0, half)?;
    let gate = x.narrow(D::Minus1, half, half)?.contiguous()?;
    value * gate.gelu_erf()?
}

/// The kernels read plain slices of f32 in main memory.
fn has_kernel(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

vectorized! {
    fn silu_all(out: &mut [f32], x: &[f32]) {
        out.iter_mut().zip(x).for_each(|(out, x)| *out = silu(*x));
    }
}

vectorized! {
    fn gelu_all(out: &mut [f32], x: &[f32]) {
        out.iter_mut().zip(x).for_each(|(out, x)| *out = gelu(*x));
    }
}

vectorized! {
    fn gelu_tanh_all(out: &mut [f32], x: &[f32]) {
        out.iter_mut().zip(x).for_each(|(out, x)| *out = gelu_tanh(*x));
    }
}

vectorized! {
    fn gate_all(out: &mut [f32], value: &[f32], gate: &[f32]) {
        out.iter_mut().zip(value).zip(gate).for_each(|((out, value), gate)| *out = value * gelu(*gate));
    }
}

/// Values that one thread takes at a time.
/// Large enough that handing a piece out costs little, small enough to stay in the second-level cache.
const PIECE: usize = 1 << 14;

/// A function of each value alone, over slices of one length.
struct Pointwise(fn(&mut [f32], &[f32]));

impl CustomOp1 for Pointwise {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous(x, layout)?;
        let mut out = vec![0.0f32; x.len()];
        out.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(out, x)| (self.0)(out, x));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

/// (..., 2 * width) to (..., width), without the two copies that taking halves of a tensor would make.
struct Geglu;

impl CustomOp1 for Geglu {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous(x, layout)?;
        let mut dims = layout.shape().dims().to_vec();
        let Some(last) = dims.last_mut().filter(|last| last.is_multiple_of(2) && **last > 0) else {
            candle_core::bail!("geglu of {:?}: the last dimension holds two halves", layout.shape());
        };
        let half = *last / 2;
        *last = half;
        let mut out = vec![0.0f32; x.len() / 2];
        out.par_chunks_exact_mut(half).zip(x.par_chunks_exact(2 * half)).for_each(|(out, x)| {
            let (value, gate) = x.split_at(half);
            gate_all(out, value, gate);
        });
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, ramp};

    #[test]
    fn gelu_is_the_error_function_form() {
        // torch.nn.functional.gelu of these values
        let x = Tensor::new(&[-2.0f32, -0.5, 0.0, 1.0, 3.0], &candle_core::Device::Cpu).unwrap();
        let known =
            Tensor::new(&[-0.045_500_26f32, -0.154_268_77, 0.0, 0.841_344_8, 2.995_950_2], x.device())
                .unwrap();
        assert_close(&Activation::Gelu.forward(&x).unwrap(), &known, 1e-6);
    }

    #[test]
    fn the_tanh_form_of_gelu_is_that_of_torch() {
        // torch.nn.functional.gelu(x, approximate="tanh")
        let x = Tensor::new(&[-2.0f32, -0.5, 0.0, 1.0, 3.0], &candle_core::Device::Cpu).unwrap();
        let known =
            Tensor::new(&[-0.045_402_29f32, -0.154_286, 0.0, 0.841_192, 2.996_362_7], x.device()).unwrap();
        assert_close(&Activation::GeluTanh.forward(&x).unwrap(), &known, 1e-6);
    }

    #[test]
    fn geglu_gates_the_first_half_by_the_second() {
        let x = ramp((2, 3, 8), 1);
        assert_close(&geglu(&x).unwrap(), &plain_geglu(&x).unwrap(), 1e-6);
        assert!(geglu(&ramp((2, 3), 1)).is_err());
    }
}
