//! Attention of a few new queries to keys and values that were kept: of a decoder to its own past, and to what it hears.
//!
//! Nothing of the past is packed, copied or projected again: a query costs the products with the keys that it sees. What a
//! decoder keeps is written in place into room for its longest text.

use candle_core::{CpuStorage, CustomOp3, D, DType, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::contiguous;
use super::math::{LANES, exp, vectorized};

/// Which of the keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// All.
    All,
    /// The first so many, and one more for each query after the first, which sees itself as well.
    Before(usize),
}

impl Seen {
    /// Keys that query `index` sees, of `keys`.
    fn count(self, index: usize, keys: usize) -> usize {
        match self {
            Self::All => keys,
            Self::Before(before) => (before + index + 1).min(keys),
        }
    }
}

/// How heads lie in rows, and how their scores are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// Of the queries.
    pub queries: usize,
    /// Of keys and values: each serves as many neighbouring heads of the queries (arXiv 2305.13245).
    pub keys: usize,
    /// What products are multiplied by; one over the root of a head's width where it is not said.
    pub scale: Option<f64>,
    /// A query sees so many of the last keys only, itself among them.
    pub window: Option<usize>,
    /// Scores stay between this and its negative: `cap * tanh(score / cap)` (arXiv 2408.00118, 2.3).
    pub softcap: Option<f64>,
}

impl Heads {
    /// As many of keys as of queries, and nothing else.
    pub fn plain(count: usize) -> Self {
        Self { queries: count, keys: count, scale: None, window: None, softcap: None }
    }

    /// Width of a head in queries of `width`, where keys of `keys` fit them.
    fn width(&self, width: usize, keys: usize) -> Result<usize> {
        let d = width / self.queries.max(1);
        let fits = self.keys > 0 && self.queries.is_multiple_of(self.keys) && d * self.queries == width;
        if !fits || keys != d * self.keys {
            candle_core::bail!("{self:?} of queries {width} and keys {keys} wide");
        }
        Ok(d)
    }

    fn scale(&self, d: usize) -> f64 {
        self.scale.unwrap_or((d as f64).powf(-0.5))
    }

    /// The first key of the last `seen` that a query looks at.
    fn first(&self, seen: usize) -> usize {
        self.window.map_or(0, |window| seen.saturating_sub(window))
    }
}

/// Keys and values of one layer, for rows of texts that grow together.
#[derive(Debug)]
pub struct Past {
    /// (rows, capacity, width), of which `length` are filled; a tensor's values can be written in place.
    keys: Tensor,
    values: Tensor,
    length: usize,
}

impl Past {
    /// Room for `capacity` positions.
    pub fn new(rows: usize, capacity: usize, width: usize, device: &Device) -> Result<Self> {
        let room = || Tensor::zeros((rows, capacity, width), DType::F32, device);
        Ok(Self { keys: room()?, values: room()?, length: 0 })
    }

    /// Adds the keys and values (rows, n, width) of new positions, and lets their queries look at everything up to
    /// themselves: (rows, n, width).
    ///
    /// # Errors
    /// More positions than there is room for.
    pub fn attend(&mut self, q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads) -> Result<Tensor> {
        let before = self.length;
        self.add(k, v)?;
        attention_to_past(q, &self.keys, &self.values, heads, Seen::Before(before))
    }

    /// Adds keys and values (rows, n, width) of positions that were computed before.
    ///
    /// # Errors
    /// More positions than there is room for.
    pub fn add(&mut self, k: &Tensor, v: &Tensor) -> Result<()> {
        self.keys.slice_set(&k.contiguous()?, 1, self.length)?;
        self.values.slice_set(&v.contiguous()?, 1, self.length)?;
        self.length += k.dim(1)?;
        Ok(())
    }

    /// Goes back to the first `count` positions; nothing where there are no more.
    pub fn truncate(&mut self, count: usize) {
        self.length = self.length.min(count);
    }

    /// A copy of the first `count` positions: keys and values (rows, count, width).
    ///
    /// # Errors
    /// More positions than there are.
    pub fn copy(&self, count: usize) -> Result<(Tensor, Tensor)> {
        if count > self.length {
            candle_core::bail!("{count} positions of {}", self.length);
        }
        let copy = |kept: &Tensor| kept.narrow(1, 0, count)?.force_contiguous();
        Ok((copy(&self.keys)?, copy(&self.values)?))
    }

    /// Lets row `i` go on from what row `rows[i]` was. Copies the past, which is why beams alone ask for it, and only when
    /// one takes the place of another.
    pub fn reorder(&mut self, rows: &[u32]) -> Result<()> {
        let rows = Tensor::new(rows, self.keys.device())?;
        for kept in [&self.keys, &self.values] {
            let past = kept.narrow(1, 0, self.length)?.contiguous()?.index_select(&rows, 0)?;
            kept.slice_set(&past, 1, 0)?;
        }
        Ok(())
    }
}

/// One new position of each of several texts: row `i` of queries, keys and values (1, texts, width) is that of past `i`, and
/// sees nothing but that.
///
/// # Errors
/// As [`Past::attend`]; other texts than rows.
pub fn attend_each<'a>(
    pasts: impl Iterator<Item = &'a mut Past>,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: Heads,
) -> Result<Tensor> {
    let row = |x: &Tensor, index: usize| x.narrow(1, index, 1);
    let attended = pasts
        .enumerate()
        .map(|(index, past)| past.attend(&row(q, index)?, &row(k, index)?, &row(v, index)?, heads))
        .collect::<Result<Vec<_>>>()?;
    if attended.len() != q.dim(1)? {
        candle_core::bail!("{} texts for {:?}", attended.len(), q.shape());
    }
    Tensor::cat(&attended, 1)
}

/// `softmax(q k^T * scale) v` per head, over the keys that each query sees. `q` is (rows, queries, heads * d), `k` and `v`
/// are (rows, keys, heads of keys * d).
pub fn attention_to_past(q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads, seen: Seen) -> Result<Tensor> {
    if q.device().is_cpu() && q.dtype() == DType::F32 {
        return q.contiguous()?.apply_op3_no_bwd(k, v, &ToPast { heads, seen });
    }
    by_tensors(q, k, v, heads, seen)
}

/// By tensor operations; for devices without a kernel, and the kernel's reference.
fn by_tensors(q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads, seen: Seen) -> Result<Tensor> {
    let (rows, queries, width) = q.dims3()?;
    let (keys, d) = (seen.count(queries.saturating_sub(1), k.dim(1)?), heads.width(width, k.dim(2)?)?);
    let split = |x: &Tensor, count: usize| {
        x.reshape((rows, x.dim(1)?, count, d))?.transpose(1, 2)?.contiguous() // (rows, heads, n, d)
    };
    // each head of the keys as often as heads of the queries share it
    let shared = |x: &Tensor| {
        let x = split(&x.narrow(1, 0, keys)?.contiguous()?, heads.keys)?.unsqueeze(2)?;
        let all = (rows, heads.keys, heads.queries / heads.keys, keys, d);
        x.broadcast_as(all)?.reshape((rows, heads.queries, keys, d))
    };
    let mut scores = (split(q, heads.queries)? * heads.scale(d))?.matmul(&shared(k)?.t()?)?; // (rows, heads, queries, keys)
    if let Some(cap) = heads.softcap {
        scores = ((scores / cap)?.tanh()? * cap)?;
    }
    let hidden = |query: usize, key: usize| {
        let seen = seen.count(query, keys);
        if (heads.first(seen)..seen).contains(&key) { 0.0 } else { f32::NEG_INFINITY }
    };
    let mask: Vec<f32> =
        (0..queries).flat_map(|query| (0..keys).map(move |key| hidden(query, key))).collect();
    let scores = scores.broadcast_add(&Tensor::from_vec(mask, (queries, keys), q.device())?)?;
    let out = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&shared(v)?)?;
    out.transpose(1, 2)?.reshape((rows, queries, width))
}

/// The kernel: threads take heads of rows.
struct ToPast {
    heads: Heads,
    seen: Seen,
}

impl CustomOp3 for ToPast {
    fn name(&self) -> &'static str {
        "attention-to-past"
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
        let (rows, queries, width) = q_layout.shape().dims3()?;
        let (k_rows, keys, k_width) = k_layout.shape().dims3()?;
        if k_layout.shape() != v_layout.shape() || k_rows != rows {
            candle_core::bail!("attention of {:?} to {:?}", q_layout.shape(), k_layout.shape());
        }
        let d = self.heads.width(width, k_width)?;
        let (q, k, v) = (contiguous(q, q_layout)?, contiguous(k, k_layout)?, contiguous(v, v_layout)?);
        let (count, shared) = (self.heads.queries, self.heads.queries / self.heads.keys);
        let scoring = Scoring {
            width: k_width,
            scale: self.heads.scale(d) as f32,
            softcap: self.heads.softcap.map(|cap| cap as f32),
        };
        // head by head: (rows, heads, queries, d), which one pass puts in order at the end
        let mut by_head = vec![0.0f32; q.len()];
        by_head.par_chunks_mut((queries * d).max(1)).enumerate().for_each_init(
            Vec::new,
            |scores, (index, out)| {
                let (row, head) = (index / count, index % count);
                for (query, out) in out.chunks_exact_mut(d.max(1)).enumerate() {
                    let q = &q[(row * queries + query) * width + head * d..][..d];
                    let seen = self.seen.count(query, keys);
                    let first = self.heads.first(seen);
                    let from = ((row * keys + first) * k_width + head / shared * d).min(k.len());
                    scores.resize(seen - first, 0.0);
                    attend(out, scores, q, &k[from..], &v[from..], scoring);
                }
            },
        );
        let shape = q_layout.shape().clone();
        Ok((CpuStorage::F32(interleave(&by_head, (rows, count, queries, d))), shape))
    }
}

/// How the scores of one head are made.
#[derive(Clone, Copy)]
struct Scoring {
    /// From one key to the next.
    width: usize,
    scale: f32,
    softcap: Option<f32>,
}

vectorized! {
    /// One query of one head. As many keys are looked at as there are scores.
    fn attend(out: &mut [f32], scores: &mut [f32], q: &[f32], k: &[f32], v: &[f32], scoring: Scoring) {
        let Scoring { width, scale, softcap } = scoring;
        let mut largest = f32::NEG_INFINITY;
        for (score, key) in scores.iter_mut().zip(k.chunks(width)) {
            *score = dot(q, key) * scale;
            if let Some(cap) = softcap {
                *score = cap * (*score / cap).tanh();
            }
            largest = largest.max(*score);
        }
        let mut total = 0.0f32;
        for score in scores.iter_mut() {
            *score = exp(*score - largest);
            total += *score;
        }
        out.fill(0.0);
        for (weight, value) in scores.iter().zip(v.chunks(width)) {
            out.iter_mut().zip(value).for_each(|(out, value)| *out += weight * value);
        }
        let inverse = 1.0 / total;
        out.iter_mut().for_each(|out| *out *= inverse);
    }
}

/// Over the length of `a`, with one running sum for each lane.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let b = &b[..a.len()];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// (rows, heads, queries, d) as (rows, queries, heads * d).
fn interleave(values: &[f32], (rows, heads, queries, d): (usize, usize, usize, usize)) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for (row, query) in (0..rows).flat_map(|row| (0..queries).map(move |query| (row, query))) {
        for head in 0..heads {
            let start = ((row * heads + head) * queries + query) * d;
            out.extend_from_slice(&values[start..start + d]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, ramp};

    #[test]
    fn the_kernel_equals_tensor_operations() {
        for (rows, queries, keys, heads, d, seen) in [
            (2, 1, 9, 2, 4, Seen::Before(5)),
            (3, 4, 9, 2, 20, Seen::Before(0)),
            (1, 5, 70, 3, 64, Seen::All),
            (2, 1, 1, 1, 1, Seen::Before(0)),
        ] {
            let q = ramp((rows, queries, heads * d), 1);
            let (k, v) = (ramp((rows, keys, heads * d), 2), ramp((rows, keys, heads * d), 3));
            let heads = Heads::plain(heads);
            let expected = by_tensors(&q, &k, &v, heads, seen).unwrap();
            assert_close(&attention_to_past(&q, &k, &v, heads, seen).unwrap(), &expected, 1e-5);
        }
    }

    #[test]
    fn shared_keys_windows_and_softcaps_are_those_of_tensor_operations() {
        let (q, k, v) = (ramp((2, 5, 6 * 8), 1), ramp((2, 12, 2 * 8), 2), ramp((2, 12, 2 * 8), 3));
        let shared = Heads { keys: 2, ..Heads::plain(6) };
        let all = |heads, seen| attention_to_past(&q, &k, &v, heads, seen).unwrap();
        for heads in [
            shared,
            Heads { window: Some(3), ..shared },
            Heads { window: Some(1), scale: Some(0.7), ..shared },
            Heads { softcap: Some(0.5), scale: Some(2.0), ..shared },
        ] {
            let seen = Seen::Before(4);
            assert_close(&all(heads, seen), &by_tensors(&q, &k, &v, heads, seen).unwrap(), 1e-5);
        }
        // a window of one is the own value, of the head that three share
        let own = all(Heads { window: Some(1), ..shared }, Seen::Before(4));
        let expected = v.narrow(1, 4, 5).unwrap().narrow(2, 8, 8).unwrap();
        assert_close(&own.narrow(2, 4 * 8, 8).unwrap(), &expected, 1e-6);
        assert!(attention_to_past(&q, &k, &v, Heads { keys: 4, ..shared }, Seen::All).is_err());
    }

    #[test]
    fn texts_that_grow_see_what_whole_texts_see_and_rows_change_places() {
        let whole = ramp((3, 6, 8), 1);
        let part = |from: usize, count: usize| whole.narrow(1, from, count).unwrap();
        let expected = attention_to_past(&whole, &whole, &whole, Heads::plain(2), Seen::Before(0)).unwrap();
        let mut past = Past::new(3, 6, 8, &Device::Cpu).unwrap();
        past.attend(&part(0, 4), &part(0, 4), &part(0, 4), Heads::plain(2)).unwrap();
        let out = past.attend(&part(4, 1), &part(4, 1), &part(4, 1), Heads::plain(2)).unwrap();
        assert_close(&out, &expected.narrow(1, 4, 1).unwrap(), 1e-6);
        past.reorder(&[2, 2, 0]).unwrap();
        let order = Tensor::new(&[2u32, 2, 0], &Device::Cpu).unwrap();
        let last = part(5, 1).contiguous().unwrap().index_select(&order, 0).unwrap();
        let out = past.attend(&last, &last, &last, Heads::plain(2)).unwrap();
        let expected =
            expected.narrow(1, 5, 1).unwrap().contiguous().unwrap().index_select(&order, 0).unwrap();
        assert_close(&out, &expected, 1e-6);
        assert!(past.attend(&last, &last, &last, Heads::plain(2)).is_err(), "there is room for six");
    }

    #[test]
    fn texts_beside_each_other_see_only_themselves_and_go_back() {
        let x = ramp((1, 2, 8), 1);
        let row = |index| x.narrow(1, index, 1).unwrap();
        let heads = Heads::plain(2);
        let begun = |count: usize| {
            let (mut past, first) = (Past::new(1, 4, 8, &Device::Cpu).unwrap(), ramp((1, count, 8), 5));
            past.add(&first, &first).unwrap();
            past
        };
        let alone = [
            begun(3).attend(&row(0), &row(0), &row(0), heads),
            begun(1).attend(&row(1), &row(1), &row(1), heads),
        ];
        let alone = Tensor::cat(&alone.map(Result::unwrap), 1).unwrap();
        let mut pasts = [begun(3), begun(1)];
        assert_close(&attend_each(pasts.iter_mut(), &x, &x, &x, heads).unwrap(), &alone, 0.0);
        // the first is full by now
        assert!(attend_each(pasts.iter_mut(), &x, &x, &x, heads).is_err());
        pasts.iter_mut().zip([3, 1]).for_each(|(past, count)| past.truncate(count));
        assert_close(&attend_each(pasts.iter_mut(), &x, &x, &x, heads).unwrap(), &alone, 0.0);
        assert!(attend_each(pasts.iter_mut().take(1), &x, &x, &x, heads).is_err());
    }

    #[test]
    fn keys_of_another_width_are_an_error() {
        let (q, k) = (ramp((1, 1, 8), 1), ramp((1, 3, 6), 2));
        assert!(attention_to_past(&q, &k, &k, Heads::plain(2), Seen::All).is_err());
    }
}
