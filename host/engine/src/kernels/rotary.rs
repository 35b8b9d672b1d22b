//! Rotary position embedding (arXiv 2104.09864): queries and keys are turned by angles that their positions give, so
//! that a score depends on where two tokens stand to each other.

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::contiguous;

/// The angles of one sequence of tokens.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// (tokens, width of a head / 2), and the sines alike.
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    /// Tokens stand at `positions`, one number for each axis; `axes` says how many values of a head belong to each axis,
    /// all of them even. The slowest value turns once in `2 pi theta` positions.
    /// Angles are computed in f64, as diffusers does for FLUX.
    pub fn new<const AXES: usize>(
        positions: &[[f64; AXES]],
        axes: [usize; AXES],
        theta: f64,
        device: &Device,
    ) -> Result<Self> {
        let frequencies: Vec<(usize, f64)> = axes
            .into_iter()
            .enumerate()
            .flat_map(|(axis, width)| {
                let frequency = move |pair| theta.powf((2 * pair) as f64 / width as f64).recip();
                (0..width / 2).map(move |pair| (axis, frequency(pair)))
            })
            .collect();
        let table = |of: fn(f64) -> f64| {
            let row = |position: &[f64; AXES]| {
                let angles = frequencies.iter().map(|(axis, frequency)| position[*axis] * frequency);
                angles.map(|angle| of(angle) as f32).collect::<Vec<_>>()
            };
            let values: Vec<f32> = positions.iter().flat_map(row).collect();
            Tensor::from_vec(values, (positions.len(), frequencies.len()), device)
        };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }

    /// Turns neighbouring pairs of each head: (b, tokens, heads * width) keeps its shape.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() && x.dtype() == DType::F32 {
            return x.contiguous()?.apply_op3_no_bwd(&self.cos, &self.sin, &Turn);
        }
        self.by_tensors(x)
    }

    /// By tensor operations; for devices without a kernel, and the kernel's reference.
    fn by_tensors(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = x.dims3()?;
        let half = self.cos.dim(1)?;
        let pairs = x.reshape((batch, tokens, width / (2 * half), half, 2))?;
        let (real, imaginary) = (pairs.narrow(4, 0, 1)?.squeeze(4)?, pairs.narrow(4, 1, 1)?.squeeze(4)?);
        let (cos, sin) = (self.cos.unsqueeze(1)?, self.sin.unsqueeze(1)?); // (tokens, 1, half)
        let turned = [
            (real.broadcast_mul(&cos)? - imaginary.broadcast_mul(&sin)?)?,
            (imaginary.broadcast_mul(&cos)? + real.broadcast_mul(&sin)?)?,
        ];
        Tensor::stack(&turned, 4)?.reshape((batch, tokens, width))
    }
}

/// The kernel: one pass, a token at a time.
struct Turn;

impl CustomOp3 for Turn {
    fn name(&self) -> &'static str {
        "rotary-embedding"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        cos: &CpuStorage,
        cos_layout: &Layout,
        sin: &CpuStorage,
        sin_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, tokens, width) = layout.shape().dims3()?;
        let (angles, half) = cos_layout.shape().dims2()?;
        if angles != tokens || half == 0 || width == 0 || !width.is_multiple_of(2 * half) {
            candle_core::bail!("rotation of {:?} by angles {:?}", layout.shape(), cos_layout.shape());
        }
        let x = contiguous(x, layout)?;
        let (cos, sin) = (contiguous(cos, cos_layout)?, contiguous(sin, sin_layout)?);
        let mut out = vec![0.0f32; x.len()];
        let rows = out.par_chunks_exact_mut(width).zip(x.par_chunks_exact(width));
        rows.enumerate().for_each(|(row, (out, x))| {
            let own = row % tokens * half..(row % tokens + 1) * half;
            let (cos, sin) = (&cos[own.clone()], &sin[own]);
            for (out, x) in out.chunks_exact_mut(2 * half).zip(x.chunks_exact(2 * half)) {
                let pairs = out.as_chunks_mut::<2>().0.iter_mut().zip(x.as_chunks::<2>().0);
                for ((out, [real, imaginary]), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
                    *out = [real * cos - imaginary * sin, imaginary * cos + real * sin];
                }
            }
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, ramp};

    #[test]
    fn the_kernel_turns_as_the_tensor_operations_do() {
        let positions: Vec<[f64; 2]> =
            (0..6).map(|token| [f64::from(token), f64::from(token * token)]).collect();
        let rotation = Rotation::new(&positions, [4, 6], 10_000.0, &Device::Cpu).unwrap();
        let x = ramp((2, 6, 30), 1);
        assert_close(&rotation.apply(&x).unwrap(), &rotation.by_tensors(&x).unwrap(), 1e-6);
        assert!(rotation.apply(&ramp((2, 5, 30), 1)).is_err());
        assert!(rotation.apply(&ramp((2, 6, 25), 1)).is_err());
    }

    #[test]
    fn a_token_at_the_origin_stays_and_others_turn_pair_by_pair() {
        let rotation = Rotation::new(&[[0.0], [1.0]], [2], 10_000.0, &Device::Cpu).unwrap();
        let x = Tensor::new(&[[[3.0f32, 4.0], [1.0, 0.0]]], &Device::Cpu).unwrap();
        let expected = [[[3.0, 4.0], [1f32.cos(), 1f32.sin()]]];
        let expected = Tensor::new(&expected, &Device::Cpu).unwrap();
        assert_close(&rotation.apply(&x).unwrap(), &expected, 1e-6);
    }
}
