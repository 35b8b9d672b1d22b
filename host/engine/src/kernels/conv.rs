//! Two-dimensional convolution. On the CPU the picture is never unrolled whole: blocks
//! of its pixels are packed as they are multiplied.
//!
//! An output pixel is a column of `B` in the product of `gemm`: its inputs, kernel rows and kernel columns are the
//! depth, the weight's outputs the rows of `A`. So the product's result is the picture itself, plane by plane.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::gemm::{self, COLUMNS, Output, PackedRows, Pair, Unit};
use super::{Precision, contiguous, low_rank};
use crate::weights::{Builder, Slot};

/// A square kernel's size, stride and zero padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Side in pixels.
    pub kernel: usize,
    /// Pixels between outputs.
    pub stride: usize,
    /// Zeros on every side.
    pub padding: usize,
}

impl Window {
    /// 1x1.
    pub const ONE: Window = Window { kernel: 1, stride: 1, padding: 0 };
    /// 3x3 that keeps the size.
    pub const SAME: Window = Window { kernel: 3, stride: 1, padding: 1 };
    /// 3x3 that halves the size.
    pub const HALF: Window = Window { kernel: 3, stride: 2, padding: 1 };
    /// 3x3 that halves the size of a picture which its caller has padded.
    pub const HALF_UNPADDED: Window = Window { kernel: 3, stride: 2, padding: 0 };

    /// Outputs along a side of `side` pixels; none where the window does not fit once.
    fn output(self, side: usize) -> Option<usize> {
        Some((side + 2 * self.padding).checked_sub(self.kernel)? / self.stride + 1)
    }
}

/// A convolution with one group and no dilation.
#[derive(Debug)]
pub struct Conv2d {
    weight: Weight,
    /// (outputs)
    bias: Option<Tensor>,
    window: Window,
    /// What adapters add for the run at hand.
    slot: Slot,
}

/// The weight as the device wants it.
#[derive(Debug)]
enum Weight {
    /// (outputs, inputs, kernel, kernel)
    Plain(Tensor),
    /// Rows of outputs, along inputs, kernel rows and kernel columns.
    Packed(PackedRows<f32>),
    /// The same in bf16.
    Pairs(PackedRows<Pair>),
}

impl Conv2d {
    /// With a bias.
    pub fn load(inputs: usize, outputs: usize, window: Window, vb: Builder) -> Result<Self> {
        let bias = vb.get(outputs, "bias")?;
        Ok(Self { bias: Some(bias), ..Self::load_no_bias(inputs, outputs, window, vb)? })
    }

    /// Without one.
    pub fn load_no_bias(inputs: usize, outputs: usize, window: Window, vb: Builder) -> Result<Self> {
        let weight = vb.get((outputs, inputs, window.kernel, window.kernel), "weight")?;
        Ok(Self { weight: Weight::new(weight, vb.precision())?, bias: None, window, slot: vb.slot() })
    }

    /// Without bias and slot, from a weight (outputs, inputs, kernel, kernel).
    pub(super) fn bare(weight: Tensor, window: Window, precision: Precision) -> Result<Self> {
        Ok(Self { weight: Weight::new(weight, precision)?, bias: None, window, slot: Slot::default() })
    }

    /// (batch, inputs, h, w) to (batch, outputs, h', w').
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let out = match &self.weight {
            Weight::Packed(weight) => self.by_kernel(x, weight),
            Weight::Pairs(weight) => self.by_kernel(x, weight),
            Weight::Plain(weight) => plain(x, weight, self.bias.as_ref(), self.window),
        }?;
        low_rank::add_conv(out, x, self.window, &self.slot)
    }

    fn by_kernel<U: Unit>(&self, x: &Tensor, weight: &PackedRows<U>) -> Result<Tensor> {
        // a copy of a few hundred values, against the millions of the product
        let bias = self.bias.as_ref().map(|bias| bias.to_vec1()).transpose()?;
        x.contiguous()?.apply_op1_no_bwd(&PackedConv { weight, bias, window: self.window })
    }
}

/// By tensor operations; for devices without a kernel, and the kernel's reference.
pub(super) fn plain(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, window: Window) -> Result<Tensor> {
    let out = x.conv2d(weight, window.padding, window.stride, 1, 1)?;
    match bias {
        Some(bias) => out.broadcast_add(&bias.reshape((1, (), 1, 1))?),
        None => Ok(out),
    }
}

impl Weight {
    fn new(weight: Tensor, precision: Precision) -> Result<Self> {
        // decided once, when the model is loaded: the packed form takes the place of the plain one, not more memory
        if !weight.device().is_cpu() || weight.dtype() != DType::F32 || !gemm::is_available() {
            return Ok(Self::Plain(weight));
        }
        let values = weight.flatten_all()?.to_vec1::<f32>()?;
        let depth = values.len() / weight.dim(0)?.max(1);
        Ok(match precision {
            Precision::F32 => Self::Packed(PackedRows::of_rows(&values, depth)),
            Precision::Bf16 => Self::Pairs(PackedRows::of_rows(&values, depth)),
        })
    }
}

/// One call of the kernel: the weight as packed at loading, bias (outputs).
struct PackedConv<'a, U> {
    weight: &'a PackedRows<U>,
    bias: Option<Vec<f32>>,
    window: Window,
}

/// Pixels of a block that is packed and multiplied at a time; a few panels.
const BLOCK: usize = 16 * COLUMNS;

impl<U: Unit> CustomOp1 for PackedConv<'_, U> {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, inputs, height, width) = layout.shape().dims4()?;
        let (window, outputs) = (self.window, self.weight.rows());
        let depth = inputs * window.kernel * window.kernel;
        let (Some(out_height), Some(out_width), true) =
            (window.output(height), window.output(width), depth == self.weight.depth())
        else {
            candle_core::bail!(
                "conv2d of {:?} with a weight of depth {}",
                layout.shape(),
                self.weight.depth()
            );
        };
        let padded = Padded::new(contiguous(x, layout)?, (batch * inputs, height, width), window.padding);
        let plane = out_height * out_width;
        let mut out = vec![0.0f32; batch * outputs * plane];
        // tiles are added to what is there, so the bias is there first
        if let Some(bias) = &self.bias {
            out.par_chunks_mut(plane)
                .enumerate()
                .for_each(|(index, plane)| plane.fill(bias[index % outputs]));
        }
        // images one after another, each on all threads: the values of one never depend on how many others there are
        let block = block_size(batch * plane);
        for (image, out) in out.chunks_exact_mut((outputs * plane).max(1)).enumerate() {
            let source = Source { padded: &padded, first_plane: image * inputs, window, out_width, depth };
            let output = Output::new(out, plane);
            (0..plane.div_ceil(block)).into_par_iter().for_each(|index| {
                let first = index * block;
                self.multiply(&source, &output, first, plane.min(first + block));
            });
        }
        Ok((CpuStorage::F32(out), Shape::from((batch, outputs, out_height, out_width))))
    }
}

/// Smaller blocks where there would be too few for the threads.
fn block_size(pixels: usize) -> usize {
    let per_thread = pixels.div_ceil(2 * rayon::current_num_threads().max(1));
    per_thread.next_multiple_of(COLUMNS).clamp(COLUMNS, BLOCK)
}

impl<U: Unit> PackedConv<'_, U> {
    /// All outputs for the pixels from `first` to `end`.
    fn multiply(&self, source: &Source<'_>, output: &Output<'_>, first: usize, end: usize) {
        // depth outermost: a slab of pixels is packed once, used by all outputs while it is cached, and overwritten
        let panels = (end - first).div_ceil(COLUMNS);
        let mut packed = vec![[U::default(); COLUMNS]; panels * gemm::DEPTH];
        for (from, to) in gemm::blocks::<U>(self.weight.depth()) {
            for (panel, packed) in packed.chunks_exact_mut(to - from).take(panels).enumerate() {
                let pixel = first + panel * COLUMNS;
                source.pack(pixel, end.min(pixel + COLUMNS), from, packed);
            }
            for row in (0..self.weight.rows()).step_by(gemm::ROWS) {
                let weight = self.weight.panel(row / gemm::ROWS, from, to);
                for (panel, packed) in packed.chunks_exact(to - from).take(panels).enumerate() {
                    let pixel = first + panel * COLUMNS;
                    let size = (gemm::ROWS.min(self.weight.rows() - row), COLUMNS.min(end - pixel));
                    output.add_tile(weight, packed.as_flattened(), (row, pixel), size);
                }
            }
        }
    }
}

/// Planes with zeros around them, so that packing never asks where a picture ends.
struct Padded<'a> {
    /// Plane after plane, row after row; borrowed where there is no padding.
    values: std::borrow::Cow<'a, [f32]>,
    height: usize,
    width: usize,
}

impl<'a> Padded<'a> {
    fn new(values: &'a [f32], (planes, height, width): (usize, usize, usize), padding: usize) -> Self {
        if padding == 0 {
            return Self { values: values.into(), height, width };
        }
        let (tall, wide) = (height + 2 * padding, width + 2 * padding);
        let mut out = vec![0.0f32; planes * tall * wide];
        let pairs =
            out.par_chunks_exact_mut(tall * wide).zip(values.par_chunks_exact((height * width).max(1)));
        pairs.for_each(|(out, plane)| {
            let rows = out.chunks_exact_mut(wide).skip(padding);
            rows.zip(plane.chunks_exact(width.max(1))).for_each(|(out, row)| {
                out[padding..padding + width].copy_from_slice(row);
            });
        });
        Self { values: out.into(), height: tall, width: wide }
    }
}

/// One image on its way into panels.
struct Source<'a> {
    padded: &'a Padded<'a>,
    /// The image's first plane among those of the batch.
    first_plane: usize,
    window: Window,
    /// Output pixels in a row, to tell a pixel's place by its number.
    out_width: usize,
    /// Inputs times the kernel's pixels.
    depth: usize,
}

impl Source<'_> {
    /// Packs the output pixels from `pixel` to `end`, from unit `from` of the depth on, for as deep as `packed` is.
    fn pack<U: Unit>(&self, pixel: usize, end: usize, from: usize, packed: &mut [[U; COLUMNS]]) {
        let runs = self.runs(pixel, end);
        // what no pixel or depth fills stays zero
        let mut lines = [[0.0f32; COLUMNS]; 2];
        for (k, units) in (from..).zip(packed) {
            for (k, line) in (k * U::DEPTHS..).zip(lines.iter_mut().take(U::DEPTHS)) {
                match k < self.depth {
                    true => self.line(k, &runs, line),
                    false => line.fill(0.0),
                }
            }
            U::across(&lines[..U::DEPTHS], units);
        }
    }

    /// The pixels from `pixel` to `end` in pieces that lie in one row of the picture, the same at every depth.
    fn runs(&self, pixel: usize, end: usize) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut at = pixel;
        while at < end {
            let (y, x) = (at / self.out_width, at % self.out_width);
            let length = (self.out_width - x).min(end - at);
            let source = (y * self.padded.width + x) * self.window.stride;
            runs.push(Run { source, target: at - pixel, length });
            at += length;
        }
        runs
    }

    /// What the pixels of these runs see at one depth.
    fn line(&self, k: usize, runs: &[Run], line: &mut [f32; COLUMNS]) {
        let Window { kernel, stride, .. } = self.window;
        let plane = self.padded.height * self.padded.width;
        // the weight's order: inputs, then kernel rows, then kernel columns
        let (input, place) = (k / (kernel * kernel), k % (kernel * kernel));
        let start = (self.first_plane + input) * plane + place / kernel * self.padded.width + place % kernel;
        let seen = &self.padded.values[start..];
        for Run { source, target, length } in runs {
            match (stride, seen[*source..].first_chunk()) {
                // a whole line, which the compiler copies without a call
                (1, Some(whole)) if *length == COLUMNS => *line = *whole,
                (1, _) => line[*target..target + length].copy_from_slice(&seen[*source..source + length]),
                _ => {
                    let values = seen[*source..].iter().step_by(stride);
                    line[*target..target + length].iter_mut().zip(values).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }
}

/// Neighbouring pixels of one row of the picture.
struct Run {
    /// Of the first in its plane, at the kernel's first place.
    source: usize,
    /// Of the first in its panel.
    target: usize,
    length: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, in_precision, precisions, ramp};

    #[test]
    fn the_packed_convolution_equals_the_plain_one() {
        for (inputs, outputs, height, width, window) in [
            (3, 5, 7, 9, Window::SAME),
            (40, 30, 8, 8, Window::SAME),
            (4, 13, 64, 3, Window::SAME),
            (16, 24, 33, 17, Window::HALF),
            (7, 12, 18, 10, Window::HALF_UNPADDED),
            (64, 3, 24, 24, Window::ONE),
            (2, 1, 1, 1, Window::SAME),
            (31, 37, 40, 41, Window::SAME),
        ] {
            let x = ramp((2, inputs, height, width), 1);
            let weight = ramp((outputs, inputs, window.kernel, window.kernel), 2);
            let bias = Some(ramp(outputs, 3));
            for precision in precisions() {
                let expected = plain(
                    &in_precision(&x, precision),
                    &in_precision(&weight, precision),
                    bias.as_ref(),
                    window,
                );
                let conv =
                    Conv2d { bias: bias.clone(), ..Conv2d::bare(weight.clone(), window, precision).unwrap() };
                assert_close(&conv.forward(&x).unwrap(), &expected.unwrap(), 2e-4);
            }
        }
    }

    #[test]
    fn an_image_convolved_in_a_batch_is_the_same_to_the_bit() {
        let x = ramp((3, 20, 19, 23), 4);
        for precision in precisions() {
            let conv = Conv2d::bare(ramp((10, 20, 3, 3), 5), Window::SAME, precision).unwrap();
            let together = conv.forward(&x).unwrap();
            for image in 0..3 {
                let alone = conv.forward(&x.narrow(0, image, 1).unwrap()).unwrap();
                assert_close(&alone, &together.narrow(0, image, 1).unwrap(), 0.0);
            }
        }
    }

    #[test]
    fn a_picture_smaller_than_the_window_is_an_error() {
        let window = Window { kernel: 3, stride: 1, padding: 0 };
        for precision in precisions() {
            let conv = Conv2d::bare(ramp((1, 1, 3, 3), 1), window, precision).unwrap();
            assert!(conv.forward(&ramp((1, 1, 2, 5), 1)).is_err());
        }
    }
}
