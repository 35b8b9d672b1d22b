//! Matrices in the precision of their file: halves, and ggml's blocks of a few bits. They stay so in memory, 32 rows woven
//! into each other (`encodings.rs` says why). A product with one row of the input, or a few, widens weights in registers; one
//! with more writes 256 lines of 32 rows down at a time, for all rows of the input.
//!
//! In f32 the input is never rounded to fewer bits, as ggml does with it: what comes out is the product with the widened
//! weight, to the tolerance of any other linear layer. In bf16 both are rounded, as in every other layer.

mod encodings;

use std::borrow::Cow;

use candle_core::backend::BackendStorage;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use super::gemm::{self, COLUMNS, Output, PackedRows, Pair, Unit};
use super::math::width;
use super::{Precision, contiguous};
use encodings::{Bytes, FEW, Kernels, Line};

/// Rows of the input that are packed at a time: enough that widening the weight costs little beside the product, few
/// enough that the packed rows of the widest layer stay under 50 MB.
const ROWS_TOGETHER: usize = 64 * gemm::ROWS;

/// A linear layer's weight, or an embedding's table, in main memory.
#[derive(Clone)]
pub struct Blocks {
    encoding: GgmlDType,
    rows: usize,
    columns: usize,
    /// Panel after panel of 32 rows, filled up with zeros; in each, one byte of every row lies together.
    panels: Vec<Bytes>,
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blocks({:?}, {} x {})", self.encoding, self.rows, self.columns)
    }
}

impl Blocks {
    /// `bytes` are row after row, as in a file.
    ///
    /// # Errors
    /// Rows that are no whole blocks, or bytes for another shape.
    pub fn new(encoding: GgmlDType, (rows, columns): (usize, usize), bytes: &[u8]) -> Result<Self> {
        let block = encoding.block_size();
        let row = (columns / block).checked_mul(encoding.type_size());
        let wanted = row.and_then(|row| row.checked_mul(rows));
        let Some(row) = row.filter(|_| columns.is_multiple_of(block) && wanted == Some(bytes.len())) else {
            let length = bytes.len();
            candle_core::bail!("{length} bytes of {encoding:?} are no matrix of {rows} x {columns}");
        };
        let mut panels = vec![[0; COLUMNS]; rows.div_ceil(COLUMNS) * row];
        let rows_together = bytes.par_chunks((COLUMNS * row).max(1));
        panels.par_chunks_mut(row.max(1)).zip(rows_together).for_each(|(panel, rows)| weave(rows, panel));
        Ok(Self { encoding, rows, columns, panels })
    }

    /// Takes over what was read from a file.
    pub fn of(weight: &QTensor) -> Result<Self> {
        Self::new(weight.dtype(), weight.shape().dims2()?, &weight.data()?)
    }

    /// Bytes of a row.
    fn row_bytes(&self) -> usize {
        self.columns / self.encoding.block_size() * self.encoding.type_size()
    }

    /// The bytes of the values `from..to` of the rows of a panel. Both are at the ends of blocks.
    fn part(&self, panel: usize, (from, to): (usize, usize)) -> &[Bytes] {
        let bytes = |values: usize| values / self.encoding.block_size() * self.encoding.type_size();
        let start = panel * self.row_bytes();
        &self.panels[start + bytes(from)..start + bytes(to)]
    }

    /// One row in f32, as candle reads it. It lies within the matrix.
    fn row(&self, index: usize) -> Result<Vec<f32>> {
        let bytes = self.part(index / COLUMNS, (0, self.columns));
        widened(self.encoding, bytes.iter().map(|rows| rows[index % COLUMNS]).collect(), self.columns)
    }

    /// Writes a part of a panel down, line after line.
    fn widen(&self, panel: usize, part: (usize, usize), lines: &mut [Line]) -> Result<()> {
        let bytes = self.part(panel, part);
        if let Some(kernels) = Kernels::of(self.encoding) {
            (kernels.widen)(bytes, lines);
            return Ok(());
        }
        for column in 0..COLUMNS {
            let own = bytes.iter().map(|rows| rows[column]).collect();
            for (line, value) in lines.iter_mut().zip(widened(self.encoding, own, part.1 - part.0)?) {
                line[column] = value;
            }
        }
        Ok(())
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
            values.extend(self.row(id)?);
        }
        Tensor::from_vec(values, (ids.len(), self.columns), device)
    }

    /// (rows, columns) in f32.
    pub fn dequantize(&self, device: &Device) -> Result<Tensor> {
        let mut values = Vec::with_capacity(self.rows * self.columns);
        for row in 0..self.rows {
            values.extend(self.row(row)?);
        }
        Tensor::from_vec(values, (self.rows, self.columns), device)
    }
}

/// Weaves up to 32 rows, one after another, into one panel.
fn weave(rows: &[u8], panel: &mut [Bytes]) {
    for (column, row) in rows.chunks_exact(panel.len()).enumerate() {
        for (bytes, byte) in panel.iter_mut().zip(row) {
            bytes[column] = *byte;
        }
    }
}

/// Whole blocks in f32.
fn widened(encoding: GgmlDType, bytes: Vec<u8>, values: usize) -> Result<Vec<f32>> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    match encoding {
        GgmlDType::F16 => Ok(pairs().map(|pair| f16::from_le_bytes(*pair).to_f32()).collect()),
        GgmlDType::BF16 => Ok(pairs().map(|pair| bf16::from_le_bytes(*pair).to_f32()).collect()),
        encoding => match encoding.from_data(Cow::Owned(bytes)).dequantize(values)? {
            CpuStorage::F32(values) => Ok(values),
            other => candle_core::bail!("blocks of {encoding:?} widen to {:?}", other.dtype()),
        },
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
        if let Some(bias) = &self.bias {
            out.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
        }
        let mut groups = out.chunks_mut(ROWS_TOGETHER * outputs).zip(x.chunks(ROWS_TOGETHER * inputs));
        groups.try_for_each(|(out, x)| match (self.precision, Kernels::of(self.weight.encoding)) {
            (Precision::F32, Some(kernels)) if x.len() == inputs => {
                self.multiply_one(kernels, x, out);
                Ok(())
            }
            (Precision::F32, Some(kernels)) if x.len() <= FEW * inputs && width() >= WIDE => {
                self.multiply_few(kernels, x, out);
                Ok(())
            }
            (Precision::F32, _) => self.multiply::<f32>(x, out),
            (Precision::Bf16, _) => self.multiply::<Pair>(x, out),
        })?;
        let dims = [&dims[..dims.len() - 1], &[outputs]].concat();
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }
}

/// Panels that a thread takes at least: fewer are done sooner than handed out.
const PANELS: usize = 4;
/// Values in a register of a processor that has enough of them for the sums of a few rows.
const WIDE: usize = 16;

impl BlockLinear<'_> {
    /// Adds the product with one row, such as a decoder's next token, to `out`. Sums are those of [`BlockLinear::multiply`].
    fn multiply_one(&self, kernels: Kernels, x: &[f32], out: &mut [f32]) {
        out.par_chunks_mut(COLUMNS).with_min_len(PANELS).enumerate().for_each(|(panel, out)| {
            for (from, to) in gemm::blocks::<f32>(x.len()) {
                let mut sums = [0.0; COLUMNS];
                (kernels.add)(self.weight.part(panel, (from, to)), &x[from..to], &mut sums);
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
            }
        });
    }

    /// Adds the product with at most [`FEW`] rows, such as the next tokens of several texts, to `out`. Sums are those of
    /// [`BlockLinear::multiply_one`] with each row.
    fn multiply_few(&self, kernels: Kernels, x: &[f32], out: &mut [f32]) {
        let (inputs, outputs) = (self.weight.columns, self.weight.rows);
        let value = |row, k| x.get(row * inputs + k).copied().unwrap_or_default();
        // rows that are not there are zeros
        let x: Vec<[f32; FEW]> = (0..inputs).map(|k| std::array::from_fn(|row| value(row, k))).collect();
        // panel by panel, which threads can share: the rows of the result interleave
        let mut panels = vec![[[0.0; COLUMNS]; FEW]; outputs.div_ceil(COLUMNS)];
        for (row, out) in out.chunks_exact(outputs).enumerate() {
            let parts = panels.iter_mut().zip(out.chunks(COLUMNS));
            parts.for_each(|(panel, out)| panel[row][..out.len()].copy_from_slice(out));
        }
        panels.par_iter_mut().with_min_len(PANELS).enumerate().for_each(|(panel, lines)| {
            for (from, to) in gemm::blocks::<f32>(inputs) {
                let mut sums = [[0.0; COLUMNS]; FEW];
                (kernels.add_few)(self.weight.part(panel, (from, to)), &x[from..to], &mut sums);
                let pairs = lines.as_flattened_mut().iter_mut().zip(sums.as_flattened());
                pairs.for_each(|(value, sum)| *value += sum);
            }
        });
        for (row, out) in out.chunks_exact_mut(outputs).enumerate() {
            let parts = panels.iter().zip(out.chunks_mut(COLUMNS));
            parts.for_each(|(panel, out)| out.copy_from_slice(&panel[row][..out.len()]));
        }
    }

    /// Adds the product with `x` (rows, inputs) to `out` (rows, outputs). Threads take 32 outputs at a time.
    fn multiply<U: Unit>(&self, x: &[f32], out: &mut [f32]) -> Result<()> {
        let (inputs, outputs) = (self.weight.columns, self.weight.rows);
        let rows = PackedRows::<U>::of_rows(x, inputs);
        let output = Output::new(out, outputs);
        let room = || (vec![[0.0; COLUMNS]; gemm::DEPTH * U::DEPTHS], Vec::new());
        (0..outputs.div_ceil(COLUMNS)).into_par_iter().try_for_each_init(room, |(lines, units), panel| {
            let first = panel * COLUMNS;
            for (from, to) in gemm::blocks::<U>(inputs) {
                let part = (from * U::DEPTHS, inputs.min(to * U::DEPTHS));
                let lines = &mut lines[..part.1 - part.0];
                self.weight.widen(panel, part, lines)?;
                let weight = U::panel(lines, units);
                output.add_rows(&rows, weight, (from, to), first, COLUMNS.min(outputs - first));
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

    const ENCODINGS: [GgmlDType; 12] = [
        GgmlDType::F16,
        GgmlDType::BF16,
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q5_1,
        GgmlDType::Q8_0,
        GgmlDType::Q2K,
        GgmlDType::Q3K,
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
    fn a_row_alone_is_the_same_row_among_many() {
        for encoding in ENCODINGS {
            let (weight, x) = (blocks(encoding, 70, 768), ramp((14, 768), 5));
            for precision in precisions() {
                let op = || BlockLinear { weight: &weight, bias: Some(vec![0.5; 70]), precision };
                let whole = x.apply_op1_no_bwd(&op()).unwrap();
                for (row, count) in [(0, 1), (13, 1), (2, 2), (5, 3), (9, 4), (3, 5)] {
                    let few = x.narrow(0, row, count).unwrap().contiguous().unwrap();
                    let few = few.apply_op1_no_bwd(&op()).unwrap();
                    assert_close(&few, &whole.narrow(0, row, count).unwrap(), 0.0);
                }
            }
        }
    }

    #[test]
    fn lines_are_the_rows_as_candle_widens_them() {
        for encoding in ENCODINGS {
            let weight = blocks(encoding, 33, 512);
            let rows = weight.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            for (panel, part) in [(0, (0, 512)), (0, (256, 512)), (1, (0, 256))] {
                let mut lines = vec![[f32::NAN; COLUMNS]; part.1 - part.0];
                weight.widen(panel, part, &mut lines).unwrap();
                for (column, row) in rows.iter().skip(panel * COLUMNS).take(COLUMNS).enumerate() {
                    let own: Vec<f32> = lines.iter().map(|line| line[column]).collect();
                    assert_eq!(own, row[part.0..part.1], "{encoding:?}");
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
            assert!(Blocks::new(GgmlDType::Q4_0, shape, &vec![0; bytes]).is_err(), "{shape:?}");
        }
        let weight = blocks(GgmlDType::Q8_0, 4, 64);
        assert!(
            ramp((2, 32), 1)
                .apply_op1_no_bwd(&BlockLinear { weight: &weight, bias: None, precision: Precision::F32 })
                .is_err()
        );
    }
}
