//! Scaled dot-product attention (arXiv 1706.03762, 3.2) in slices of queries, so that the scores of a large picture are
//! never in memory all at once. On the CPU a slice is 32 queries of one head: its scores stay in the cache.
//!
//! Takes projected queries, keys and values; the projections are the models' own linear layers. The weights are never
//! handed out, so that nothing forces them into memory whole.

use std::marker::PhantomData;

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::gemm::{self, COLUMNS, Output, PackedRows, Pair, Unit};
use super::math::{exp, vectorized};
use super::{Precision, contiguous};

/// Most bytes of scores at a time.
/// Bounds the general path alone; a smaller slice than this would launch too many small products on a device.
const MAX_SCORE_BYTES: usize = 64 << 20;

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// All.
    None,
    /// Those not after itself.
    Causal,
}

/// `softmax(q k^T / sqrt(d)) v` per head. `q` is (batch, queries, heads * d), `k` and `v` are (batch, keys, heads * d);
/// the result is shaped like `q`. Both products are in `precision` where there is a kernel (none has a mask); the softmax is
/// in f32.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    mask: Mask,
    precision: Precision,
) -> Result<Tensor> {
    let is_plain = q.device().is_cpu() && q.dtype() == DType::F32 && mask == Mask::None;
    if is_plain && gemm::is_available() {
        let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
        return match precision {
            Precision::F32 => q.apply_op3_no_bwd(&k, &v, &Sliced::<f32>::new(heads)),
            Precision::Bf16 => q.apply_op3_no_bwd(&k, &v, &Sliced::<Pair>::new(heads)),
        };
    }
    by_tensors(q, k, v, heads, mask)
}

/// T5's form (arXiv 1910.10683, 2.1): the products are not scaled, and `bias` (heads, queries, keys) is added to them.
///
/// Weights are summed in f64: a text is mostly padding, and over hundreds of equal values the roundings of a running sum
/// in f32 add up instead of cancelling.
pub fn biased_attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, bias: &Tensor) -> Result<Tensor> {
    in_slices(q, k, v, heads, DType::F64, |scores, first| {
        scores.broadcast_add(&bias.narrow(1, first, scores.dim(D::Minus2)?)?)
    })
}

/// By tensor operations; for masks and devices without a kernel.
fn by_tensors(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Mask) -> Result<Tensor> {
    // queries carry the scale: they are fewer than the scores
    let scale = ((q.dim(D::Minus1)? / heads) as f64).powf(-0.5);
    in_slices(&(q * scale)?, k, v, heads, q.dtype(), |scores, first| match mask {
        Mask::None => Ok(scores),
        Mask::Causal => scores.broadcast_add(&causal(&scores, first)?),
    })
}

/// A slice of queries at a time. `mask` changes their scores (b, heads, slice, keys), given the number of the first query;
/// these are summed in `sums`.
fn in_slices(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    sums: DType,
    mask: impl Fn(Tensor, usize) -> Result<Tensor>,
) -> Result<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let q = split(q, heads)?; // (b, heads, queries, d)
    let k = split(k, heads)?.transpose(2, 3)?; // (b, heads, d, keys)
    let v = split(v, heads)?.to_dtype(sums)?; // (b, heads, keys, d)
    let keys = v.dim(2)?;
    let slice = (MAX_SCORE_BYTES / (4 * batch * heads * keys).max(1)).clamp(1, queries.max(1));
    let mut parts = Vec::with_capacity(queries.div_ceil(slice));
    for start in (0..queries).step_by(slice) {
        let part = q.narrow(2, start, slice.min(queries - start))?;
        let scores = mask(part.contiguous()?.matmul(&k)?, start)?; // (b, heads, slice, keys)
        let weights = candle_nn::ops::softmax_last_dim(&scores.to_dtype(sums)?)?;
        parts.push(weights.matmul(&v)?.to_dtype(q.dtype())?);
    }
    let out = Tensor::cat(&parts, 2)?; // (b, heads, queries, d)
    out.transpose(1, 2)?.reshape((batch, queries, width))
}

/// (b, n, heads * d) as (b, heads, n, d).
fn split(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, tokens, width) = x.dims3()?;
    x.reshape((batch, tokens, heads, width / heads))?.transpose(1, 2)?.contiguous()
}

/// 0 where a query may look, minus infinity after itself: (slice, keys).
fn causal(scores: &Tensor, first_query: usize) -> Result<Tensor> {
    let (queries, keys) = (scores.dim(D::Minus2)?, scores.dim(D::Minus1)?);
    let value = |query: usize, key: usize| if key > first_query + query { f32::NEG_INFINITY } else { 0.0 };
    let values: Vec<f32> =
        (0..queries).flat_map(|query| (0..keys).map(move |key| value(query, key))).collect();
    Tensor::from_vec(values, (queries, keys), scores.device())
}

/// The kernel: heads are packed once per image, then threads take slices of 32 queries through all heads.
struct Sliced<U> {
    heads: usize,
    units: PhantomData<U>,
}

/// One head's keys and values, packed for all slices.
struct Head<U> {
    /// Rows of keys.
    keys: PackedRows<U>,
    /// Rows of channels, along keys.
    values: PackedRows<U>,
}

/// What a thread needs for a slice and keeps for the next. Lines are of 32 queries.
struct Scratch<U> {
    /// The slice's queries, along the channels; then their mixtures of values.
    mixed: Vec<[f32; COLUMNS]>,
    /// Their scores, and then the weights, of all keys.
    scores: Vec<[f32; COLUMNS]>,
    /// Either as it is multiplied, where that is not f32.
    units: Vec<[U; COLUMNS]>,
}

impl<U: Unit> CustomOp3 for Sliced<U> {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, queries, width) = q_layout.shape().dims3()?;
        let (k_batch, keys, k_width) = k_layout.shape().dims3()?;
        if k_layout.shape() != v_layout.shape()
            || (k_batch, k_width) != (batch, width)
            || width % self.heads != 0
        {
            candle_core::bail!("attention of {:?} to {:?}", q_layout.shape(), k_layout.shape());
        }
        let (q, k, v) = (contiguous(q, q_layout)?, contiguous(k, k_layout)?, contiguous(v, v_layout)?);
        let mut out = vec![0.0f32; q.len()];
        for (image, out) in out.chunks_exact_mut((queries * width).max(1)).enumerate() {
            let own = image * keys * width..(image + 1) * keys * width;
            let heads = self.pack(&k[own.clone()], &v[own], width);
            let slices = out.par_chunks_mut(COLUMNS * width);
            let q = q[image * queries * width..].par_chunks(COLUMNS * width);
            slices.zip(q).for_each_init(Scratch::default, |scratch, (out, q)| {
                let q = &q[..out.len()];
                heads
                    .iter()
                    .enumerate()
                    .for_each(|(index, head)| head.attend(q, out, (index, width), scratch));
            });
        }
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }
}

impl<U: Unit> Sliced<U> {
    fn new(heads: usize) -> Self {
        Self { heads, units: PhantomData }
    }

    /// Keys and values of one image, (keys, width) each, head by head. Values are packed transposed, because the
    /// second product runs along the keys.
    fn pack(&self, k: &[f32], v: &[f32], width: usize) -> Vec<Head<U>> {
        let d = width / self.heads;
        let head = |head: usize| Head {
            keys: PackedRows::of_parts(k, width, (head * d, (head + 1) * d)),
            values: PackedRows::of_columns(v, width, (head * d, (head + 1) * d)),
        };
        (0..self.heads).into_par_iter().map(head).collect()
    }
}

// derived, it would ask the same of `U`
impl<U> Default for Scratch<U> {
    fn default() -> Self {
        Self { mixed: Vec::new(), scores: Vec::new(), units: Vec::new() }
    }
}

impl<U: Unit> Head<U> {
    /// One slice of queries: their scores over all keys, softmax, and the mixture of values. `q` and `out` are rows of
    /// `width`, of which this is head `index`.
    fn attend(&self, q: &[f32], out: &mut [f32], (index, width): (usize, usize), scratch: &mut Scratch<U>) {
        let d = self.keys.depth();
        let Scratch { mixed, scores, units } = scratch;
        mixed.resize(d, [0.0; COLUMNS]);
        scores.resize(self.keys.rows(), [0.0; COLUMNS]);
        let scale = (d as f32).powf(-0.5);
        // the last slice may have fewer than 32 queries; its empty columns are computed as zeros and never copied out
        mixed.fill([0.0; COLUMNS]);
        for (column, row) in q.chunks_exact(width).enumerate() {
            let own = &row[index * d..(index + 1) * d];
            own.iter().zip(mixed.iter_mut()).for_each(|(value, line)| line[column] = value * scale);
        }
        // both products work on 32 columns side by side, so queries lie in columns and everything else in rows
        Output::new(scores.as_flattened_mut(), COLUMNS).set_rows(&self.keys, U::panel(mixed, units)); // (keys, 32)
        let totals = softmax_numerators(scores.as_flattened_mut());
        Output::new(mixed.as_flattened_mut(), COLUMNS).set_rows(&self.values, U::panel(scores, units)); // (d, 32)
        for (column, row) in out.chunks_exact_mut(width).enumerate() {
            let own = &mut row[index * d..(index + 1) * d];
            // dividing d mixed values is less work than dividing every weight
            let inverse = 1.0 / totals[column];
            own.iter_mut().zip(mixed.iter()).for_each(|(out, line)| *out = line[column] * inverse);
        }
    }
}

vectorized! {
    /// Turns each column of scores into `exp(score - largest)`, and sums it. Columns lie side by side.
    fn softmax_numerators(scores: &mut [f32]) -> [f32; COLUMNS] {
        let mut largest = [f32::NEG_INFINITY; COLUMNS];
        let (rows, _) = scores.as_chunks_mut::<COLUMNS>();
        for row in rows.iter() {
            largest.iter_mut().zip(row).for_each(|(largest, score)| *largest = largest.max(*score));
        }
        let mut totals = [0.0f32; COLUMNS];
        for row in rows {
            for ((score, largest), total) in row.iter_mut().zip(&largest).zip(&mut totals) {
                *score = exp(*score - largest);
                *total += *score;
            }
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, in_precision, precisions, ramp};

    /// One query at a time, in plain loops, with both products' operands in `precision`.
    fn reference(qkv: [&Tensor; 3], heads: usize, causal: bool, precision: Precision) -> Tensor {
        let [q, k, v] = qkv;
        let (batch, queries, width) = q.dims3().unwrap();
        let (keys, d) = (k.dim(1).unwrap(), width / heads);
        let all = |x: &Tensor| in_precision(x, precision).to_vec3::<f32>().unwrap();
        let rounded = |value: f32| match precision {
            Precision::F32 => value,
            Precision::Bf16 => half::bf16::from_f32(value).to_f32(),
        };
        let (q, k, v) = (all(&(q * (d as f64).powf(-0.5)).unwrap()), all(k), all(v));
        let mut out = vec![0.0f32; batch * queries * width];
        for (b, i, h) in
            (0..batch * queries * heads).map(|n| (n / (queries * heads), n / heads % queries, n % heads))
        {
            let seen = if causal { i + 1 } else { keys };
            let score = |j: usize| (0..d).map(|c| q[b][i][h * d + c] * k[b][j][h * d + c]).sum::<f32>();
            let scores: Vec<f32> = (0..seen).map(score).collect();
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weights: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
            let total: f32 = weights.iter().sum();
            for c in 0..d {
                let sum: f32 = (0..seen).map(|j| rounded(weights[j]) * v[b][j][h * d + c]).sum();
                out[(b * queries + i) * width + h * d + c] = sum / total;
            }
        }
        Tensor::from_vec(out, (batch, queries, width), &candle_core::Device::Cpu).unwrap()
    }

    #[test]
    fn a_bias_without_a_scale_is_a_scaled_product_of_larger_queries() {
        let (q, k, v) = (ramp((2, 5, 12), 1), ramp((2, 7, 12), 2), ramp((2, 7, 12), 3));
        let none = Tensor::zeros((3, 5, 7), DType::F32, q.device()).unwrap();
        let larger = (&q * 2.0).unwrap();
        let expected = reference([&larger, &k, &v], 3, false, Precision::F32);
        assert_close(&biased_attention(&q, &k, &v, 3, &none).unwrap(), &expected, 1e-5);
        // minus infinity for all keys but one leaves that one's value
        let only: Vec<f32> =
            (0..3 * 5 * 7).map(|at| if at % 7 == 4 { 0.0 } else { f32::NEG_INFINITY }).collect();
        let only = Tensor::from_vec(only, (3, 5, 7), q.device()).unwrap();
        let expected = v.narrow(1, 4, 1).unwrap().broadcast_as((2, 5, 12)).unwrap();
        assert_close(&biased_attention(&q, &k, &v, 3, &only).unwrap(), &expected, 1e-6);
    }

    #[test]
    fn attention_equals_the_plain_loops() {
        for (queries, keys, heads, d, mask) in [
            (5, 7, 2, 4, Mask::None),
            (6, 6, 3, 2, Mask::Causal),
            (70, 77, 1, 8, Mask::None),
            (1, 1, 1, 1, Mask::None),
            (33, 600, 2, 40, Mask::None),
            (64, 20, 1, 300, Mask::None),
        ] {
            let q = ramp((2, queries, heads * d), 1);
            let (k, v) = (ramp((2, keys, heads * d), 2), ramp((2, keys, heads * d), 3));
            let expected = reference([&q, &k, &v], heads, mask == Mask::Causal, Precision::F32);
            assert_close(&attention(&q, &k, &v, heads, mask, Precision::F32).unwrap(), &expected, 1e-5);
            assert_close(&by_tensors(&q, &k, &v, heads, mask).unwrap(), &expected, 1e-5);
            if mask == Mask::None && precisions().any(|precision| precision == Precision::Bf16) {
                let expected = reference([&q, &k, &v], heads, false, Precision::Bf16);
                // a weight in the middle between two bf16 may be rounded to the other by the last bit of its exponential
                let found = attention(&q, &k, &v, heads, mask, Precision::Bf16).unwrap();
                assert_close(&found, &expected, 2e-4);
            }
        }
    }
}
