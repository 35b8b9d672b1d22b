//! What the bytes of ggml's blocks mean, for 32 rows of a weight at a time: byte `j` of a block of all of them lies
//! together, so that one vector instruction works on 32 rows. Follows ggml-quants.c (`dequantize_row_*`), value by value to
//! the bit, which the tests hold against candle's (a scale times a code is exact,
//! so that fusing it with a sum changes nothing).
//!
//! Each encoding says once what its values are; that code is compiled into three kernels: one that writes the values down, and
//! two that multiply them at once with a row of the input, which takes the time of reading the bytes, or with a few rows, which
//! widens them once for all. A row's sums are the same in both, to the bit.

use candle_core::quantized::GgmlDType;

use super::super::gemm::COLUMNS;
use super::super::math::vectorized;

/// One byte of each row.
pub(super) type Bytes = [u8; COLUMNS];
/// One value of each row.
pub(super) type Line = [f32; COLUMNS];

/// Rows of the input that are multiplied with a weight that is read once: as many as there are registers for sums of.
pub(super) const FEW: usize = 4;

/// What can be done with blocks of one encoding.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    /// Writes whole blocks down, line after line along the depth.
    pub(super) widen: fn(&[Bytes], &mut [Line]),
    /// Adds the products of whole blocks and one value for each line to the sums of the rows, in the order of the lines.
    pub(super) add: fn(&[Bytes], &[f32], &mut Line),
    /// The same for a few rows of the input at once, whose values of a line lie together.
    pub(super) add_few: fn(&[Bytes], &[[f32; FEW]], &mut [Line; FEW]),
}

macro_rules! kernels {
    ($name:ident) => {
        Kernels { widen: $name::widen, add: $name::add, add_few: $name::add_few }
    };
}

impl Kernels {
    /// None for encodings that are rare in files.
    pub(super) fn of(encoding: GgmlDType) -> Option<Self> {
        Some(match encoding {
            GgmlDType::F16 => kernels!(half),
            GgmlDType::BF16 => kernels!(brain_half),
            GgmlDType::Q4_0 => kernels!(q4_0),
            GgmlDType::Q4_1 => kernels!(q4_1),
            GgmlDType::Q5_0 => kernels!(q5_0),
            GgmlDType::Q5_1 => kernels!(q5_1),
            GgmlDType::Q8_0 => kernels!(q8_0),
            GgmlDType::Q4K => kernels!(q4_k),
            GgmlDType::Q5K => kernels!(q5_k),
            GgmlDType::Q6K => kernels!(q6_k),
            _ => return None,
        })
    }
}

/// Takes the lines of a block, each with its place in it. A trait, and no closure: what takes them has to become a part of the
/// kernel, whatever its size, since only there are wide vectors enabled.
trait Sink {
    fn take(&mut self, k: usize, line: Line);
}

/// Lines are written down.
struct Written<'a, const VALUES: usize>(&'a mut [Line; VALUES]);

/// Lines are multiplied with the values of a row.
struct One<'a, const VALUES: usize> {
    x: &'a [f32; VALUES],
    sums: Line,
}

/// Lines are multiplied with the values of a few rows.
struct Few<'a, const VALUES: usize> {
    x: &'a [[f32; FEW]; VALUES],
    sums: [Line; FEW],
}

impl<const VALUES: usize> Sink for Written<'_, VALUES> {
    #[inline(always)]
    fn take(&mut self, k: usize, line: Line) {
        self.0[k] = line;
    }
}

impl<const VALUES: usize> Sink for One<'_, VALUES> {
    #[inline(always)]
    fn take(&mut self, k: usize, line: Line) {
        let (x, sums) = (self.x[k], self.sums);
        self.sums = each(|row| x.mul_add(line[row], sums[row]));
    }
}

impl<const VALUES: usize> Sink for Few<'_, VALUES> {
    #[inline(always)]
    fn take(&mut self, k: usize, line: Line) {
        let (x, [first, second, third, fourth]) = (self.x[k], self.sums);
        // one by one, so that each stays in registers
        self.sums = [
            each(|row| x[0].mul_add(line[row], first[row])),
            each(|row| x[1].mul_add(line[row], second[row])),
            each(|row| x[2].mul_add(line[row], third[row])),
            each(|row| x[3].mul_add(line[row], fourth[row])),
        ];
    }
}

/// Makes the kernels of an encoding whose blocks of `$bytes` hold `$values` values, which `$lines` gives to `sink` one
/// line after the other, with its place in the block.
macro_rules! encoding {
    ($name:ident, $bytes:literal bytes, $values:literal values, $lines:path) => {
        mod $name {
            use super::*;

            vectorized! {
                pub(super) fn widen(blocks: &[Bytes], lines: &mut [Line]) {
                    let (blocks, lines) = (blocks.as_chunks::<$bytes>().0, lines.as_chunks_mut::<$values>().0);
                    for (block, lines) in blocks.iter().zip(lines) {
                        $lines(block, &mut Written(lines));
                    }
                }
            }

            vectorized! {
                pub(super) fn add(blocks: &[Bytes], x: &[f32], sums: &mut Line) {
                    let (blocks, x) = (blocks.as_chunks::<$bytes>().0, x.as_chunks::<$values>().0);
                    let mut own = *sums;
                    for (block, x) in blocks.iter().zip(x) {
                        let mut sink = One { x, sums: own };
                        $lines(block, &mut sink);
                        own = sink.sums;
                    }
                    *sums = own;
                }
            }

            vectorized! {
                pub(super) fn add_few(blocks: &[Bytes], x: &[[f32; FEW]], sums: &mut [Line; FEW]) {
                    let (blocks, x) = (blocks.as_chunks::<$bytes>().0, x.as_chunks::<$values>().0);
                    let mut own = *sums;
                    for (block, x) in blocks.iter().zip(x) {
                        let mut sink = Few { x, sums: own };
                        $lines(block, &mut sink);
                        own = sink.sums;
                    }
                    *sums = own;
                }
            }
        }
    };
}

encoding!(half, 2 bytes, 1 values, lines_of_half);
encoding!(brain_half, 2 bytes, 1 values, lines_of_brain_half);
encoding!(q4_0, 18 bytes, 32 values, lines_of_q4_0);
encoding!(q4_1, 20 bytes, 32 values, lines_of_q4_1);
encoding!(q5_0, 22 bytes, 32 values, lines_of_q5_0);
encoding!(q5_1, 24 bytes, 32 values, lines_of_q5_1);
encoding!(q8_0, 34 bytes, 32 values, lines_of_q8_0);
encoding!(q4_k, 144 bytes, 256 values, lines_of_q4_k);
encoding!(q5_k, 176 bytes, 256 values, lines_of_q5_k);
encoding!(q6_k, 210 bytes, 256 values, lines_of_q6_k);

/// One value for each row. A plain loop: the standard library's is a function apart, which is not compiled for wide vectors.
#[inline(always)]
fn each(value: impl Fn(usize) -> f32) -> Line {
    let mut line = [0.0; COLUMNS];
    for (row, place) in line.iter_mut().enumerate() {
        *place = value(row);
    }
    line
}

/// Halves, low bytes first, in f32. Without branches, so that it becomes vector instructions.
#[inline(always)]
fn halves(low: &Bytes, high: &Bytes) -> Line {
    each(|row| {
        let bits = u32::from(low[row]) | u32::from(high[row]) << 8;
        // the exponent's bias differs by 112: a product with 2 to that power is exact, for subnormal numbers too
        let scaled = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
        let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
        f32::from_bits(scaled.to_bits() | special | (bits & 0x8000) << 16)
    })
}

#[inline(always)]
fn lines_of_half(block: &[Bytes; 2], sink: &mut impl Sink) {
    sink.take(0, halves(&block[0], &block[1]));
}

#[inline(always)]
fn lines_of_brain_half(block: &[Bytes; 2], sink: &mut impl Sink) {
    sink.take(0, each(|row| f32::from_bits(u32::from(block[0][row]) << 16 | u32::from(block[1][row]) << 24)));
}

/// Four bits of a byte: the lower ones for the first half of a block, the upper ones for the second. Codes are 32 bits wide from
/// the start, as wide as the values that they become: bytes and words cost instructions in between.
#[inline(always)]
fn nibble(byte: u8, half: usize) -> i32 {
    i32::from(byte) >> (4 * half) & 15
}

#[inline(always)]
fn lines_of_q4_0(block: &[Bytes; 18], sink: &mut impl Sink) {
    let scale = halves(&block[0], &block[1]);
    for k in 0..32 {
        let codes = &block[2 + k % 16];
        sink.take(k, each(|row| (nibble(codes[row], k / 16) - 8) as f32 * scale[row]));
    }
}

#[inline(always)]
fn lines_of_q4_1(block: &[Bytes; 20], sink: &mut impl Sink) {
    let (scale, least) = (halves(&block[0], &block[1]), halves(&block[2], &block[3]));
    for k in 0..32 {
        let codes = &block[4 + k % 16];
        sink.take(k, each(|row| (nibble(codes[row], k / 16) as f32).mul_add(scale[row], least[row])));
    }
}

/// The fifth bits of 32 values lie in four bytes, in order.
#[inline(always)]
fn fifth(bits: u8, k: usize) -> i32 {
    (i32::from(bits) >> (k % 8) & 1) << 4
}

#[inline(always)]
fn lines_of_q5_0(block: &[Bytes; 22], sink: &mut impl Sink) {
    let scale = halves(&block[0], &block[1]);
    for k in 0..32 {
        let (bits, codes) = (&block[2 + k / 8], &block[6 + k % 16]);
        let code = |row: usize| (nibble(codes[row], k / 16) | fifth(bits[row], k)) - 16;
        sink.take(k, each(|row| code(row) as f32 * scale[row]));
    }
}

#[inline(always)]
fn lines_of_q5_1(block: &[Bytes; 24], sink: &mut impl Sink) {
    let (scale, least) = (halves(&block[0], &block[1]), halves(&block[2], &block[3]));
    for k in 0..32 {
        let (bits, codes) = (&block[4 + k / 8], &block[8 + k % 16]);
        let code = |row: usize| nibble(codes[row], k / 16) | fifth(bits[row], k);
        sink.take(k, each(|row| (code(row) as f32).mul_add(scale[row], least[row])));
    }
}

#[inline(always)]
fn lines_of_q8_0(block: &[Bytes; 34], sink: &mut impl Sink) {
    let scale = halves(&block[0], &block[1]);
    for k in 0..32 {
        let codes = &block[2 + k];
        sink.take(k, each(|row| f32::from(codes[row] as i8) * scale[row]));
    }
}

/// Scale and least value of 32 values, of eight times 32 whose six bits each share twelve bytes.
#[inline(always)]
fn scale_and_least(scales: &[Bytes], group: usize) -> (Line, Line) {
    if group < 4 {
        let (scale, least) = (&scales[group], &scales[group + 4]);
        return (each(|row| f32::from(scale[row] & 63)), each(|row| f32::from(least[row] & 63)));
    }
    let (low, scale, least) = (&scales[group + 4], &scales[group - 4], &scales[group]);
    (
        each(|row| f32::from(low[row] & 15 | scale[row] >> 6 << 4)),
        each(|row| f32::from(low[row] >> 4 | least[row] >> 6 << 4)),
    )
}

/// What eight times 32 values have in common: `scale` and `least` of the whole, and each one's part in them.
#[inline(always)]
fn group_of_k(block: &[Bytes], group: usize) -> (Line, Line) {
    let (scale, least) = (halves(&block[0], &block[1]), halves(&block[2], &block[3]));
    let (own_scale, own_least) = scale_and_least(&block[4..16], group);
    (each(|row| scale[row] * own_scale[row]), each(|row| least[row] * own_least[row]))
}

#[inline(always)]
fn lines_of_q4_k(block: &[Bytes; 144], sink: &mut impl Sink) {
    for group in 0..8 {
        let (scale, least) = group_of_k(block, group);
        for k in 0..32 {
            let codes = &block[16 + group / 2 * 32 + k];
            let line = each(|row| scale[row].mul_add(nibble(codes[row], group % 2) as f32, -least[row]));
            sink.take(group * 32 + k, line);
        }
    }
}

#[inline(always)]
fn lines_of_q5_k(block: &[Bytes; 176], sink: &mut impl Sink) {
    for group in 0..8 {
        let (scale, least) = group_of_k(block, group);
        for k in 0..32 {
            let (bits, codes) = (&block[16 + k], &block[48 + group / 2 * 32 + k]);
            let code = |row: usize| nibble(codes[row], group % 2) | fifth(bits[row], group);
            sink.take(group * 32 + k, each(|row| scale[row].mul_add(code(row) as f32, -least[row])));
        }
    }
}

#[inline(always)]
fn lines_of_q6_k(block: &[Bytes; 210], sink: &mut impl Sink) {
    let scale = halves(&block[208], &block[209]);
    // sixteen values have a scale of their own
    for group in 0..16 {
        let own = &block[192 + group];
        let scale: Line = each(|row| scale[row] * f32::from(own[row] as i8));
        let least: Line = each(|row| -32.0 * scale[row]);
        // the two halves of a block are alike; in each are four quarters of 32 values
        let (half, quarter) = (group / 8, group % 8 / 2);
        for k in group % 2 * 16..group % 2 * 16 + 16 {
            let (low, high) = (&block[64 * half + 32 * (quarter % 2) + k], &block[128 + 32 * half + k]);
            let upper = |row: usize| (i32::from(high[row]) >> (2 * quarter) & 3) << 4;
            let code = |row: usize| nibble(low[row], quarter / 2) | upper(row);
            sink.take(
                128 * half + 32 * quarter + k,
                each(|row| scale[row].mul_add(code(row) as f32, least[row])),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use ::half::f16;

    use super::*;

    #[test]
    fn halves_are_those_of_the_processor_with_subnormal_numbers_infinities_and_what_is_no_number() {
        for high in 0..=u8::MAX {
            for from in (0..=u8::MAX).step_by(COLUMNS) {
                let low: Bytes = std::array::from_fn(|row| from + row as u8);
                for (ours, low) in halves(&low, &[high; COLUMNS]).into_iter().zip(low) {
                    let theirs = f16::from_le_bytes([low, high]).to_f32();
                    assert!(
                        ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(),
                        "{theirs}"
                    );
                }
            }
        }
    }
}
