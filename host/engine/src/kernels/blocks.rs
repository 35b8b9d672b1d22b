//! Matrices in the precision of their file: halves, and ggml's blocks of a few bits. They stay so in memory; a product
//! widens 32 rows at a time to f32, exactly, and multiplies those with every row of the input.
//!
//! In f32 the input is never rounded to fewer bits, as ggml does with it: what comes out is the product with the widened
//! weight, to the tolerance of any other linear layer. In bf16 both are rounded, as in every other layer.

use std::borrow::Cow;

use candle_core::backend::BackendStorage;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use super::gemm::{self, COLUMNS, Output, PackedColumns, PackedRows, Pair, Unit};
use super::{Precision, contiguous};

/// Rows of the input that are packed at a time: enough that widening the weight costs little beside the product, few
/// enough that the packed rows of the widest layer stay under 50 MB.
const ROWS_TOGETHER: usize = 64 * gemm::ROWS;

/// A linear layer's weight, or an embedding's table, in main memory.
#[derive(Clone)]
pub struct Blocks {
    encoding: GgmlDType,
    rows: usize,
    columns: usize,
    /// Row after row.
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blocks({:?}, {} x {})", self.encoding, self.rows, self.columns)
    }
}

impl Blocks {
    /// # Errors
    /// Rows that are no whole blocks, or bytes for another shape.
    pub fn new(encoding: GgmlDType, (rows, columns): (usize, usize), bytes: Vec<u8>) -> Result<Self> {
        let block = encoding.block_size();
        let wanted =
            (columns / block).checked_mul(encoding.type_size()).and_then(|row| row.checked_mul(rows));
        if !columns.is_multiple_of(block) || wanted != Some(bytes.len()) {
            let length = bytes.len();
            candle_core::bail!("{length} bytes of {encoding:?} are no matrix of {rows} x {columns}");
        }
        Ok(Self { encoding, rows, columns, bytes })
    }

    /// Takes over what was read from a file.
    pub fn of(weight: &QTensor) -> Result<Self> {
        Self::new(weight.dtype(), weight.shape().dims2()?, weight.data()?.into_owned())
    }

    /// Rows `from..to` in f32. The range lies within the matrix.
    fn widened(&self, from: usize, to: usize) -> Result<Vec<f32>> {
        let row = self.bytes.len() / self.rows.max(1);
        let bytes = &self.bytes[from * row..to * row];
        let pairs = || bytes.as_chunks::<2>().0.iter();
        match self.encoding {
            GgmlDType::F16 => Ok(pairs().map(|pair| f16::from_le_bytes(*pair).to_f32()).collect()),
            GgmlDType::BF16 => Ok(pairs().map(|pair| bf16::from_le_bytes(*pair).to_f32()).collect()),
            encoding => {
                // copied, so that blocks begin where an allocation does: candle wants them aligned
                let blocks = encoding.from_data(Cow::Owned(bytes.to_vec()));
                match blocks.dequantize((to - from) * self.columns)? {
                    CpuStorage::F32(values) => Ok(values),
                    other => candle_core::bail!("blocks of {encoding:?} widen to {:?}", other.dtype()),
                }
            }
        }
    }

    /// Chosen rows, (ids, columns) in f32: an embedding.
    ///
    /// # Errors
    /// An id that is no row.
    pub fn select(&self, ids: &[u32], device: &Device) -> Result<Tensor> {
        let mut values = Vec::with_capacity(ids.len() * self.columns);
        for id in ids.iter().map(|id| *id as usize) {
            if id >= self.rows {
                candle_core::bail!("id {id} in a table of {} rows", self.rows);
            }
            values.extend(self.widened(id, id + 1)?);
        }
        Tensor::from_vec(values, (ids.len(), self.columns), device)
    }

    /// (rows, columns) in f32.
    pub fn dequantize(&self, device: &Device) -> Result<Tensor> {
        Tensor::from_vec(self.widened(0, self.rows)?, (self.rows, self.columns), device)
    }
}

/// One call of the kernel: `x W^T + b` over the last dimension, `bias` (rows of the weight).
pub(super) struct BlockLinear<'a> {
    pub(super) weight: &'a Blocks,
    pub(super) bias: Option<Vec<f32>>,
    pub(super) precision: Precision,
}

impl CustomOp1 for BlockLinear<'_> {
    fn name(&self) -> &'static str {
        "block-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (inputs, outputs) = (self.weight.columns, self.weight.rows);
        let dims = layout.shape().dims();
        if dims.last() != Some(&inputs) || inputs == 0 || outputs == 0 {
            candle_core::bail!("linear of {dims:?} with a weight for {inputs} inputs");
        }
        let x = contiguous(x, layout)?;
        let mut out = vec![0.0f32; x.len() / inputs * outputs];
        let mut groups = out.chunks_mut(ROWS_TOGETHER * outputs).zip(x.chunks(ROWS_TOGETHER * inputs));
        groups.try_for_each(|(out, x)| match self.precision {
            Precision::F32 => self.multiply::<f32>(x, out),
            Precision::Bf16 => self.multiply::<Pair>(x, out),
        })?;
        let dims = [&dims[..dims.len() - 1], &[outputs]].concat();
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }
}

impl BlockLinear<'_> {
    /// `x` (rows, inputs) to `out` (rows, outputs), which is zero. Threads take 32 outputs at a time.
    fn multiply<U: Unit>(&self, x: &[f32], out: &mut [f32]) -> Result<()> {
        let (inputs, outputs) = (self.weight.columns, self.weight.rows);
        if let Some(bias) = &self.bias {
            out.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
        }
        let rows = PackedRows::<U>::of_rows(x, inputs);
        let output = Output::new(out, outputs);
        (0..outputs.div_ceil(COLUMNS)).into_par_iter().try_for_each(|panel| {
            let first = panel * COLUMNS;
            let width = COLUMNS.min(outputs - first);
            let values = self.weight.widened(first, first + width)?;
            let weight = PackedColumns::new(inputs, width, |k, column| values[column * inputs + k]);
            for (from, to) in gemm::blocks::<U>(inputs) {
                output.add_rows(&rows, weight.panel(0, from, to), (from, to), first, width);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::linear::plain;
    use crate::kernels::testing::{assert_close, in_precision, precisions, ramp};

    fn blocks(encoding: GgmlDType, rows: usize, columns: usize) -> Blocks {
        Blocks::of(&QTensor::quantize(&ramp((rows, columns), 7), encoding).unwrap()).unwrap()
    }

    const ENCODINGS: [GgmlDType; 9] = [
        GgmlDType::F16,
        GgmlDType::BF16,
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q8_0,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
    ];

    #[test]
    fn a_product_is_the_one_with_the_widened_weight_in_every_encoding() {
        for encoding in ENCODINGS {
            for (rows, outputs) in [(1, 40), (13, 32), (900, 70)] {
                let weight = blocks(encoding, outputs, 512);
                let (x, bias) = (ramp((2, rows, 512), 1), ramp(outputs, 3));
                let widened = weight.dequantize(&Device::Cpu).unwrap();
                for precision in precisions() {
                    let (x_as_is, as_is) = (in_precision(&x, precision), in_precision(&widened, precision));
                    let expected = plain(&x_as_is, &as_is, Some(&bias)).unwrap();
                    let op = BlockLinear { weight: &weight, bias: Some(bias.to_vec1().unwrap()), precision };
                    assert_close(&x.apply_op1_no_bwd(&op).unwrap(), &expected, 2e-4);
                }
            }
        }
    }

    #[test]
    fn chosen_rows_are_those_of_the_whole() {
        for encoding in ENCODINGS {
            let table = blocks(encoding, 9, 256);
            let whole = table.dequantize(&Device::Cpu).unwrap();
            let chosen = table.select(&[8, 0, 0, 3], &Device::Cpu).unwrap();
            let ids = Tensor::new(&[8u32, 0, 0, 3], &Device::Cpu).unwrap();
            assert_close(&chosen, &whole.index_select(&ids, 0).unwrap(), 0.0);
            assert!(table.select(&[9], &Device::Cpu).is_err());
        }
    }

    #[test]
    fn bytes_for_another_shape_are_refused() {
        for (shape, bytes) in [((2, 32), 35), ((2, 33), 36), ((usize::MAX, 32), 36), ((3, 32), 36)] {
            assert!(Blocks::new(GgmlDType::Q4_0, shape, vec![0; bytes]).is_err(), "{shape:?}");
        }
        let weight = blocks(GgmlDType::Q8_0, 4, 64);
        assert!(
            ramp((2, 32), 1)
                .apply_op1_no_bwd(&BlockLinear { weight: &weight, bias: None, precision: Precision::F32 })
                .is_err()
        );
    }
}
