//! The innermost products in vector instructions: panels of 12 rows and of 32 columns, multiplied along their depth in
//! registers. The only unsafe code of the product; `Output` checks every size before it calls one.

use super::ROWS;
use super::unit::Pair;

/// The innermost product: panels of `A` and `B`, their depth in units, where in `C` the tile begins and the stride there,
/// the rows and columns of the tile that exist, and whether `C` is added to.
pub(super) type Tile<U> = unsafe fn((*const U, *const U), usize, (*mut f32, usize), (usize, usize), bool);

/// Rows that a thin tile has at most: with so few, most of a whole tile's time would go into rows that do not exist.
pub(super) const THIN: usize = 4;

/// Every product in f32 that this machine runs, the fastest first; of whole tiles, or of thin ones.
#[cfg(target_arch = "x86_64")]
pub(super) fn single(thin: bool) -> impl Iterator<Item = Tile<f32>> {
    use std::arch::is_x86_feature_detected as has;
    let tile: Tile<f32> = if thin { avx512::tile::<THIN> } else { avx512::tile::<ROWS> };
    let wide = has!("avx512f").then_some(tile);
    let narrow = (has!("avx2") && has!("fma")).then_some(avx2::tile as Tile<f32>);
    wide.into_iter().chain(narrow)
}

/// The product of bf16, if this machine runs it; of a whole tile, or of a thin one.
#[cfg(target_arch = "x86_64")]
pub(super) fn paired(thin: bool) -> Option<Tile<Pair>> {
    use std::arch::is_x86_feature_detected as has;
    let tile: Tile<Pair> = if thin { avx512::paired_tile::<THIN> } else { avx512::paired_tile::<ROWS> };
    (has!("avx512f") && has!("avx512bf16")).then_some(tile)
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn single(_: bool) -> impl Iterator<Item = Tile<f32>> {
    std::iter::empty()
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn paired(_: bool) -> Option<Tile<Pair>> {
    None
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    //! 12 rows by 32 columns in 24 of the 32 vector registers, or fewer rows, in f32 and of pairs of bf16.

    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
        _mm512_loadu_si512, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_set1_epi32, _mm512_set1_ps,
        _mm512_setzero_ps,
    };

    use super::super::{COLUMNS, ROWS};
    use super::Pair;

    const LANES: usize = 16;

    /// A line of a tile of `C` while it is summed.
    type Sum = [__m512; 2];

    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "vector loads and stores through pointers")]
    #[inline]
    // SAFETY: `a` holds `depth` groups of 12 values and `b` of 32; `c` may be read and written at `rows` rows of
    // `columns` values, `stride` apart. `HEIGHT`, at most 12, is how many rows are summed, and at least `rows`.
    pub(super) unsafe fn tile<const HEIGHT: usize>(
        (mut a, mut b): (*const f32, *const f32),
        depth: usize,
        (c, stride): (*mut f32, usize),
        (rows, columns): (usize, usize),
        add: bool,
    ) {
        let mut sums: [Sum; HEIGHT] = [[_mm512_setzero_ps(); 2]; HEIGHT];
        for _ in 0..depth {
            // SAFETY: both pointers move by one group per turn, `depth` turns in all
            unsafe {
                let (left, right) = (_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(LANES)));
                for (row, sum) in sums.iter_mut().enumerate() {
                    let factor = _mm512_set1_ps(*a.add(row));
                    sum[0] = _mm512_fmadd_ps(factor, left, sum[0]);
                    sum[1] = _mm512_fmadd_ps(factor, right, sum[1]);
                }
                a = a.add(ROWS);
                b = b.add(COLUMNS);
            }
        }
        // SAFETY: by the caller's word
        unsafe { store(&sums, (c, stride), (rows, columns), add) }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    #[expect(unsafe_code, reason = "vector loads and stores through pointers")]
    #[inline]
    // SAFETY: as for `tile`; the groups are of pairs.
    pub(super) unsafe fn paired_tile<const HEIGHT: usize>(
        (mut a, mut b): (*const Pair, *const Pair),
        depth: usize,
        c: (*mut f32, usize),
        size: (usize, usize),
        add: bool,
    ) {
        let mut sums: [Sum; HEIGHT] = [[_mm512_setzero_ps(); 2]; HEIGHT];
        for _ in 0..depth {
            // SAFETY: both pointers move by one group per turn, `depth` turns in all; a pair is 32 bits of which any are valid
            unsafe {
                let (left, right) = (load_pairs(b), load_pairs(b.add(LANES)));
                for (row, sum) in sums.iter_mut().enumerate() {
                    let factor = as_pairs(_mm512_set1_epi32(*a.add(row).cast::<i32>()));
                    sum[0] = _mm512_dpbf16_ps(sum[0], factor, left);
                    sum[1] = _mm512_dpbf16_ps(sum[1], factor, right);
                }
                a = a.add(ROWS);
                b = b.add(COLUMNS);
            }
        }
        // SAFETY: by the caller's word
        unsafe { store(&sums, c, size, add) }
    }

    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "a vector load through a pointer")]
    #[inline]
    // SAFETY: 16 pairs can be read from there.
    unsafe fn load_pairs(pairs: *const Pair) -> __m512bh {
        // SAFETY: by the caller's word
        as_pairs(unsafe { _mm512_loadu_si512(pairs.cast()) })
    }

    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "the same bits under another type, for which there is no intrinsic")]
    #[inline]
    fn as_pairs(bits: __m512i) -> __m512bh {
        // SAFETY: both are 64 bytes of which any are valid
        unsafe { std::mem::transmute(bits) }
    }

    #[expect(unsafe_code, reason = "vector loads and stores through pointers")]
    // always: only as a part of the tile does it find the sums in registers; so the instructions are enabled there
    #[inline(always)]
    // SAFETY: as for `tile`, which the caller has the instructions of.
    unsafe fn store(
        sums: &[Sum],
        (c, stride): (*mut f32, usize),
        (rows, columns): (usize, usize),
        add: bool,
    ) {
        // 1u64, because 32 columns would shift a u32 by its whole width
        let mask = ((1u64 << columns) - 1) as u32;
        let (left, right) = (mask as u16, (mask >> LANES) as u16);
        let (old_left, old_right) = if add { (left, right) } else { (0, 0) };
        for (row, sum) in sums.iter().enumerate() {
            if row < rows {
                // SAFETY: the masks leave out what lies beyond `columns`
                unsafe {
                    let c = c.add(row * stride);
                    let d = c.wrapping_add(LANES);
                    let old = (_mm512_maskz_loadu_ps(old_left, c), _mm512_maskz_loadu_ps(old_right, d));
                    _mm512_mask_storeu_ps(c, left, _mm512_add_ps(old.0, sum[0]));
                    _mm512_mask_storeu_ps(d, right, _mm512_add_ps(old.1, sum[1]));
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    //! The same product in quarters of 6 rows by 16 columns: 12 of the 16 vector registers.

    use std::arch::x86_64::{
        __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps,
        _mm256_storeu_ps,
    };

    use super::super::{COLUMNS, ROWS};

    const LANES: usize = 8;
    const TALL: usize = ROWS / 2;
    const WIDE: usize = 2 * LANES;

    #[target_feature(enable = "avx2,fma")]
    #[expect(unsafe_code, reason = "vector loads and stores through pointers")]
    #[inline]
    // SAFETY: `a` holds `depth` groups of 12 values and `b` of 32; `c` may be read and written at `rows` rows of
    // `columns` values, `stride` apart.
    pub(super) unsafe fn tile(
        (a, b): (*const f32, *const f32),
        depth: usize,
        (c, stride): (*mut f32, usize),
        (rows, columns): (usize, usize),
        add: bool,
    ) {
        for column in (0..columns).step_by(WIDE) {
            for row in (0..rows).step_by(TALL) {
                // SAFETY: a quarter begins inside of the panels and of the tile, and `size` ends where the tile does
                unsafe {
                    let sums = quarter((a.add(row), b.add(column)), depth);
                    let size = (TALL.min(rows - row), WIDE.min(columns - column));
                    store(&sums, (c.add(row * stride + column), stride), size, add);
                }
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    #[expect(unsafe_code, reason = "vector loads through pointers")]
    #[inline]
    // SAFETY: as for `tile`; `a` and `b` point to a quarter of their panels.
    unsafe fn quarter((mut a, mut b): (*const f32, *const f32), depth: usize) -> [[__m256; 2]; TALL] {
        let mut sums = [[_mm256_setzero_ps(); 2]; TALL];
        for _ in 0..depth {
            // SAFETY: both pointers move by one group per turn, `depth` turns in all
            unsafe {
                let (left, right) = (_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(LANES)));
                for (row, sum) in sums.iter_mut().enumerate() {
                    let factor = _mm256_set1_ps(*a.add(row));
                    sum[0] = _mm256_fmadd_ps(factor, left, sum[0]);
                    sum[1] = _mm256_fmadd_ps(factor, right, sum[1]);
                }
                a = a.wrapping_add(ROWS);
                b = b.wrapping_add(COLUMNS);
            }
        }
        sums
    }

    #[target_feature(enable = "avx2,fma")]
    #[expect(unsafe_code, reason = "vector loads and stores through pointers")]
    #[inline]
    // SAFETY: `c` may be read and written at `rows` rows of `columns` values, `stride` apart.
    unsafe fn store(
        sums: &[[__m256; 2]; TALL],
        (c, stride): (*mut f32, usize),
        (rows, columns): (usize, usize),
        add: bool,
    ) {
        // AVX2 has no cheap masked store, so a part of a line goes through this buffer
        let mut line = [0.0f32; WIDE];
        for (row, sum) in sums.iter().enumerate().take(rows) {
            // SAFETY: a whole line goes directly; of a part, `columns` values are copied
            unsafe {
                let c = c.add(row * stride);
                let whole = columns == WIDE;
                if !whole && add {
                    std::ptr::copy_nonoverlapping(c, line.as_mut_ptr(), columns);
                }
                let target = if whole { c } else { line.as_mut_ptr() };
                for (half, sum) in sum.iter().enumerate() {
                    let target = target.add(half * LANES);
                    let old = if add { _mm256_loadu_ps(target) } else { _mm256_setzero_ps() };
                    _mm256_storeu_ps(target, _mm256_add_ps(old, *sum));
                }
                if !whole {
                    std::ptr::copy_nonoverlapping(line.as_ptr(), c, columns);
                }
            }
        }
    }
}
