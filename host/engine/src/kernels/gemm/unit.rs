//! What panels are made of: a value in f32, or two neighbouring values of one row or column in bf16, which one instruction
//! multiplies and adds. Rounding happens here and nowhere else: to nearest, ties to even, as torch and the processor do it.

use half::bf16;

use super::super::math::vectorized;
use super::tiles::{self, Tile};
use super::{COLUMNS, ROWS};

/// So many depths of one row or column as one instruction takes at a time.
pub(in super::super) trait Unit:
    Copy + Default + std::fmt::Debug + Send + Sync + 'static
{
    /// How many.
    const DEPTHS: usize;

    /// The fastest product of two panels that this machine runs, if it runs any, for so many rows that exist.
    fn tile(rows: usize) -> Option<Tile<Self>>;

    /// From the value of each depth, counted from 0.
    fn of(value: impl Fn(usize) -> f32) -> Self;

    /// The value of one depth.
    fn value(self, depth: usize) -> f32;

    /// A line of columns for each depth, side by side: the units of these columns.
    fn across(lines: &[[f32; COLUMNS]], units: &mut [Self; COLUMNS]);

    /// Values of neighbouring depths, side by side, of which as many are taken as a unit holds.
    fn join(lines: &[[f32; ROWS]; 2], units: &mut [Self; ROWS]);

    /// A panel of columns, line after line along the depth. `room` is used where lines are not units as they are; what is
    /// missing of the last unit is zero.
    fn panel<'a>(lines: &'a [[f32; COLUMNS]], room: &'a mut Vec<[Self; COLUMNS]>) -> &'a [Self];

    /// One panel of rows, each along the depth; zeros stand for rows that the matrix does not have. A unit that the rows
    /// end in the middle of has zeros at its end.
    fn interleave(rows: &[&[f32]; ROWS], units: &mut [[Self; ROWS]]);
}

impl Unit for f32 {
    const DEPTHS: usize = 1;

    fn tile(rows: usize) -> Option<Tile<Self>> {
        tiles::single(rows <= tiles::THIN).next()
    }

    fn of(value: impl Fn(usize) -> f32) -> Self {
        value(0)
    }

    fn value(self, _: usize) -> f32 {
        self
    }

    fn across(lines: &[[f32; COLUMNS]], units: &mut [Self; COLUMNS]) {
        units.copy_from_slice(&lines[0]);
    }

    fn join(lines: &[[f32; ROWS]; 2], units: &mut [Self; ROWS]) {
        *units = lines[0];
    }

    fn panel<'a>(lines: &'a [[f32; COLUMNS]], _: &'a mut Vec<[f32; COLUMNS]>) -> &'a [f32] {
        lines.as_flattened()
    }

    fn interleave(rows: &[&[f32]; ROWS], units: &mut [[Self; ROWS]]) {
        interleave_values(rows, units);
    }
}

/// Two values in bf16; the one of the smaller depth is in the lower half.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(in super::super) struct Pair(u32);

impl Pair {
    /// Written out rather than by `half`, so that the compiler makes vector instructions of it.
    #[inline(always)]
    fn new(low: f32, high: f32) -> Self {
        Self(rounded(low) >> 16 | rounded(high) & 0xffff_0000)
    }
}

/// The bits of a value whose upper half is the bf16 that is nearest to it.
#[inline(always)]
fn rounded(value: f32) -> u32 {
    let bits = value.to_bits();
    // just less than half of the last bit that stays, or half of it where that bit is odd
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // a NaN must not be carried into an infinity or a number: the check of what a run made looks for it
    if value.is_nan() { bits | 0x0040_0000 } else { nearest }
}

impl Unit for Pair {
    const DEPTHS: usize = 2;

    fn tile(rows: usize) -> Option<Tile<Self>> {
        tiles::paired(rows <= tiles::THIN)
    }

    fn of(value: impl Fn(usize) -> f32) -> Self {
        Self::new(value(0), value(1))
    }

    fn value(self, depth: usize) -> f32 {
        bf16::from_bits((self.0 >> (16 * depth)) as u16).to_f32()
    }

    fn across(lines: &[[f32; COLUMNS]], units: &mut [Self; COLUMNS]) {
        pair_lines(&lines[0], &lines[1], units);
    }

    fn join(lines: &[[f32; ROWS]; 2], units: &mut [Self; ROWS]) {
        *units = std::array::from_fn(|row| Self::new(lines[0][row], lines[1][row]));
    }

    fn panel<'a>(lines: &'a [[f32; COLUMNS]], room: &'a mut Vec<[Pair; COLUMNS]>) -> &'a [Pair] {
        let (whole, rest) = lines.as_chunks::<2>();
        room.resize(lines.len().div_ceil(2), [Pair::default(); COLUMNS]);
        for ([low, high], units) in whole.iter().zip(room.iter_mut()) {
            pair_lines(low, high, units);
        }
        if let ([last], Some(units)) = (rest, room.last_mut()) {
            pair_lines(last, &[0.0; COLUMNS], units);
        }
        room.as_flattened()
    }

    fn interleave(rows: &[&[f32]; ROWS], units: &mut [[Self; ROWS]]) {
        interleave_pairs(rows, units);
    }
}

vectorized! {
    fn pair_lines(low: &[f32; COLUMNS], high: &[f32; COLUMNS], units: &mut [Pair; COLUMNS]) {
        for ((unit, low), high) in units.iter_mut().zip(low).zip(high) {
            *unit = Pair::new(*low, *high);
        }
    }
}

/// Depths that are interleaved at a time: their rows and their part of the panel are in the first-level cache.
const STRETCH: usize = 128;

vectorized! {
    fn interleave_values(rows: &[&[f32]; ROWS], units: &mut [[f32; ROWS]]) {
        for (index, units) in units.chunks_mut(STRETCH).enumerate() {
            let from = index * STRETCH;
            // all slices of one length, so that nothing is checked inside of the loop
            let rows = rows.map(|row| &row[from..from + units.len()]);
            for (k, units) in units.iter_mut().enumerate() {
                for (unit, row) in units.iter_mut().zip(&rows) {
                    *unit = row[k];
                }
            }
        }
    }
}

vectorized! {
    fn interleave_pairs(rows: &[&[f32]; ROWS], units: &mut [[Pair; ROWS]]) {
        let mut rounded = [[Pair::default(); STRETCH]; ROWS];
        for (index, units) in units.chunks_mut(STRETCH).enumerate() {
            let from = 2 * index * STRETCH;
            for (pairs, row) in rounded.iter_mut().zip(rows) {
                let (values, rest) = row[from..row.len().min(from + 2 * STRETCH)].as_chunks::<2>();
                for (pair, [low, high]) in pairs.iter_mut().zip(values) {
                    *pair = Pair::new(*low, *high);
                }
                if let ([last], Some(pair)) = (rest, pairs.get_mut(values.len())) {
                    *pair = Pair::new(*last, 0.0);
                }
            }
            for (k, units) in units.iter_mut().enumerate() {
                for (unit, pairs) in units.iter_mut().zip(&rounded) {
                    *unit = pairs[k % STRETCH];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_to_the_nearest_bf16_and_ties_to_even() {
        let bits = (0..=u16::MAX)
            .flat_map(|high| [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff].map(|low| u32::from(high) << 16 | low));
        for value in bits.map(f32::from_bits) {
            let pair = Pair::new(value, -value);
            for (depth, value) in [value, -value].into_iter().enumerate() {
                let (ours, expected) = (pair.value(depth), bf16::from_f32(value).to_f32());
                assert!(ours == expected || ours.is_nan() && expected.is_nan(), "{value:e}: {ours:e}");
            }
        }
    }

    #[test]
    fn rows_are_interleaved_whatever_their_length() {
        for depth in [1, 2, 7, 255, 256, 257, 600] {
            let row = |row: usize| (0..depth).map(|k| (row * 1000 + k) as f32).collect::<Vec<_>>();
            let rows: [Vec<f32>; ROWS] = std::array::from_fn(row);
            let rows = rows.each_ref().map(Vec::as_slice);
            let mut values = vec![[f32::NAN; ROWS]; depth];
            f32::interleave(&rows, &mut values);
            let mut pairs = vec![[Pair(u32::MAX); ROWS]; depth.div_ceil(2)];
            Pair::interleave(&rows, &mut pairs);
            for (row, k) in (0..ROWS).flat_map(|row| (0..depth).map(move |k| (row, k))) {
                assert_eq!(values[k][row], rows[row][k]);
                assert_eq!(pairs[k / 2][row].value(k % 2), bf16::from_f32(rows[row][k]).to_f32());
            }
            assert!(depth % 2 == 0 || pairs[depth / 2].iter().all(|pair| pair.value(1) == 0.0));
        }
    }
}
