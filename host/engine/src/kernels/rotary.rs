//! Rotary position embedding (arXiv 2104.09864): queries and keys are turned by angles that their positions give, so
//! that a score depends on where two tokens stand to each other.

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::contiguous;

/// Which values of a head are turned together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    /// Each with its neighbour, as in the paper.
    Neighbours,
    /// Each of the first half with its like in the second, as transformers lays out language models.
    Halves,
}

/// What of a head is turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turned {
    /// Two for each angle.
    pub pairs: Pairs,
    /// Width of a head; what is left after the pairs stays as it is.
    pub head: usize,
}

/// The angles of one sequence of tokens.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// (tokens, angles of a head), and the sines alike.
    cos: Tensor,
    sin: Tensor,
    turned: Turned,
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
        let turned = Turned { pairs: Pairs::Neighbours, head: axes.into_iter().sum() };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)?, turned })
    }

    /// `count` tokens stand one after another from `first` on; a pair turns by its frequency at each. `scale` lengthens all
    /// that is turned (arXiv 2402.13753 does so for texts longer than those of the training).
    pub fn of_text(
        first: usize,
        count: usize,
        frequencies: &[f64],
        scale: f64,
        turned: Turned,
        device: &Device,
    ) -> Result<Self> {
        let places: Vec<_> = (first..first + count).map(|at| (at, frequencies)).collect();
        Self::of_places(&places, scale, turned, device)
    }

    /// Each token stands somewhere else, in a text with frequencies of its own; all have as many. Otherwise as
    /// [`Rotation::of_text`], to the bit.
    pub fn of_places(
        places: &[(usize, &[f64])],
        scale: f64,
        turned: Turned,
        device: &Device,
    ) -> Result<Self> {
        let angles = places.first().map_or(0, |(_, frequencies)| frequencies.len());
        let table = |of: fn(f64) -> f64| {
            let row = |(at, frequencies): &(usize, &[f64])| {
                let at = *at as f64;
                frequencies.iter().map(|frequency| (of(at * frequency) * scale) as f32).collect::<Vec<_>>()
            };
            let values: Vec<f32> = places.iter().flat_map(row).collect();
            Tensor::from_vec(values, (places.len(), angles), device)
        };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)?, turned })
    }

    /// Turns the pairs of each head: (b, tokens, heads * width) keeps its shape.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() && x.dtype() == DType::F32 {
            return x.contiguous()?.apply_op3_no_bwd(&self.cos, &self.sin, &Turn(self.turned));
        }
        self.by_tensors(x)
    }

    /// By tensor operations; for devices without a kernel, and the kernel's reference.
    fn by_tensors(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = x.dims3()?;
        let (half, Turned { pairs, head }) = (self.cos.dim(1)?, self.turned);
        let heads = x.reshape((batch, tokens, width / head, head))?;
        let turned = heads.narrow(3, 0, 2 * half)?.contiguous()?;
        // the dimension of two, and that of the pairs
        let (shape, two) = match pairs {
            Pairs::Neighbours => ([half, 2], 4),
            Pairs::Halves => ([2, half], 3),
        };
        let parts = turned.reshape((batch, tokens, width / head, shape[0], shape[1]))?;
        let (real, imaginary) =
            (parts.narrow(two, 0, 1)?.squeeze(two)?, parts.narrow(two, 1, 1)?.squeeze(two)?);
        let (cos, sin) = (self.cos.unsqueeze(1)?, self.sin.unsqueeze(1)?); // (tokens, 1, half)
        let parts = [
            (real.broadcast_mul(&cos)? - imaginary.broadcast_mul(&sin)?)?,
            (imaginary.broadcast_mul(&cos)? + real.broadcast_mul(&sin)?)?,
        ];
        let turned = Tensor::stack(&parts, two)?.reshape(turned.shape())?;
        let rest = heads.narrow(3, 2 * half, head - 2 * half)?;
        Tensor::cat(&[turned, rest.contiguous()?], 3)?.reshape((batch, tokens, width))
    }
}

/// The kernel: one pass, a token at a time.
struct Turn(Turned);

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
        let Turned { pairs, head } = self.0;
        if angles != tokens || half == 0 || width == 0 || head < 2 * half || !width.is_multiple_of(head) {
            candle_core::bail!("rotation of {:?} by angles {:?}", layout.shape(), cos_layout.shape());
        }
        let x = contiguous(x, layout)?;
        let (cos, sin) = (contiguous(cos, cos_layout)?, contiguous(sin, sin_layout)?);
        let mut out = vec![0.0f32; x.len()];
        let rows = out.par_chunks_exact_mut(width).zip(x.par_chunks_exact(width));
        rows.enumerate().for_each(|(row, (out, x))| {
            let own = row % tokens * half..(row % tokens + 1) * half;
            let (cos, sin) = (&cos[own.clone()], &sin[own]);
            for (out, x) in out.chunks_exact_mut(head).zip(x.chunks_exact(head)) {
                match pairs {
                    Pairs::Neighbours => turn_neighbours(out, x, cos, sin),
                    Pairs::Halves => turn_halves(out, x, cos, sin),
                }
                out[2 * half..].copy_from_slice(&x[2 * half..]);
            }
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

fn turn_neighbours(out: &mut [f32], x: &[f32], cos: &[f32], sin: &[f32]) {
    let pairs = out.as_chunks_mut::<2>().0.iter_mut().zip(x.as_chunks::<2>().0);
    for ((out, [real, imaginary]), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
        *out = [real * cos - imaginary * sin, imaginary * cos + real * sin];
    }
}

fn turn_halves(out: &mut [f32], x: &[f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    let ((first, rest), (real, imaginary)) = (out.split_at_mut(half), x.split_at(half));
    let angles = || cos.iter().zip(sin);
    for (((out, real), imaginary), (cos, sin)) in first.iter_mut().zip(real).zip(imaginary).zip(angles()) {
        *out = real * cos - imaginary * sin;
    }
    for (((out, real), imaginary), (cos, sin)) in rest.iter_mut().zip(real).zip(imaginary).zip(angles()) {
        *out = imaginary * cos + real * sin;
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

    #[test]
    fn a_text_may_be_cut_anywhere_halves_are_pairs_and_the_rest_of_a_head_stays() {
        let (x, frequencies) = (ramp((1, 7, 20), 1), [1.0, 0.1]);
        for pairs in [Pairs::Halves, Pairs::Neighbours] {
            let turned = Turned { pairs, head: 5 };
            let of = |first, count| {
                let rotation =
                    Rotation::of_text(first, count, &frequencies, 1.5, turned, &Device::Cpu).unwrap();
                let x = x.narrow(1, first, count).unwrap();
                assert_close(&rotation.apply(&x).unwrap(), &rotation.by_tensors(&x).unwrap(), 1e-6);
                rotation.apply(&x).unwrap()
            };
            let whole = of(0, 7);
            assert_close(&of(3, 2), &whole.narrow(1, 3, 2).unwrap(), 0.0);
            let last = |x: &Tensor| x.narrow(2, 4, 1).unwrap();
            assert_close(&last(&whole), &last(&x), 0.0);
        }
        let turned = Turned { pairs: Pairs::Halves, head: 5 };
        let places = [(3, &frequencies[..]), (0, &[0.5, 0.2]), (6, &frequencies)];
        let apart = Rotation::of_places(&places, 1.5, turned, &Device::Cpu).unwrap();
        let rows = Tensor::cat(&[3, 1, 6].map(|at| x.narrow(1, at, 1).unwrap()), 1).unwrap();
        let alone = Rotation::of_text(6, 1, &frequencies, 1.5, turned, &Device::Cpu).unwrap();
        let last = apart.apply(&rows).unwrap().narrow(1, 2, 1).unwrap();
        assert_close(&last, &alone.apply(&x.narrow(1, 6, 1).unwrap()).unwrap(), 0.0);
        let uneven = [(0, &frequencies[..]), (0, &frequencies[..1])];
        assert!(Rotation::of_places(&uneven, 1.0, turned, &Device::Cpu).is_err());
        let turned = Turned { pairs: Pairs::Halves, head: 4 };
        let rotation = Rotation::of_text(1, 1, &[1.0, 0.0], 1.0, turned, &Device::Cpu).unwrap();
        let x = Tensor::new(&[[[1.0f32, 2.0, 0.0, 3.0]]], &Device::Cpu).unwrap();
        let expected = Tensor::new(&[[[1f32.cos(), 2.0, 1f32.sin(), 3.0]]], &Device::Cpu).unwrap();
        assert_close(&rotation.apply(&x).unwrap(), &expected, 1e-6);
    }
}
