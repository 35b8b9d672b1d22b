//! Linear layers. On the CPU the weight is packed when it is loaded, and rows of the input as they are multiplied; a weight
//! of few bits stays as it is, see `blocks`.
//!
//! In the product of `gemm`, rows of the input are `A` and the weight is `B`, the other way round than in a
//! convolution: the result then has its outputs last, as sequences do.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{CpuStorage, CustomOp1, D, DType, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::blocks::{BlockLinear, Blocks};
use super::gemm::{self, COLUMNS, Output, PackedColumns, PackedRows, Pair, Unit};
use super::{Precision, contiguous, low_rank};
use crate::weights::{Builder, Slot};

/// `x W^T + b` over the last dimension.
#[derive(Debug)]
pub struct Linear {
    /// Plain or packed, decided at loading.
    weight: Weight,
    /// (outputs)
    bias: Option<Tensor>,
    /// What adapters add for the run at hand.
    slot: Slot,
}

/// The weight as the device wants it.
#[derive(Debug)]
enum Weight {
    /// (outputs, inputs)
    Plain(Tensor),
    /// Columns of outputs, along inputs.
    Packed(PackedColumns<f32>),
    /// The same in bf16.
    Pairs(PackedColumns<Pair>),
    /// Rows of outputs in few bits, in main memory, and in what they are multiplied.
    Blocks(Blocks, Precision),
    /// The same in the memory of another device; widened whole for each product.
    OnDevice(QTensor),
}

impl Linear {
    /// With a bias.
    pub fn load(inputs: usize, outputs: usize, vb: Builder) -> Result<Self> {
        let bias = vb.get(outputs, "bias")?;
        Ok(Self { bias: Some(bias), ..Self::load_no_bias(inputs, outputs, vb)? })
    }

    /// Without one.
    pub fn load_no_bias(inputs: usize, outputs: usize, vb: Builder) -> Result<Self> {
        let weight = match vb.is_compact("weight") {
            true => Weight::compact(vb.get_quantized((outputs, inputs), "weight")?, vb.precision())?,
            false => Weight::new(vb.get((outputs, inputs), "weight")?, vb.precision())?,
        };
        Ok(Self { weight, bias: None, slot: vb.slot() })
    }

    /// From a weight (outputs, inputs) and a bias at hand; adapters have no place in it.
    pub(super) fn bare(weight: Tensor, bias: Tensor, precision: Precision) -> Result<Self> {
        Ok(Self { weight: Weight::new(weight, precision)?, bias: Some(bias), slot: Slot::default() })
    }

    /// From the weights of a 1x1 convolution, which is the same thing once the channels come last.
    pub fn load_conv1x1(inputs: usize, outputs: usize, vb: Builder) -> Result<Self> {
        let weight = vb.get((outputs, inputs, 1, 1), "weight")?.reshape((outputs, inputs))?;
        let weight = Weight::new(weight, vb.precision())?;
        Ok(Self { weight, bias: Some(vb.get(outputs, "bias")?), slot: vb.slot() })
    }

    /// (..., inputs) to (..., outputs).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = || self.bias.as_ref().map(|bias| bias.to_vec1()).transpose();
        let out = match &self.weight {
            Weight::Packed(weight) => {
                x.contiguous()?.apply_op1_no_bwd(&PackedLinear { weight, bias: bias()? })
            }
            Weight::Pairs(weight) => {
                x.contiguous()?.apply_op1_no_bwd(&PackedLinear { weight, bias: bias()? })
            }
            Weight::Blocks(weight, precision) if gemm::is_available() => x
                .contiguous()?
                .apply_op1_no_bwd(&BlockLinear { weight, bias: bias()?, precision: *precision }),
            Weight::Blocks(weight, _) => plain(x, &weight.dequantize(x.device())?, self.bias.as_ref()),
            Weight::OnDevice(weight) => plain(x, &weight.dequantize(x.device())?, self.bias.as_ref()),
            // halves that a device keeps are widened for each product
            Weight::Plain(weight) => plain(x, &weight.to_dtype(x.dtype())?, self.bias.as_ref()),
        }?;
        low_rank::add_linear(out, x, &self.slot)
    }

    /// Rows of the weight, (ids, inputs) in f32: of a table that is an embedding on one side of a network and the layer on
    /// the other.
    ///
    /// # Errors
    /// An id that is no row.
    pub fn rows(&self, ids: &[u32], device: &Device) -> Result<Tensor> {
        let select =
            |weight: Tensor| weight.index_select(&Tensor::new(ids, device)?, 0)?.to_dtype(DType::F32);
        match &self.weight {
            Weight::Packed(weight) => rows(weight, ids, device),
            Weight::Pairs(weight) => rows(weight, ids, device),
            Weight::Blocks(weight, _) => weight.select(ids, device),
            Weight::OnDevice(weight) => select(weight.dequantize(device)?),
            Weight::Plain(weight) => select(weight.clone()),
        }
    }
}

/// Columns of a packed weight, as rows.
fn rows<U: Unit>(weight: &PackedColumns<U>, ids: &[u32], device: &Device) -> Result<Tensor> {
    if let Some(id) = ids.iter().find(|id| **id as usize >= weight.columns()) {
        candle_core::bail!("id {id} in a table of {} rows", weight.columns());
    }
    let values: Vec<f32> = ids.iter().flat_map(|id| weight.column(*id as usize)).collect();
    Tensor::from_vec(values, (ids.len(), weight.depth()), device)
}

/// By tensor operations; for devices without a kernel, and the kernel's reference.
pub(super) fn plain(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let inputs = x.dim(D::Minus1)?;
    let rows = x.elem_count() / inputs.max(1);
    let out = x.reshape((rows, inputs))?.matmul(&weight.t()?)?; // (rows, outputs)
    let out = match bias {
        Some(bias) => out.broadcast_add(bias)?,
        None => out,
    };
    out.reshape(with_last(x.dims(), weight.dim(0)?))
}

/// A shape with its last dimension replaced.
fn with_last(dims: &[usize], last: usize) -> Vec<usize> {
    [&dims[..dims.len().saturating_sub(1)], &[last]].concat()
}

impl Weight {
    fn new(weight: Tensor, precision: Precision) -> Result<Self> {
        if !weight.device().is_cpu() || weight.dtype() != DType::F32 || !gemm::is_available() {
            return Ok(Self::Plain(weight));
        }
        let (outputs, inputs) = weight.dims2()?;
        let values = weight.flatten_all()?.to_vec1::<f32>()?;
        let at = |k, column| values[column * inputs + k];
        Ok(match precision {
            Precision::F32 => Self::Packed(PackedColumns::new(inputs, outputs, at)),
            Precision::Bf16 => Self::Pairs(PackedColumns::new(inputs, outputs, at)),
        })
    }

    /// Keeps the bits of the file; halves that are multiplied in bf16 become so once and not for each product.
    fn compact(weight: QTensor, precision: Precision) -> Result<Self> {
        let device = weight.device();
        let half = match weight.dtype() {
            GgmlDType::F16 | GgmlDType::BF16 if device.is_cpu() && precision == Precision::Bf16 => {
                return Self::new(weight.dequantize(&device)?, precision);
            }
            _ if device.is_cpu() => return Ok(Self::Blocks(Blocks::of(&weight)?, precision)),
            GgmlDType::F16 => DType::F16,
            GgmlDType::BF16 => DType::BF16,
            _ => return Ok(Self::OnDevice(weight)),
        };
        Ok(Self::Plain(weight.dequantize(&device)?.to_dtype(half)?))
    }
}

/// One call of the kernel: the weight as packed at loading, bias (outputs).
struct PackedLinear<'a, U> {
    weight: &'a PackedColumns<U>,
    bias: Option<Vec<f32>>,
}

/// Rows that are packed and multiplied at a time; a few panels.
const BLOCK: usize = 8 * gemm::ROWS;

impl<U: Unit> CustomOp1 for PackedLinear<'_, U> {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (inputs, outputs) = (self.weight.depth(), self.weight.columns());
        let dims = layout.shape().dims();
        if dims.last() != Some(&inputs) {
            candle_core::bail!("linear of {dims:?} with a weight for {inputs} inputs");
        }
        let x = contiguous(x, layout)?;
        let rows = x.len() / inputs.max(1);
        let mut out = vec![0.0f32; rows * outputs];
        if rows <= gemm::ROWS {
            self.multiply_few(x, &mut out);
            return Ok((CpuStorage::F32(out), Shape::from(with_last(dims, outputs))));
        }
        let block = block_size(rows);
        let blocks = out.par_chunks_mut((block * outputs).max(1)).zip(x.par_chunks((block * inputs).max(1)));
        blocks.for_each(|(out, x)| self.multiply(x, out));
        Ok((CpuStorage::F32(out), Shape::from(with_last(dims, outputs))))
    }
}

/// Smaller blocks where there would be too few for the threads.
fn block_size(rows: usize) -> usize {
    let per_thread = rows.div_ceil(2 * rayon::current_num_threads().max(1));
    per_thread.next_multiple_of(gemm::ROWS).clamp(gemm::ROWS, BLOCK)
}

/// Panels of outputs that a thread takes at least: fewer are done sooner than handed out.
const PANELS: usize = 4;

impl<U: Unit> PackedLinear<'_, U> {
    /// One panel of rows, such as a decoder's next token: too few to share out, so threads share the outputs. Sums are those
    /// of [`PackedLinear::multiply`].
    fn multiply_few(&self, x: &[f32], out: &mut [f32]) {
        let (inputs, outputs) = (self.weight.depth(), self.weight.columns());
        if let Some(bias) = &self.bias {
            out.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
        }
        let rows = PackedRows::of_rows(x, inputs);
        let output = Output::new(out, outputs);
        (0..outputs.div_ceil(COLUMNS)).into_par_iter().with_min_len(PANELS).for_each(|panel| {
            let column = panel * COLUMNS;
            for (from, to) in gemm::blocks::<U>(inputs) {
                let weight = self.weight.panel(panel, from, to);
                output.add_rows(&rows, weight, (from, to), column, COLUMNS.min(outputs - column));
            }
        });
    }

    /// `x` (rows, inputs) to `out` (rows, outputs), which is zero or replaced by the bias before anything is added.
    fn multiply(&self, x: &[f32], out: &mut [f32]) {
        let (inputs, outputs) = (self.weight.depth(), self.weight.columns());
        if let Some(bias) = &self.bias {
            out.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
        }
        let rows = PackedRows::of_rows(x, inputs);
        let output = Output::new(out, outputs);
        // a panel of the weight is read once for all rows of the block
        for (from, to) in gemm::blocks::<U>(inputs) {
            for column in (0..outputs).step_by(COLUMNS) {
                let panel = self.weight.panel(column / COLUMNS, from, to);
                output.add_rows(&rows, panel, (from, to), column, COLUMNS.min(outputs - column));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, in_precision, precisions, ramp};

    fn layer(weight: &Tensor, bias: Option<Tensor>, precision: Precision) -> Linear {
        Linear { weight: Weight::new(weight.clone(), precision).unwrap(), bias, slot: Slot::default() }
    }

    #[test]
    fn the_packed_layer_equals_the_plain_one() {
        for (rows, inputs, outputs) in [(1, 1, 1), (77, 768, 320), (154, 40, 33), (13, 300, 64), (200, 7, 5)]
        {
            let (x, weight, bias) =
                (ramp((2, rows, inputs), 1), ramp((outputs, inputs), 2), Some(ramp(outputs, 3)));
            for precision in precisions() {
                let (x_as_is, weight_as_is) = (in_precision(&x, precision), in_precision(&weight, precision));
                let expected = plain(&x_as_is, &weight_as_is, bias.as_ref()).unwrap();
                let layer = layer(&weight, bias.clone(), precision);
                assert_close(&layer.forward(&x).unwrap(), &expected, 1e-4);
            }
        }
    }

    #[test]
    fn a_row_alone_is_the_same_row_among_many_and_rows_of_the_weight_are_an_embedding() {
        let (x, weight) = (ramp((40, 300), 1), ramp((70, 300), 2));
        for precision in precisions() {
            let layer = layer(&weight, None, precision);
            let whole = layer.forward(&x).unwrap();
            for (first, count) in [(0, 1), (13, 12), (39, 1)] {
                let few = layer.forward(&x.narrow(0, first, count).unwrap()).unwrap();
                assert_close(&few, &whole.narrow(0, first, count).unwrap(), 0.0);
            }
            let chosen = layer.rows(&[69, 0, 33], x.device()).unwrap();
            let ids = Tensor::new(&[69u32, 0, 33], x.device()).unwrap();
            let expected = in_precision(&weight, precision).index_select(&ids, 0).unwrap();
            assert_close(&chosen, &expected, 0.0);
            assert!(layer.rows(&[70], x.device()).is_err());
        }
    }

    #[test]
    fn halves_of_a_file_that_are_multiplied_in_bf16_are_packed_once() {
        let (x, weight) = (ramp((5, 64), 1), ramp((40, 64), 2));
        for precision in precisions() {
            let halves = QTensor::quantize(&weight, GgmlDType::BF16).unwrap();
            let layer = Linear {
                weight: Weight::compact(halves, precision).unwrap(),
                bias: None,
                slot: Slot::default(),
            };
            assert_eq!(matches!(layer.weight, Weight::Pairs(_)), precision == Precision::Bf16);
            let expected =
                plain(&in_precision(&x, precision), &in_precision(&weight, Precision::Bf16), None).unwrap();
            assert_close(&layer.forward(&x).unwrap(), &expected, 1e-4);
        }
    }

    #[test]
    fn an_input_of_another_width_is_an_error() {
        for precision in precisions() {
            assert!(layer(&ramp((4, 3), 1), None, precision).forward(&ramp((2, 4), 2)).is_err());
        }
    }
}
