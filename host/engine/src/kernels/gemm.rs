//! Matrix multiplication for the CPU (f32, AVX-512 or AVX2): both operands in panels, one small product kept in
//! registers. The layers decide what is packed when: weights once at loading, pictures and states on the way.
//!
//! A product is `C += A B` with `A` (rows, depth), `B` (depth, columns). `A` is packed by [`ROWS`] rows, `B` by
//! [`COLUMNS`] columns; both panels run along `depth`, with zeros where the matrix ends. Every value of `C` is summed in
//! one order, whatever else is computed beside it, so results do not depend on batch or threads.

use std::marker::PhantomData;

/// Rows of a panel of `A`.
/// 12 by 32 needs 24 accumulators of 16 lanes, and leaves registers for a row of `B` and the factor from `A`.
pub(super) const ROWS: usize = 12;
/// Columns of a panel of `B`: two vector registers.
pub(super) const COLUMNS: usize = 32;
/// Depth that is multiplied at a time: a panel of `B` of that depth stays in the first-level cache.
pub(super) const DEPTH: usize = 256;

/// Whether this machine runs these kernels; where it does not, layers use tensor operations.
/// Asked by layers at loading and by attention at each call; the standard library detects the features once.
pub(super) fn is_available() -> bool {
    tiles().next().is_some()
}

/// The innermost product: panels of `A` and `B`, their depth, where in `C` the tile begins and the stride there, the
/// rows and columns of the tile that exist, and whether `C` is added to.
type Tile = unsafe fn((*const f32, *const f32), usize, (*mut f32, usize), (usize, usize), bool);

/// Every innermost product that this machine runs, the fastest first.
#[cfg(target_arch = "x86_64")]
fn tiles() -> impl Iterator<Item = Tile> {
    use std::arch::is_x86_feature_detected as has;
    let wide = has!("avx512f").then_some(avx512::tile as Tile);
    let narrow = (has!("avx2") && has!("fma")).then_some(avx2::tile as Tile);
    wide.into_iter().chain(narrow)
}

#[cfg(not(target_arch = "x86_64"))]
fn tiles() -> impl Iterator<Item = Tile> {
    std::iter::empty()
}

/// `A`, packed whole.
/// Stays for the model's life where it holds a convolution's weight.
#[derive(Debug)]
pub(super) struct PackedRows {
    /// Panel after panel; in each, the `ROWS` values of one depth lie together.
    values: Vec<f32>,
    rows: usize,
    depth: usize,
}

impl PackedRows {
    /// Packs `rows * depth` values that `at(row, depth)` names.
    pub(super) fn new(rows: usize, depth: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut values = vec![0.0; rows.div_ceil(ROWS) * ROWS * depth];
        for (panel, values) in values.chunks_exact_mut((ROWS * depth).max(1)).enumerate() {
            for (k, values) in values.chunks_exact_mut(ROWS).enumerate() {
                let first = panel * ROWS;
                for (row, value) in (first..rows.min(first + ROWS)).zip(values) {
                    *value = at(row, k);
                }
            }
        }
        Self { values, rows, depth }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Panel `index` from depth `from` to `to`.
    pub(super) fn panel(&self, index: usize, from: usize, to: usize) -> &[f32] {
        let start = index * ROWS * self.depth;
        &self.values[start + from * ROWS..start + to * ROWS]
    }
}

/// `B`, packed whole.
#[derive(Debug)]
pub(super) struct PackedColumns {
    /// Panel after panel; in each, the `COLUMNS` values of one depth lie together.
    values: Vec<f32>,
    columns: usize,
    depth: usize,
}

impl PackedColumns {
    /// Packs `depth * columns` values that `at(depth, column)` names.
    pub(super) fn new(depth: usize, columns: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut values = vec![0.0; columns.div_ceil(COLUMNS) * COLUMNS * depth];
        for (panel, values) in values.chunks_exact_mut((COLUMNS * depth).max(1)).enumerate() {
            for (k, values) in values.chunks_exact_mut(COLUMNS).enumerate() {
                let first = panel * COLUMNS;
                for (column, value) in (first..columns.min(first + COLUMNS)).zip(values) {
                    *value = at(k, column);
                }
            }
        }
        Self { values, columns, depth }
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// One column, along the depth. It is less than [`PackedColumns::columns`].
    pub(super) fn column(&self, index: usize) -> impl Iterator<Item = f32> {
        let panel = self.panel(index / COLUMNS, 0, self.depth);
        panel.iter().skip(index % COLUMNS).step_by(COLUMNS).copied()
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Panel `index` from depth `from` to `to`.
    pub(super) fn panel(&self, index: usize, from: usize, to: usize) -> &[f32] {
        let start = index * COLUMNS * self.depth;
        &self.values[start + from * COLUMNS..start + to * COLUMNS]
    }
}

/// A row-major result that threads fill together, each its own part.
pub(super) struct Output<'a> {
    /// A pointer, because threads write tiles that interleave in memory and cannot be split into slices.
    values: *mut f32,
    /// Values behind the pointer; every tile is checked against it.
    length: usize,
    stride: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "a pointer into a slice that is borrowed for as long as this lives")]
// SAFETY: the pointer is only used by `tile`, whose callers promise that no two of them touch the same values.
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    /// `stride` values from one row to the next.
    pub(super) fn new(values: &'a mut [f32], stride: usize) -> Self {
        Self { values: values.as_mut_ptr(), length: values.len(), stride, lifetime: PhantomData }
    }

    /// Adds the product of a panel of `A` and one of `B` at (row, column); `size` says how many rows and columns of the
    /// tile exist. Threads must be given different tiles.
    pub(super) fn add_tile(&self, a: &[f32], b: &[f32], at: (usize, usize), size: (usize, usize)) {
        self.tile(a, b, at, size, true);
    }

    /// With `add`, what is there is added to; without, it is replaced.
    fn tile(&self, a: &[f32], b: &[f32], at: (usize, usize), size: (usize, usize), add: bool) {
        let ((row, column), (rows, columns)) = (at, size);
        let depth = a.len() / ROWS;
        // real assertions, in every build: a wrong size here would write outside of the slice
        assert!(
            rows <= ROWS && columns <= COLUMNS && b.len() >= depth * COLUMNS,
            "a tile is at most one panel"
        );
        let last = (row + rows.max(1) - 1) * self.stride + column + columns;
        assert!(last <= self.length && column + columns <= self.stride, "a tile lies within the result");
        if rows == 0 || columns == 0 {
            return;
        }
        let tile = tiles().next().expect("callers ask whether the kernels are available");
        #[expect(unsafe_code, reason = "vector instructions on panels whose sizes were just checked")]
        // SAFETY: this machine has the instructions; the asserts above keep every access inside of the panels and of the
        // result; different threads have different tiles.
        unsafe {
            let c = self.values.add(row * self.stride + column);
            tile((a.as_ptr(), b.as_ptr()), depth, (c, self.stride), size, add);
        }
    }

    /// Adds `A[from..to] B[from..to]` for all rows of `A` to `columns` from `column` on.
    pub(super) fn add_rows(
        &self,
        a: &PackedRows,
        b: &[f32],
        depth: (usize, usize),
        column: usize,
        columns: usize,
    ) {
        for panel in 0..a.rows.div_ceil(ROWS) {
            let row = panel * ROWS;
            self.add_tile(
                a.panel(panel, depth.0, depth.1),
                b,
                (row, column),
                (ROWS.min(a.rows - row), columns),
            );
        }
    }

    /// Replaces the result, which is one panel wide, by `A B`; `b` is one panel of `B` of the full depth.
    pub(super) fn set_rows(&self, a: &PackedRows, b: &[f32]) {
        for (from, to) in blocks(a.depth) {
            let b = &b[from * COLUMNS..to * COLUMNS];
            for panel in 0..a.rows.div_ceil(ROWS) {
                let row = panel * ROWS;
                let size = (ROWS.min(a.rows - row), COLUMNS);
                self.tile(a.panel(panel, from, to), b, (row, 0), size, from > 0);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    //! The innermost product: 12 rows by 32 columns in 24 of the 32 vector registers.

    use std::arch::x86_64::{
        _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
    };
    use std::arch::x86_64::{_mm512_mask_storeu_ps, _mm512_maskz_loadu_ps};

    use super::{COLUMNS, ROWS};

    const LANES: usize = 16;

    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "vector loads and stores through pointers")]
    #[inline]
    // SAFETY: `a` holds `depth` groups of 12 values and `b` of 32; `c` may be read and written at `rows` rows of
    // `columns` values, `stride` apart.
    pub(super) unsafe fn tile(
        (mut a, mut b): (*const f32, *const f32),
        depth: usize,
        (c, stride): (*mut f32, usize),
        (rows, columns): (usize, usize),
        add: bool,
    ) {
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
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

    use super::{COLUMNS, ROWS};

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

/// Depths from 0 to `depth` in steps of [`DEPTH`].
pub(super) fn blocks(depth: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..depth).step_by(DEPTH).map(move |from| (from, depth.min(from + DEPTH)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a(row: usize, k: usize) -> f32 {
        ((row * 31 + k * 17) % 23) as f32 / 23.0 - 0.5
    }

    fn b(k: usize, column: usize) -> f32 {
        ((column * 13 + k * 7) % 19) as f32 / 19.0 - 0.5
    }

    fn product(row: usize, column: usize, depth: usize) -> f32 {
        (0..depth).map(|k| a(row, k) * b(k, column)).sum()
    }

    #[test]
    fn every_instruction_set_makes_the_tile_of_the_plain_loops() {
        assert!(is_available() || cfg!(not(target_arch = "x86_64")), "this machine tests nothing");
        let depth = 40;
        let (panel_a, panel_b) = (PackedRows::new(ROWS, depth, a), PackedColumns::new(depth, COLUMNS, b));
        let (panel_a, panel_b) = (panel_a.panel(0, 0, depth), panel_b.panel(0, 0, depth));
        for (tile, (rows, columns)) in
            tiles().flat_map(|tile| [(12, 32), (7, 19), (1, 16), (6, 3)].map(|size| (tile, size)))
        {
            for add in [false, true] {
                let mut values = vec![1.0; ROWS * COLUMNS];
                #[expect(unsafe_code, reason = "calls it as `Output` does")]
                // SAFETY: the panels are as deep as said, and the result holds a whole tile.
                unsafe {
                    let c = (values.as_mut_ptr(), COLUMNS);
                    tile((panel_a.as_ptr(), panel_b.as_ptr()), depth, c, (rows, columns), add);
                }
                for (index, value) in values.iter().enumerate() {
                    let (row, column) = (index / COLUMNS, index % COLUMNS);
                    let inside = row < rows && column < columns;
                    let wanted = if inside { product(row, column, depth) } else { 0.0 };
                    let before = if inside && !add { 0.0 } else { 1.0 };
                    assert!((value - wanted - before).abs() < 1e-5, "{rows}x{columns} at {index}: {value}");
                }
            }
        }
    }

    #[test]
    fn products_equal_the_plain_loops_for_every_remainder() {
        for (rows, depth, columns) in
            [(1, 1, 1), (12, 7, 32), (13, 300, 33), (25, 513, 70), (5, 256, 16), (24, 4, 17)]
        {
            if !is_available() {
                break; // the layers use tensor operations there
            }
            let (packed_a, packed_b) =
                (PackedRows::new(rows, depth, a), PackedColumns::new(depth, columns, b));
            let mut values = vec![1.0; rows * columns];
            let output = Output::new(&mut values, columns);
            for (from, to) in blocks(depth) {
                for panel in 0..columns.div_ceil(COLUMNS) {
                    let column = panel * COLUMNS;
                    let width = COLUMNS.min(columns - column);
                    output.add_rows(&packed_a, packed_b.panel(panel, from, to), (from, to), column, width);
                }
            }
            for (index, value) in values.iter().enumerate() {
                let sum = product(index / columns, index % columns, depth);
                assert!((value - sum - 1.0).abs() < 1e-4, "{rows}x{depth}x{columns} at {index}: {value}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "within the result")]
    fn a_tile_outside_of_the_result_is_a_bug_and_not_a_write() {
        let mut values = vec![0.0; 8];
        Output::new(&mut values, 4).add_tile(&[0.0; ROWS], &[0.0; COLUMNS], (1, 2), (2, 2));
    }
}
