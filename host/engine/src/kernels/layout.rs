//! Moving values without computing: pixels to tokens and back, and nearest-neighbour upsampling.
//!
//! Convolutions want one plane per channel, attention and linear layers one row per pixel; a model changes between
//! them twice per transformer. All values pass through unchanged, to the bit.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::contiguous;

/// Rows that one thread transposes at a time: their cache lines are used whole.
const STRIP: usize = 16;

/// (b, c, h, w) to (b, h * w, c).
pub fn to_tokens(x: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    transpose(&x.reshape((batch, channels, height * width))?)
}

/// (b, h * w, c) to (b, c, h, w).
pub fn to_pixels(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (batch, _, channels) = x.dims3()?;
    transpose(x)?.reshape((batch, channels, height, width))
}

/// Repeats pixels to reach a size.
/// Doubling is what nearly every call wants; other sizes come from odd latents, see the denoiser's way up.
pub fn upsample_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (.., old_height, old_width) = x.dims4()?;
    if has_kernel(x) && (height, width) == (2 * old_height, 2 * old_width) {
        return x.contiguous()?.apply_op1_no_bwd(&Double);
    }
    x.upsample_nearest2d(height, width)
}

/// (b, rows, columns) to (b, columns, rows), contiguous.
fn transpose(x: &Tensor) -> Result<Tensor> {
    if has_kernel(x) { x.contiguous()?.apply_op1_no_bwd(&Transpose) } else { x.transpose(1, 2)?.contiguous() }
}

/// The kernels read plain slices of f32 in main memory.
fn has_kernel(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// (b, rows, columns) to (b, columns, rows).
struct Transpose;

impl CustomOp1 for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, rows, columns) = layout.shape().dims3()?;
        let x = contiguous(x, layout)?;
        let matrix = (rows * columns).max(1);
        let mut out = vec![0.0f32; x.len()];
        for (out, x) in out.chunks_exact_mut(matrix).zip(x.chunks_exact(matrix)) {
            // a strip of columns becomes rows: 16 neighbours are read at a time and written to 16 lines in the cache
            out.par_chunks_mut(STRIP * rows).enumerate().for_each(|(strip, out)| {
                let first = strip * STRIP;
                for (row, x) in x.chunks_exact(columns).enumerate() {
                    let values = &x[first..columns.min(first + STRIP)];
                    values.iter().enumerate().for_each(|(column, value)| out[column * rows + row] = *value);
                }
            });
        }
        Ok((CpuStorage::F32(out), Shape::from((batch, columns, rows))))
    }
}

/// Every pixel four times.
struct Double;

impl CustomOp1 for Double {
    fn name(&self) -> &'static str {
        "upsample"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, height, width) = layout.shape().dims4()?;
        let x = contiguous(x, layout)?;
        let mut out = vec![0.0f32; 4 * x.len()];
        let planes = out.par_chunks_exact_mut((4 * height * width).max(1));
        planes.zip(x.par_chunks_exact((height * width).max(1))).for_each(|(out, plane)| {
            for (out, row) in out.chunks_exact_mut(4 * width).zip(plane.chunks_exact(width)) {
                let (upper, lower) = out.split_at_mut(2 * width);
                upper
                    .as_chunks_mut::<2>()
                    .0
                    .iter_mut()
                    .zip(row)
                    .for_each(|(pair, value)| *pair = [*value; 2]);
                // the second line is a copy of the first, which is still in the cache
                lower.copy_from_slice(upper);
            }
        });
        Ok((CpuStorage::F32(out), Shape::from((batch, channels, 2 * height, 2 * width))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, ramp};

    #[test]
    fn pixels_become_tokens_and_pixels_again() {
        for shape in [(2, 5, 3, 7), (1, 40, 16, 16), (2, 1, 1, 1), (1, 33, 9, 5)] {
            let x = ramp(shape, 1);
            let tokens = to_tokens(&x).unwrap();
            let expected = x.flatten_from(2).unwrap().transpose(1, 2).unwrap().contiguous().unwrap();
            assert_close(&tokens, &expected, 0.0);
            assert_close(&to_pixels(&tokens, shape.2, shape.3).unwrap(), &x, 0.0);
        }
    }

    #[test]
    fn doubling_equals_the_general_form() {
        for shape in [(2, 3, 4, 5), (1, 1, 1, 1), (1, 8, 17, 3)] {
            let x = ramp(shape, 2);
            let expected = x.upsample_nearest2d(2 * shape.2, 2 * shape.3).unwrap();
            assert_close(&upsample_nearest(&x, 2 * shape.2, 2 * shape.3).unwrap(), &expected, 0.0);
        }
    }
}
