//! Matrix multiplication for the CPU: both operands in panels, one small product kept in registers, in f32 (AVX-512 or AVX2)
//! or with operands rounded to bf16 and sums in f32 (AVX-512 BF16; AMX is not used). The layers decide what is packed when:
//! weights once at loading, pictures and states on the way.
//!
//! A product is `C += A B` with `A` (rows, depth), `B` (depth, columns). `A` is packed by [`ROWS`] rows, `B` by
//! [`COLUMNS`] columns; both panels run along `depth` in units ([`Unit`]: one value, or two of bf16), with zeros where the
//! matrix ends. Every value of `C` is summed in one order, whatever else is computed beside it, so results do not depend on
//! batch or threads.

mod tiles;
mod unit;

use std::marker::PhantomData;

pub(super) use unit::{Pair, Unit};

/// Rows of a panel of `A`.
/// 12 by 32 needs 24 accumulators of 16 lanes, and leaves registers for a row of `B` and the factor from `A`.
pub(super) const ROWS: usize = 12;
/// Columns of a panel of `B`: two vector registers.
pub(super) const COLUMNS: usize = 32;
/// Units of depth that are multiplied at a time: a panel of `B` of that depth stays in the first-level cache.
pub(super) const DEPTH: usize = 256;

/// Whether this machine runs these kernels; where it does not, layers use tensor operations.
/// Asked by layers at loading and by attention at each call; the standard library detects the features once.
pub(super) fn is_available() -> bool {
    f32::tile(ROWS).is_some()
}

/// Whether it runs those of bf16 as well.
pub(super) fn has_pairs() -> bool {
    is_available() && Pair::tile(ROWS).is_some()
}

/// Units that hold so many values along the depth.
pub(super) fn units<U: Unit>(depth: usize) -> usize {
    depth.div_ceil(U::DEPTHS)
}

/// Units that hold so many values along the depth, from 0 in steps of [`DEPTH`].
pub(super) fn blocks<U: Unit>(depth: usize) -> impl Iterator<Item = (usize, usize)> {
    let units = units::<U>(depth);
    (0..units).step_by(DEPTH).map(move |from| (from, units.min(from + DEPTH)))
}

/// `A`, packed whole.
/// Stays for the model's life where it holds a convolution's weight.
#[derive(Debug)]
pub(super) struct PackedRows<U> {
    /// Panel after panel; in each, the `ROWS` units of one depth lie together.
    units: Vec<[U; ROWS]>,
    rows: usize,
    depth: usize,
}

impl<U: Unit> PackedRows<U> {
    /// Packs rows of `depth` values that lie one after another.
    pub(super) fn of_rows(values: &[f32], depth: usize) -> Self {
        Self::of_parts(values, depth, (0, depth))
    }

    /// Packs the values `from..to` of rows of `width` that lie one after another.
    pub(super) fn of_parts(values: &[f32], width: usize, (from, to): (usize, usize)) -> Self {
        let (rows, depth) = (values.len() / width.max(1), to - from);
        let length = units::<U>(depth);
        let mut packed = vec![[U::default(); ROWS]; rows.div_ceil(ROWS) * length];
        let zeros = if rows.is_multiple_of(ROWS) { Vec::new() } else { vec![0.0; depth] };
        let panels = packed.chunks_exact_mut(length.max(1)).zip(values.chunks(ROWS * width.max(1)));
        panels.for_each(|(packed, values)| {
            let row = |row| values.get(row * width + from..row * width + to).unwrap_or(&zeros);
            U::interleave(&std::array::from_fn(row), packed);
        });
        Self { units: packed, rows, depth }
    }

    /// Packs columns instead: the values `from..to` of lines of `width` that lie one after another along the depth.
    pub(super) fn of_columns(values: &[f32], width: usize, (from, to): (usize, usize)) -> Self {
        let (rows, depth) = (to - from, values.len() / width.max(1));
        let length = units::<U>(depth);
        let mut packed = vec![[U::default(); ROWS]; rows.div_ceil(ROWS) * length];
        for (panel, packed) in packed.chunks_exact_mut(length.max(1)).enumerate() {
            let first = from + panel * ROWS;
            let own = first..to.min(first + ROWS);
            for (units, lines) in packed.iter_mut().zip(values.chunks(U::DEPTHS * width)) {
                // a part of a panel, or of a unit, is filled up with zeros
                let mut parts = [[0.0f32; ROWS]; 2];
                for (part, line) in parts.iter_mut().zip(lines.chunks_exact(width)) {
                    part[..own.len()].copy_from_slice(&line[own.clone()]);
                }
                U::join(&parts, units);
            }
        }
        Self { units: packed, rows, depth }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Panel `index` from unit `from` to `to` of the depth.
    pub(super) fn panel(&self, index: usize, from: usize, to: usize) -> &[U] {
        let start = index * units::<U>(self.depth);
        self.units[start + from..start + to].as_flattened()
    }
}

/// `B`, packed whole.
#[derive(Debug)]
pub(super) struct PackedColumns<U> {
    /// Panel after panel; in each, the `COLUMNS` units of one depth lie together.
    units: Vec<[U; COLUMNS]>,
    columns: usize,
    depth: usize,
}

impl<U: Unit> PackedColumns<U> {
    /// Packs `depth * columns` values that `at(depth, column)` names.
    pub(super) fn new(depth: usize, columns: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let length = units::<U>(depth);
        let mut packed = vec![[U::default(); COLUMNS]; columns.div_ceil(COLUMNS) * length];
        for (panel, packed) in packed.chunks_exact_mut(length.max(1)).enumerate() {
            for (k, units) in packed.iter_mut().enumerate() {
                let first = panel * COLUMNS;
                for (column, unit) in (first..columns.min(first + COLUMNS)).zip(units) {
                    *unit = unit_at(k, depth, |k| at(k, column));
                }
            }
        }
        Self { units: packed, columns, depth }
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// One column, along the depth. It is less than [`PackedColumns::columns`].
    pub(super) fn column(&self, index: usize) -> impl Iterator<Item = f32> {
        let panel = self.panel(index / COLUMNS, 0, units::<U>(self.depth));
        let units = panel.iter().skip(index % COLUMNS).step_by(COLUMNS);
        units.flat_map(|unit| (0..U::DEPTHS).map(|depth| unit.value(depth))).take(self.depth)
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Panel `index` from unit `from` to `to` of the depth.
    pub(super) fn panel(&self, index: usize, from: usize, to: usize) -> &[U] {
        let start = index * units::<U>(self.depth);
        self.units[start + from..start + to].as_flattened()
    }
}

/// Unit `k` of a line of `depth` values.
fn unit_at<U: Unit>(k: usize, depth: usize, at: impl Fn(usize) -> f32) -> U {
    U::of(|own| match k * U::DEPTHS + own {
        k if k < depth => at(k),
        _ => 0.0,
    })
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
    pub(super) fn add_tile<U: Unit>(&self, a: &[U], b: &[U], at: (usize, usize), size: (usize, usize)) {
        self.tile(a, b, at, size, true);
    }

    /// With `add`, what is there is added to; without, it is replaced.
    fn tile<U: Unit>(&self, a: &[U], b: &[U], at: (usize, usize), size: (usize, usize), add: bool) {
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
        let tile = U::tile(rows).expect("callers ask whether the kernels are available");
        #[expect(unsafe_code, reason = "vector instructions on panels whose sizes were just checked")]
        // SAFETY: this machine has the instructions; the asserts above keep every access inside of the panels and of the
        // result; different threads have different tiles.
        unsafe {
            let c = self.values.add(row * self.stride + column);
            tile((a.as_ptr(), b.as_ptr()), depth, (c, self.stride), size, add);
        }
    }

    /// Adds `A[from..to] B[from..to]` for all rows of `A` to `columns` from `column` on; the depth is in units.
    pub(super) fn add_rows<U: Unit>(
        &self,
        a: &PackedRows<U>,
        b: &[U],
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
    pub(super) fn set_rows<U: Unit>(&self, a: &PackedRows<U>, b: &[U]) {
        for (from, to) in blocks::<U>(a.depth) {
            let b = &b[from * COLUMNS..to * COLUMNS];
            for panel in 0..a.rows.div_ceil(ROWS) {
                let row = panel * ROWS;
                let size = (ROWS.min(a.rows - row), COLUMNS);
                self.tile(a.panel(panel, from, to), b, (row, 0), size, from > 0);
            }
        }
    }
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

    /// As a unit holds it.
    fn rounded<U: Unit>(value: f32) -> f32 {
        U::of(|_| value).value(0)
    }

    fn product<U: Unit>(row: usize, column: usize, depth: usize) -> f32 {
        (0..depth).map(|k| rounded::<U>(a(row, k)) * rounded::<U>(b(k, column))).sum()
    }

    fn tile_equals_the_plain_loops<U: Unit>(tile: tiles::Tile<U>, (rows, columns): (usize, usize)) {
        let depth = 40;
        let lines: Vec<f32> = (0..ROWS * depth).map(|at| a(at / depth, at % depth)).collect();
        let (panel_a, panel_b) =
            (PackedRows::<U>::of_rows(&lines, depth), PackedColumns::<U>::new(depth, COLUMNS, b));
        let length = units::<U>(depth);
        let (panel_a, panel_b) = (panel_a.panel(0, 0, length), panel_b.panel(0, 0, length));
        for add in [false, true] {
            let mut values = vec![1.0; ROWS * COLUMNS];
            #[expect(unsafe_code, reason = "calls it as `Output` does")]
            // SAFETY: the panels are as deep as said, and the result holds a whole tile.
            unsafe {
                let c = (values.as_mut_ptr(), COLUMNS);
                tile((panel_a.as_ptr(), panel_b.as_ptr()), length, c, (rows, columns), add);
            }
            for (index, value) in values.iter().enumerate() {
                let (row, column) = (index / COLUMNS, index % COLUMNS);
                let inside = row < rows && column < columns;
                let wanted = if inside { product::<U>(row, column, depth) } else { 0.0 };
                let before = if inside && !add { 0.0 } else { 1.0 };
                assert!((value - wanted - before).abs() < 1e-5, "{rows}x{columns} at {index}: {value}");
            }
        }
    }

    #[test]
    fn every_instruction_set_makes_the_tile_of_the_plain_loops() {
        assert!(is_available() || cfg!(not(target_arch = "x86_64")), "this machine tests nothing");
        for size in [(12, 32), (7, 19), (4, 32), (1, 16), (6, 3)] {
            for thin in [false].into_iter().chain((size.0 <= tiles::THIN).then_some(true)) {
                tiles::single(thin).for_each(|tile| tile_equals_the_plain_loops(tile, size));
                // where the processor has none, asking for bf16 is refused
                tiles::paired(thin).into_iter().for_each(|tile| tile_equals_the_plain_loops(tile, size));
            }
        }
    }

    /// `rows` lines of `columns` values, with a neighbour at either end.
    fn with_neighbours(rows: usize, columns: usize, at: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let line = |row| (0..columns).map(|column| at(row, column)).collect::<Vec<f32>>();
        (0..rows).flat_map(|row| [vec![7.0], line(row), vec![9.0]].concat()).collect()
    }

    fn products_equal_the_plain_loops<U: Unit>() {
        for (rows, depth, columns) in
            [(1, 1, 1), (12, 7, 32), (13, 300, 33), (25, 1025, 70), (5, 256, 16), (24, 4, 17)]
        {
            let (lines, turned) =
                (with_neighbours(rows, depth, a), with_neighbours(depth, rows, |k, row| a(row, k)));
            let packed_b = PackedColumns::<U>::new(depth, columns, b);
            for packed_a in [
                PackedRows::<U>::of_parts(&lines, depth + 2, (1, depth + 1)),
                PackedRows::of_columns(&turned, rows + 2, (1, rows + 1)),
            ] {
                let mut values = vec![1.0; rows * columns];
                let output = Output::new(&mut values, columns);
                for (from, to) in blocks::<U>(depth) {
                    for column in (0..columns).step_by(COLUMNS) {
                        let panel = packed_b.panel(column / COLUMNS, from, to);
                        let width = COLUMNS.min(columns - column);
                        output.add_rows(&packed_a, panel, (from, to), column, width);
                    }
                }
                for (index, value) in values.iter().enumerate() {
                    let sum = product::<U>(index / columns, index % columns, depth);
                    assert!((value - sum - 1.0).abs() < 2e-4, "{rows}x{depth}x{columns} at {index}: {value}");
                }
            }
        }
    }

    #[test]
    fn products_equal_the_plain_loops_for_every_remainder() {
        // where there are no kernels the layers use tensor operations
        if is_available() {
            products_equal_the_plain_loops::<f32>();
        }
        if has_pairs() {
            products_equal_the_plain_loops::<Pair>();
        }
    }

    #[test]
    fn a_column_is_read_back_as_it_was_rounded() {
        fn read_back<U: Unit>() {
            for depth in [1, 8, 33] {
                let packed = PackedColumns::<U>::new(depth, 40, b);
                let expected: Vec<f32> = (0..depth).map(|k| rounded::<U>(b(k, 37))).collect();
                assert_eq!(packed.column(37).collect::<Vec<_>>(), expected);
            }
        }
        read_back::<f32>();
        read_back::<Pair>();
    }

    #[test]
    #[should_panic(expected = "within the result")]
    fn a_tile_outside_of_the_result_is_a_bug_and_not_a_write() {
        let mut values = vec![0.0; 8];
        Output::new(&mut values, 4).add_tile(&[0.0; ROWS], &[0.0; COLUMNS], (1, 2), (2, 2));
    }
}
